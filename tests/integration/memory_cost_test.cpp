// SPDX-License-Identifier: Apache-2.0
// What mapped memory costs in memory: gigabytes that are mapped, of which a megabyte is touched,
// cost megabytes in the program and in the server, and nothing when they are freed.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kWanted = VkDeviceSize{4} << 30;
constexpr VkDeviceSize kTouched = 1 << 20;
// For each of the two sides. The pages touched are in the shadow, its twin and the host's copies; a
// table of pages is due for each 2 MiB that somebody looks into, on each of these.
constexpr uint64_t kMostGrowth = 48 << 20;

// The numbers of a file whose lines are "Name:   123 kB", in bytes.
std::map<std::string, uint64_t> Numbers(const std::string& path) {
  std::map<std::string, uint64_t> numbers;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t kilobytes = 0;
    if (words >> name >> kilobytes) {
      numbers[name] = kilobytes << 10;
    }
  }
  return numbers;
}

// What files without a name, which a process holds open, have of memory: pages that nobody has
// mapped cost, too.
uint64_t MemoryFiles(pid_t pid) {
  std::set<ino_t> seen;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  uint64_t bytes = 0;
  DIR* descriptors = opendir(folder.c_str());
  if (descriptors == nullptr) {
    return 0;
  }
  while (const dirent* entry = readdir(descriptors)) {
    const std::string path = folder + "/" + entry->d_name;
    char target[64] = {};
    struct stat status{};
    if (readlink(path.c_str(), target, sizeof(target) - 1) > 0 &&
        std::strncmp(target, "/memfd:", 7) == 0 && stat(path.c_str(), &status) == 0 &&
        seen.insert(status.st_ino).second) {
      bytes += static_cast<uint64_t>(status.st_blocks) * 512;
    }
  }
  closedir(descriptors);
  return bytes;
}

// Memory of a process's own, and its page tables.
uint64_t PrivateMemory(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  return Numbers(folder + "/smaps_rollup")["Pss_Anon:"] + Numbers(folder + "/status")["VmPTE:"];
}

class MemoryCostTest : public VesperOnlyTest {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    if (!IsSkipped()) {
      // The worker of the test before has gone; what is left is the server's front.
      ASSERT_TRUE(
          Eventually([] { return Descendants(getpid()).size() <= 1; }, std::chrono::seconds(60)));
      gpu_.Open();
      // What both sides take once is not the memory's.
      const Buffer warm = MakeHostBuffer(gpu_, 65536);
      ReadBack(gpu_, warm.handle, 65536);
    }
  }

  static uint64_t GuestCost() { return PrivateMemory(getpid()) + MemoryFiles(getpid()); }
  // Without memory files: lavapipe has the device's memory in one, which never shrinks. What a
  // driver does with the device's memory is its own affair.
  static uint64_t ServerCost() {
    uint64_t bytes = 0;
    for (const pid_t pid : Descendants(getpid())) {
      bytes += PrivateMemory(pid);
    }
    return bytes;
  }

  static void ExpectGrowth(uint64_t before, uint64_t after, const char* whose) {
    RecordProperty(whose, std::to_string((after > before ? after - before : 0) >> 10) + " KiB");
    EXPECT_LE(after, before + kMostGrowth)
        << whose << " grew by " << ((after - before) >> 20) << " MiB";
  }

  // As much memory as the driver allows in one piece, mapped.
  Buffer MakeLarge(VkBufferUsageFlags usage) {
    VkDeviceSize size = std::min(kWanted, gpu_.properties.v11.maxMemoryAllocationSize);
    const VkPhysicalDeviceMemoryProperties& memory = gpu_.memory_properties;
    const uint32_t type = gpu_.FindMemoryType(
        ~0u, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    size = std::min(size, memory.memoryHeaps[memory.memoryTypes[type].heapIndex].size / 2);
    return MakeHostBufferInType(gpu_, size, usage, type);
  }

  // Writes a megabyte, in pages far apart, and has the GPU copy it where the program can see it.
  void TouchAndCheck(const Buffer& large, uint8_t value) {
    constexpr VkDeviceSize kPages = kTouched / 4096;
    const VkDeviceSize step = large.size / kPages / 4096 * 4096;
    std::vector<VkBufferCopy> regions;
    for (VkDeviceSize page = 0; page < kPages; ++page) {
      std::memset(large.data + page * step, value + static_cast<int>(page % 16), 4096);
      regions.push_back({page * step, page * 4096, 4096});
    }
    const Buffer seen = MakeHostBuffer(gpu_, kTouched);
    gpu_.Execute([&](VkCommandBuffer commands) {
      gpu_.FullBarrier(commands);
      gpu_.vk.CmdCopyBuffer(commands, large.handle, seen.handle, kPages, regions.data());
    });
    for (VkDeviceSize i = 0; i < kTouched; ++i) {
      ASSERT_EQ(static_cast<uint8_t>(value + i / 4096 % 16), seen.data[i]) << "byte " << i;
    }
  }

  Gpu gpu_;
};

TEST_F(MemoryCostTest, OfUploads) {
  const uint64_t guest = GuestCost();
  const uint64_t server = ServerCost();
  {
    const Buffer large = MakeLarge(VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
    RecordProperty("size", std::to_string(large.size >> 20) + " MiB");
    TouchAndCheck(large, 1);
    TouchAndCheck(large, 2);
    ExpectGrowth(guest, GuestCost(), "guest");
    ExpectGrowth(server, ServerCost(), "server");
  }
  gpu_.Execute([](VkCommandBuffer) {});  // By then the server has freed it, too.
  // A quarter of what there was is for heaps that keep what they were given.
  EXPECT_LE(GuestCost(), guest + kMostGrowth / 4);
  EXPECT_LE(ServerCost(), server + kMostGrowth / 4);
}

TEST_F(MemoryCostTest, OfMemoryThatTheDeviceMayWrite) {
  const uint64_t guest = GuestCost();
  const uint64_t server = ServerCost();
  const Buffer large = MakeLarge(kStorageUsage);
  TouchAndCheck(large, 3);
  for (uint32_t round = 1; round < 4; ++round) {
    const VkDeviceSize at = large.size / 4 * round - 65536;
    gpu_.Execute([&](VkCommandBuffer commands) {
      gpu_.vk.CmdFillBuffer(commands, large.handle, at, 65536, round * 0x01010101);
    });
    EXPECT_EQ(round, large.data[at]);
    EXPECT_EQ(round, large.data[at + 65535]);
  }
  TouchAndCheck(large, 4);
  ExpectGrowth(guest, GuestCost(), "guest");
  ExpectGrowth(server, ServerCost(), "server");
}

}  // namespace
}  // namespace vesper::tests
