// SPDX-License-Identifier: Apache-2.0
// Submissions that have to wait on the host, for a pipeline that is still compiled, hold up their
// own queue and nobody else.
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/wire/tasks.h"

namespace vesper::tests {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class Submissions : public Tasks {
 protected:
  void SetUp() override {
    Tasks::SetUp();
    GetQueues();
  }
  ~Submissions() override { door_.Open(); }

  void GetQueues() {
    vk::vkGetDeviceQueue(device_, 0, 1, &second_);
    vk::vkGetDeviceQueue(device_, 1, 0, &third_);
  }
  // A recording whose pipeline is not there before door_ opens.
  VkCommandBuffer RecordSlow(VkCommandBuffer commands) {
    if (pipeline_ == VK_NULL_HANDLE) {
      mock_.On(number::vkCreateComputePipelines, [this](void* args) {
        door_.Pass();
        if (slow_result_ != VK_SUCCESS) {
          auto& a = *static_cast<proto::Args_vkCreateComputePipelines*>(args);
          a.ret = slow_result_;
          a.pPipelines[0] = VK_NULL_HANDLE;
        }
      });
      module_ = CreateModule();
      layout_ = CreateLayout();
      EXPECT_EQ(CreatePipeline(module_, layout_, &pipeline_), VK_SUCCESS);
    }
    BeginOn(commands);
    vk::vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
    vk::vkCmdDispatch(commands, 1, 1, 1);
    EXPECT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
    return commands;
  }
  VkCommandBuffer RecordSlow() { return RecordSlow(AllocateCommandBuffer()); }
  void DestroySlow() {
    vk::vkDestroyPipeline(device_, pipeline_, nullptr);
    vk::vkDestroyShaderModule(device_, module_, nullptr);
    vk::vkDestroyPipelineLayout(device_, layout_, nullptr);
  }
  // Submits to a queue; `commands` and both semaphores may be null.
  VkResult SubmitTo(VkQueue queue, VkCommandBuffer commands, VkFence fence,
                    VkSemaphore wait = VK_NULL_HANDLE, VkSemaphore signal = VK_NULL_HANDLE,
                    uint64_t value = 0) {
    const VkCommandBufferSubmitInfo buffer{VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO, nullptr,
                                           commands, 0};
    const VkSemaphoreSubmitInfo waits{VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO, nullptr, wait, value,
                                      VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,    0};
    const VkSemaphoreSubmitInfo signals{
        VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO, nullptr, signal, value,
        VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,    0};
    VkSubmitInfo2 info{VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
    info.waitSemaphoreInfoCount = wait == VK_NULL_HANDLE ? 0 : 1;
    info.pWaitSemaphoreInfos = &waits;
    info.commandBufferInfoCount = commands == VK_NULL_HANDLE ? 0 : 1;
    info.pCommandBufferInfos = &buffer;
    info.signalSemaphoreInfoCount = signal == VK_NULL_HANDLE ? 0 : 1;
    info.pSignalSemaphoreInfos = &signals;
    return vk::vkQueueSubmit2(queue, 1, &info, fence);
  }
  VkSemaphore CreateBinary() {
    const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
    VkSemaphore semaphore = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateSemaphore(device_, &info, nullptr, &semaphore), VK_SUCCESS);
    return semaphore;
  }
  // The driver's queues, in the order in which they were submitted to.
  std::vector<VkQueue> SubmittedTo() {
    std::vector<VkQueue> queues;
    for (size_t i = 0; i < mock_.Count("vkQueueSubmit2"); ++i) {
      queues.push_back(Arguments<proto::Args_vkQueueSubmit2>("vkQueueSubmit2", i).queue);
    }
    return queues;
  }
  VkResult Status(VkFence fence) { return vk::vkGetFenceStatus(device_, fence); }

