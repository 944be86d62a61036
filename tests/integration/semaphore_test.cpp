// SPDX-License-Identifier: Apache-2.0
// Binary and timeline semaphores, on the host's side and on the queue's.
#include <chrono>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class SemaphoreTest : public VulkanTest {
 protected:
  struct Operation {
    VkSemaphore semaphore = VK_NULL_HANDLE;
    uint64_t value = 0;  // Ignored for binary semaphores.
  };

  void SubmitWith(const std::vector<Operation>& waits, const std::vector<Operation>& signals,
                  VkCommandBuffer commands = VK_NULL_HANDLE, VkFence fence = VK_NULL_HANDLE) {
    const auto infos = [](const std::vector<Operation>& operations) {
      std::vector<VkSemaphoreSubmitInfo> list;
      for (const Operation& operation : operations) {
        VkSemaphoreSubmitInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO};
        info.semaphore = operation.semaphore;
        info.value = operation.value;
        info.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
        list.push_back(info);
      }
      return list;
    };
    const std::vector<VkSemaphoreSubmitInfo> wait_infos = infos(waits);
    const std::vector<VkSemaphoreSubmitInfo> signal_infos = infos(signals);
    VkCommandBufferSubmitInfo buffer{VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO};
    buffer.commandBuffer = commands;
    VkSubmitInfo2 submit{VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
    submit.waitSemaphoreInfoCount = static_cast<uint32_t>(wait_infos.size());
    submit.pWaitSemaphoreInfos = wait_infos.data();
    submit.signalSemaphoreInfoCount = static_cast<uint32_t>(signal_infos.size());
    submit.pSignalSemaphoreInfos = signal_infos.data();
    submit.commandBufferInfoCount = commands == VK_NULL_HANDLE ? 0 : 1;
    submit.pCommandBufferInfos = &buffer;
    VESPER_CHECK(vk.QueueSubmit2(queue, 1, &submit, fence));
  }

  VkResult WaitFor(const std::vector<Operation>& operations, uint64_t limit_ns,
                   VkSemaphoreWaitFlags flags = 0) {
    std::vector<VkSemaphore> semaphores;
    std::vector<uint64_t> values;
    for (const Operation& operation : operations) {
      semaphores.push_back(operation.semaphore);
      values.push_back(operation.value);
    }
    VkSemaphoreWaitInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
    info.flags = flags;
    info.semaphoreCount = static_cast<uint32_t>(operations.size());
    info.pSemaphores = semaphores.data();
    info.pValues = values.data();
    return vk.WaitSemaphores(device, &info, limit_ns);
  }

  void Signal(VkSemaphore semaphore, uint64_t value) {
    VkSemaphoreSignalInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
    info.semaphore = semaphore;
    info.value = value;
    VESPER_CHECK(vk.SignalSemaphore(device, &info));
  }

  uint64_t Value(VkSemaphore semaphore) {
    uint64_t value = 0;
    VESPER_CHECK(vk.GetSemaphoreCounterValue(device, semaphore, &value));
    return value;
  }
};

TEST_F(SemaphoreTest, InitialValueAndHostSignals) {
  const Owned<VkSemaphore> timeline = MakeTimeline(1'000'000'000'000);
  EXPECT_EQ(1'000'000'000'000u, Value(timeline));
  Signal(timeline, 1'000'000'000'001);
  EXPECT_EQ(1'000'000'000'001u, Value(timeline));
  Signal(timeline, 1'000'000'000'100);
  EXPECT_EQ(1'000'000'000'100u, Value(timeline));
  EXPECT_EQ(VK_SUCCESS, WaitFor({{timeline, 7}}, 0));
  EXPECT_EQ(VK_TIMEOUT, WaitFor({{timeline, 1'000'000'000'101}}, 0));
}

TEST_F(SemaphoreTest, TimeoutIsNotShorterThanAsked) {
  const Owned<VkSemaphore> timeline = MakeTimeline();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(VK_TIMEOUT, WaitFor({{timeline, 1}}, 50'000'000));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
}

