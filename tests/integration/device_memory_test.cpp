// SPDX-License-Identifier: Apache-2.0
// The life of an allocation and of its mapping: what vkMapMemory and its relatives promise. What
// must be in the memory at which moment is in the memory_*_test.cpp files.
#include <cstring>

#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkMemoryPropertyFlags kCoherent =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

class DeviceMemoryTest : public VulkanTest {
 protected:
  Owned<VkDeviceMemory> AllocateHost(VkDeviceSize size) {
    return Allocate(size, FindMemoryType(~0u, kCoherent));
  }

  // A buffer over all of the allocation.
  Owned<VkBuffer> BufferOver(VkDeviceMemory memory, VkDeviceSize size) {
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = size;
    info.usage = kTransferUsage;
    Owned<VkBuffer> buffer = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
    VESPER_CHECK(vk.BindBufferMemory(device, buffer, memory, 0));
    return buffer;
  }
};

TEST_F(DeviceMemoryTest, MapsEveryHostVisibleType) {
  for (const uint32_t type : DistinctHostVisibleTypes()) {
    SCOPED_TRACE(type);
    const Owned<VkDeviceMemory> memory = Allocate(10'000, type);
    uint8_t* data = Map(memory);
    ASSERT_NE(nullptr, data);
    std::memset(data, 0x5A, 10'000);
    vk.UnmapMemory(device, memory);
  }
}

TEST_F(DeviceMemoryTest, PointerIsAlignedAsTheLimitSays) {
  const Owned<VkDeviceMemory> memory = AllocateHost(1 << 16);
  const size_t alignment = properties.limits().minMemoryMapAlignment;
  for (const VkDeviceSize offset : {0u, 1u, 63u, 4097u, 65535u}) {
    SCOPED_TRACE(offset);
    const auto address = reinterpret_cast<uintptr_t>(Map(memory, offset));
    EXPECT_EQ(0u, (address - offset) % alignment);
    vk.UnmapMemory(device, memory);
  }
}

TEST_F(DeviceMemoryTest, MapAtOffsetSeesTheSameBytes) {
  constexpr VkDeviceSize kSize = 3 * 4096 + 100;
  const Owned<VkDeviceMemory> memory = AllocateHost(kSize);
  const std::vector<uint8_t> pattern = Random(1).Bytes(kSize);
  std::memcpy(Map(memory), pattern.data(), kSize);
  vk.UnmapMemory(device, memory);
  for (const VkDeviceSize offset : {1u, 64u, 4095u, 4096u, 9000u}) {
    SCOPED_TRACE(offset);
    const uint8_t* data = Map(memory, offset, 17);
    EXPECT_EQ(0, std::memcmp(data, pattern.data() + offset, 17));
    vk.UnmapMemory(device, memory);
  }
  // Writing at an offset changes that range and nothing else.
  uint8_t* part = Map(memory, 5000, 50);
  std::memset(part, 0xEE, 50);
  vk.UnmapMemory(device, memory);
  std::vector<uint8_t> expected = pattern;
  std::fill_n(expected.begin() + 5000, 50, uint8_t{0xEE});
  EXPECT_EQ(0, std::memcmp(Map(memory), expected.data(), kSize));
}

TEST_F(DeviceMemoryTest, UnmapAndRemapKeepsContents) {
  constexpr VkDeviceSize kSize = 20'000;
  const Owned<VkDeviceMemory> memory = AllocateHost(kSize);
  Random random(2);
  std::vector<uint8_t> expected(kSize);
  std::memset(Map(memory), 0, kSize);
  vk.UnmapMemory(device, memory);
  for (int round = 0; round < 50; ++round) {
    uint8_t* data = Map(memory);
    ASSERT_EQ(0, std::memcmp(data, expected.data(), kSize)) << "round " << round;
    const size_t begin = random.Below(kSize);
    const size_t count = random.Between(1, kSize - begin);
    random.Fill({expected.data() + begin, count});
    std::memcpy(data + begin, expected.data() + begin, count);
    vk.UnmapMemory(device, memory);
  }
}

TEST_F(DeviceMemoryTest, UntilThereIsNoMore) {
  // Blocks of a sixteenth of the heap, never touched. A driver that looks at what there is refuses
  // some of them; what is freed can be had again.
  // The device's own memory: no driver has to provide pages for it.
  const uint32_t type = FindMemoryType(~0u, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
  const VkDeviceSize heap =
      gpu().memory_properties.memoryHeaps[gpu().memory_properties.memoryTypes[type].heapIndex].size;
  VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  info.allocationSize = heap / 16;
  info.memoryTypeIndex = type;
  for (int round = 0; round < 2; ++round) {
    SCOPED_TRACE(round);
    std::vector<VkDeviceMemory> blocks;
    VkResult result = VK_SUCCESS;
    while (blocks.size() < 40 && result == VK_SUCCESS) {
      VkDeviceMemory memory = VK_NULL_HANDLE;
      result = vk.AllocateMemory(device, &info, nullptr, &memory);
      EXPECT_EQ(result == VK_SUCCESS, memory != VK_NULL_HANDLE);
      if (result == VK_SUCCESS) {
        blocks.push_back(memory);
      }
    }
    EXPECT_GT(blocks.size(), 2u);
    EXPECT_TRUE(result == VK_SUCCESS || result == VK_ERROR_OUT_OF_DEVICE_MEMORY ||
                result == VK_ERROR_OUT_OF_HOST_MEMORY)
        << ResultName(result);
    for (const VkDeviceMemory memory : blocks) {
      vk.FreeMemory(device, memory, nullptr);
    }
    EXPECT_EQ(VK_SUCCESS, vk.QueueSubmit(gpu().queue, 0, nullptr, VK_NULL_HANDLE));
    EXPECT_EQ(VK_SUCCESS, vk.DeviceWaitIdle(device));
  }
  const Owned<VkDeviceMemory> memory = AllocateHost(4096);
  std::memset(Map(memory), 1, 4096);
}

TEST_F(DeviceMemoryTest, MapMemory2AndUnmapMemory2) {
  constexpr VkDeviceSize kSize = 8192;
  const Owned<VkDeviceMemory> memory = AllocateHost(kSize);
  const Owned<VkBuffer> buffer = BufferOver(memory, kSize);
  VkMemoryMapInfo map{VK_STRUCTURE_TYPE_MEMORY_MAP_INFO};
  map.memory = memory;
  map.offset = 100;
  map.size = VK_WHOLE_SIZE;
  void* data = nullptr;
  ASSERT_EQ(VK_SUCCESS, vk.MapMemory2(device, &map, &data));
  const std::vector<uint8_t> pattern = Random(3).Bytes(kSize - 100);
  std::memcpy(data, pattern.data(), pattern.size());
  VkMemoryUnmapInfo unmap{VK_STRUCTURE_TYPE_MEMORY_UNMAP_INFO};
  unmap.memory = memory;
  ASSERT_EQ(VK_SUCCESS, vk.UnmapMemory2(device, &unmap));
  std::vector<uint8_t> read = ReadBack(gpu(), buffer, kSize);
  EXPECT_EQ(pattern, std::vector<uint8_t>(read.begin() + 100, read.end()));

  // The two generations mix.
  uint8_t* again = Map(memory);
  EXPECT_EQ(0, std::memcmp(again + 100, pattern.data(), pattern.size()));
  ASSERT_EQ(VK_SUCCESS, vk.UnmapMemory2(device, &unmap));
}

TEST_F(DeviceMemoryTest, FreeWhileMapped) {
  for (int round = 0; round < 20; ++round) {
    Owned<VkDeviceMemory> memory = AllocateHost(100'000);
    std::memset(Map(memory), round, 100'000);
    memory.Reset();
  }
  // What comes after is a healthy device.
  const Buffer buffer = MakeHostBuffer(gpu(), 64);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 0x01020304);
  });
  EXPECT_EQ(0x01020304u, buffer.As<uint32_t>()[15]);
}

TEST_F(DeviceMemoryTest, ManyMappedAllocationsAtOnce) {
  constexpr size_t kCount = 64;
  std::vector<Owned<VkDeviceMemory>> memories;
  std::vector<Owned<VkBuffer>> buffers;
  std::vector<uint8_t*> maps;
  for (size_t i = 0; i < kCount; ++i) {
    const VkDeviceSize size = 4096 + i * 64;
    memories.push_back(AllocateHost(size));
    buffers.push_back(BufferOver(memories.back(), 4096));
    maps.push_back(Map(memories.back()));
  }
  for (size_t i = 0; i < kCount; ++i) {
    std::memset(maps[i], static_cast<int>(i + 1), 4096);
  }
  // Every allocation into its neighbour's second half, in one submission.
  Execute([&](VkCommandBuffer commands) {
    for (size_t i = 0; i < kCount; ++i) {
      CopyBytes(gpu(), commands, buffers[i], buffers[(i + 1) % kCount], 2048, 0, 2048);
    }
  });
  for (size_t i = 0; i < kCount; ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(i + 1, maps[i][0]);
    EXPECT_EQ(i + 1, maps[i][2047]);
    EXPECT_EQ((i + kCount - 1) % kCount + 1, maps[i][2048]);
    EXPECT_EQ((i + kCount - 1) % kCount + 1, maps[i][4095]);
  }
}

TEST_F(DeviceMemoryTest, LargeMapping) {
  constexpr VkDeviceSize kSize = 64 << 20;
  const Buffer large = MakeHostBuffer(gpu(), kSize);
  // A mark in every page, each different, then through the GPU to the other half's pages.
  const std::span<uint32_t> words = large.As<uint32_t>();
  for (uint32_t page = 0; page < kSize / 2 / 4096; ++page) {
    words[page * 1024 + page % 1024] = page * 2654435761u;
  }
  Execute([&](VkCommandBuffer commands) {
    CopyBytes(gpu(), commands, large.handle, large.handle, kSize / 2, 0, kSize / 2);
  });
  const size_t half = words.size() / 2;
  for (uint32_t page = 0; page < kSize / 2 / 4096; ++page) {
    ASSERT_EQ(page * 2654435761u, words[half + page * 1024 + page % 1024]) << "page " << page;
  }
  EXPECT_EQ(0, std::memcmp(words.data(), words.data() + half, kSize / 2));
}

TEST_F(DeviceMemoryTest, FlushAndInvalidateOfWholeAndPartialRanges) {
  for (const uint32_t type : DistinctHostVisibleTypes()) {
    SCOPED_TRACE(type);
    constexpr VkDeviceSize kSize = 1 << 16;
    Buffer source = MakeHostBufferInType(gpu(), kSize, kTransferUsage, type);
    const Buffer target = MakeDeviceBuffer(gpu(), kSize);
    Buffer result = MakeHostBufferInType(gpu(), kSize, kTransferUsage, type);
    const VkDeviceSize atom = properties.limits().nonCoherentAtomSize;
    Random random(type);

    random.Fill(source.bytes());
    VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
    range.memory = source.memory;
    range.size = VK_WHOLE_SIZE;
    ASSERT_EQ(VK_SUCCESS, vk.FlushMappedMemoryRanges(device, 1, &range));
    Execute([&](VkCommandBuffer commands) {
      CopyBytes(gpu(), commands, source.handle, target.handle, kSize);
    });

    // Two ranges of one allocation in one call.
    random.Fill(source.bytes().subspan(atom, atom));
    random.Fill(source.bytes().subspan(10 * atom, 3 * atom));
    VkMappedMemoryRange ranges[2] = {range, range};
    ranges[0].offset = atom;
    ranges[0].size = atom;
    ranges[1].offset = 10 * atom;
    ranges[1].size = 3 * atom;
    ASSERT_EQ(VK_SUCCESS, vk.FlushMappedMemoryRanges(device, 2, ranges));
    Execute([&](VkCommandBuffer commands) {
      CopyBytes(gpu(), commands, source.handle, target.handle, atom, atom, atom);
      CopyBytes(gpu(), commands, source.handle, target.handle, 3 * atom, 10 * atom, 10 * atom);
    });
    Execute([&](VkCommandBuffer commands) {
      CopyBytes(gpu(), commands, target.handle, result.handle, kSize);
    });
    VkMappedMemoryRange back{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
    back.memory = result.memory;
    back.offset = 0;
    back.size = 2 * atom;
    ASSERT_EQ(VK_SUCCESS, vk.InvalidateMappedMemoryRanges(device, 1, &back));
    EXPECT_EQ(0, std::memcmp(result.data, source.data, 2 * atom));
    back.offset = 2 * atom;
    back.size = VK_WHOLE_SIZE;
    ASSERT_EQ(VK_SUCCESS, vk.InvalidateMappedMemoryRanges(device, 1, &back));
    EXPECT_EQ(0, std::memcmp(result.data, source.data, kSize));
  }
}

TEST_F(DeviceMemoryTest, CommitmentOfLazilyAllocatedMemory) {
  for (uint32_t i = 0; i < memory_properties.memoryTypeCount; ++i) {
    if ((memory_properties.memoryTypes[i].propertyFlags &
         VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT) == 0) {
      continue;
    }
    const Owned<VkDeviceMemory> memory = Allocate(1 << 20, i);
    VkDeviceSize committed = ~0ull;
    vk.GetDeviceMemoryCommitment(device, memory, &committed);
    EXPECT_LE(committed, 1u << 20);
  }
}

TEST_F(DeviceMemoryTest, DedicatedAllocation) {
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = 5000;
  info.usage = kTransferUsage;
  const Owned<VkBuffer> buffer = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  VkBufferMemoryRequirementsInfo2 of{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2};
  of.buffer = buffer;
  VkMemoryDedicatedRequirements dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS};
  VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
  requirements.pNext = &dedicated;
  vk.GetBufferMemoryRequirements2(device, &of, &requirements);
  VkMemoryDedicatedAllocateInfo dedicate{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
  dedicate.buffer = buffer;
  const uint32_t type = FindMemoryType(requirements.memoryRequirements.memoryTypeBits, kCoherent);
  const Owned<VkDeviceMemory> memory =
      Allocate(requirements.memoryRequirements.size, type, &dedicate);
  ASSERT_EQ(VK_SUCCESS, vk.BindBufferMemory(device, buffer, memory, 0));
  uint8_t* data = Map(memory);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, buffer, 0, VK_WHOLE_SIZE, 0x77777777);
  });
  EXPECT_EQ(0x77, data[4999]);
}

}  // namespace
}  // namespace vesper::tests
