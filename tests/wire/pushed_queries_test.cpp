// SPDX-License-Identifier: Apache-2.0
//
// Results of queries that the host pushes: asking costs nothing, and what is told is what the
// driver would say.
#include "tests/wire/pushed_queries.h"

#include <array>
#include <functional>
#include <optional>

namespace vesper::tests {
namespace {

using testing::ElementsAre;

TEST_F(PushedQueries, ResultsComeBeforeTheProgress) {
  const VkCommandBuffer work = Timestamps(2, 1);
  AskOnce();
  for (uint64_t i = 1; i <= 300; ++i) {
    Driver(2, {{i << 32}});
    RunAndWait(work);
    uint64_t value = 0;
    ASSERT_EQ(Get(2, &value), VK_SUCCESS);
    ASSERT_EQ(value, i << 32);
  }
  EXPECT_EQ(guests_, 0);
}

TEST_F(PushedQueries, APoolThatNobodyReadsIsNotRead) {
  RunAndWait(Timestamps(0, 4));
  Sync();
  EXPECT_EQ(mock_.Count("vkGetQueryPoolResults"), 0u);
}

TEST_F(PushedQueries, OnlyWhatABatchHasTouchedIsRead) {
  AskOnce();
  mock_.Clear();
  RunAndWait(Timestamps(3, 2));
  ASSERT_EQ(mock_.Count("vkGetQueryPoolResults"), 1u);
  const auto& args = Arguments<proto::Args_vkGetQueryPoolResults>("vkGetQueryPoolResults");
  EXPECT_EQ(args.firstQuery, 3u);
  EXPECT_EQ(args.queryCount, 2u);
}

TEST_F(PushedQueries, EveryCommandThatTouchesQueries) {
  AskOnce();
  const VkAccelerationStructureKHR structures[2] = {};
  const std::function<void(VkCommandBuffer)> commands[] = {
      [&](VkCommandBuffer b) { vk::vkCmdBeginQuery(b, query_pool_, 5, 0); },
      [&](VkCommandBuffer b) { vk::vkCmdEndQuery(b, query_pool_, 5); },
      [&](VkCommandBuffer b) { vk::vkCmdBeginQueryIndexedEXT(b, query_pool_, 5, 0, 1); },
      [&](VkCommandBuffer b) { vk::vkCmdEndQueryIndexedEXT(b, query_pool_, 5, 1); },
      [&](VkCommandBuffer b) {
        vk::vkCmdWriteTimestamp(b, VK_PIPELINE_STAGE_TRANSFER_BIT, query_pool_, 5);
      },
      [&](VkCommandBuffer b) {
        vk::vkCmdWriteTimestamp2(b, VK_PIPELINE_STAGE_2_COPY_BIT, query_pool_, 5);
      },
      [&](VkCommandBuffer b) { vk::vkCmdResetQueryPool(b, query_pool_, 4, 2); },
      [&](VkCommandBuffer b) {
        vk::vkCmdWriteAccelerationStructuresPropertiesKHR(
            b, 2, structures, VK_QUERY_TYPE_ACCELERATION_STRUCTURE_COMPACTED_SIZE_KHR, query_pool_,
            4);
      },
      [&](VkCommandBuffer b) {
        const VkMicromapEXT micromaps[2] = {};
        vk::vkCmdWriteMicromapsPropertiesEXT(
            b, 2, micromaps, VK_QUERY_TYPE_MICROMAP_COMPACTED_SIZE_EXT, query_pool_, 4);
      },
  };
  uint64_t expected = 0;
  for (const auto& command : commands) {
    SCOPED_TRACE(expected);
    Driver(5, {{++expected}});
    RunAndWait(Record(command));
    uint64_t value = 0;
    EXPECT_EQ(Get(5, &value), VK_SUCCESS);
    EXPECT_EQ(value, expected);
  }
  EXPECT_EQ(guests_, 0);
}

TEST_F(PushedQueries, SecondaryCommandBuffers) {
  AskOnce();
  const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr,
                                         pool_, VK_COMMAND_BUFFER_LEVEL_SECONDARY, 1};
  VkCommandBuffer secondary = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkAllocateCommandBuffers(device_, &info, &secondary), VK_SUCCESS);
  const VkCommandBufferInheritanceInfo inherited{VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, 0,
                                       &inherited};
  ASSERT_EQ(vk::vkBeginCommandBuffer(secondary, &begin), VK_SUCCESS);
  vk::vkCmdWriteTimestamp(secondary, VK_PIPELINE_STAGE_TRANSFER_BIT, query_pool_, 7);
  ASSERT_EQ(vk::vkEndCommandBuffer(secondary), VK_SUCCESS);
  Driver(7, {{77}});
  RunAndWait(Record([&](VkCommandBuffer b) { vk::vkCmdExecuteCommands(b, 1, &secondary); }));
  uint64_t value = 0;
  EXPECT_EQ(Get(7, &value), VK_SUCCESS);
  EXPECT_EQ(value, 77u);
  EXPECT_EQ(guests_, 0);
}

