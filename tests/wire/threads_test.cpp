// SPDX-License-Identifier: Apache-2.0
// Several threads of the program on one session; for the thread sanitizer first of all.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 30;

class Threads : public WireTest {
 protected:
  void SetUp() override { Open(); }

  template <typename Body>
  void Run(const Body& body) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&body, i] { body(i); });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }
};

TEST_F(Threads, CreateAndDestroy) {
  Run([&](int) {
    for (int round = 0; round < kRounds; ++round) {
      const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
      const VkSamplerCreateInfo info{VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
      VkSampler sampler = VK_NULL_HANDLE;
      EXPECT_EQ(vk::vkCreateSampler(device_, &info, nullptr, &sampler), VK_SUCCESS);
      VkMemoryRequirements requirements{};
      vk::vkGetBufferMemoryRequirements(device_, buffer, &requirements);
      EXPECT_EQ(requirements.size, 64u);
      vk::vkDestroySampler(device_, sampler, nullptr);
      vk::vkDestroyBuffer(device_, buffer, nullptr);
    }
  });
  Sync();
  EXPECT_EQ(mock_.Count("vkDestroySampler"), size_t{kThreads} * kRounds);
}

// Descriptors that no pending work uses may be written by several threads while others submit.
TEST_F(Threads, UpdateOneSetWhileItIsSubmitted) {
  VkDeviceMemory memory = Allocate(4096, kMockCoherent);
  void* data = nullptr;
  ASSERT_EQ(vk::vkMapMemory(device_, memory, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2 * kThreads,
                                             VK_SHADER_STAGE_ALL, nullptr};
  const VkDescriptorSetLayoutCreateInfo layout_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, 1, &binding};
  VkDescriptorSetLayout layout = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorSetLayout(device_, &layout_info, nullptr, &layout), VK_SUCCESS);
  const VkDescriptorPoolCreateInfo pool_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, 1, 0, nullptr};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorPool(device_, &pool_info, nullptr, &pool), VK_SUCCESS);
  const VkDescriptorSetAllocateInfo allocate{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                             nullptr, pool, 1, &layout};
  VkDescriptorSet set = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkAllocateDescriptorSets(device_, &allocate, &set), VK_SUCCESS);
  const VkCommandBuffer commands = Begin();
  vk::vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, VK_NULL_HANDLE, 0, 1, &set,
                              0, nullptr);
  vk::vkCmdDispatch(commands, 1, 1, 1);
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  std::mutex queue_mutex;  // the program's own duty
  Run([&](int thread) {
    for (int round = 0; round < kRounds; ++round) {
      // The descriptor of the last round outlives its buffer.
      const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
      EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_SUCCESS);
      const VkDescriptorBufferInfo info{buffer, 0, 64};
      const auto element = static_cast<uint32_t>(2 * thread + round % 2);
      const VkWriteDescriptorSet write{
          VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, nullptr, set,   0,      element, 1,
          VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,      nullptr, &info, nullptr};
      const VkCopyDescriptorSet copy{
          VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET, nullptr, set, 0, element, set, 0, element ^ 1, 1};
      vk::vkUpdateDescriptorSets(device_, 1, &write, 1, &copy);
      {
        const std::lock_guard lock(queue_mutex);
        EXPECT_EQ(Submit(commands, VK_NULL_HANDLE), VK_SUCCESS);
      }
      vk::vkDestroyBuffer(device_, buffer, nullptr);
    }
  });
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  vk::vkDestroyDescriptorPool(device_, pool, nullptr);
  vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(Threads, RecordSubmitAndWait) {
  std::mutex queue_mutex;  // the program's own duty
  Run([&](int) {
    const VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr,
                                            VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, 0};
    VkCommandPool pool = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateCommandPool(device_, &pool_info, nullptr, &pool), VK_SUCCESS);
    const VkCommandBufferAllocateInfo allocate{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                               nullptr, pool, VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    VkCommandBuffer commands = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkAllocateCommandBuffers(device_, &allocate, &commands), VK_SUCCESS);
    const VkFence fence = CreateFence();
    for (int round = 0; round < kRounds; ++round) {
      const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
      EXPECT_EQ(vk::vkBeginCommandBuffer(commands, &begin), VK_SUCCESS);
      for (int i = 0; i < 10; ++i) {
        vk::vkCmdDispatch(commands, 1, 2, 3);
      }
      EXPECT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
      {
        const std::lock_guard lock(queue_mutex);
        EXPECT_EQ(Submit(commands, fence), VK_SUCCESS);
      }
      EXPECT_EQ(Wait(fence), VK_SUCCESS);
      EXPECT_EQ(vk::vkResetFences(device_, 1, &fence), VK_SUCCESS);
    }
    vk::vkDestroyFence(device_, fence, nullptr);
    vk::vkDestroyCommandPool(device_, pool, nullptr);
  });
  Sync();
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), size_t{kThreads} * kRounds * 10);
  EXPECT_EQ(mock_.Count("vkQueueSubmit"), size_t{kThreads} * kRounds);
}

