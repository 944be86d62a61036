// SPDX-License-Identifier: Apache-2.0
// What the worker's tasks do while the stream goes on: compilations, replays, and whatever has to
// come after them.
#include "tests/wire/tasks.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "client_icd/device.h"
#include "client_icd/generated_support.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

TEST_F(Tasks, ASlowCompilationDoesNotDelayASubmission) {
  CompileSlowly();
  const VkFence fence = CreateFence();
  const VkCommandBuffer commands = ShaderWork();
  EXPECT_EQ(Submit(commands, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  FinishCompiling();
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyPipeline(device_, pipeline_, nullptr);
  vk::vkDestroyShaderModule(device_, module_, nullptr);
  vk::vkDestroyPipelineLayout(device_, layout_, nullptr);
}

TEST_F(Tasks, ManySlowCompilationsDoNotEither) {
  module_ = CreateModule();
  layout_ = CreateLayout();
  mock_.On(number::vkCreateComputePipelines, [this](void*) { door_.Pass(); });
  std::vector<VkPipeline> pipelines(6);
  std::vector<std::thread> compilers;
  for (VkPipeline& pipeline : pipelines) {
    compilers.emplace_back(
        [&] { EXPECT_EQ(CreatePipeline(module_, layout_, &pipeline), VK_SUCCESS); });
  }
  ASSERT_TRUE(door_.WaitFor(2));
  const VkFence fence = CreateFence();
  EXPECT_EQ(Submit(ShaderWork(), fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_EQ(door_.most(), 2) << "one thread of three is left";
  door_.Open();
  for (std::thread& compiler : compilers) {
    compiler.join();
  }
  vk::vkDestroyFence(device_, fence, nullptr);
  for (const VkPipeline pipeline : pipelines) {
    vk::vkDestroyPipeline(device_, pipeline, nullptr);
  }
  vk::vkDestroyShaderModule(device_, module_, nullptr);
  vk::vkDestroyPipelineLayout(device_, layout_, nullptr);
}

TEST_F(Tasks, InputsLiveUntilTheCompilationEndsAndTheStreamGoesOn) {
  CompileSlowly();
  vk::vkDestroyShaderModule(device_, module_, nullptr);
  vk::vkDestroyPipelineLayout(device_, layout_, nullptr);
  // The guest gives both ids to others, and the host keeps them apart.
  const VkShaderModule module = CreateModule();
  const VkPipelineLayout layout = CreateLayout();
  PassStream();
  EXPECT_EQ(mock_.Count("vkDestroyShaderModule"), 0u);
  EXPECT_EQ(mock_.Count("vkDestroyPipelineLayout"), 0u);
  FinishCompiling();
  Sync();
  EXPECT_EQ(mock_.Count("vkDestroyShaderModule"), 1u);
  EXPECT_EQ(mock_.Count("vkDestroyPipelineLayout"), 1u);
  EXPECT_LT(Position("vkDestroyShaderModule"), Position("vkDestroyPipelineLayout"));
  VkPipeline other = VK_NULL_HANDLE;
  EXPECT_EQ(CreatePipeline(module, layout, &other), VK_SUCCESS);
  Sync();
  EXPECT_NE(Arguments<proto::Args_vkCreateComputePipelines>("vkCreateComputePipelines", 1)
                .pCreateInfos[0]
                .stage.module,
            Arguments<proto::Args_vkDestroyShaderModule>("vkDestroyShaderModule").shaderModule);
  vk::vkDestroyPipeline(device_, other, nullptr);
  vk::vkDestroyPipeline(device_, pipeline_, nullptr);
  vk::vkDestroyShaderModule(device_, module, nullptr);
  vk::vkDestroyPipelineLayout(device_, layout, nullptr);
}

TEST_F(Tasks, WhatReadsACacheWaitsForCompilationsWithIt) {
  const VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO, nullptr,
                                       VK_PIPELINE_CACHE_CREATE_EXTERNALLY_SYNCHRONIZED_BIT};
  VkPipelineCache cache = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreatePipelineCache(device_, &info, nullptr, &cache), VK_SUCCESS);
  Sync();
  EXPECT_EQ(
      Arguments<proto::Args_vkCreatePipelineCache>("vkCreatePipelineCache").pCreateInfo->flags, 0u)
      << "tasks meet in it";
  CompileSlowly(cache);
  std::thread reader([&] {
    size_t size = 0;
    EXPECT_EQ(vk::vkGetPipelineCacheData(device_, cache, &size, nullptr), VK_SUCCESS);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(mock_.Count("vkGetPipelineCacheData"), 0u);
  FinishCompiling();
  reader.join();
  EXPECT_EQ(mock_.Count("vkGetPipelineCacheData"), 1u);
  vk::vkDestroyPipelineCache(device_, cache, nullptr);
  vk::vkDestroyPipeline(device_, pipeline_, nullptr);
  vk::vkDestroyShaderModule(device_, module_, nullptr);
  vk::vkDestroyPipelineLayout(device_, layout_, nullptr);
}

TEST_F(Tasks, AFailedCompilationIsTheCallersToKnow) {
  flags_ = VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT;  // asks for the result
  module_ = CreateModule();
  layout_ = CreateLayout();
  mock_.FailNext(number::vkCreateComputePipelines, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(CreatePipeline(module_, layout_, &pipeline_), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(pipeline_, VkPipeline{VK_NULL_HANDLE});
  EXPECT_EQ(CreatePipeline(module_, layout_, &pipeline_), VK_SUCCESS);
  vk::vkDestroyPipeline(device_, pipeline_, nullptr);
  vk::vkDestroyShaderModule(device_, module_, nullptr);
  vk::vkDestroyPipelineLayout(device_, layout_, nullptr);
}

TEST_F(Tasks, ASessionEndsWhileACompilationHangs) {
  flags_ = VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT;  // waits for the result
  CompileSlowly();
  vk::vkDestroyShaderModule(device_, module_, nullptr);
  RecordDispatch(AllocateCommandBuffer());
  host_->Kill();
  compiler_.join();  // the guest doesn't wait for the host
  EXPECT_NE(compiled_, VK_SUCCESS);
  std::thread opener([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    door_.Open();
  });
  host_->Finish();
  opener.join();
  EXPECT_EQ(mock_.Count("vkDestroyShaderModule"), 0u) << "it was left to the driver";
}

TEST_F(Tasks, PoolsAreReplayedAtTheSameTimeAndOnePoolInOrder) {
  const VkCommandPool other = CreatePool();
  const VkCommandBuffer first = AllocateCommandBuffer();
  const VkCommandBuffer second = AllocateCommandBuffer();
  const VkCommandBuffer third = AllocateFrom(other);
  StopDispatches();
  RecordDispatch(first);
  RecordDispatch(second);
  RecordDispatch(third);
  PassStream();
  EXPECT_TRUE(door_.WaitFor(2)) << "two pools";
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(door_.most(), 2) << "two command buffers of one pool";
  door_.Open();
  EXPECT_EQ(Submit(second, VK_NULL_HANDLE), VK_SUCCESS);
  vk::vkQueueWaitIdle(queue_);
  vk::vkDestroyCommandPool(device_, other, nullptr);
}

TEST_F(Tasks, ASubmissionWaitsForItsOwnRecordingsOnly) {
  const VkCommandPool pool = CreatePool();
  const VkCommandBuffer stopped = AllocateFrom(pool);
  StopDispatches();
  RecordDispatch(stopped);
  ASSERT_TRUE((PassStream(), door_.WaitFor(1)));
  const VkCommandBuffer free = Begin();
  ASSERT_EQ(vk::vkEndCommandBuffer(free), VK_SUCCESS);
  const VkFence fence = CreateFence();
  EXPECT_EQ(Submit(free, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_EQ(Submit(stopped, VK_NULL_HANDLE), VK_SUCCESS);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(mock_.Count("vkQueueSubmit"), 1u);
  door_.Open();
  Sync();
  EXPECT_EQ(mock_.Count("vkQueueSubmit"), 2u);
  EXPECT_EQ(Arguments<proto::Args_vkQueueSubmit>("vkQueueSubmit", 1).pSubmits[0].commandBufferCount,
            1u);
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyCommandPool(device_, pool, nullptr);
}

// A guest may post a compilation and go on. Replays that need it give their threads back.
TEST_F(Tasks, ReplaysGoOnWhenTheirPipelineIsThere) {
  module_ = CreateModule();
  layout_ = CreateLayout();
  mock_.On(number::vkCreateComputePipelines, [this](void*) { door_.Pass(); });
  const VkComputePipelineCreateInfo info{
      VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
      nullptr,
      0,
      {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, nullptr, 0, VK_SHADER_STAGE_COMPUTE_BIT,
       module_, "main", nullptr},
      layout_,
      VK_NULL_HANDLE,
      0};
  proto::Args_vkCreateComputePipelines args{device_, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline_};
  ASSERT_EQ(client::CreateObjects(client::Device::From(device_), client::Send::kPost,
                                  number::vkCreateComputePipelines, &args, &args.ret,
                                  proto::HandleType::kPipeline,
                                  reinterpret_cast<uint64_t*>(&pipeline_), 1, 0),
            VK_SUCCESS);
  std::vector<VkCommandPool> pools;
  std::vector<VkCommandBuffer> waiting;
  for (int i = 0; i < 4; ++i) {
    pools.push_back(CreatePool());
    waiting.push_back(AllocateFrom(pools.back()));
    BeginOn(waiting.back());
    vk::vkCmdDispatch(waiting.back(), 1, 1, 1);
    vk::vkCmdBindPipeline(waiting.back(), VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
    ASSERT_EQ(vk::vkEndCommandBuffer(waiting.back()), VK_SUCCESS);
  }
  const VkFence fence = CreateFence();
  EXPECT_EQ(Submit(ShaderWork(), fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  ASSERT_TRUE(door_.WaitFor(1));
  EXPECT_EQ(mock_.Count("vkCmdBindPipeline"), 0u);
  door_.Open();
  for (const VkCommandBuffer each : waiting) {
    EXPECT_EQ(Submit(each, VK_NULL_HANDLE), VK_SUCCESS);
  }
  Sync();
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), 5u) << "nothing is replayed twice";
  ASSERT_EQ(mock_.Count("vkCmdBindPipeline"), 4u);
  for (size_t i = 0; i < waiting.size(); ++i) {
    EXPECT_NE(Arguments<proto::Args_vkCmdBindPipeline>("vkCmdBindPipeline", i).pipeline,
              VkPipeline{VK_NULL_HANDLE});
    EXPECT_EQ(
        Arguments<proto::Args_vkQueueSubmit>("vkQueueSubmit", i + 1).pSubmits[0].commandBufferCount,
        1u);
  }
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  for (const VkCommandPool pool : pools) {
    vk::vkDestroyCommandPool(device_, pool, nullptr);
  }
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyPipeline(device_, pipeline_, nullptr);
  vk::vkDestroyShaderModule(device_, module_, nullptr);
  vk::vkDestroyPipelineLayout(device_, layout_, nullptr);
}

// The command buffers of a pool that is about to be destroyed are not those that have their ids
// now.
TEST_F(Tasks, ChildrenOfADyingPoolAreReplayedToTheEnd) {
  const VkCommandPool pool = CreatePool();
  const VkCommandBuffer first = AllocateFrom(pool);
  const VkCommandBuffer second = AllocateFrom(pool);
  Calls();
  StopDispatches();
  RecordDispatch(first);
  RecordDispatch(second);
  vk::vkDestroyCommandPool(device_, pool, nullptr);
  const VkCommandBuffer again[] = {AllocateCommandBuffer(), AllocateCommandBuffer()};
  PassStream();
  ASSERT_TRUE(door_.WaitFor(1));
  EXPECT_EQ(mock_.Count("vkAllocateCommandBuffers"), 2u) << "in the stream";
  door_.Open();
  Sync();
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), 2u);
  EXPECT_EQ(mock_.Count("vkDestroyCommandPool"), 1u);
  for (const VkCommandBuffer each : again) {
    RecordDispatch(each);
    EXPECT_EQ(Submit(each, VK_NULL_HANDLE), VK_SUCCESS);
  }
  Sync();
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), 4u);
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
}

// Whatever moment the replay ends at, the submission has the command buffer.
TEST_F(Tasks, SubmissionsRaceWithTheirReplays) {
  constexpr int kRounds = 200;
  std::vector<uint32_t> counts;  // of command buffers that reached the driver
  mock_.On(number::vkQueueSubmit, [&](void* args) {
    counts.push_back(static_cast<proto::Args_vkQueueSubmit*>(args)->pSubmits[0].commandBufferCount);
  });
  for (int round = 0; round < kRounds; ++round) {
    const VkCommandBuffer first = AllocateCommandBuffer();
    RecordDispatch(first);
    const VkCommandBuffer second = AllocateCommandBuffer();  // waits for the replay, or doesn't
    BeginOn(second);
    for (int i = 0; i < round % 20; ++i) {
      vk::vkCmdDispatch(second, 1, 1, 1);
    }
    ASSERT_EQ(vk::vkEndCommandBuffer(second), VK_SUCCESS);
    // The command buffer comes first of what takes a while to decode.
    std::vector<VkSubmitInfo> batches(1 + static_cast<size_t>(round) % 50 * 4,
                                      {VK_STRUCTURE_TYPE_SUBMIT_INFO});
    batches[0].commandBufferCount = 1;
    batches[0].pCommandBuffers = &second;
    ASSERT_EQ(vk::vkQueueSubmit(queue_, static_cast<uint32_t>(batches.size()), batches.data(),
                                VK_NULL_HANDLE),
              VK_SUCCESS);
    ASSERT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
    const VkCommandBuffer both[] = {first, second};
    vk::vkFreeCommandBuffers(device_, pool_, 2, both);
  }
  Sync();
  ASSERT_EQ(counts.size(), size_t{kRounds});
  for (size_t round = 0; round < kRounds; ++round) {
    EXPECT_EQ(counts[round], 1u) << "submission " << round;
  }
}

TEST_F(Tasks, ResetAndFreeAndDestroyComeAfterReplays) {
  const VkCommandPool pool = CreatePool();
  const VkCommandBuffer first = AllocateFrom(pool);
  const VkCommandBuffer second = AllocateFrom(pool);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  const VkDeviceMemory memory = Allocate(64, kMockDeviceLocal);
  ASSERT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_SUCCESS);
  Calls();
  StopDispatches();
  BeginOn(first);
  vk::vkCmdDispatch(first, 1, 1, 1);
  vk::vkCmdFillBuffer(first, buffer, 0, 64, 7);
  ASSERT_EQ(vk::vkEndCommandBuffer(first), VK_SUCCESS);
  // None of these waits in the stream, and none overtakes the replay.
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
  vk::vkResetCommandBuffer(second, 0);
  vk::vkResetCommandPool(device_, pool, 0);
  vk::vkFreeCommandBuffers(device_, pool, 1, &first);
  const VkCommandBuffer third = AllocateFrom(pool);
  vk::vkDestroyCommandPool(device_, pool, nullptr);
  EXPECT_NE(third, VkCommandBuffer{VK_NULL_HANDLE});
  PassStream();
  ASSERT_TRUE(door_.WaitFor(1));
  EXPECT_THAT(mock_.Names(), UnorderedElementsAre("vkBeginCommandBuffer", "vkCmdDispatch",
                                                  "vkGetPhysicalDeviceMemoryProperties2"));
  door_.Open();
  Sync();
  EXPECT_LT(Position("vkCmdFillBuffer"), Position("vkDestroyBuffer"));
  EXPECT_LT(Position("vkDestroyBuffer"), Position("vkFreeMemory"));
  EXPECT_LT(Position("vkEndCommandBuffer"), Position("vkResetCommandBuffer"));
  EXPECT_LT(Position("vkResetCommandBuffer"), Position("vkResetCommandPool"));
  EXPECT_LT(Position("vkResetCommandPool"), Position("vkFreeCommandBuffers"));
  EXPECT_LT(Position("vkFreeCommandBuffers"), Position("vkAllocateCommandBuffers"));
  EXPECT_LT(Position("vkAllocateCommandBuffers"), Position("vkDestroyCommandPool"));
}

TEST_F(Tasks, PrimariesComeAfterTheirSecondaries) {
  const VkCommandPool pool = CreatePool();
  const VkCommandBuffer secondary = AllocateFrom(pool, VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  const VkCommandBuffer primary = AllocateCommandBuffer();
  Calls();
  StopDispatches();
  RecordDispatch(secondary);
  BeginOn(primary);
  vk::vkCmdExecuteCommands(primary, 1, &secondary);
  ASSERT_EQ(vk::vkEndCommandBuffer(primary), VK_SUCCESS);
  vk::vkResetCommandPool(device_, pool, 0);
  PassStream();
  ASSERT_TRUE(door_.WaitFor(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(mock_.Count("vkCmdExecuteCommands"), 0u);
  door_.Open();
  Sync();
  EXPECT_LT(Position("vkCmdDispatch"), Position("vkCmdExecuteCommands"));
  EXPECT_LT(Position("vkCmdExecuteCommands"), Position("vkResetCommandPool"));
  vk::vkDestroyCommandPool(device_, pool, nullptr);
}

TEST_F(Tasks, DescriptorSetsChangeAfterReplaysThatBindThem) {
  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                             VK_SHADER_STAGE_ALL, nullptr};
  const VkDescriptorPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                             nullptr,
                                             VK_DESCRIPTOR_POOL_CREATE_UPDATE_AFTER_BIND_BIT,
                                             2,
                                             0,
                                             nullptr};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorPool(device_, &pool_info, nullptr, &pool), VK_SUCCESS);
  VkDescriptorSetLayout layouts[2] = {};
  for (uint32_t i = 0; i < 2; ++i) {
    const VkDescriptorSetLayoutCreateInfo info{
        VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr,
        i == 1 ? VkFlags{VK_DESCRIPTOR_SET_LAYOUT_CREATE_UPDATE_AFTER_BIND_POOL_BIT} : VkFlags{0},
        1, &binding};
    ASSERT_EQ(vk::vkCreateDescriptorSetLayout(device_, &info, nullptr, &layouts[i]), VK_SUCCESS);
  }
  const VkDescriptorSetAllocateInfo allocate{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                             nullptr, pool, 2, layouts};
  VkDescriptorSet sets[2] = {};
  ASSERT_EQ(vk::vkAllocateDescriptorSets(device_, &allocate, sets), VK_SUCCESS);
  const VkBuffer buffer = Keep(CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT));
  const VkDescriptorBufferInfo buffer_info{buffer, 0, 64};
  const auto update = [&](VkDescriptorSet set) {
    const VkWriteDescriptorSet write{
        VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, nullptr, set,          0,      0, 1,
        VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,      nullptr, &buffer_info, nullptr};
    vk::vkUpdateDescriptorSets(device_, 1, &write, 0, nullptr);
  };
  const VkCommandBuffer commands = AllocateCommandBuffer();
  Calls();
  StopDispatches();
  BeginOn(commands);
  vk::vkCmdDispatch(commands, 1, 1, 1);
  vk::vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, VK_NULL_HANDLE, 0, 2, sets,
                              0, nullptr);
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  update(sets[1]);
  PassStream();
  ASSERT_TRUE(door_.WaitFor(1));
  EXPECT_EQ(mock_.Count("vkUpdateDescriptorSets"), 1u)
      << "this one may be updated after it is bound";
  update(sets[0]);
  vk::vkResetDescriptorPool(device_, pool, 0);
  std::thread passing([this] { PassStream(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(mock_.Count("vkUpdateDescriptorSets"), 1u);
  EXPECT_EQ(mock_.Count("vkResetDescriptorPool"), 0u);
  door_.Open();
  passing.join();
  Sync();
  EXPECT_EQ(mock_.Count("vkUpdateDescriptorSets"), 2u);
  EXPECT_LT(Position("vkCmdBindDescriptorSets"), Position("vkResetDescriptorPool"));
  vk::vkDestroyDescriptorPool(device_, pool, nullptr);
  for (const VkDescriptorSetLayout layout : layouts) {
    vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);
  }
}

TEST_F(Tasks, MemoryThatWaitsToBeFreedIsNotMissed) {
  mock_.SetMemoryLimit(1 << 20);
  const VkDeviceMemory memory = Allocate(1 << 20, kMockDeviceLocal);
  StopDispatches();
  RecordDispatch(AllocateCommandBuffer());
  vk::vkFreeMemory(device_, memory, nullptr);
  PassStream();
  ASSERT_TRUE(door_.WaitFor(1));
  mock_.On(number::vkFreeMemory, [this](void*) { mock_.SetMemoryLimit(2 << 20); });
  std::thread opener([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    door_.Open();
  });
  const VkDeviceMemory again = Allocate(1 << 20, kMockDeviceLocal);
  opener.join();
  vk::vkFreeMemory(device_, again, nullptr);
}

TEST_F(Tasks, CalledCommandsHaveHappenedWhenTheyReturn) {
  DestroyAll();
  environment_.debug_sync = true;
  Open();
  const VkCommandBuffer commands = Begin();
  vk::vkCmdDispatch(commands, 1, 1, 1);
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  vk::vkResetCommandPool(device_, pool_, 0);
  EXPECT_THAT(mock_.Names(),
              ElementsAre("vkAllocateCommandBuffers", "vkBeginCommandBuffer", "vkCmdDispatch",
                          "vkEndCommandBuffer", "vkResetCommandPool"));
}

// Where everything is called, a recording's failures are told when it begins and ends, and not
// once more.
TEST_F(Tasks, CalledRecordingsTellTheirFailures) {
  DestroyAll();
  environment_.debug_sync = true;
  Open();
  const VkCommandBuffer commands = AllocateCommandBuffer();
  const VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  mock_.FailNext(number::vkBeginCommandBuffer, VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(vk::vkBeginCommandBuffer(commands, &info), VK_ERROR_OUT_OF_HOST_MEMORY);
  ASSERT_EQ(vk::vkBeginCommandBuffer(commands, &info), VK_SUCCESS);
  mock_.FailNext(number::vkEndCommandBuffer, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(vk::vkEndCommandBuffer(commands), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  // The recording is not complete, for an object in it is gone.
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  ASSERT_EQ(vk::vkBeginCommandBuffer(commands, &info), VK_SUCCESS);
  vk::vkCmdFillBuffer(commands, buffer, 0, 64, 7);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  EXPECT_EQ(vk::vkEndCommandBuffer(commands), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(mock_.Count("vkCmdFillBuffer"), 0u);
  // And then there is nothing left to tell.
  RecordDispatch(commands);
  EXPECT_EQ(Submit(commands, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  EXPECT_EQ(Arguments<proto::Args_vkQueueSubmit>("vkQueueSubmit").pSubmits[0].commandBufferCount,
            1u);
}

// A recording that no guest sends ends the session although nobody sends anything after it.
TEST_F(Tasks, AMalformedRecordingEndsTheSession) {
  host_may_complain_ = true;
  const VkCommandBuffer commands = Begin();
  // A second device's object in this device's recording.
  VkDevice first = device_;
  VkQueue queue = queue_;
  ASSERT_EQ(CreateDevice(), VK_SUCCESS);
  std::swap(first, device_);
  VkDevice second = first;
  queue_ = queue;
  const VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateEvent(second, &info, nullptr, &event), VK_SUCCESS);
  vk::vkCmdSetEvent(commands, event, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  const VkFence fence = CreateFence();
  vk::vkGetFenceStatus(device_, fence);  // sends what was posted
  EXPECT_NE(host_->Finish(), "");
  EXPECT_EQ(mock_.Count("vkCmdSetEvent"), 0u);
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyDevice(second, nullptr);
}

}  // namespace
}  // namespace vesper::tests