  VkQueue second_ = VK_NULL_HANDLE;
  VkQueue third_ = VK_NULL_HANDLE;
  VkResult slow_result_ = VK_SUCCESS;  // of creating the pipeline of a slow recording
};

TEST_F(Submissions, OneThatWaitsForItsPipelineHoldsUpNobodyElse) {
  const VkFence slow = CreateFence();
  const VkFence quick = CreateFence();
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), slow), VK_SUCCESS);
  std::thread other([&] {
    const VkCommandPool pool = CreatePool();
    const VkCommandBuffer commands = AllocateFrom(pool);
    for (int i = 0; i < 20; ++i) {
      const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
      const VkDeviceMemory memory = Allocate(64, kMockCoherent);
      EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_SUCCESS);
      void* data = nullptr;
      EXPECT_EQ(vk::vkMapMemory(device_, memory, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
      RecordDispatch(commands);
      EXPECT_EQ(SubmitTo(second_, commands, quick), VK_SUCCESS);
      EXPECT_EQ(Wait(quick), VK_SUCCESS);
      EXPECT_EQ(vk::vkQueueWaitIdle(second_), VK_SUCCESS);
      EXPECT_EQ(vk::vkResetFences(device_, 1, &quick), VK_SUCCESS);
      EXPECT_EQ(vk::vkResetCommandPool(device_, pool, 0), VK_SUCCESS);
      vk::vkDestroyBuffer(device_, buffer, nullptr);
      vk::vkFreeMemory(device_, memory, nullptr);
    }
    vk::vkDestroyCommandPool(device_, pool, nullptr);
  });
  other.join();
  EXPECT_EQ(Status(slow), VK_NOT_READY);
  EXPECT_THAT(SubmittedTo(), testing::AllOf(SizeIs(20), Each(MockQueue(0, 1))));
  door_.Open();
  EXPECT_EQ(Wait(slow), VK_SUCCESS);
  EXPECT_EQ(Arguments<proto::Args_vkQueueSubmit2>("vkQueueSubmit2", 20)
                .pSubmits[0]
                .commandBufferInfoCount,
            1u);
  DestroySlow();
  vk::vkDestroyFence(device_, slow, nullptr);
  vk::vkDestroyFence(device_, quick, nullptr);
}

TEST_F(Submissions, OneQueueKeepsItsOrder) {
  const VkFence fences[] = {CreateFence(), CreateFence(), CreateFence()};
  const VkDebugUtilsLabelEXT label{VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT, nullptr, "label", {}};
  Calls();
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), fences[0]), VK_SUCCESS);
  vk::vkQueueBeginDebugUtilsLabelEXT(queue_, &label);
  EXPECT_EQ(vk::vkQueueSubmit(queue_, 0, nullptr, fences[1]), VK_SUCCESS);
  EXPECT_EQ(vk::vkQueueBindSparse(queue_, 0, nullptr, fences[2]), VK_SUCCESS);
  vk::vkQueueEndDebugUtilsLabelEXT(queue_);
  PassStream();
  ASSERT_TRUE(door_.WaitFor(1));
  EXPECT_EQ(Position("vkQueueSubmit2"), -1);
  EXPECT_EQ(Position("vkQueueBeginDebugUtilsLabelEXT"), -1);
  EXPECT_EQ(Position("vkQueueSubmit"), -1);
  EXPECT_EQ(Position("vkQueueBindSparse"), -1);
  door_.Open();
  EXPECT_EQ(Wait(fences[2]), VK_SUCCESS);
  EXPECT_EQ(Status(fences[1]), VK_SUCCESS);
  EXPECT_EQ(Status(fences[0]), VK_SUCCESS);
  Sync();
  EXPECT_LT(Position("vkQueueSubmit2"), Position("vkQueueBeginDebugUtilsLabelEXT"));
  EXPECT_LT(Position("vkQueueBeginDebugUtilsLabelEXT"), Position("vkQueueSubmit"));
  EXPECT_LT(Position("vkQueueSubmit"), Position("vkQueueBindSparse"));
  EXPECT_LT(Position("vkQueueBindSparse"), Position("vkQueueEndDebugUtilsLabelEXT"));
  DestroySlow();
  for (const VkFence fence : fences) {
    vk::vkDestroyFence(device_, fence, nullptr);
  }
}

