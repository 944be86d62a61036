// SPDX-License-Identifier: Apache-2.0
// Several threads in the driver at once: waiting, recording, creating, submitting to one queue
// under a lock, as the specification allows it.
#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>

#include "shaders/accumulate_comp.h"
#include "shaders/push_write_comp.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

using ThreadsTest = VulkanTest;

TEST_F(ThreadsTest, ManyThreadsWaitForOneFence) {
  const Owned<VkEvent> gate = MakeEvent();
  const Owned<VkFence> fence = MakeFence();
  const Buffer buffer = MakeHostBuffer(gpu(), 4096);
  Submit(Record([&](VkCommandBuffer commands) {
           vk.CmdWaitEvents(commands, 1, gate.address(), VK_PIPELINE_STAGE_HOST_BIT,
                            VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, nullptr, 0, nullptr, 0, nullptr);
           vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 77);
           FullBarrier(commands);
         }),
         fence);
  std::atomic<int> right = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const bool done =
          vk.WaitForFences(device, 1, fence.address(), VK_TRUE, kWaitLimitNs) == VK_SUCCESS;
      right += done && buffer.As<uint32_t>()[1023] == 77 ? 1 : 0;
    });
  }
  ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, gate));
  threads.clear();
  EXPECT_EQ(8, right.load());
}

TEST_F(ThreadsTest, WaitersOnDifferentValuesOfOneTimeline) {
  const Owned<VkSemaphore> timeline = MakeTimeline();
  std::atomic<int> right = 0;
  std::vector<std::jthread> threads;
  for (uint64_t value = 1; value <= 8; ++value) {
    threads.emplace_back([&, value] {
      VkSemaphoreWaitInfo wait{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
      wait.semaphoreCount = 1;
      wait.pSemaphores = timeline.address();
      wait.pValues = &value;
      const bool done = vk.WaitSemaphores(device, &wait, kWaitLimitNs) == VK_SUCCESS;
      uint64_t seen = 0;
      vk.GetSemaphoreCounterValue(device, timeline, &seen);
      right += done && seen >= value ? 1 : 0;
    });
  }
  for (uint64_t value = 1; value <= 8; ++value) {
    if (value % 2 == 0) {
      VkSemaphoreSignalInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
      signal.semaphore = timeline;
      signal.value = value;
      ASSERT_EQ(VK_SUCCESS, vk.SignalSemaphore(device, &signal));
    } else {
      VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
      values.signalSemaphoreValueCount = 1;
      values.pSignalSemaphoreValues = &value;
      VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
      submit.pNext = &values;
      submit.signalSemaphoreCount = 1;
      submit.pSignalSemaphores = timeline.address();
      ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
      ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    }
  }
  threads.clear();
  EXPECT_EQ(8, right.load());
}

TEST_F(ThreadsTest, WaitingDoesNotHoldUpOtherThreads) {
  // One thread waits for something that only this thread's later calls will bring about.
  const Owned<VkFence> fence = MakeFence();
  std::atomic<bool> done = false;
  std::jthread waiter([&] {
    done = vk.WaitForFences(device, 1, fence.address(), VK_TRUE, kWaitLimitNs) == VK_SUCCESS;
  });
  // Calls of all kinds, with and without an answer, while the other thread waits.
  for (int i = 0; i < 20; ++i) {
    const Buffer buffer = MakeHostBuffer(gpu(), 256);
    Execute([&](VkCommandBuffer commands) {
      vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 5);
    });
    ASSERT_EQ(5u, buffer.As<uint32_t>()[63]);
    VkFormatProperties format{};
    vk.GetPhysicalDeviceFormatProperties(physical_device, VK_FORMAT_R8G8B8A8_UNORM, &format);
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 0, nullptr, fence));
  waiter.join();
  EXPECT_TRUE(done.load());
}