TEST_F(Threads, MapWriteAndUnmap) {
  std::mutex queue_mutex;
  Run([&](int thread) {
    for (int round = 0; round < kRounds / 3; ++round) {
      VkDeviceMemory memory = VK_NULL_HANDLE;
      std::byte* data = MapNewMemory(70'000, kMockCoherent, &memory);
      std::fill_n(data, 70'000, static_cast<std::byte>(thread + 1));
      {
        const std::lock_guard lock(queue_mutex);
        EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
      }
      vk::vkUnmapMemory(device_, memory);
      void* again = nullptr;
      EXPECT_EQ(vk::vkMapMemory(device_, memory, 0, VK_WHOLE_SIZE, 0, &again), VK_SUCCESS);
      EXPECT_EQ(static_cast<std::byte*>(again)[69'999], static_cast<std::byte>(thread + 1));
      vk::vkFreeMemory(device_, memory, nullptr);
    }
  });
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
}

TEST_F(Threads, ManyWaitForOneFence) {
  mock_.Hold(true);
  const VkFence fence = CreateFence();
  ASSERT_EQ(Submit(VK_NULL_HANDLE, fence), VK_SUCCESS);
  std::atomic<int> woken{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < kThreads; ++i) {
    waiters.emplace_back([&] {
      EXPECT_EQ(Wait(fence, UINT64_MAX), VK_SUCCESS);
      ++woken;
    });
  }
  EXPECT_EQ(woken.load(), 0);
  mock_.Hold(false);
  for (std::thread& waiter : waiters) {
    waiter.join();
  }
  EXPECT_EQ(woken.load(), kThreads);
  vk::vkDestroyFence(device_, fence, nullptr);
}

TEST_F(Threads, TheLinkBreaksUnderAllOfThem) {
  host_may_complain_ = true;
  std::atomic<int> started{0};
  std::thread killer([&] {
    while (started.load() < kThreads) {
      std::this_thread::yield();
    }
    host_->Kill();
  });
  Run([&](int) {
    const VkFence fence = CreateFence();
    ++started;
    // Every wait ends; those that can say why do.
    for (;;) {
      VkBuffer buffer = VK_NULL_HANDLE;
      const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 0, 64};
      const VkResult result = vk::vkCreateBuffer(device_, &info, nullptr, &buffer);
      vk::vkDestroyBuffer(device_, buffer, nullptr);
      if (result != VK_SUCCESS) {
        break;
      }
    }
    EXPECT_EQ(Wait(fence, UINT64_MAX), VK_ERROR_DEVICE_LOST);
    vk::vkDestroyFence(device_, fence, nullptr);
  });
  killer.join();
}

}  // namespace
}  // namespace vesper::tests
