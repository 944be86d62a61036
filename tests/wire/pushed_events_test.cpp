// SPDX-License-Identifier: Apache-2.0
//
// Events that the program polls: asking costs nothing, and what is told is what the driver would
// say.
#include <atomic>
#include <chrono>
#include <functional>

#include "server/command_observer.h"
#include "tests/framework/door.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

// Counts the guest's questions: those of the worker itself are no commands.
class QuestionCounter : public server::CommandObserver {
 public:
  void Begin(const server::ExecutedCommand& command) override {
    calls_ += command.number == number::vkGetEventStatus ? 1 : 0;
    queries_ += command.number == number::vkGetQueryPoolResults ? 1 : 0;
  }
  void End(const server::ExecutedCommand&) override {}

  std::atomic<int> calls_{0};
  std::atomic<int> queries_{0};
};

class PushedEvents : public WireTest {
 protected:
  void SetUp() override {
    mock_.On(number::vkGetEventStatus, [this](void* args) {
      static_cast<proto::Args_vkGetEventStatus*>(args)->ret = state_;
      if (stops_host_) {
        door_.Pass();
      }
    });
    mock_.On(number::vkSetEvent, [this](void*) { state_ = VK_EVENT_SET; });
    mock_.On(number::vkResetEvent, [this](void*) { state_ = VK_EVENT_RESET; });
    host_observer_ = &questions_;
    Open();
    event_ = MakeEvent();
    fence_ = CreateFence();
  }
  ~PushedEvents() override {
    door_.Open();
    mock_.Hold(false);
    vk::vkDestroyFence(device_, fence_, nullptr);
    vk::vkDestroyEvent(device_, event_, nullptr);
    DestroyAll();
    host_->Finish();  // whose threads use what is below
  }

  VkEvent MakeEvent() {
    const VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
    VkEvent event = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateEvent(device_, &info, nullptr, &event), VK_SUCCESS);
    return event;
  }
  VkResult Get() { return vk::vkGetEventStatus(device_, event_); }
  void SubmitWork() {
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
    ASSERT_EQ(Submit(VK_NULL_HANDLE, fence_), VK_SUCCESS);
  }
  // Polls; ends what would be a hang.
  bool BecomesSet() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (Get() != VK_EVENT_SET) {
      if (std::chrono::steady_clock::now() > end) {
        return false;
      }
    }
    return true;
  }

  QuestionCounter questions_;
  std::atomic<VkResult> state_{VK_EVENT_RESET};
  std::atomic<bool> stops_host_{false};
  Door door_;
  VkEvent event_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
};

TEST_F(PushedEvents, ItIsSetInTheMiddleOfABatch) {
  EXPECT_EQ(Get(), VK_EVENT_RESET);
  mock_.Hold(true);
  SubmitWork();
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(Get(), VK_EVENT_RESET);
  }
  state_ = VK_EVENT_SET;
  EXPECT_TRUE(BecomesSet());
  EXPECT_EQ(questions_.calls_, 1);
}

TEST_F(PushedEvents, TheStateComesBeforeTheProgress) {
  Get();
  mock_.OnExecute([this] { state_ = VK_EVENT_SET; });
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(vk::vkResetEvent(device_, event_), VK_SUCCESS);
    ASSERT_EQ(Get(), VK_EVENT_RESET);
    SubmitWork();
    ASSERT_EQ(Wait(fence_), VK_SUCCESS);
    ASSERT_EQ(Get(), VK_EVENT_SET);
  }
  EXPECT_EQ(questions_.calls_, 1);
}

TEST_F(PushedEvents, TheProgramsOwnChangesAreSeenAtOnce) {
  Get();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(vk::vkSetEvent(device_, event_), VK_SUCCESS);
    EXPECT_EQ(Get(), VK_EVENT_SET);
    ASSERT_EQ(vk::vkResetEvent(device_, event_), VK_SUCCESS);
    EXPECT_EQ(Get(), VK_EVENT_RESET);
  }
  EXPECT_EQ(questions_.calls_, 1);
  Sync();
  EXPECT_EQ(mock_.Count("vkSetEvent"), 20u);
  EXPECT_EQ(mock_.Count("vkResetEvent"), 20u);
}

TEST_F(PushedEvents, WhatWasReadBeforeAChangeIsVoid) {
  Get();
  mock_.Hold(true);
  SubmitWork();
  Sync();
  stops_host_ = true;
  EXPECT_EQ(Get(), VK_EVENT_RESET);  // and the worker is looking again
  ASSERT_TRUE(door_.WaitFor(1));
  ASSERT_EQ(vk::vkSetEvent(device_, event_), VK_SUCCESS);
  door_.Open();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(Get(), VK_EVENT_SET);
  }
  Sync();
  EXPECT_EQ(Get(), VK_EVENT_SET);
  EXPECT_EQ(questions_.calls_, 1);
}

TEST_F(PushedEvents, AChangeThatFails) {
  Get();
  mock_.FailNext(number::vkSetEvent, VK_ERROR_OUT_OF_HOST_MEMORY);
  ASSERT_EQ(vk::vkSetEvent(device_, event_), VK_SUCCESS);
  Sync();
  EXPECT_EQ(Get(), VK_EVENT_RESET);
  EXPECT_EQ(vk::vkSetEvent(device_, event_), VK_ERROR_OUT_OF_HOST_MEMORY) << "told once";
  EXPECT_EQ(Get(), VK_EVENT_RESET) << "it was not sent";
}

TEST_F(PushedEvents, AnotherWithTheSameIndex) {
  ASSERT_EQ(vk::vkSetEvent(device_, event_), VK_SUCCESS);
  EXPECT_EQ(Get(), VK_EVENT_SET);
  vk::vkDestroyEvent(device_, event_, nullptr);
  event_ = MakeEvent();
  Sync();
  state_ = VK_EVENT_RESET;
  EXPECT_EQ(Get(), VK_EVENT_RESET);
  EXPECT_EQ(questions_.calls_, 2);
}

