// SPDX-License-Identifier: Apache-2.0
//
// Sessions whose commands pass through rings, and progress that is looked at: what is true of the
// stream is true here, above all that data come before the word that they are there.
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

// The parameter is the size of a ring. In the smallest, most frames pass piece by piece, with each
// side waiting for the other in the middle.
class Rings : public WireTest, public testing::WithParamInterface<size_t> {
 protected:
  void SetUp() override {
    uses_rings_ = true;
    environment_.ring_bytes = GetParam();
  }

  VkResult WaitFor(VkSemaphore timeline, uint64_t value, uint64_t timeout = UINT64_MAX) {
    const VkSemaphoreWaitInfo info{
        VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, nullptr, 0, 1, &timeline, &value};
    return vk::vkWaitSemaphores(device_, &info, timeout);
  }
  VkResult SubmitSignal(VkSemaphore timeline, uint64_t value) {
    VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.signalSemaphoreValueCount = 1;
    values.pSignalSemaphoreValues = &value;
    VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO, &values};
    info.signalSemaphoreCount = 1;
    info.pSignalSemaphores = &timeline;
    return vk::vkQueueSubmit(queue_, 1, &info, VK_NULL_HANDLE);
  }
};

TEST_P(Rings, FramesLargerThanARing) {
  Open();
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::byte* data = MapNewMemory(5u << 20, kMockCoherent, &memory);
  for (size_t i = 0; i < 5u << 20; ++i) {
    data[i] = static_cast<std::byte>(i * 7 >> 3);
  }
  EXPECT_EQ(Submit(ShaderWork(), VK_NULL_HANDLE), VK_SUCCESS);
  Sync();
  EXPECT_TRUE(std::equal(data, data + (5u << 20), mock_.Memory(0).begin()));
  vk::vkFreeMemory(device_, memory, nullptr);
}

// The host shows progress before the guest's reader has dealt with what was pushed before it.
TEST_P(Rings, DataComeBeforeTheProgressThatIsLookedAt) {
  Open();
  constexpr size_t kBytes = 12u << 20;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  const std::byte* data = MapNewMemory(kBytes, kMockCoherent, &memory);
  const VkFence fence = CreateFence();
  VkCommandBuffer work = ShaderWork();
  std::atomic<uint8_t> value{0};
  mock_.OnExecute([&] { std::ranges::fill(mock_.Memory(0), std::byte{value.load()}); });
  for (uint8_t round = 1; round < 12; ++round) {
    value.store(round);
    ASSERT_EQ(Submit(work, fence), VK_SUCCESS);
    if (round % 2 == 0) {
      ASSERT_EQ(Wait(fence), VK_SUCCESS);
    } else {
      while (vk::vkGetFenceStatus(device_, fence) == VK_NOT_READY) {
      }
    }
    ASSERT_EQ(data[kBytes - 1], std::byte{round});
    ASSERT_EQ(std::count(data, data + kBytes, std::byte{round}), ptrdiff_t{kBytes});
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence), VK_SUCCESS);
  }
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_P(Rings, ManyWaitOnOnePage) {
  Open();
  const VkSemaphore timeline = CreateTimeline(0);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t value = 1 + i; value <= 200; value += 4) {
        EXPECT_EQ(WaitFor(timeline, value), VK_SUCCESS);
        uint64_t reached = 0;
        EXPECT_EQ(vk::vkGetSemaphoreCounterValue(device_, timeline, &reached), VK_SUCCESS);
        EXPECT_GE(reached, value);
      }
    });
  }
  for (uint64_t value = 1; value <= 200; ++value) {
    if (value % 3 == 0) {
      const VkSemaphoreSignalInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, timeline,
                                       value};
      EXPECT_EQ(vk::vkSignalSemaphore(device_, &info), VK_SUCCESS);
    } else {
      EXPECT_EQ(SubmitSignal(timeline, value), VK_SUCCESS);
      EXPECT_EQ(WaitFor(timeline, value), VK_SUCCESS);
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  vk::vkDestroySemaphore(device_, timeline, nullptr);
}

TEST_P(Rings, AWaitHasItsLimit) {
  Open();
  const VkSemaphore timeline = CreateTimeline(0);
  EXPECT_EQ(WaitFor(timeline, 1, 0), VK_TIMEOUT);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(WaitFor(timeline, 1, 5'000'000), VK_TIMEOUT);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(5));
  vk::vkDestroySemaphore(device_, timeline, nullptr);
}

TEST_P(Rings, QueuesComeAndGo) {
  // More devices after each other than the page has places for queues.
  ASSERT_EQ(Connect({}, {}), VK_SUCCESS);
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(CreateDevice(), VK_SUCCESS);
    const VkFence fence = CreateFence();
    ASSERT_EQ(Submit(VK_NULL_HANDLE, fence), VK_SUCCESS);
    ASSERT_EQ(Wait(fence), VK_SUCCESS);
    vk::vkDestroyFence(device_, fence, nullptr);
    vk::vkDestroyDevice(device_, nullptr);
  }
  // And more at the same time: what has no place is told in pushes.
  std::vector<VkDevice> devices;
  for (int i = 0; i < 24; ++i) {
    ASSERT_EQ(CreateDevice(), VK_SUCCESS);
    devices.push_back(device_);
    const VkFence fence = CreateFence();
    ASSERT_EQ(Submit(VK_NULL_HANDLE, fence), VK_SUCCESS);
    ASSERT_EQ(Wait(fence), VK_SUCCESS);
    vk::vkDestroyFence(device_, fence, nullptr);
  }
  for (const VkDevice device : devices) {
    vk::vkDestroyDevice(device, nullptr);
  }
  device_ = VK_NULL_HANDLE;
}

TEST_P(Rings, TheEndOfTheHostEndsWaitsAndCalls) {
  Open();
  const VkSemaphore timeline = CreateTimeline(0);
  std::thread waiter([&] { EXPECT_EQ(WaitFor(timeline, 1), VK_ERROR_DEVICE_LOST); });
  std::thread caller([&] {
    // Until one of them finds the host gone.
    VkResult result = VK_SUCCESS;
    while (result == VK_SUCCESS) {
      VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
      VkPipelineCache cache = VK_NULL_HANDLE;
      vk::vkCreatePipelineCache(device_, &info, nullptr, &cache);
      size_t size = 0;
      result = vk::vkGetPipelineCacheData(device_, cache, &size, nullptr);
      vk::vkDestroyPipelineCache(device_, cache, nullptr);
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  host_->Kill();
  waiter.join();
  caller.join();
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_ERROR_DEVICE_LOST);
  vk::vkDestroySemaphore(device_, timeline, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Rings,
                         testing::Values(transport::RingMemory::kMinBytes,
                                         transport::RingMemory::kDefaultBytes));

}  // namespace
}  // namespace vesper::tests
