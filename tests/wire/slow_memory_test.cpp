// SPDX-License-Identifier: Apache-2.0
// Memory that the CPU should not read. The mock's device and the host see it at different places,
// and while the host's is forbidden to the CPU, only the device's own copies can tell what is
// there.
#include <algorithm>
#include <cstring>
#include <vector>

#include "server/gpu_reader.h"
#include "tests/framework/random.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::Contains;
using testing::Not;

class SlowMemory : public WireTest {
 protected:
  void SetUp() override {
    Open();
    work_ = ShaderWork();
    fence_ = CreateFence();
  }
  void TearDown() override {
    vk::vkFreeMemory(device_, memory_, nullptr);
    vk::vkDestroyFence(device_, fence_, nullptr);
  }
  std::byte* Map(VkDeviceSize size) { return MapNewMemory(size, kMockSlow, &memory_); }
  // The program's bytes are on the host, and then the CPU keeps off until the work is done.
  void RunWithoutCpu(const std::function<void()>& work) {
    mock_.HoldQueue(MockQueue(0, 0));
    mock_.OnExecute(work);
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
    ASSERT_EQ(Submit(work_, fence_), VK_SUCCESS);
    Sync();
    mock_.ForbidCpu(0, true);
    mock_.HoldQueue(VK_NULL_HANDLE);
    ASSERT_EQ(Wait(fence_), VK_SUCCESS);
    mock_.OnExecute({});
    mock_.ForbidCpu(0, false);
  }

  VkCommandBuffer work_ = VK_NULL_HANDLE;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
};

TEST_F(SlowMemory, IsCopiedByTheDevice) {
  constexpr size_t kSize = 40u << 20;  // several times what is copied at once
  const std::byte* data = Map(kSize);
  Random random(7);
  std::vector<std::byte> expected(kSize);
  for (size_t i = 0; i < kSize; i += 1 + random.Below(5000)) {
    expected[i] = static_cast<std::byte>(random.Between(1, 255));
  }
  expected[kSize - 1] = std::byte{1};
  RunWithoutCpu([&] { std::ranges::copy(expected, mock_.Memory(0).begin()); });
  EXPECT_EQ(std::memcmp(data, expected.data(), kSize), 0);
}

// What the device's caches hold of it is old once the guest has written, and work that waits for a
// signal of the host was submitted before.
TEST_F(SlowMemory, TheDeviceIsShownTheHostsWritesBeforeTheHostSignals) {
  const std::byte* data = Map(4096);
  const VkSemaphore timeline = CreateTimeline(0);
  const VkSemaphoreSignalInfo first{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, timeline, 1};
  const VkSemaphoreSignalInfo second{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, timeline, 2};
  RunWithoutCpu([&] { mock_.Memory(0)[1] = std::byte{1}; });
  ASSERT_EQ(data[1], std::byte{1});
  Sync();
  Calls();
  ASSERT_EQ(vk::vkSignalSemaphore(device_, &first), VK_SUCCESS);
  ASSERT_EQ(vk::vkSignalSemaphore(device_, &second), VK_SUCCESS);
  Sync();
  std::vector<std::string> calls = Calls();
  std::erase_if(calls, [](const std::string& call) {
    return call != "vkQueueSubmit" && call != "vkSignalSemaphore";
  });
  EXPECT_THAT(calls,
              testing::ElementsAre("vkQueueSubmit", "vkSignalSemaphore", "vkSignalSemaphore"))
      << "once for what was read";
  vk::vkDestroySemaphore(device_, timeline, nullptr);
}

TEST_F(SlowMemory, NoByteOfEitherWriterIsLost) {
  constexpr size_t kSize = 8192;
  std::byte* data = Map(kSize);
  Random random(2);
  std::vector<std::byte> expected(kSize);
  for (int round = 0; round < 20; ++round) {
    std::vector<size_t> devices;
    for (int i = 0; i < 60; ++i) {
      const size_t at = random.Below(kSize);
      expected[at] = static_cast<std::byte>(random.Next());
      if (at % 2 == 0) {
        data[at] = expected[at];
      } else {
        devices.push_back(at);
      }
    }
    RunWithoutCpu([&] {
      for (const size_t at : devices) {
        mock_.Memory(0)[at] = expected[at];
      }
    });
    ASSERT_EQ(std::memcmp(data, expected.data(), kSize), 0) << "in round " << round;
    ASSERT_EQ(std::memcmp(mock_.Memory(0).data(), expected.data(), kSize), 0);
  }
}