TEST_F(PushedEvents, OneThatWasNotMade) {
  Sync();
  mock_.FailNext(number::vkCreateEvent, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkEvent poisoned = MakeEvent();
  for (int i = 0; i < 3; ++i) {
    EXPECT_LT(vk::vkGetEventStatus(device_, poisoned), 0);
  }
  vk::vkDestroyEvent(device_, poisoned, nullptr);
}

TEST_F(PushedEvents, OneThatNobodyPollsIsNotWatchedAnyMore) {
  Get();
  for (int i = 0; i < 1100; ++i) {
    SubmitWork();
    ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  }
  Sync();
  mock_.Clear();
  SubmitWork();
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  EXPECT_EQ(mock_.Count("vkGetEventStatus"), 0u);
  ASSERT_EQ(vk::vkSetEvent(device_, event_), VK_SUCCESS);
  EXPECT_EQ(Get(), VK_EVENT_SET);
  EXPECT_EQ(questions_.calls_, 2);
  ASSERT_EQ(vk::vkResetEvent(device_, event_), VK_SUCCESS);
  EXPECT_EQ(Get(), VK_EVENT_RESET);
  EXPECT_EQ(questions_.calls_, 2) << "watched again";
}

// The work has written a query, and then set the event.
TEST_F(PushedEvents, WhatTheWorkHasDoneBeforeIsKnownFirst) {
  std::atomic<uint64_t> value{1};
  mock_.On(number::vkGetQueryPoolResults, [&value](void* args) {
    auto& a = *static_cast<proto::Args_vkGetQueryPoolResults*>(args);
    const uint64_t words[] = {value, 1};
    std::memcpy(a.pData, words, (a.flags & VK_QUERY_RESULT_WITH_AVAILABILITY_BIT) != 0 ? 16 : 8);
    a.ret = VK_SUCCESS;
  });
  const VkQueryPoolCreateInfo info{
      VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, nullptr, 0, VK_QUERY_TYPE_TIMESTAMP, 1, 0};
  VkQueryPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateQueryPool(device_, &info, nullptr, &pool), VK_SUCCESS);
  const auto get = [&] {
    uint64_t result = 0;
    EXPECT_EQ(vk::vkGetQueryPoolResults(device_, pool, 0, 1, 8, &result, 8, VK_QUERY_RESULT_64_BIT),
              VK_SUCCESS);
    return result;
  };
  const VkCommandBuffer work = Begin();
  vk::vkCmdWriteTimestamp(work, VK_PIPELINE_STAGE_TRANSFER_BIT, pool, 0);
  ASSERT_EQ(vk::vkEndCommandBuffer(work), VK_SUCCESS);
  get();
  Get();
  ASSERT_EQ(Submit(work, fence_), VK_SUCCESS);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  EXPECT_EQ(get(), 1u);
  EXPECT_EQ(questions_.queries_, 1);
  mock_.Hold(true);
  ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
  ASSERT_EQ(Submit(work, fence_), VK_SUCCESS);
  EXPECT_EQ(Get(), VK_EVENT_RESET);
  value = 2;
  state_ = VK_EVENT_SET;
  ASSERT_TRUE(BecomesSet());
  EXPECT_EQ(get(), 2u);
  mock_.Hold(false);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  vk::vkDestroyQueryPool(device_, pool, nullptr);
}

TEST_F(PushedEvents, WhatTheWorkHasWrittenBeforeIsThereFirst) {
  Get();
  VkDeviceMemory memory = VK_NULL_HANDLE;
  const std::byte* const data = MapNewMemory(4096, kMockCoherent, &memory);
  const VkCommandBuffer work = ShaderWork();
  for (int round = 1; round <= 50; ++round) {
    mock_.Hold(true);
    ASSERT_EQ(vk::vkResetEvent(device_, event_), VK_SUCCESS);
    ASSERT_EQ(Submit(work, fence_), VK_SUCCESS);
    EXPECT_EQ(Get(), VK_EVENT_RESET);
    Sync();
    mock_.Memory(0)[100] = static_cast<std::byte>(round);
    state_ = VK_EVENT_SET;
    ASSERT_TRUE(BecomesSet());
    EXPECT_EQ(data[100], static_cast<std::byte>(round));
    mock_.Hold(false);
    ASSERT_EQ(Wait(fence_), VK_SUCCESS);
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
  }
  EXPECT_EQ(questions_.calls_, 1);
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(PushedEvents, ALostSessionKnowsNothing) {
  Get();
  host_->Kill();
  while (vk::vkGetFenceStatus(device_, fence_) != VK_ERROR_DEVICE_LOST) {
  }
  EXPECT_EQ(Get(), VK_ERROR_DEVICE_LOST);
}

class NotPushedEvents : public PushedEvents, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    environment_.debug_sync = GetParam();
    environment_.pushes = GetParam() ? environment_.pushes : 0;
    PushedEvents::SetUp();
  }
};

TEST_P(NotPushedEvents, EachIsACall) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(vk::vkSetEvent(device_, event_), VK_SUCCESS);
    EXPECT_EQ(Get(), VK_EVENT_SET);
    ASSERT_EQ(vk::vkResetEvent(device_, event_), VK_SUCCESS);
    EXPECT_EQ(Get(), VK_EVENT_RESET);
  }
  EXPECT_EQ(questions_.calls_, 10);
}

INSTANTIATE_TEST_SUITE_P(VariableAndSync, NotPushedEvents, testing::Bool());

}  // namespace
}  // namespace vesper::tests