TEST_F(PushedQueries, AllShapesOfResults) {
  vk::vkDestroyQueryPool(device_, query_pool_, nullptr);
  values_ = 2;
  query_pool_ = MakePool(VK_QUERY_TYPE_PIPELINE_STATISTICS,
                         VK_QUERY_PIPELINE_STATISTIC_VERTEX_SHADER_INVOCATIONS_BIT |
                             VK_QUERY_PIPELINE_STATISTIC_CLIPPING_PRIMITIVES_BIT);
  AskOnce();
  Driver(0, {{1, 2}});
  Driver(1, {{0x1'0000'0003, 4}});
  RunAndWait(Timestamps(0, 3));
  constexpr uint64_t kOld = 0xABABABABABABABAB;
  std::array<uint64_t, 8> wide;
  wide.fill(kOld);
  EXPECT_EQ(vk::vkGetQueryPoolResults(device_, query_pool_, 0, 2, 64, wide.data(), 32,
                                      VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_PARTIAL_BIT |
                                          VK_QUERY_RESULT_WITH_AVAILABILITY_BIT),
            VK_SUCCESS);
  EXPECT_THAT(wide, ElementsAre(1, 2, 1, kOld, 0x1'0000'0003, 4, 1, kOld));
  std::array<uint32_t, 6> narrow;
  narrow.fill(9);
  EXPECT_EQ(
      vk::vkGetQueryPoolResults(device_, query_pool_, 0, 2, 24, narrow.data(), 12,
                                VK_QUERY_RESULT_WAIT_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT),
      VK_SUCCESS);
  EXPECT_THAT(narrow, ElementsAre(1, 2, 1, 3, 4, 1));
  narrow.fill(9);
  EXPECT_EQ(vk::vkGetQueryPoolResults(device_, query_pool_, 1, 2, 24, narrow.data(), 12,
                                      VK_QUERY_RESULT_WITH_AVAILABILITY_BIT),
            VK_NOT_READY);
  EXPECT_THAT(narrow, ElementsAre(3, 4, 1, 9, 9, 0)) << "what is not available is left alone";
  EXPECT_EQ(guests_, 0);
  EXPECT_EQ(vk::vkGetQueryPoolResults(device_, query_pool_, 2, 1, 16, wide.data(), 16,
                                      VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_PARTIAL_BIT),
            VK_NOT_READY);
  EXPECT_EQ(guests_, 1) << "a part of a result is the driver's to tell";
  vk::vkGetQueryPoolResults(device_, query_pool_, 0, 1, 24, wide.data(), 24,
                            VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_STATUS_BIT_KHR);
  EXPECT_EQ(guests_, 2);
}

