// SPDX-License-Identifier: Apache-2.0
// VK_EXT_map_memory_placed: the program says where in its address space memory is mapped, and what
// becomes of the addresses afterwards. Around every place there are pages of the program's own, and
// after every unmapping others may be in its stead: nothing that is done to the memory, be it late,
// may be seen there.
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/framework/random.h"
#include "tests/framework/test_memory.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

// Addresses of the program: a page of its own, room, and another page of its own.
class Site {
 public:
  Site(size_t size, size_t alignment) : size_(size) {
    whole_size_ = size + 4 * kGuard + alignment;
    whole_ = Pages(nullptr, whole_size_, 0);
    const auto first = reinterpret_cast<uintptr_t>(whole_) + kGuard;
    begin_ = reinterpret_cast<uint8_t*>((first + alignment - 1) / alignment * alignment);
    std::memset(begin_ - kGuard, kPattern, kGuard);
    std::memset(begin_ + size, kPattern, kGuard);
    std::memset(begin_, kPattern, size);  // Something that is replaced.
  }
  ~Site() { munmap(whole_, whole_size_); }
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  uint8_t* begin() const { return begin_; }

  // Puts pages of the program in the place, whatever is there.
  void TakeBack() {
    Pages(begin_, size_, MAP_FIXED);
    std::memset(begin_, kPattern, size_);
  }
  void ExpectNeighboursUntouched() const {
    EXPECT_TRUE(IsPattern(begin_ - kGuard, kGuard)) << "the page before the mapping was written";
    EXPECT_TRUE(IsPattern(begin_ + size_, kGuard)) << "the page behind the mapping was written";
  }
  static bool IsPattern(const uint8_t* data, size_t size) {
    return std::all_of(data, data + size, [](uint8_t byte) { return byte == kPattern; });
  }
  // Is there a mapping of whatever kind at every page of the range?
  static bool IsTaken(uint8_t* begin, size_t size) {
    for (size_t at = 0; at < size; at += 4096) {
      void* pages = mmap(begin + at, 4096, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
      if (pages != MAP_FAILED) {
        munmap(pages, 4096);
        return false;
      }
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 65536;
  static constexpr uint8_t kPattern = 0xA7;

  static uint8_t* Pages(void* at, size_t size, int flags) {
    void* pages =
        mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (pages == MAP_FAILED) {
      throw std::runtime_error(std::string("Could not map pages: ") + strerror(errno));
    }
    return static_cast<uint8_t*>(pages);
  }

  size_t size_;
  size_t whole_size_ = 0;
  uint8_t* whole_ = nullptr;
  uint8_t* begin_ = nullptr;
};

constexpr VkDeviceSize kSize = 8 * 65536;

class MemoryPlacedTest : public VulkanTest {
 protected:
  struct Memory {
    Owned<VkDeviceMemory> memory;
    Owned<VkBuffer> buffer;
  };

  void Configure(GpuOptions& options) override {
    placed_ = PlacedMapping::Find(gpu(), options);
    if (placed_.offered()) {
      options.device_features = &placed_.features;
    }
    if (HasDeviceExtension(VK_KHR_MAP_MEMORY_2_EXTENSION_NAME)) {
      options.device_extensions.push_back(VK_KHR_MAP_MEMORY_2_EXTENSION_NAME);
    }
  }

  void SetUp() override {
    VulkanTest::SetUp();
    // Where guests are mapped is nothing that the host's driver has a say in.
    is_native_ = TestTarget::FromEnvironment().native;
    VESPER_REQUIRE(!is_native_ || placed_.offered());
    ASSERT_TRUE(placed_.offered());
    ASSERT_EQ(0u, kSize % placed_.alignment);
    map_ = vk.MapMemory2;
    unmap_ = vk.UnmapMemory2;
  }

  Memory Make() {
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = kSize;
    info.usage = kStorageUsage;
    Memory made;
    made.buffer = Gpu::Make(vk.CreateBuffer, vk.DestroyBuffer, info);
    VkMemoryRequirements requirements{};
    vk.GetBufferMemoryRequirements(device, made.buffer, &requirements);
    made.memory = Allocate(
        std::max(kSize, requirements.size),
        FindMemoryType(requirements.memoryTypeBits,
                       VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT));
    VESPER_CHECK(vk.BindBufferMemory(device, made.buffer, made.memory, 0));
    return made;
  }

  VkResult TryPlace(const Memory& memory, void* at, VkDeviceSize offset = 0,
                    VkDeviceSize size = kSize, void** data = nullptr) {
    VkMemoryMapPlacedInfoEXT place{VK_STRUCTURE_TYPE_MEMORY_MAP_PLACED_INFO_EXT};
    place.pPlacedAddress = at;
    VkMemoryMapInfo info{VK_STRUCTURE_TYPE_MEMORY_MAP_INFO};
    info.pNext = &place;
    info.flags = VK_MEMORY_MAP_PLACED_BIT_EXT;
    info.memory = memory.memory;
    info.offset = offset;
    info.size = size;
    void* ignored = nullptr;
    return map_(device, &info, data == nullptr ? &ignored : data);
  }
  void Place(const Memory& memory, void* at, VkDeviceSize offset = 0, VkDeviceSize size = kSize) {
    void* data = nullptr;
    VESPER_CHECK(TryPlace(memory, at, offset, size, &data));
    ASSERT_EQ(at, data);
  }
  VkResult TryUnmap(const Memory& memory, bool reserve) {
    VkMemoryUnmapInfo info{VK_STRUCTURE_TYPE_MEMORY_UNMAP_INFO};
    info.flags = reserve ? VK_MEMORY_UNMAP_RESERVE_BIT_EXT : 0;
    info.memory = memory.memory;
    return unmap_(device, &info);
  }

  void GpuFills(const Memory& memory, VkDeviceSize offset, VkDeviceSize size, uint8_t value) {
    Execute([&](VkCommandBuffer commands) {
      vk.CmdFillBuffer(commands, memory.buffer, offset, size, value * 0x01010101u);
    });
  }

  // Both sides write and see all of a mapping of the whole memory.
  void ExpectWorks(const Memory& memory, uint8_t* data, uint64_t seed) {
    Random random(seed);
    std::vector<uint8_t> expected = ReadBack(gpu(), memory.buffer, kSize);
    ASSERT_EQ(0, std::memcmp(expected.data(), data, kSize)) << "as mapped";
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 200; ++i) {
        const size_t at = random.Below(kSize);
        data[at] = expected[at] = static_cast<uint8_t>(random.Next());
      }
      data[0] = expected[0] = data[kSize - 1] = expected[kSize - 1] = static_cast<uint8_t>(seed);
      const VkDeviceSize line = random.Below(kSize / 64) * 64;
      GpuFills(memory, line, 64, static_cast<uint8_t>(round));
      std::memset(&expected[line], round, 64);
      ASSERT_EQ(0, std::memcmp(expected.data(), data, kSize)) << "the program's view";
      ASSERT_EQ(expected, ReadBack(gpu(), memory.buffer, kSize)) << "the GPU's view";
    }
  }

  Site MakeSite(size_t size = kSize) const { return Site(size, placed_.alignment); }

  PlacedMapping placed_;
  bool is_native_ = false;
  PFN_vkMapMemory2 map_ = nullptr;
  PFN_vkUnmapMemory2 unmap_ = nullptr;
};

TEST_F(MemoryPlacedTest, WhatIsOffered) {
  EXPECT_TRUE(std::has_single_bit(placed_.alignment));
  EXPECT_LE(placed_.alignment, 65536u) << "more than the specification allows";
  if (!is_native_) {
    EXPECT_TRUE(placed_.features.memoryMapRangePlaced);
    EXPECT_TRUE(placed_.features.memoryUnmapReserve);
    EXPECT_EQ(static_cast<VkDeviceSize>(sysconf(_SC_PAGESIZE)), placed_.alignment);
  }
}

TEST_F(MemoryPlacedTest, ReplacesWhatWasThere) {
  const Memory memory = Make();
  GpuFills(memory, 0, kSize, 0x3C);
  const Site site = MakeSite();
  Place(memory, site.begin());
  EXPECT_EQ(0x3C, site.begin()[0]);
  EXPECT_EQ(0x3C, site.begin()[kSize - 1]);
  ExpectWorks(memory, site.begin(), 1);
  site.ExpectNeighboursUntouched();
  EXPECT_EQ(VK_SUCCESS, TryUnmap(memory, false));
  site.ExpectNeighboursUntouched();
}

TEST_F(MemoryPlacedTest, WholeSizeIsAllOfIt) {
  const Memory memory = Make();
  const Site site = MakeSite();
  Place(memory, site.begin(), 0, VK_WHOLE_SIZE);
  ExpectWorks(memory, site.begin(), 2);
  EXPECT_EQ(VK_SUCCESS, TryUnmap(memory, false));
  site.ExpectNeighboursUntouched();
}

TEST_F(MemoryPlacedTest, HereThereAndAnywhere) {
  // One memory at many addresses, one after the other; what was written stays.
  const Memory memory = Make();
  GpuFills(memory, 0, kSize, 0);
  const Site here = MakeSite();
  const Site there = MakeSite();
  Random random(3);
  std::vector<uint8_t> expected(kSize);
  for (int round = 0; round < 24; ++round) {
    uint8_t* data = nullptr;
    switch (random.Below(3)) {
      case 0:
        data = here.begin();
        Place(memory, data);
        break;
      case 1:
        data = there.begin();
        Place(memory, data);
        break;
      default:
        data = Map(memory.memory);
        break;
    }
    ASSERT_EQ(0, std::memcmp(expected.data(), data, kSize)) << "round " << round;
    for (int i = 0; i < 20; ++i) {
      const size_t at = random.Below(kSize);
      data[at] = expected[at] = static_cast<uint8_t>(random.Next());
    }
    if (random.OneIn(2)) {
      const VkDeviceSize line = random.Below(kSize / 64) * 64;
      GpuFills(memory, line, 64, static_cast<uint8_t>(round));
      std::memset(&expected[line], round, 64);
    }
    if (random.OneIn(2)) {
      vk.UnmapMemory(device, memory.memory);
    } else {
      ASSERT_EQ(VK_SUCCESS, TryUnmap(memory, false));
    }
    ASSERT_EQ(expected, ReadBack(gpu(), memory.buffer, kSize)) << "round " << round;
    here.ExpectNeighboursUntouched();
    there.ExpectNeighboursUntouched();
  }
}

TEST_F(MemoryPlacedTest, OnlyTheRangeIsPlaced) {
  VESPER_REQUIRE(placed_.features.memoryMapRangePlaced);
  const Memory memory = Make();
  GpuFills(memory, 0, kSize, 0x11);
  const VkDeviceSize offset = 65536;
  const VkDeviceSize size = 2 * 65536;
  const Site site = MakeSite(size);
  Place(memory, site.begin(), offset, size);
  std::vector<uint8_t> expected(kSize, 0x11);
  for (uint32_t round = 1; round < 6; ++round) {
    site.begin()[0] = expected[offset] = static_cast<uint8_t>(round);
    site.begin()[size - 1] = expected[offset + size - 1] = static_cast<uint8_t>(round);
    // On both sides of each end, so that most of it is not in the program's range.
    GpuFills(memory, offset - 128, 192, static_cast<uint8_t>(0x80 | round));
    GpuFills(memory, offset + size - 64, 65536, static_cast<uint8_t>(0x90 | round));
    std::memset(&expected[offset - 128], static_cast<int>(0x80 | round), 192);
    std::memset(&expected[offset + size - 64], static_cast<int>(0x90 | round), 65536);
    ASSERT_EQ(0, std::memcmp(&expected[offset], site.begin(), size));
    site.ExpectNeighboursUntouched();
    ASSERT_EQ(expected, ReadBack(gpu(), memory.buffer, kSize));
  }
  // To its end, by VK_WHOLE_SIZE.
  ASSERT_EQ(VK_SUCCESS, TryUnmap(memory, true));
  Place(memory, site.begin(), kSize - size, VK_WHOLE_SIZE);
  EXPECT_EQ(0, std::memcmp(&expected[kSize - size], site.begin(), size));
  ASSERT_EQ(VK_SUCCESS, TryUnmap(memory, false));
  const uint8_t* all = Map(memory.memory);
  EXPECT_EQ(0, std::memcmp(expected.data(), all, kSize));
  site.ExpectNeighboursUntouched();
}

TEST_F(MemoryPlacedTest, TwoMemoriesSideBySide) {
  const Memory first = Make();
  const Memory second = Make();
  const Site site = MakeSite(2 * kSize);
  Place(second, site.begin() + kSize);
  Place(first, site.begin());
  // One run of bytes over the border.
  const std::vector<uint8_t> bytes = Random(4).Bytes(20'000);
  std::memcpy(site.begin() + kSize - 10'000, bytes.data(), bytes.size());
  const std::vector<uint8_t> left = ReadBack(gpu(), first.buffer, kSize);
  const std::vector<uint8_t> right = ReadBack(gpu(), second.buffer, kSize);
  EXPECT_EQ(0, std::memcmp(bytes.data(), &left[kSize - 10'000], 10'000));
  EXPECT_EQ(0, std::memcmp(bytes.data() + 10'000, right.data(), 10'000));
  ASSERT_EQ(VK_SUCCESS, TryUnmap(first, true));
  ExpectWorks(second, site.begin() + kSize, 5);
  Place(first, site.begin());
  ASSERT_EQ(VK_SUCCESS, TryUnmap(second, false));
  ExpectWorks(first, site.begin(), 6);
  site.ExpectNeighboursUntouched();
}

TEST_F(MemoryPlacedTest, WhatWasWrittenElsewhereIsReleasedFromHere) {
  // Written through one mapping, unmapped, mapped elsewhere, and only then submitted.
  const Memory memory = Make();
  GpuFills(memory, 0, kSize, 0);
  const Site site = MakeSite();
  uint8_t* anywhere = Map(memory.memory);
  anywhere[5] = 55;
  anywhere[70'000] = 77;
  vk.UnmapMemory(device, memory.memory);
  Place(memory, site.begin());
  site.begin()[6] = 66;
  const std::vector<uint8_t> seen = ReadBack(gpu(), memory.buffer, kSize);
  EXPECT_EQ(55, seen[5]);
  EXPECT_EQ(66, seen[6]);
  EXPECT_EQ(77, seen[70'000]);
}

TEST_F(MemoryPlacedTest, ReservedAddressesStayTaken) {
  VESPER_REQUIRE(placed_.features.memoryUnmapReserve);
  const Memory memory = Make();
  const Memory other = Make();
  const Site site = MakeSite();
  for (uint64_t round = 0; round < 3; ++round) {
    Place(memory, site.begin());
    ExpectWorks(memory, site.begin(), 10 + round);
    ASSERT_EQ(VK_SUCCESS, TryUnmap(memory, true));
    EXPECT_TRUE(Site::IsTaken(site.begin(), kSize)) << "round " << round;
    // Another memory may have them now, and the first one be anywhere meanwhile.
    Place(other, site.begin());
    uint8_t* elsewhere = Map(memory.memory);
    EXPECT_TRUE(elsewhere + kSize <= site.begin() || elsewhere >= site.begin() + kSize);
    ExpectWorks(other, site.begin(), 20 + round);
    ExpectWorks(memory, elsewhere, 30 + round);
    vk.UnmapMemory(device, memory.memory);
    ASSERT_EQ(VK_SUCCESS, TryUnmap(other, true));
    site.ExpectNeighboursUntouched();
  }
}

TEST_F(MemoryPlacedTest, AddressesOfAnOrdinaryMappingCanBeReserved) {
  VESPER_REQUIRE(placed_.features.memoryUnmapReserve);
  const Memory memory = Make();
  uint8_t* data = Map(memory.memory);
  ExpectWorks(memory, data, 40);
  ASSERT_EQ(VK_SUCCESS, TryUnmap(memory, true));
  ASSERT_TRUE(Site::IsTaken(data, kSize));
  // Nobody else is given them.
  std::vector<Memory> others;
  for (uint64_t i = 0; i < 12; ++i) {
    others.push_back(Make());
    uint8_t* other = Map(others.back().memory);
    ASSERT_TRUE(other + kSize <= data || other >= data + kSize);
    ExpectWorks(others.back(), other, 50 + i);
  }
  uint8_t* again = Map(memory.memory);
  ASSERT_TRUE(again + kSize <= data || again >= data + kSize);
  ExpectWorks(memory, again, 41);
  vk.UnmapMemory(device, memory.memory);
  // They can be placed in, and given back by the program.
  Place(memory, data);
  ExpectWorks(memory, data, 42);
  ASSERT_EQ(VK_SUCCESS, TryUnmap(memory, true));
  ASSERT_EQ(0, munmap(data, kSize)) << strerror(errno);
  void* own = mmap(data, kSize, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  ASSERT_EQ(data, own);
  std::memset(own, 0xA7, kSize);
  others.clear();
  for (uint64_t i = 0; i < 12; ++i) {
    others.push_back(Make());
    ExpectWorks(others.back(), Map(others.back().memory), 60 + i);
  }
  ExpectWorks(memory, Map(memory.memory), 43);
  EXPECT_TRUE(Site::IsPattern(data, kSize)) << "the program's own pages were written";
  munmap(own, kSize);
}

// A sanitizer asks for memory of its own at any time, and ends the program if there is none.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(MemoryPlacedTest, AReservationThatFailsLeavesTheMapping) {
  VESPER_REQUIRE(!is_native_);  // Other drivers may have ways that can't fail.
  const Memory memory = Make();
  const Site site = MakeSite();
  Place(memory, site.begin());
  ExpectWorks(memory, site.begin(), 45);
  // While the process has more addresses than it may have, it is given none.
  rlimit usual{};
  ASSERT_EQ(0, getrlimit(RLIMIT_AS, &usual));
  const rlimit little{1 << 20, usual.rlim_max};
  ASSERT_EQ(0, setrlimit(RLIMIT_AS, &little));
  const VkResult result = TryUnmap(memory, true);
  ASSERT_EQ(0, setrlimit(RLIMIT_AS, &usual));
  EXPECT_EQ(VK_ERROR_MEMORY_MAP_FAILED, result);
  ExpectWorks(memory, site.begin(), 46);
  site.ExpectNeighboursUntouched();
  EXPECT_EQ(VK_SUCCESS, TryUnmap(memory, true));
  EXPECT_TRUE(Site::IsTaken(site.begin(), kSize));
}
#endif

TEST_F(MemoryPlacedTest, LateDataDoNotComeToAddressesGivenBack) {
  // The GPU's bytes are on their way when the program unmaps, and puts pages of its own there.
  const Memory memory = Make();
  Site site = MakeSite();
  for (const bool reserve : {false, true}) {
    if (reserve && !placed_.features.memoryUnmapReserve) {
      continue;
    }
    for (uint32_t round = 1; round < 15; ++round) {
      Place(memory, site.begin());
      Submit(Record([&](VkCommandBuffer commands) {
        FullBarrier(commands);
        vk.CmdFillBuffer(commands, memory.buffer, 0, kSize, round * 0x01010101);
        FullBarrier(commands);
      }));
      ASSERT_EQ(VK_SUCCESS, TryUnmap(memory, reserve));
      site.TakeBack();
      ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
      ASSERT_TRUE(Site::IsPattern(site.begin(), kSize)) << "round " << round;
      const uint8_t* data = Map(memory.memory);
      ASSERT_EQ(round, data[0]);
      ASSERT_EQ(round, data[kSize - 1]);
      vk.UnmapMemory(device, memory.memory);
    }
  }
  site.ExpectNeighboursUntouched();
}

TEST_F(MemoryPlacedTest, FreedWhilePlaced) {
  Site site = MakeSite();
  for (uint64_t round = 0; round < 4; ++round) {
    Memory memory = Make();
    Place(memory, site.begin());
    ExpectWorks(memory, site.begin(), 70 + round);
    memory.buffer.Reset();
    memory.memory.Reset();
    site.TakeBack();
    const Memory next = Make();
    ExpectWorks(next, Map(next.memory), 80 + round);
    ASSERT_TRUE(Site::IsPattern(site.begin(), kSize));
    site.ExpectNeighboursUntouched();
  }
}

TEST_F(MemoryPlacedTest, AnImpossiblePlaceLeavesItUnmapped) {
  const Memory memory = Make();
  GpuFills(memory, 0, kSize, 0x66);
  // An address that is the kernel's.
  void* const kernels = reinterpret_cast<void*>(uintptr_t{0xFFFF'8000'0000'0000});
  EXPECT_EQ(VK_ERROR_MEMORY_MAP_FAILED, TryPlace(memory, kernels));
  uint8_t* data = Map(memory.memory);
  EXPECT_EQ(0x66, data[kSize - 1]);
  ExpectWorks(memory, data, 90);
  vk.UnmapMemory(device, memory.memory);
  const Site site = MakeSite();
  EXPECT_EQ(VK_ERROR_MEMORY_MAP_FAILED, TryPlace(memory, kernels));
  Place(memory, site.begin());
  ExpectWorks(memory, site.begin(), 91);
  site.ExpectNeighboursUntouched();
}

TEST_F(MemoryPlacedTest, TheKernelReadsAndWritesThere) {
  const char* tier = getenv("VESPER_MEMORY");
  VESPER_REQUIRE(tier == nullptr || std::string(tier) != "signal");
  const Memory memory = Make();
  const Site site = MakeSite();
  Place(memory, site.begin());
  ExpectWorks(memory, site.begin(), 100);
  const std::vector<uint8_t> bytes = Random(101).Bytes(9000);
  int ends[2];
  ASSERT_EQ(0, pipe(ends));
  for (const size_t at : {size_t{0}, size_t{60'001}, size_t{kSize - 9000}}) {
    ASSERT_EQ(9000, write(ends[1], bytes.data(), 9000));
    ASSERT_EQ(9000, read(ends[0], site.begin() + at, 9000)) << strerror(errno);
    const std::vector<uint8_t> seen = ReadBack(gpu(), memory.buffer, kSize);
    ASSERT_EQ(0, std::memcmp(bytes.data(), &seen[at], 9000)) << "at " << at;
  }
  close(ends[0]);
  close(ends[1]);
}

TEST_F(MemoryPlacedTest, TheExtensionsEntryPointsDoTheSame) {
  VESPER_REQUIRE(HasDeviceExtension(VK_KHR_MAP_MEMORY_2_EXTENSION_NAME));
  map_ = vk.Find<PFN_vkMapMemory2KHR>(device, "vkMapMemory2KHR");
  unmap_ = vk.Find<PFN_vkUnmapMemory2KHR>(device, "vkUnmapMemory2KHR");
  ASSERT_NE(nullptr, map_);
  ASSERT_NE(nullptr, unmap_);
  const Memory memory = Make();
  const Site site = MakeSite();
  for (uint64_t round = 0; round < 3; ++round) {
    Place(memory, site.begin());
    ExpectWorks(memory, site.begin(), 110 + round);
    ASSERT_EQ(VK_SUCCESS, TryUnmap(memory, placed_.features.memoryUnmapReserve == VK_TRUE));
    site.ExpectNeighboursUntouched();
  }
}

}  // namespace
}  // namespace vesper::tests