TEST_F(Submissions, BinarySemaphoresKeepQueuesInOrder) {
  const VkSemaphore semaphore = CreateBinary();
  const VkFence fence = CreateFence();
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), VK_NULL_HANDLE, VK_NULL_HANDLE, semaphore), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(second_, VK_NULL_HANDLE, VK_NULL_HANDLE, semaphore), VK_SUCCESS);
  // Signalled again, and waited for by the queue that signalled it first.
  EXPECT_EQ(SubmitTo(second_, VK_NULL_HANDLE, VK_NULL_HANDLE, VK_NULL_HANDLE, semaphore),
            VK_SUCCESS);
  EXPECT_EQ(SubmitTo(queue_, VK_NULL_HANDLE, VK_NULL_HANDLE, semaphore), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(third_, VK_NULL_HANDLE, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_THAT(SubmittedTo(), ElementsAre(MockQueue(1, 0)));
  vk::vkDestroySemaphore(device_, semaphore, nullptr);
  PassStream();
  EXPECT_EQ(mock_.Count("vkDestroySemaphore"), 0u);
  door_.Open();
  Sync();
  EXPECT_THAT(SubmittedTo(), ElementsAre(MockQueue(1, 0), MockQueue(0, 0), MockQueue(0, 1),
                                         MockQueue(0, 1), MockQueue(0, 0)));
  for (size_t i = 1; i < 5; ++i) {
    const VkSubmitInfo2& batch =
        Arguments<proto::Args_vkQueueSubmit2>("vkQueueSubmit2", i).pSubmits[0];
    EXPECT_EQ(batch.waitSemaphoreInfoCount + batch.signalSemaphoreInfoCount, 2u)
        << "the program's and the worker's own";
  }
  EXPECT_EQ(mock_.Count("vkDestroySemaphore"), 1u);
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  DestroySlow();
  vk::vkDestroyFence(device_, fence, nullptr);
}

// Whoever waits for a timeline may be submitted first, and the host may signal it at any time.
TEST_F(Submissions, TimelinesHoldUpNobody) {
  const VkSemaphore timeline = CreateTimeline(0);
  const VkSemaphore other = CreateTimeline(0);
  const auto value = [&](VkSemaphore semaphore) {
    uint64_t counter = 99;
    EXPECT_EQ(vk::vkGetSemaphoreCounterValue(device_, semaphore, &counter), VK_SUCCESS);
    return counter;
  };
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), VK_NULL_HANDLE, VK_NULL_HANDLE, timeline, 5),
            VK_SUCCESS);
  EXPECT_EQ(SubmitTo(second_, VK_NULL_HANDLE, VK_NULL_HANDLE, timeline, other, 5), VK_SUCCESS);
  const VkSemaphoreSignalInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, timeline, 3};
  EXPECT_EQ(vk::vkSignalSemaphore(device_, &signal), VK_SUCCESS);
  PassStream();
  EXPECT_EQ(mock_.Count("vkSignalSemaphore"), 1u);
  EXPECT_THAT(SubmittedTo(), ElementsAre(MockQueue(0, 1)));
  EXPECT_EQ(value(timeline), 3u);
  door_.Open();
  const uint64_t five = 5;
  const VkSemaphoreWaitInfo wait{
      VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, nullptr, 0, 1, &timeline, &five};
  EXPECT_EQ(vk::vkWaitSemaphores(device_, &wait, UINT64_MAX), VK_SUCCESS);
  EXPECT_EQ(value(timeline), 5u);
  EXPECT_THAT(SubmittedTo(), ElementsAre(MockQueue(0, 1), MockQueue(0, 0)));
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  DestroySlow();
  vk::vkDestroySemaphore(device_, timeline, nullptr);
  vk::vkDestroySemaphore(device_, other, nullptr);
}

TEST_F(Submissions, EventsOfTheHostGoAhead) {
  const VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateEvent(device_, &info, nullptr, &event), VK_SUCCESS);
  const VkCommandBuffer commands = AllocateCommandBuffer();
  BeginOn(commands);
  vk::vkCmdWaitEvents(commands, 1, &event, VK_PIPELINE_STAGE_HOST_BIT,
                      VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, nullptr, 0, nullptr, 0, nullptr);
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(queue_, commands, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(vk::vkSetEvent(device_, event), VK_SUCCESS);
  PassStream();
  EXPECT_EQ(mock_.Count("vkSetEvent"), 1u);
  EXPECT_THAT(SubmittedTo(), IsEmpty());
  door_.Open();
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  vk::vkDestroyEvent(device_, event, nullptr);
  DestroySlow();
}