TEST_F(ThreadsTest, EachThreadRecordsAndAllSubmitToOneQueue) {
  constexpr uint32_t kThreads = 6;
  constexpr uint32_t kRounds = 40;
  const Buffer results = MakeHostBuffer(gpu(), kThreads * kRounds * sizeof(uint32_t));
  const VkBuffer handle = results.handle;
  const Kernel kernel = MakeKernel(gpu(), kPushWriteComp, {&handle, 1}, 8);
  std::mutex queue_lock;
  std::atomic<int> failures = 0;
  std::vector<std::jthread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
      pool_info.queueFamilyIndex = queue_family;
      const Owned<VkCommandPool> pool =
          Make(vk.CreateCommandPool, vk.DestroyCommandPool, pool_info);
      VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
      info.commandPool = pool;
      info.commandBufferCount = 1;
      VkCommandBuffer commands = VK_NULL_HANDLE;
      VESPER_CHECK(vk.AllocateCommandBuffers(device, &info, &commands));
      const Owned<VkFence> fence = MakeFence();
      for (uint32_t round = 0; round < kRounds; ++round) {
        const uint32_t slot = t * kRounds + round;
        RecordInto(commands, 0, [&](VkCommandBuffer buffer) {
          const uint32_t push[2] = {slot, slot * 7 + 1};
          vk.CmdPushConstants(buffer, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
          kernel.Dispatch(gpu(), buffer, 1);
          FullBarrier(buffer);
        });
        {
          const std::lock_guard lock(queue_lock);
          Submit(commands, fence);
        }
        Wait(fence);
        if (results.As<uint32_t>()[slot] != slot * 7 + 1) {
          ++failures;
        }
        VESPER_CHECK(vk.ResetFences(device, 1, fence.address()));
        VESPER_CHECK(vk.ResetCommandPool(device, pool, 0));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(0, failures.load());
  for (uint32_t slot = 0; slot < kThreads * kRounds; ++slot) {
    EXPECT_EQ(slot * 7 + 1, results.As<uint32_t>()[slot]);
  }
}

TEST_F(ThreadsTest, EachThreadCreatesAndDestroysItsOwnObjects) {
  std::vector<std::jthread> threads;
  std::atomic<int> failures = 0;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 40; ++round) {
        try {
          const Buffer buffer = MakeHostBuffer(gpu(), 1024);
          const Image image = MakeImage(gpu(), ImageInfo(VK_FORMAT_R8G8B8A8_UNORM, 8, 8));
          const Owned<VkImageView> view = MakeView(gpu(), image);
          const VkBuffer handle = buffer.handle;
          const Kernel kernel = MakeKernel(gpu(), kAccumulateComp, {&handle, 1});
          const Owned<VkSemaphore> timeline = MakeTimeline(9);
          uint64_t value = 0;
          VESPER_CHECK(vk.GetSemaphoreCounterValue(device, timeline, &value));
          failures += value == 9 ? 0 : 1;
        } catch (const VulkanError&) {
          ++failures;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(0, failures.load());
}

// Pipelines are made, used and destroyed while other threads do the same; what they are made of
// goes as soon as they exist, and recordings that were never submitted go with all they name.
TEST_F(ThreadsTest, EachThreadCompilesRecordsAndDestroysAtOnce) {
  constexpr uint32_t kThreads = 8;
  constexpr uint32_t kRounds = 12;
  const Buffer results = MakeHostBuffer(gpu(), kThreads * kRounds * sizeof(uint32_t));
  const VkBuffer handle = results.handle;
  std::mutex queue_lock;
  std::vector<std::jthread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
      pool_info.queueFamilyIndex = queue_family;
      const Owned<VkCommandPool> pool =
          Make(vk.CreateCommandPool, vk.DestroyCommandPool, pool_info);
      const Owned<VkFence> fence = MakeFence();
      for (uint32_t round = 0; round < kRounds; ++round) {
        VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
        info.commandPool = pool;
        info.commandBufferCount = 2;
        VkCommandBuffer commands[2] = {};
        VESPER_CHECK(vk.AllocateCommandBuffers(device, &info, commands));
        const uint32_t slot = t * kRounds + round;
        {
          const Kernel kernel = MakeKernel(gpu(), kPushWriteComp, {&handle, 1}, 8);
          const Buffer unused = MakeHostBuffer(gpu(), 256);
          for (const VkCommandBuffer each : commands) {
            RecordInto(each, 0, [&](VkCommandBuffer buffer) {
              const uint32_t push[2] = {slot, slot * 7 + 1};
              vk.CmdPushConstants(buffer, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
              for (int i = 0; i < 200; ++i) {
                kernel.Dispatch(gpu(), buffer, 1);
              }
              vk.CmdFillBuffer(buffer, unused.handle, 0, VK_WHOLE_SIZE, 1);
              FullBarrier(buffer);
            });
            if (each == commands[0]) {
              {
                const std::lock_guard lock(queue_lock);
                Submit(each, fence);
              }
              Wait(fence);
            }
          }
        }
        VESPER_CHECK(vk.ResetFences(device, 1, fence.address()));
        vk.FreeCommandBuffers(device, pool, 2, commands);
      }
    });
  }
  threads.clear();
  for (uint32_t slot = 0; slot < kThreads * kRounds; ++slot) {
    EXPECT_EQ(slot * 7 + 1, results.As<uint32_t>()[slot]);
  }
}

TEST(ThreadsWithoutAFixture, EachThreadHasItsOwnInstance) {
  std::atomic<int> right = 0;
  std::vector<std::jthread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      try {
        Gpu gpu;
        gpu.Open();
        const Buffer buffer = MakeHostBuffer(gpu, 4096);
        gpu.Execute([&](VkCommandBuffer commands) {
          gpu.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, t + 1);
        });
        right += buffer.As<uint32_t>()[1023] == t + 1 ? 1 : 0;
      } catch (const std::exception&) {
        // Counted below: not every thread got it right.
      }
    });
  }
  threads.clear();
  EXPECT_EQ(4, right.load());
}

}  // namespace
}  // namespace vesper::tests