TEST_F(PushedQueries, WhatMoreWorkTouchesIsNotKnown) {
  AskOnce();
  VkQueue other = VK_NULL_HANDLE;
  vk::vkGetDeviceQueue(device_, 0, 1, &other);
  Driver(0, {{1}});
  RunAndWait(Timestamps(0, 2));
  mock_.HoldQueue(MockQueue(0, 1));
  const VkCommandBuffer held = Timestamps(0, 1);
  VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  info.commandBufferCount = 1;
  info.pCommandBuffers = &held;
  ASSERT_EQ(vk::vkQueueSubmit(other, 1, &info, VK_NULL_HANDLE), VK_SUCCESS);
  Sync();
  mock_.Clear();
  RunAndWait(Timestamps(0, 1));
  EXPECT_EQ(mock_.Count("vkGetQueryPoolResults"), 0u) << "some drivers would wait";
  Driver(0, {{2}});
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_SUCCESS);
  EXPECT_EQ(value, 2u);
  EXPECT_EQ(guests_, 1);
  mock_.HoldQueue(VK_NULL_HANDLE);
  ASSERT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  EXPECT_EQ(Get(0, &value), VK_SUCCESS);
  EXPECT_EQ(guests_, 1) << "known again";
}

TEST_F(PushedQueries, AnAnswerThatTellsOfWorkComesBehindWhatTheWorkMayTouch) {
  AskOnce();
  Driver(0, {{1}});
  RunAndWait(Timestamps(0, 1));
  mock_.Hold(true);
  ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
  ASSERT_EQ(Submit(Timestamps(0, 1), fence_), VK_SUCCESS);
  Sync();  // the driver has it
  // The driver says that an event is set, which the work sets behind its query.
  const VkEventCreateInfo event_info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateEvent(device_, &event_info, nullptr, &event), VK_SUCCESS);
  Driver(0, {{2}});
  vk::vkGetEventStatus(device_, event);
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_SUCCESS);
  EXPECT_EQ(value, 2u);
  EXPECT_EQ(guests_, 1);
  mock_.Hold(false);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  vk::vkDestroyEvent(device_, event, nullptr);
}

TEST_F(PushedQueries, ResetsAreSeenAtOnce) {
  AskOnce();
  Driver(0, {{1}});
  Driver(1, {{2}});
  RunAndWait(Timestamps(0, 2));
  vk::vkResetQueryPool(device_, query_pool_, 0, 1);
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  EXPECT_EQ(Get(1, &value), VK_SUCCESS);
  EXPECT_EQ(guests_, 0);
  Sync();
  Driver(0, {{3}});
  RunAndWait(Timestamps(0, 1));
  EXPECT_EQ(Get(0, &value), VK_SUCCESS);
  EXPECT_EQ(value, 3u);
  // Recorded ones when their work is done.
  Driver(0, std::nullopt);
  RunAndWait(Record([&](VkCommandBuffer b) { vk::vkCmdResetQueryPool(b, query_pool_, 0, 16); }));
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  EXPECT_EQ(guests_, 0);
}

// The host has read a result, and the program has reset it before that has come.
TEST_F(PushedQueries, AResultFromBeforeAResetIsNotTold) {
  AskOnce();
  Driver(0, {{1}});
  Driver(1, {{2}});
  RunAndWait(Timestamps(0, 2));  // they are known
  Driver(0, {{11}});
  Driver(1, {{12}});
  stops_host_ = true;
  ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
  ASSERT_EQ(Submit(Timestamps(0, 2), fence_), VK_SUCCESS);
  ASSERT_TRUE(door_.WaitFor(1));
  vk::vkResetQueryPool(device_, query_pool_, 0, 1);
  door_.Open();
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  EXPECT_EQ(Get(1, &value), VK_SUCCESS);
  EXPECT_EQ(value, 12u);
  Sync();
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  EXPECT_EQ(guests_, 0);
}