// What a program frees after a submission stays until that has been executed. A program may do so
// once it was told that its device is lost, and the host must not depend on what it may do.
TEST_F(Submissions, DestructionsComeAfterwards) {
  const VkCommandPool pool = CreatePool();
  const VkCommandBuffer first = AllocateFrom(pool);
  const VkCommandBuffer second = AllocateFrom(pool);
  RecordDispatch(second);
  Calls();
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(first), VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(queue_, second, VK_NULL_HANDLE), VK_SUCCESS);
  vk::vkResetCommandPool(device_, pool, 0);
  vk::vkFreeCommandBuffers(device_, pool, 1, &second);
  DestroySlow();
  vk::vkDestroyCommandPool(device_, pool, nullptr);
  PassStream();
  EXPECT_EQ(mock_.Count("vkResetCommandPool"), 0u);
  door_.Open();
  Sync();
  std::vector<std::string> names = mock_.Names();
  std::erase_if(names, [](const std::string& name) {
    return name != "vkQueueSubmit2" && name != "vkResetCommandPool" &&
           name != "vkFreeCommandBuffers" && name != "vkDestroyCommandPool";
  });
  EXPECT_THAT(names, ElementsAre("vkQueueSubmit2", "vkQueueSubmit2", "vkResetCommandPool",
                                 "vkFreeCommandBuffers", "vkDestroyCommandPool"));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(Arguments<proto::Args_vkQueueSubmit2>("vkQueueSubmit2", i)
                  .pSubmits[0]
                  .commandBufferInfoCount,
              1u);
  }
}

// A command buffer is recorded anew after its submission, and others of its pool before.
TEST_F(Submissions, RecordingsComeAfterwardsOnlyIntoTheSameCommandBuffer) {
  const VkCommandPool pool = CreatePool();
  const VkCommandBuffer first = AllocateFrom(pool);
  const VkCommandBuffer second = AllocateFrom(pool);
  RecordDispatch(first);
  Calls();
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(queue_, first, VK_NULL_HANDLE), VK_SUCCESS);
  const VkFence fence = CreateFence();
  RecordDispatch(second);
  EXPECT_EQ(SubmitTo(second_, second, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), 1u);
  RecordDispatch(first);
  PassStream();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), 1u);
  door_.Open();
  Sync();
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), 3u);
  EXPECT_EQ(mock_.Count("vkQueueSubmit2"), 3u);
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyCommandPool(device_, pool, nullptr);
  DestroySlow();
}

