// SPDX-License-Identifier: Apache-2.0
// Several threads write into mapped memory while another submits work and waits for it. Each thread
// has bytes of its own, in pages and words that it shares with the others and with the GPU.
#include <atomic>
#include <cstring>
#include <thread>

#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr size_t kWriters = 3;
constexpr size_t kStripes = kWriters + 1;  // The last stripe is the GPU's.
constexpr VkDeviceSize kSize = 4 * 4096;

using MemoryThreadsTest = VulkanTest;

TEST_F(MemoryThreadsTest, WritersBesideSubmits) {
  const Buffer shared = MakeHostBuffer(gpu(), kSize);
  const Buffer source = MakeHostBuffer(gpu(), kSize);
  // Byte i belongs to stripe i % 4: four owners in every word.
  std::vector<VkBufferCopy> regions;
  for (VkDeviceSize i = kWriters; i < kSize; i += kStripes) {
    regions.push_back({i, i, 1});
  }
  VkCommandBuffer copy = Record([&](VkCommandBuffer commands) {
    FullBarrier(commands);
    vk.CmdCopyBuffer(commands, source.handle, shared.handle, static_cast<uint32_t>(regions.size()),
                     regions.data());
    FullBarrier(commands);
  });

  std::vector<std::vector<uint8_t>> written(kWriters, std::vector<uint8_t>(kSize));
  std::vector<std::jthread> writers;
  for (size_t stripe = 0; stripe < kWriters; ++stripe) {
    writers.emplace_back([&, stripe](std::stop_token stop) {
      Random random(20 + stripe);
      while (!stop.stop_requested()) {
        const size_t i = random.Below(kSize / kStripes) * kStripes + stripe;
        const uint8_t value = static_cast<uint8_t>(random.Next());
        written[stripe][i] = value;
        // An ordinary store for the compiler, but one that it can't leave out or join to others.
        std::atomic_ref<uint8_t>(shared.data[i]).store(value, std::memory_order_relaxed);
      }
    });
  }
  const Owned<VkFence> fence = MakeFence();
  for (int round = 1; round <= 60; ++round) {
    std::memset(source.data, round, kSize);
    Submit(copy, fence);
    Wait(fence);
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
    for (VkDeviceSize i = kWriters; i < kSize; i += kStripes) {
      ASSERT_EQ(round, shared.data[i]) << "the GPU's byte " << i;
    }
  }
  writers.clear();  // Asks each to stop, and joins it.
  std::vector<uint8_t> expected(kSize, 60);
  for (size_t i = 0; i < kSize; ++i) {
    if (i % kStripes < kWriters) {
      expected[i] = written[i % kStripes][i];
    }
  }
  ASSERT_EQ(0, std::memcmp(expected.data(), shared.data, kSize));
  EXPECT_EQ(expected, ReadBack(gpu(), shared.handle, kSize));
}

TEST_F(MemoryThreadsTest, ThreadsMapAndUnmapTheirOwnAllocations) {
  std::atomic<int> failures = 0;
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(30 + t);
      const Owned<VkDeviceMemory> memory =
          Allocate(10'000, FindMemoryType(~0u, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                                   VK_MEMORY_PROPERTY_HOST_COHERENT_BIT));
      std::vector<uint8_t> expected(10'000);
      std::memset(Map(memory), 0, expected.size());
      vk.UnmapMemory(device, memory);
      for (int round = 0; round < 200; ++round) {
        uint8_t* data = Map(memory);
        if (std::memcmp(data, expected.data(), expected.size()) != 0) {
          ++failures;
        }
        random.Fill({expected.data() + random.Below(9'000), 500});
        std::memcpy(data, expected.data(), expected.size());
        vk.UnmapMemory(device, memory);
      }
    });
  }
  // Meanwhile this thread keeps the sync points coming.
  const Buffer buffer = MakeHostBuffer(gpu(), 4096);
  for (uint32_t round = 0; round < 50; ++round) {
    Execute([&](VkCommandBuffer commands) {
      vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, round);
    });
    ASSERT_EQ(round, buffer.As<uint32_t>()[1023]);
  }
  threads.clear();
  EXPECT_EQ(0, failures.load());
}

}  // namespace
}  // namespace vesper::tests