TEST_F(SlowMemory, WhatBecomesWritableLaterNeedsNoReading) {
  memory_ = Allocate(64u << 10, kMockSlow);
  void* mapped = nullptr;
  ASSERT_EQ(vk::vkMapMemory(device_, memory_, 0, VK_WHOLE_SIZE, 0, &mapped), VK_SUCCESS);
  auto* data = static_cast<std::byte*>(mapped);
  std::fill_n(data, 64u << 10, std::byte{3});
  ASSERT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
  Sync();
  mock_.ForbidCpu(0, true);
  const VkBuffer buffer = Keep(CreateBuffer(32u << 10, kShaderTarget));
  ASSERT_EQ(vk::vkBindBufferMemory(device_, buffer, memory_, 1024), VK_SUCCESS);
  Sync();
  mock_.ForbidCpu(0, false);
  RunWithoutCpu([&] { mock_.Memory(0)[2000] = std::byte{4}; });
  EXPECT_EQ(data[2000], std::byte{4});
  EXPECT_EQ(data[2001], std::byte{3});
}

TEST_F(SlowMemory, IsComparedByTheDeviceWhenItIsMappedAgain) {
  Map(4096);
  vk::vkUnmapMemory(device_, memory_);
  RunWithoutCpu([&] { std::ranges::fill(mock_.Memory(0), std::byte{6}); });
  mock_.ForbidCpu(0, true);
  void* again = nullptr;
  ASSERT_EQ(vk::vkMapMemory(device_, memory_, 0, VK_WHOLE_SIZE, 0, &again), VK_SUCCESS);
  mock_.ForbidCpu(0, false);
  EXPECT_EQ(std::count(static_cast<std::byte*>(again), static_cast<std::byte*>(again) + 4096,
                       std::byte{6}),
            4096);
}

TEST_F(SlowMemory, OddSizesAreReadToTheLastByte) {
  std::byte* data = Map(1003);
  mock_.OnExecute([&] { std::ranges::fill(mock_.Memory(0), std::byte{6}); });
  ASSERT_EQ(Submit(work_, fence_), VK_SUCCESS);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  EXPECT_EQ(std::count(data, data + 1003, std::byte{6}), 1003);
}

TEST_F(SlowMemory, DedicationsThatAreNotNeededAreDropped) {
  const VkBuffer buffer = Keep(CreateBuffer(4096, kShaderTarget));
  const VkMemoryDedicatedAllocateInfo dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO,
                                                nullptr, VK_NULL_HANDLE, buffer};
  const VkMemoryAllocateFlagsInfo flags{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, &dedicated,
                                        VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT, 0};
  for (const bool required : {false, true}) {
    mock_.On(number::vkGetBufferMemoryRequirements2, [&](void* args) {
      auto* chained = static_cast<VkBaseOutStructure*>(
          static_cast<proto::Args_vkGetBufferMemoryRequirements2*>(args)
              ->pMemoryRequirements->pNext);
      if (chained != nullptr) {
        reinterpret_cast<VkMemoryDedicatedRequirements*>(chained)->requiresDedicatedAllocation =
            required ? VK_TRUE : VK_FALSE;
      }
    });
    Sync();
    mock_.Clear();
    const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &flags, 4096,
                                    kMockSlow};
    VkDeviceMemory memory = VK_NULL_HANDLE;
    ASSERT_EQ(vk::vkAllocateMemory(device_, &info, nullptr, &memory), VK_SUCCESS);
    Sync();
    const auto& seen = Arguments<proto::Args_vkAllocateMemory>("vkAllocateMemory");
    const auto* first = static_cast<const VkBaseInStructure*>(seen.pAllocateInfo->pNext);
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(first->sType, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO);
    EXPECT_EQ(first->pNext != nullptr, required);
    vk::vkFreeMemory(device_, memory, nullptr);
  }
}