// What is written for later submissions goes to memory at once, and what the earlier one writes
// when its turn comes is found all the same.
TEST_F(Submissions, MemoryOfLaterOnesGoesAhead) {
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::byte* data = MapNewMemory(4096, kMockCoherent, &memory);
  std::memset(data, 1, 4096);
  const VkFence fence = CreateFence();
  const VkFence quick = CreateFence();
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), fence), VK_SUCCESS);
  std::memset(data + 256, 2, 256);
  const VkCommandPool pool = CreatePool();
  const VkCommandBuffer commands = AllocateFrom(pool);
  RecordDispatch(commands);
  EXPECT_EQ(SubmitTo(second_, commands, quick), VK_SUCCESS);
  EXPECT_EQ(Wait(quick), VK_SUCCESS);
  EXPECT_EQ(mock_.Memory(0)[0], std::byte{1});
  EXPECT_EQ(mock_.Memory(0)[256], std::byte{2});
  mock_.OnExecute([&] { std::ranges::fill(mock_.Memory(0).first(256), std::byte{7}); });
  std::memset(data + 512, 3, 256);
  door_.Open();
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  mock_.OnExecute(nullptr);
  EXPECT_EQ(data[0], std::byte{7});
  EXPECT_EQ(data[255], std::byte{7});
  EXPECT_EQ(data[256], std::byte{2});
  EXPECT_EQ(data[512], std::byte{3});
  EXPECT_EQ(data[768], std::byte{1});
  EXPECT_EQ(SubmitTo(queue_, VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  vk::vkDestroyCommandPool(device_, pool, nullptr);
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyFence(device_, quick, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
  DestroySlow();
}

// Those of one queue that nobody else waits for may be many.
TEST_F(Submissions, ManyWaitAndGoInOrder) {
  constexpr uint64_t kCount = 3000;
  const VkSemaphore timeline = CreateTimeline(0);
  std::vector<uint64_t> values;
  mock_.On(number::vkQueueSubmit2, [&](void* args) {
    values.push_back(
        static_cast<proto::Args_vkQueueSubmit2*>(args)->pSubmits[0].pSignalSemaphoreInfos[0].value);
  });
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), VK_NULL_HANDLE, VK_NULL_HANDLE, timeline, 1),
            VK_SUCCESS);
  for (uint64_t i = 2; i <= kCount; ++i) {
    ASSERT_EQ(SubmitTo(queue_, VK_NULL_HANDLE, VK_NULL_HANDLE, VK_NULL_HANDLE, timeline, i),
              VK_SUCCESS);
  }
  PassStream();
  EXPECT_THAT(SubmittedTo(), IsEmpty());
  door_.Open();
  const VkSemaphoreWaitInfo wait{
      VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, nullptr, 0, 1, &timeline, &kCount};
  EXPECT_EQ(vk::vkWaitSemaphores(device_, &wait, UINT64_MAX), VK_SUCCESS);
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  Sync();
  ASSERT_THAT(values, SizeIs(kCount));
  EXPECT_TRUE(std::ranges::is_sorted(values));
  vk::vkDestroySemaphore(device_, timeline, nullptr);
  DestroySlow();
}

// The pipeline is not made: its command buffer is left out, and the fence signals.
TEST_F(Submissions, WhatFailsMeanwhileIsLeftOut) {
  const VkFence fence = CreateFence();
  slow_result_ = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), fence), VK_SUCCESS);
  door_.Open();
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  Sync();
  EXPECT_EQ(
      Arguments<proto::Args_vkQueueSubmit2>("vkQueueSubmit2").pSubmits[0].commandBufferInfoCount,
      0u);
  EXPECT_EQ(SubmitTo(queue_, VK_NULL_HANDLE, VK_NULL_HANDLE), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(SubmitTo(queue_, VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  DestroySlow();
  vk::vkDestroyFence(device_, fence, nullptr);
}

// The program knows that its device is lost and destroys everything, so nothing of what waited
// reaches the driver any more.
TEST_F(Submissions, NoneForALostDevice) {
  const VkFence fence = CreateFence();
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), fence), VK_SUCCESS);
  mock_.LoseDevice();
  SubmitTo(second_, VK_NULL_HANDLE, VK_NULL_HANDLE);
  EXPECT_EQ(Wait(fence, UINT64_MAX), VK_ERROR_DEVICE_LOST);
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_ERROR_DEVICE_LOST);
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyCommandPool(device_, pool_, nullptr);
  pool_ = VK_NULL_HANDLE;
  DestroySlow();
  PassStream();
  door_.Open();
  Sync();
  EXPECT_THAT(SubmittedTo(), ElementsAre(MockQueue(0, 1)));
  EXPECT_EQ(mock_.Count("vkDestroyPipeline"), 1u);
}

TEST_F(Submissions, TheDeviceOutlivesThem) {
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(queue_, VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
  ASSERT_TRUE((PassStream(), door_.WaitFor(1)));
  DestroySlow();
  std::thread opener([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    door_.Open();
  });
  DestroyAll();
  opener.join();
  host_->Finish();
  EXPECT_EQ(mock_.Count("vkQueueSubmit2"), 2u);
  EXPECT_LT(Position("vkQueueSubmit2"), Position("vkDestroyDevice"));
}

TEST_F(Submissions, ASessionEndsWhileTheyWait) {
  const VkSemaphore semaphore = CreateBinary();
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), VK_NULL_HANDLE, VK_NULL_HANDLE, semaphore), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(second_, VK_NULL_HANDLE, VK_NULL_HANDLE, semaphore), VK_SUCCESS);
  ASSERT_TRUE((PassStream(), door_.WaitFor(1)));
  std::thread waiter([this] { EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_ERROR_DEVICE_LOST); });
  host_->Kill();
  waiter.join();
  std::thread opener([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    door_.Open();
  });
  host_->Finish();
  opener.join();
  EXPECT_THAT(SubmittedTo(), IsEmpty());
  vk::vkDestroySemaphore(device_, semaphore, nullptr);
  DestroySlow();
}