TEST_F(SemaphoreTest, WaitAnyAndAll) {
  const Owned<VkSemaphore> a = MakeTimeline();
  const Owned<VkSemaphore> b = MakeTimeline();
  EXPECT_EQ(VK_TIMEOUT, WaitFor({{a, 1}, {b, 1}}, 0, VK_SEMAPHORE_WAIT_ANY_BIT));
  Signal(b, 1);
  EXPECT_EQ(VK_SUCCESS, WaitFor({{a, 1}, {b, 1}}, kWaitLimitNs, VK_SEMAPHORE_WAIT_ANY_BIT));
  EXPECT_EQ(VK_TIMEOUT, WaitFor({{a, 1}, {b, 1}}, 10'000'000));
  SubmitWith({}, {{a, 1}});
  EXPECT_EQ(VK_SUCCESS, WaitFor({{a, 1}, {b, 1}}, kWaitLimitNs));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

TEST_F(SemaphoreTest, ChainOfBinarySemaphores) {
  const Buffer buffer = MakeHostBuffer(gpu(), 64);
  std::vector<Owned<VkSemaphore>> links;
  for (int i = 0; i < 10; ++i) {
    links.push_back(MakeSemaphore());
  }
  for (uint32_t i = 0; i < 10; ++i) {
    VkCommandBuffer fill = Record([&](VkCommandBuffer commands) {
      vk.CmdFillBuffer(commands, buffer.handle, 0, 4, i + 1);
      FullBarrier(commands);
    });
    SubmitWith(i == 0 ? std::vector<Operation>{} : std::vector<Operation>{{links[i - 1]}},
               {{links[i]}}, fill);
  }
  SubmitWith({{links[9]}}, {});
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(10u, buffer.As<uint32_t>()[0]);
}

TEST_F(SemaphoreTest, BinarySemaphoreUsedAgain) {
  const Owned<VkSemaphore> semaphore = MakeSemaphore();
  for (int i = 0; i < 50; ++i) {
    SubmitWith({}, {{semaphore}});
    SubmitWith({{semaphore}}, {});
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

TEST_F(SemaphoreTest, WaitBeforeSignalOnTheQueue) {
  // The submission waits for a value that nobody has promised yet; later the host signals it.
  const Owned<VkSemaphore> timeline = MakeTimeline();
  const Owned<VkFence> fence = MakeFence();
  SubmitWith({{timeline, 10}}, {{timeline, 11}}, VK_NULL_HANDLE, fence);
  EXPECT_EQ(VK_TIMEOUT, WaitFor({{timeline, 11}}, 10'000'000));
  EXPECT_EQ(VK_NOT_READY, vk.GetFenceStatus(device, fence));
  EXPECT_EQ(0u, Value(timeline));
  Signal(timeline, 10);
  EXPECT_EQ(VK_SUCCESS, WaitFor({{timeline, 11}}, kWaitLimitNs));
  Wait(fence);
  EXPECT_EQ(11u, Value(timeline));
}

TEST_F(SemaphoreTest, WaitOnTheHostBeforeTheSubmissionIsThere) {
  // Nothing has been submitted that would signal: the wait only can run into its limit, and must
  // not disturb the submission that comes later.
  const Owned<VkSemaphore> timeline = MakeTimeline();
  EXPECT_EQ(VK_TIMEOUT, WaitFor({{timeline, 3}}, 5'000'000));
  SubmitWith({}, {{timeline, 3}});
  EXPECT_EQ(VK_SUCCESS, WaitFor({{timeline, 3}}, kWaitLimitNs));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

TEST_F(SemaphoreTest, DestroyedOnceTheQueueIsIdle) {
  // Whatever a driver still does with a semaphore after it has signalled the end of the work that
  // waited for it, it has done when the queue is idle.
  for (int round = 0; round < 2000; ++round) {
    const Owned<VkSemaphore> timeline = MakeTimeline();
    SubmitWith({}, {{timeline, 1}});
    SubmitWith({{timeline, 1}}, {});
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue)) << "round " << round;
  }
}

TEST_F(SemaphoreTest, LongPipelineOnOneTimeline) {
  const Owned<VkSemaphore> timeline = MakeTimeline();
  for (uint64_t i = 0; i < 100; ++i) {
    SubmitWith({{timeline, i}}, {{timeline, i + 1}});
  }
  for (uint64_t i = 1; i <= 100; i += 9) {
    ASSERT_EQ(VK_SUCCESS, WaitFor({{timeline, i}}, kWaitLimitNs));
    ASSERT_GE(Value(timeline), i);
  }
  ASSERT_EQ(VK_SUCCESS, WaitFor({{timeline, 100}}, kWaitLimitNs));
  EXPECT_EQ(100u, Value(timeline));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

TEST_F(SemaphoreTest, ValueNeverGoesBack) {
  const Owned<VkSemaphore> timeline = MakeTimeline();
  for (uint64_t i = 1; i <= 50; ++i) {
    SubmitWith({}, {{timeline, i * 2}});
  }
  uint64_t last = 0;
  while (last < 100) {
    const uint64_t value = Value(timeline);
    ASSERT_GE(value, last);
    last = value;
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

TEST_F(SemaphoreTest, HostAndQueueSignalInTurn) {
  const Owned<VkSemaphore> timeline = MakeTimeline();
  for (uint64_t round = 0; round < 20; ++round) {
    SubmitWith({{timeline, round * 2 + 1}}, {{timeline, round * 2 + 2}});
    Signal(timeline, round * 2 + 1);
    ASSERT_EQ(VK_SUCCESS, WaitFor({{timeline, round * 2 + 2}}, kWaitLimitNs));
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(40u, Value(timeline));
}

TEST_F(SemaphoreTest, BinaryAndTimelineInOneSubmission) {
  const Owned<VkSemaphore> binary = MakeSemaphore();
  const Owned<VkSemaphore> timeline = MakeTimeline();
  // The old structs give a value for binary semaphores too, which is ignored.
  const VkSemaphore signals[2] = {binary, timeline};
  const uint64_t signal_values[2] = {12345, 1};
  VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  values.signalSemaphoreValueCount = 2;
  values.pSignalSemaphoreValues = signal_values;
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.pNext = &values;
  submit.signalSemaphoreCount = 2;
  submit.pSignalSemaphores = signals;
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
  const VkSemaphore waits[2] = {timeline, binary};
  const uint64_t wait_values[2] = {1, 0};
  const VkPipelineStageFlags stages[2] = {VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                                          VK_PIPELINE_STAGE_TRANSFER_BIT};
  VkTimelineSemaphoreSubmitInfo more{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  more.waitSemaphoreValueCount = 2;
  more.pWaitSemaphoreValues = wait_values;
  VkSubmitInfo second{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  second.pNext = &more;
  second.waitSemaphoreCount = 2;
  second.pWaitSemaphores = waits;
  second.pWaitDstStageMask = stages;
  const Owned<VkFence> fence = MakeFence();
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &second, fence));
  Wait(fence);
  EXPECT_EQ(1u, Value(timeline));
}

}  // namespace
}  // namespace vesper::tests