TEST_F(PushedQueries, APoolThatIsGoneAndAnotherInItsPlace) {
  AskOnce();
  stops_host_ = true;
  Driver(0, {{1}});
  ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
  ASSERT_EQ(Submit(Timestamps(0, 1), fence_), VK_SUCCESS);
  ASSERT_TRUE(door_.WaitFor(1));
  // As after a wait that another thread has satisfied: the worker must not read a pool that is
  // gone.
  vk::vkDestroyQueryPool(device_, query_pool_, nullptr);
  query_pool_ = MakePool();
  door_.Open();
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  Driver(0, std::nullopt);
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  EXPECT_EQ(guests_, 1) << "nothing is known of the new one";
  Driver(0, {{3}});
  RunAndWait(Timestamps(0, 1));
  EXPECT_EQ(Get(0, &value), VK_SUCCESS);
  EXPECT_EQ(value, 3u);
  EXPECT_EQ(guests_, 1);
}

TEST_F(PushedQueries, APoolThatWasNotMade) {
  Sync();
  mock_.FailNext(number::vkCreateQueryPool, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  vk::vkDestroyQueryPool(device_, query_pool_, nullptr);
  query_pool_ = MakePool();
  uint64_t value = 0;
  EXPECT_LT(Get(0, &value), 0);
  vk::vkResetQueryPool(device_, query_pool_, 0, 16);
  EXPECT_LT(Get(0, &value), 0);
  EXPECT_EQ(mock_.Count("vkGetQueryPoolResults"), 0u);
}

TEST_F(PushedQueries, ALostSessionKnowsNothing) {
  AskOnce();
  Driver(0, {{1}});
  RunAndWait(Timestamps(0, 1));
  host_->Kill();
  while (vk::vkGetFenceStatus(device_, fence_) != VK_ERROR_DEVICE_LOST) {
  }
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_ERROR_DEVICE_LOST);
}

TEST_F(PushedQueries, InSeveralViewsAQueryTakesSeveral) {
  vk::vkDestroyFence(device_, fence_, nullptr);
  vk::vkDestroyQueryPool(device_, query_pool_, nullptr);
  vk::vkDestroyCommandPool(device_, pool_, nullptr);
  vk::vkDestroyDevice(device_, nullptr);
  const float priority = 1.0f;
  const VkDeviceQueueCreateInfo queue{
      VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 0, 1, &priority};
  VkPhysicalDeviceMultiviewFeatures features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MULTIVIEW_FEATURES};
  features.multiview = VK_TRUE;
  const VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &features, 0, 1, &queue};
  ASSERT_EQ(vk::vkCreateDevice(physical_device_, &info, nullptr, &device_), VK_SUCCESS);
  vk::vkGetDeviceQueue(device_, 0, 0, &queue_);
  const VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  ASSERT_EQ(vk::vkCreateCommandPool(device_, &pool, nullptr, &pool_), VK_SUCCESS);
  query_pool_ = MakePool();
  fence_ = CreateFence();
  AskOnce();
  Driver(4, {{4}});
  RunAndWait(Timestamps(3, 1));
  uint64_t value = 0;
  EXPECT_EQ(Get(4, &value), VK_SUCCESS);
  EXPECT_EQ(value, 4u);
  EXPECT_EQ(guests_, 0);
}

class NotPushedQueries : public PushedQueries, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    environment_.debug_sync = GetParam();
    environment_.pushes = GetParam() ? environment_.pushes : 0;
    PushedQueries::SetUp();
  }
};

TEST_P(NotPushedQueries, EachIsACall) {
  const VkCommandBuffer work = Timestamps(0, 1);
  for (uint64_t i = 1; i <= 5; ++i) {
    Driver(0, {{i}});
    RunAndWait(work);
    uint64_t value = 0;
    EXPECT_EQ(Get(0, &value), VK_SUCCESS);
    EXPECT_EQ(value, i);
    vk::vkResetQueryPool(device_, query_pool_, 0, 1);
    EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  }
  EXPECT_EQ(guests_, 10);
  EXPECT_EQ(mock_.Count("vkGetQueryPoolResults"), 10u);
}

INSTANTIATE_TEST_SUITE_P(VariableAndSync, NotPushedQueries, testing::Bool());

}  // namespace
}  // namespace vesper::tests