// A driver that stays in a submission until the host sets an event holds up its queue. The event
// comes through, and so does everything else, although the worker has but one thread for tasks.
TEST_F(Submissions, TheDriverMayStayInOne) {
  DestroyAll();
  host_->Finish();
  mock_.SetLavapipe(true);
  host_threads_ = 1;
  Open();
  GetQueues();
  mock_.On(number::vkQueueSubmit2, [this](void* args) {
    if (static_cast<proto::Args_vkQueueSubmit2*>(args)->pSubmits[0].waitSemaphoreInfoCount != 0) {
      door_.Pass();
    }
  });
  mock_.On(number::vkSetEvent, [this](void*) { door_.Open(); });
  const VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateEvent(device_, &info, nullptr, &event), VK_SUCCESS);
  const VkSemaphore semaphore = CreateBinary();
  const VkFence fence = CreateFence();
  const VkFence quick = CreateFence();
  EXPECT_EQ(SubmitTo(queue_, VK_NULL_HANDLE, VK_NULL_HANDLE, VK_NULL_HANDLE, semaphore),
            VK_SUCCESS);
  EXPECT_EQ(SubmitTo(queue_, ShaderWork(), VK_NULL_HANDLE, semaphore), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(queue_, VK_NULL_HANDLE, fence), VK_SUCCESS);
  ASSERT_TRUE(door_.WaitFor(1));
  const VkCommandPool pool = CreatePool();
  const VkCommandBuffer commands = AllocateFrom(pool);
  RecordDispatch(commands);
  EXPECT_EQ(SubmitTo(second_, commands, quick), VK_SUCCESS);
  EXPECT_EQ(Wait(quick), VK_SUCCESS);
  EXPECT_EQ(Status(fence), VK_NOT_READY);
  // Not even memory that is out lets the stream wait.
  mock_.FailNext(number::vkAllocateMemory, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkDeviceMemory memory = Allocate(64, kMockDeviceLocal);
  EXPECT_EQ(vk::vkSetEvent(device_, event), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_THAT(SubmittedTo(),
              ElementsAre(MockQueue(0, 0), MockQueue(0, 0), MockQueue(0, 1), MockQueue(0, 0)));
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  vk::vkFreeMemory(device_, memory, nullptr);
  vk::vkDestroyCommandPool(device_, pool, nullptr);
  vk::vkDestroySemaphore(device_, semaphore, nullptr);
  vk::vkDestroyEvent(device_, event, nullptr);
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyFence(device_, quick, nullptr);
}

TEST_F(Submissions, WithoutThreadsEverythingIsInTheStream) {
  DestroyAll();
  host_->Finish();
  mock_.Clear();
  host_threads_ = 0;
  Open();
  GetQueues();
  door_.Open();
  const VkSemaphore semaphore = CreateBinary();
  const VkFence fence = CreateFence();
  EXPECT_EQ(SubmitTo(queue_, RecordSlow(), VK_NULL_HANDLE, VK_NULL_HANDLE, semaphore), VK_SUCCESS);
  EXPECT_EQ(SubmitTo(second_, VK_NULL_HANDLE, fence, semaphore), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  EXPECT_THAT(SubmittedTo(), ElementsAre(MockQueue(0, 0), MockQueue(0, 1)));
  vk::vkDestroySemaphore(device_, semaphore, nullptr);
  vk::vkDestroyFence(device_, fence, nullptr);
  DestroySlow();
}

}  // namespace
}  // namespace vesper::tests
