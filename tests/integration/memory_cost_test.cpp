// SPDX-License-Identifier: Apache-2.0
// What mapped memory costs the host: the pages that were used, and not those that were allocated.
// With a software driver, whose device's memory is the worker's own.
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "tests/framework/process.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

// Bytes of the server's processes that take memory.
uint64_t ServerBytes() {
  uint64_t pages = 0;
  for (const pid_t pid : Descendants(getpid())) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
    uint64_t all = 0;
    uint64_t resident = 0;
    file >> all >> resident;
    pages += resident;
  }
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

class MemoryCostTest : public VulkanTest {};

TEST_F(MemoryCostTest, MappingMuchAndUsingLittleTakesLittle) {
  if (properties.core.properties.deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU) {
    GTEST_SKIP() << "A GPU's driver provides its memory when it is allocated.";
  }
  constexpr VkDeviceSize kSize = VkDeviceSize{1} << 30;
  constexpr VkDeviceSize kUsed = 1 << 20;
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = kSize;
  info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  const Owned<VkBuffer> buffer = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  VkMemoryRequirements needs{};
  vk.GetBufferMemoryRequirements(device, buffer, &needs);
  Execute([](VkCommandBuffer) {});  // whatever the driver keeps is there
  const uint64_t before = ServerBytes();
  const Owned<VkDeviceMemory> memory = Allocate(
      needs.size, FindMemoryType(needs.memoryTypeBits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                                           VK_MEMORY_PROPERTY_HOST_COHERENT_BIT));
  VESPER_CHECK(vk.BindBufferMemory(device, buffer, memory, 0));
  uint8_t* data = Map(memory);
  std::memset(data + kSize / 2, 0x5a, kUsed);
  Execute([&](VkCommandBuffer commands) {
    const VkBufferCopy copy{kSize / 2, 0, kUsed};
    vk.CmdCopyBuffer(commands, buffer, buffer, 1, &copy);
    FullBarrier(commands);
  });
  EXPECT_EQ(0, std::memcmp(data, data + kSize / 2, kUsed));
  EXPECT_LT(ServerBytes(), before + (64u << 20));
}

}  // namespace
}  // namespace vesper::tests
