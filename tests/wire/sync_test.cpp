// SPDX-License-Identifier: Apache-2.0
// Fences, semaphores and waits: facts of the guest, fed by what the host pushes.
#include <chrono>
#include <thread>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Sync : public WireTest {
 protected:
  void SetUp() override {
    excluded_pushes_ |= client::kPushEvents;  // pushed_events_test.cpp
    Open();
  }
  uint64_t Value(VkSemaphore semaphore) {
    uint64_t value = 0;
    EXPECT_EQ(vk::vkGetSemaphoreCounterValue(device_, semaphore, &value), VK_SUCCESS);
    return value;
  }
  VkResult WaitFor(VkSemaphore semaphore, uint64_t value, uint64_t timeout) {
    const VkSemaphoreWaitInfo info{
        VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, nullptr, 0, 1, &semaphore, &value};
    return vk::vkWaitSemaphores(device_, &info, timeout);
  }
};

TEST_F(Sync, FencesLiveInTheGuest) {
  const VkFence fence = CreateFence();
  EXPECT_EQ(vk::vkGetFenceStatus(device_, fence), VK_NOT_READY);
  EXPECT_EQ(Wait(fence, 0), VK_TIMEOUT);
  const VkFenceCreateInfo signaled{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, nullptr,
                                   VK_FENCE_CREATE_SIGNALED_BIT};
  VkFence other = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateFence(device_, &signaled, nullptr, &other), VK_SUCCESS);
  EXPECT_EQ(Wait(other, 0), VK_SUCCESS);
  const VkFence both[] = {fence, other};
  EXPECT_EQ(vk::vkWaitForFences(device_, 2, both, VK_FALSE, 0), VK_SUCCESS);
  EXPECT_EQ(vk::vkWaitForFences(device_, 2, both, VK_TRUE, 1'000'000), VK_TIMEOUT);
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyFence(device_, other, nullptr);
  EXPECT_THAT(Calls(), IsEmpty());
}

TEST_F(Sync, AFenceSignalsWhenItsBatchIsDone) {
  mock_.Hold(true);
  const VkFence fence = CreateFence();
  ASSERT_EQ(Submit(VK_NULL_HANDLE, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence, 20'000'000), VK_TIMEOUT);
  mock_.Hold(false);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_EQ(vk::vkGetFenceStatus(device_, fence), VK_SUCCESS);
  ASSERT_EQ(vk::vkResetFences(device_, 1, &fence), VK_SUCCESS);
  EXPECT_EQ(vk::vkGetFenceStatus(device_, fence), VK_NOT_READY);
  vk::vkDestroyFence(device_, fence, nullptr);
}