TEST_F(SlowMemory, ADeviceWithoutAQueueToSpareReadsItAllTheSame) {
  const float priorities[] = {1.0f, 1.0f};
  const VkDeviceQueueCreateInfo queues[] = {
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 0, 2, priorities},
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 1, 1, priorities},
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 2, 1, priorities},
  };
  const VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, nullptr, 0, 3, queues};
  vk::vkDestroyCommandPool(device_, pool_, nullptr);
  vk::vkDestroyFence(device_, fence_, nullptr);
  vk::vkDestroyDevice(device_, nullptr);
  ASSERT_EQ(vk::vkCreateDevice(physical_device_, &info, nullptr, &device_), VK_SUCCESS);
  vk::vkGetDeviceQueue(device_, 0, 0, &queue_);
  const VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  ASSERT_EQ(vk::vkCreateCommandPool(device_, &pool, nullptr, &pool_), VK_SUCCESS);
  fence_ = CreateFence();
  const std::byte* data = Map(4096);
  mock_.OnExecute([&] { std::ranges::fill(mock_.Memory(0), std::byte{6}); });
  ASSERT_EQ(Submit(ShaderWork(), fence_), VK_SUCCESS);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  EXPECT_EQ(std::count(data, data + 4096, std::byte{6}), 4096);
  EXPECT_EQ(mock_.MemoryCount(), 1u) << "nothing was copied anywhere";
}

TEST_F(SlowMemory, EverythingOfTheReadersIsDestroyed) {
  Map(4096);
  RunWithoutCpu([&] { std::ranges::fill(mock_.Memory(0), std::byte{6}); });
  EXPECT_EQ(mock_.MemoryCount(), 2u) << "the second is what the device copies to";
  vk::vkFreeMemory(device_, memory_, nullptr);
  memory_ = VK_NULL_HANDLE;
  Sync();
  EXPECT_THAT(mock_.Names(), Contains("vkDestroyBuffer")) << "what lay over the memory";
}

TEST(SpareQueue, CopiesOnlyIfThereIsOne) {
  const std::vector<uint32_t> counts = {16, 2, 8};
  const std::vector<VkQueueFlags> flags = {
      VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT,
      VK_QUEUE_TRANSFER_BIT | VK_QUEUE_SPARSE_BINDING_BIT,
      VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT};
  const std::vector<float> priorities(16, 0.5f);
  std::vector<VkDeviceQueueCreateInfo> queues = {
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 0, 1, priorities.data()}};
  VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  const auto find = [&](server::SpareQueue* spare) {
    info.queueCreateInfoCount = static_cast<uint32_t>(queues.size());
    info.pQueueCreateInfos = queues.data();
    return server::FindSpareQueue(info, counts, flags, spare);
  };
  server::SpareQueue spare{};
  ASSERT_TRUE(find(&spare));
  EXPECT_EQ(spare.family, 1u);
  EXPECT_EQ(spare.index, 0u);
  queues.push_back(
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 1, 1, priorities.data()});
  ASSERT_TRUE(find(&spare));
  EXPECT_EQ(spare.family, 1u);
  EXPECT_EQ(spare.index, 1u) << "after the guest's own";
  VkDeviceCreateInfo changed = info;
  const server::QueuesAndOneMore more(changed, spare);
  ASSERT_EQ(changed.queueCreateInfoCount, 2u);
  EXPECT_EQ(changed.pQueueCreateInfos[0].queueCount, 1u);
  EXPECT_EQ(changed.pQueueCreateInfos[1].queueCount, 2u);
  EXPECT_EQ(changed.pQueueCreateInfos[1].pQueuePriorities[0], 0.5f);
  queues[1].queueCount = 2;
  ASSERT_TRUE(find(&spare));
  EXPECT_EQ(spare.family, 2u);
  queues.push_back(
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 2, 8, priorities.data()});
  ASSERT_TRUE(find(&spare));
  EXPECT_EQ(spare.family, 0u);
  EXPECT_EQ(spare.index, 1u);
  queues[0].queueCount = 16;
  EXPECT_FALSE(find(&spare));
}

}  // namespace
}  // namespace vesper::tests