TEST_F(Sync, SubmissionsWithoutBatchesCountToo) {
  const VkFence fence = CreateFence();
  ASSERT_EQ(vk::vkQueueSubmit(queue_, 0, nullptr, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  ASSERT_EQ(vk::vkResetFences(device_, 1, &fence), VK_SUCCESS);
  ASSERT_EQ(vk::vkQueueSubmit2(queue_, 0, nullptr, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  ASSERT_EQ(vk::vkResetFences(device_, 1, &fence), VK_SUCCESS);
  ASSERT_EQ(vk::vkQueueBindSparse(queue_, 0, nullptr, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_THAT(Calls(), ElementsAre("vkQueueSubmit", "vkQueueSubmit2", "vkQueueBindSparse"));
  vk::vkDestroyFence(device_, fence, nullptr);
}

TEST_F(Sync, TheHostAddsItsTimelineAndLeavesTheRest) {
  const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  VkSemaphore binary = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateSemaphore(device_, &info, nullptr, &binary), VK_SUCCESS);
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_TRANSFER_BIT;
  const VkSubmitInfo signal{
      VK_STRUCTURE_TYPE_SUBMIT_INFO, nullptr, 0, nullptr, nullptr, 0, nullptr, 1, &binary};
  const VkSubmitInfo wait{VK_STRUCTURE_TYPE_SUBMIT_INFO, nullptr, 1, &binary, &stage};
  const VkSubmitInfo both[] = {signal, wait};
  ASSERT_EQ(vk::vkQueueSubmit(queue_, 2, both, VK_NULL_HANDLE), VK_SUCCESS);
  WireTest::Sync();
  const auto& args = Arguments<proto::Args_vkQueueSubmit>("vkQueueSubmit");
  ASSERT_EQ(args.submitCount, 2u);
  EXPECT_EQ(args.fence, VK_NULL_HANDLE);
  EXPECT_EQ(args.pSubmits[0].signalSemaphoreCount, 2u);
  EXPECT_EQ(args.pSubmits[1].signalSemaphoreCount, 1u);
  EXPECT_EQ(args.pSubmits[1].waitSemaphoreCount, 1u);
  EXPECT_EQ(args.pSubmits[1].pWaitDstStageMask[0], VkPipelineStageFlags{stage});
  EXPECT_EQ(args.pSubmits[1].pWaitSemaphores[0], args.pSubmits[0].pSignalSemaphores[0]);
  ASSERT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  vk::vkDestroySemaphore(device_, binary, nullptr);
}

TEST_F(Sync, TheDriverIsDoneWithAQueueThatWasWaitedFor) {
  ASSERT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
  ASSERT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  EXPECT_THAT(Calls(), ElementsAre("vkQueueSubmit", "vkQueueWaitIdle")) << "once is enough";
  ASSERT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  EXPECT_THAT(Calls(), ElementsAre("vkQueueSubmit", "vkQueueWaitIdle"));
}

TEST_F(Sync, TimelinesFollowSubmissions) {
  const VkSemaphore timeline = CreateTimeline(3);
  EXPECT_EQ(Value(timeline), 3u);
  mock_.Hold(true);
  const VkSemaphoreSubmitInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO, nullptr, timeline, 7,
                                     VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,    0};
  VkSubmitInfo2 submit{VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
  submit.signalSemaphoreInfoCount = 1;
  submit.pSignalSemaphoreInfos = &signal;
  ASSERT_EQ(vk::vkQueueSubmit2(queue_, 1, &submit, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(WaitFor(timeline, 7, 10'000'000), VK_TIMEOUT);
  EXPECT_EQ(Value(timeline), 3u);
  mock_.Hold(false);
  EXPECT_EQ(WaitFor(timeline, 7, 5'000'000'000), VK_SUCCESS);
  EXPECT_EQ(Value(timeline), 7u);
  vk::vkDestroySemaphore(device_, timeline, nullptr);
}

TEST_F(Sync, TheProgramsOwnSignalsWakeItsWaits) {
  const VkSemaphore timeline = CreateTimeline(0);
  std::thread waiter([&] { EXPECT_EQ(WaitFor(timeline, 5, UINT64_MAX), VK_SUCCESS); });
  const VkSemaphoreSignalInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, timeline, 5};
  ASSERT_EQ(vk::vkSignalSemaphore(device_, &info), VK_SUCCESS);
  waiter.join();
  EXPECT_THAT(Calls(), ElementsAre("vkCreateSemaphore", "vkSignalSemaphore"));
  vk::vkDestroySemaphore(device_, timeline, nullptr);
}

TEST_F(Sync, WaitsDoNotOccupyTheStream) {
  mock_.Hold(true);
  const VkFence fence = CreateFence();
  ASSERT_EQ(Submit(VK_NULL_HANDLE, fence), VK_SUCCESS);
  std::thread waiter([&] { EXPECT_EQ(Wait(fence, UINT64_MAX), VK_SUCCESS); });
  // Another thread creates and calls as if nobody waited.
  for (int i = 0; i < 20; ++i) {
    const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
    vk::vkDestroyBuffer(device_, buffer, nullptr);
  }
  mock_.Hold(false);
  waiter.join();
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  vk::vkDestroyFence(device_, fence, nullptr);
}

TEST_F(Sync, EventsGoToTheDriver) {
  const VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateEvent(device_, &info, nullptr, &event), VK_SUCCESS);
  mock_.On(number::vkGetEventStatus, [](void* args) {
    static_cast<proto::Args_vkGetEventStatus*>(args)->ret = VK_EVENT_SET;
  });
  EXPECT_EQ(vk::vkSetEvent(device_, event), VK_SUCCESS);
  EXPECT_EQ(vk::vkGetEventStatus(device_, event), VK_EVENT_SET);
  EXPECT_EQ(vk::vkResetEvent(device_, event), VK_SUCCESS);
  vk::vkDestroyEvent(device_, event, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkCreateEvent", "vkSetEvent", "vkGetEventStatus",
                                   "vkResetEvent", "vkDestroyEvent"));
}

}  // namespace
}  // namespace vesper::tests
