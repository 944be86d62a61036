// SPDX-License-Identifier: Apache-2.0
//
// Creation that fails on the host, for every command that creates: the program gets a legal error
// at a legal call, nothing else is touched, and the next object works.
#include "tests/wire/poison.h"

#include <span>

#include "proto/record.h"
#include "server/invoke.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

bool Creates(const proto::Record& record) {
  const server::HostCommand* host = server::FindHostCommand(record.number);
  return host != nullptr && host->from_guest &&
         std::any_of(record.ops.begin(), record.ops.end(),
                     [](const proto::Op& op) { return (op.flags & proto::kNewIds) != 0; });
}

}  // namespace

VkDescriptorSet Poison::AllocateSet() {
  uint64_t set = 0;
  EXPECT_EQ(kinds_.at(number::vkAllocateDescriptorSets).create(&set), VK_SUCCESS);
  return reinterpret_cast<VkDescriptorSet>(set);
}

void Poison::ExpectOneError(VkResult error) {
  Sync();
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), error);
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
  Sync();
}

void Poison::TryEveryCommand(size_t* posted) {
  size_t tried = 0;
  *posted = 0;
  for (uint16_t command = 1; command <= proto::MaxCommandNumber(); ++command) {
    const proto::Record* record = proto::CommandRecord(command);
    if (record == nullptr || !Creates(*record)) {
      continue;
    }
    // A device's failure is that of the whole (session_test.cpp); binaries have a test of their own
    // (pipeline_binary_test.cpp), for the handles are not theirs to give. Shared memory is the
    // driver's vkAllocateMemory, once or twice (sharing_test.cpp).
    if (command == number::vkCreateDevice || command == number::vesperCreatePipelineBinaries ||
        command == number::vesperAllocateMemory) {
      continue;
    }
    SCOPED_TRACE(record->name);
    const auto found = kinds_.find(command);
    ASSERT_NE(found, kinds_.end()) << "a new command that creates: add it to AddKinds";
    const Kind& kind = found->second;
    ++tried;
    for (const VkResult error : {VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_OUT_OF_DEVICE_MEMORY}) {
      Sync();
      mock_.FailNext(command, error);
      uint64_t handle = 0;
      const VkResult result = kind.create(&handle);
      if (result == VK_SUCCESS) {
        EXPECT_NE(handle, 0u) << "posted: the program has an object";
        ++*posted;
        ExpectOneError(error);
        kind.destroy(handle);
        Sync();
        EXPECT_EQ(mock_.Count(kind.destroyed_by), 0u) << "the driver has none";
      } else {
        EXPECT_EQ(result, error);
        EXPECT_EQ(handle, 0u);
      }
      EXPECT_EQ(mock_.Count(record->name), 1u);
      mock_.Clear();
      handle = 0;
      const size_t live = mock_.Live();
      EXPECT_EQ(kind.create(&handle), VK_SUCCESS);
      Sync();
      EXPECT_EQ(mock_.Count(record->name), 1u);
      EXPECT_EQ(mock_.Live(), live + 1);
      kind.destroy(handle);
      Sync();
      EXPECT_EQ(mock_.Live(), live) << "the next object works";
      mock_.Clear();
    }
  }
  EXPECT_EQ(tried, kinds_.size()) << "kinds that no command creates";
}

namespace {

TEST_F(Poison, EveryCommandThatCreates) {
  size_t posted = 0;
  TryEveryCommand(&posted);
  EXPECT_EQ(posted, 2 * kinds_.size()) << "whatever can be";
}

TEST_F(Poison, WhatIsPostedDoesNotWait) {
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  EXPECT_EQ(mock_.Count("vkCreateBuffer"), 0u) << "it is in the batch";
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkCreateBuffer", "vkDestroyBuffer"));
}

// -- binding --------------------------------------------------------------------------------------

TEST_F(Poison, ABufferThatCouldNotBeBoundIsOnlyDestroyed) {
  const VkDeviceMemory memory = Allocate(4096, kMockCoherent);
  for (const uint16_t command : {number::vkBindBufferMemory, number::vkBindBufferMemory2}) {
    const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT);
    mock_.FailNext(command, VK_ERROR_OUT_OF_DEVICE_MEMORY);
    const VkBindBufferMemoryInfo info{VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, nullptr, buffer,
                                      memory, 0};
    EXPECT_EQ(command == number::vkBindBufferMemory
                  ? vk::vkBindBufferMemory(device_, buffer, memory, 0)
                  : vk::vkBindBufferMemory2(device_, 1, &info),
              VK_SUCCESS);
    ExpectOneError(VK_ERROR_OUT_OF_DEVICE_MEMORY);
    mock_.Clear();
    const VkBufferViewCreateInfo view_info{VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO, nullptr, 0,
                                           buffer};
    VkBufferView view = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateBufferView(device_, &view_info, nullptr, &view), VK_SUCCESS);
    vk::vkDestroyBufferView(device_, view, nullptr);
    EXPECT_THAT(Calls(), IsEmpty()) << "the driver never sees that it is used";
    vk::vkDestroyBuffer(device_, buffer, nullptr);
    EXPECT_THAT(Calls(), ElementsAre("vkDestroyBuffer"));
  }
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(Poison, AnImageThatCouldNotBeBoundIsOnlyDestroyed) {
  const VkDeviceMemory memory = Allocate(65536, kMockDeviceLocal);
  for (const uint16_t command : {number::vkBindImageMemory, number::vkBindImageMemory2}) {
    uint64_t handle = 0;
    ASSERT_EQ(kinds_.at(number::vkCreateImage).create(&handle), VK_SUCCESS);
    const auto image = reinterpret_cast<VkImage>(handle);
    mock_.FailNext(command, VK_ERROR_OUT_OF_HOST_MEMORY);
    const VkBindImageMemoryInfo info{VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, nullptr, image,
                                     memory, 0};
    EXPECT_EQ(command == number::vkBindImageMemory
                  ? vk::vkBindImageMemory(device_, image, memory, 0)
                  : vk::vkBindImageMemory2(device_, 1, &info),
              VK_SUCCESS);
    ExpectOneError(VK_ERROR_OUT_OF_HOST_MEMORY);
    mock_.Clear();
    const VkImageViewCreateInfo view_info{VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO, nullptr, 0,
                                          image};
    VkImageView view = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateImageView(device_, &view_info, nullptr, &view), VK_SUCCESS);
    vk::vkDestroyImageView(device_, view, nullptr);
    vk::vkDestroyImage(device_, image, nullptr);
    EXPECT_THAT(Calls(), ElementsAre("vkDestroyImage"));
  }
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(Poison, AResourceThatIsNotThereTakesAnyMemory) {
  mock_.FailNext(number::vkCreateBuffer, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  VkMemoryRequirements requirements{};
  vk::vkGetBufferMemoryRequirements(device_, buffer, &requirements);
  EXPECT_NE(requirements.size, 0u);
  EXPECT_EQ(requirements.memoryTypeBits, 15u) << "a program that finds no type gives up";
  const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr,
                                  requirements.size, kMockCoherent};
  VkDeviceMemory memory = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkAllocateMemory(device_, &info, nullptr, &memory), VK_ERROR_OUT_OF_DEVICE_MEMORY)
      << "it hears of the failure where it acts on it";
  EXPECT_EQ(memory, VK_NULL_HANDLE);
  mock_.FailNext(number::vkCreateImage, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  uint64_t image = 0;
  ASSERT_EQ(kinds_.at(number::vkCreateImage).create(&image), VK_SUCCESS);
  vk::vkGetImageMemoryRequirements(device_, reinterpret_cast<VkImage>(image), &requirements);
  EXPECT_EQ(requirements.memoryTypeBits, 15u);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  kinds_.at(number::vkCreateImage).destroy(image);
}

TEST_F(Poison, ABindThatAsksForItsStatusIsCalled) {
  const VkDeviceMemory memory = Allocate(4096, kMockCoherent);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  mock_.FailNext(number::vkBindBufferMemory2, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  VkResult status = VK_SUCCESS;
  const VkBindMemoryStatus wanted{VK_STRUCTURE_TYPE_BIND_MEMORY_STATUS, nullptr, &status};
  const VkBindBufferMemoryInfo info{VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, &wanted, buffer,
                                    memory, 0};
  EXPECT_EQ(vk::vkBindBufferMemory2(device_, 1, &info), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(status, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
}

// -- pipelines ------------------------------------------------------------------------------------

class PoisonedPipelines : public Poison {
 protected:
  static VkComputePipelineCreateInfo Info(VkShaderModule module = VK_NULL_HANDLE) {
    VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
    info.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  nullptr,
                  0,
                  VK_SHADER_STAGE_COMPUTE_BIT,
                  module,
                  "main"};
    return info;
  }
  VkResult Create(std::span<const VkComputePipelineCreateInfo> infos, VkPipeline* pipelines) {
    return vk::vkCreateComputePipelines(device_, VK_NULL_HANDLE,
                                        static_cast<uint32_t>(infos.size()), infos.data(), nullptr,
                                        pipelines);
  }
  /// Those that the driver is told to bind, of some that the program binds each for itself.
  size_t Usable(std::span<const VkPipeline> pipelines) {
    Sync();
    mock_.Clear();
    for (const VkPipeline pipeline : pipelines) {
      const VkCommandBuffer commands = Begin();
      vk::vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
      EXPECT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
    }
    Sync();
    return mock_.Count("vkCmdBindPipeline");
  }
  void Destroy(std::span<const VkPipeline> pipelines) {
    for (const VkPipeline pipeline : pipelines) {
      vk::vkDestroyPipeline(device_, pipeline, nullptr);
    }
  }
};

TEST_F(PoisonedPipelines, SeveralFailOneByOne) {
  mock_.FailNext(number::vkCreateComputePipelines, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkComputePipelineCreateInfo infos[] = {Info(), Info(), Info()};
  VkPipeline pipelines[3] = {};
  EXPECT_EQ(Create(infos, pipelines), VK_SUCCESS);
  ExpectOneError(VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(mock_.Count("vkCreateComputePipelines"), 3u);
  EXPECT_EQ(Usable(pipelines), 2u);
  Destroy(pipelines);
}

TEST_F(PoisonedPipelines, AModuleThatIsNotThereCostsItsPipelineOnly) {
  mock_.FailNext(number::vkCreateShaderModule, VK_ERROR_OUT_OF_HOST_MEMORY);
  uint64_t module = 0;
  ASSERT_EQ(kinds_.at(number::vkCreateShaderModule).create(&module), VK_SUCCESS);
  const VkComputePipelineCreateInfo infos[] = {
      Info(), Info(reinterpret_cast<VkShaderModule>(module)), Info()};
  VkPipeline pipelines[3] = {};
  EXPECT_EQ(Create(infos, pipelines), VK_SUCCESS);
  ExpectOneError(VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(Usable(pipelines), 2u);
  Destroy(pipelines);
  kinds_.at(number::vkCreateShaderModule).destroy(module);
}

TEST_F(PoisonedPipelines, DerivedFromEachOtherTheyTravelTogether) {
  VkComputePipelineCreateInfo infos[] = {Info(), Info()};
  infos[0].flags = VK_PIPELINE_CREATE_ALLOW_DERIVATIVES_BIT;
  infos[1].flags = VK_PIPELINE_CREATE_DERIVATIVE_BIT;
  infos[0].basePipelineIndex = -1;
  VkPipeline pipelines[2] = {};
  EXPECT_EQ(Create(infos, pipelines), VK_SUCCESS);
  Sync();
  EXPECT_EQ(mock_.Count("vkCreateComputePipelines"), 1u);
  EXPECT_EQ(Usable(pipelines), 2u);
  Destroy(pipelines);
}

TEST_F(PoisonedPipelines, WhoAsksForMoreIsAnswered) {
  VkPipelineCreationFeedback feedback{VK_PIPELINE_CREATION_FEEDBACK_VALID_BIT, 1};
  const VkPipelineCreationFeedbackCreateInfo wants_feedback{
      VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO, nullptr, &feedback};
  const VkPipelineCreateFlags2CreateInfo more_flags{
      VK_STRUCTURE_TYPE_PIPELINE_CREATE_FLAGS_2_CREATE_INFO, nullptr,
      VK_PIPELINE_CREATE_2_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT};
  const VkPipelineBinaryInfoKHR binaries{VK_STRUCTURE_TYPE_PIPELINE_BINARY_INFO_KHR};
  VkComputePipelineCreateInfo asking[5];
  std::fill_n(asking, 5, Info());
  asking[0].flags = VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT;
  asking[1].flags = VK_PIPELINE_CREATE_EARLY_RETURN_ON_FAILURE_BIT;
  asking[2].pNext = &wants_feedback;
  asking[3].pNext = &more_flags;
  asking[4].pNext = &binaries;
  for (const VkComputePipelineCreateInfo& info : asking) {
    SCOPED_TRACE(&info - asking);
    mock_.FailNext(number::vkCreateComputePipelines, VK_PIPELINE_COMPILE_REQUIRED);
    const VkComputePipelineCreateInfo infos[] = {Info(), info};
    VkPipeline pipelines[2] = {};
    EXPECT_EQ(Create(infos, pipelines), VK_PIPELINE_COMPILE_REQUIRED);
    EXPECT_EQ(pipelines[0], VK_NULL_HANDLE);
    EXPECT_EQ(pipelines[1], VK_NULL_HANDLE);
  }
  EXPECT_EQ(mock_.Count("vkCreateComputePipelines"), 5u) << "none is split";
  EXPECT_EQ(feedback.flags, 0u) << "not valid";
  // An operation that is offered is not taken, and the result is there at once.
  VkDeferredOperationKHR operation = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDeferredOperationKHR(device_, nullptr, &operation), VK_SUCCESS);
  const VkRayTracingPipelineCreateInfoKHR ray_tracing{
      VK_STRUCTURE_TYPE_RAY_TRACING_PIPELINE_CREATE_INFO_KHR};
  VkPipeline pipeline = VK_NULL_HANDLE;
  mock_.FailNext(number::vkCreateRayTracingPipelinesKHR, VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(vk::vkCreateRayTracingPipelinesKHR(device_, operation, VK_NULL_HANDLE, 1, &ray_tracing,
                                               nullptr, &pipeline),
            VK_ERROR_OUT_OF_HOST_MEMORY);
  vk::vkDestroyDeferredOperationKHR(device_, operation, nullptr);
}

// -- descriptors ----------------------------------------------------------------------------------

TEST_F(Poison, ASetWhoseUpdateIsSkippedIsNotUsed) {
  const VkDescriptorSet set = AllocateSet();
  mock_.FailNext(number::vkCreateBuffer, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  const VkDescriptorBufferInfo info{buffer, 0, VK_WHOLE_SIZE};
  const VkWriteDescriptorSet write{
      VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, nullptr, set,   0,      0, 1,
      VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,      nullptr, &info, nullptr};
  vk::vkUpdateDescriptorSets(device_, 1, &write, 0, nullptr);
  ExpectOneError(VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkCommandBuffer commands = Begin();
  mock_.Clear();
  vk::vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, VK_NULL_HANDLE, 0, 1, &set,
                              0, nullptr);
  vk::vkCmdDispatch(commands, 1, 1, 1);
  EXPECT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  EXPECT_EQ(Submit(commands, VK_NULL_HANDLE), VK_SUCCESS);
  Sync();
  EXPECT_EQ(mock_.Count("vkUpdateDescriptorSets"), 0u);
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), 0u) << "what the set leads to is not known";
  const size_t live = mock_.Live();
  vk::vkFreeDescriptorSets(device_, sets_, 1, &set);
  vk::vkFreeCommandBuffers(device_, pool_, 1, &commands);
  Sync();
  EXPECT_EQ(mock_.Live(), live - 2) << "what is broken is destroyed";
  vk::vkDestroyBuffer(device_, buffer, nullptr);
}

TEST_F(Poison, APoolIsAskedWhenItMayBeEmpty) {
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2};
  const VkDescriptorPoolCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, 4, 1, &size};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorPool(device_, &info, nullptr, &pool), VK_SUCCESS);
  const VkDescriptorSetLayout layouts[] = {layout_, layout_};
  const auto allocate = [&](uint32_t count, VkDescriptorSet* sets) {
    const VkDescriptorSetAllocateInfo allocate_info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                                    nullptr, pool, count, layouts};
    return vk::vkAllocateDescriptorSets(device_, &allocate_info, sets);
  };
  VkDescriptorSet sets[2] = {};
  EXPECT_EQ(allocate(1, sets), VK_SUCCESS);
  EXPECT_EQ(mock_.Count("vkAllocateDescriptorSets"), 0u) << "posted";
  mock_.FailNext(number::vkAllocateDescriptorSets, VK_ERROR_OUT_OF_POOL_MEMORY);
  Sync();  // the one that is posted meets the failure,
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  // and then there is room for one more, in the guest's account; two are asked for.
  mock_.FailNext(number::vkAllocateDescriptorSets, VK_ERROR_OUT_OF_POOL_MEMORY);
  EXPECT_EQ(allocate(2, sets), VK_ERROR_OUT_OF_POOL_MEMORY);
  EXPECT_EQ(sets[0], VK_NULL_HANDLE);
  EXPECT_EQ(allocate(2, sets), VK_SUCCESS) << "a driver may give more";
  ASSERT_EQ(vk::vkResetDescriptorPool(device_, pool, 0), VK_SUCCESS);
  Sync();
  mock_.Clear();
  EXPECT_EQ(allocate(2, sets), VK_SUCCESS);
  EXPECT_EQ(mock_.Count("vkAllocateDescriptorSets"), 0u) << "posted, since there is room again";
  vk::vkDestroyDescriptorPool(device_, pool, nullptr);
}

TEST_F(Poison, WhatIsFreedWithPoisonedObjectsIsFreed) {
  VkDescriptorSet sets[2] = {AllocateSet(), VK_NULL_HANDLE};
  VkCommandBuffer buffers[2] = {Begin(), VK_NULL_HANDLE};
  mock_.FailNext(number::vkAllocateCommandBuffers, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  buffers[1] = AllocateCommandBuffer();
  ExpectOneError(VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const size_t live = mock_.Live();
  vk::vkFreeDescriptorSets(device_, sets_, 2, sets);
  vk::vkFreeCommandBuffers(device_, pool_, 2, buffers);
  Sync();
  EXPECT_EQ(mock_.Live(), live - 2);
}

// -- the switches ---------------------------------------------------------------------------------

class NoPosts : public Poison {
 protected:
  void SetUp() override {
    environment_.posts = 0;
    Poison::SetUp();
  }
};

TEST_F(NoPosts, WhatTheDriverMayRefuseIsCalled) {
  for (const uint16_t command :
       {number::vkCreateBuffer, number::vkCreateImage, number::vkCreateShaderModule,
        number::vkCreatePipelineCache, number::vkCreateAccelerationStructureKHR,
        number::vkCreateMicromapEXT, number::vkCreateShadersEXT, number::vkAllocateMemory,
        number::vkCreateGraphicsPipelines, number::vkCreateComputePipelines,
        number::vkCreateRayTracingPipelinesKHR, number::vkCreateRayTracingPipelinesNV,
        number::vkAllocateDescriptorSets}) {
    SCOPED_TRACE(proto::CommandRecord(command)->name);
    Sync();  // memory is asked for again if tasks may be about to free some
    mock_.FailNext(command, VK_ERROR_OUT_OF_HOST_MEMORY);
    uint64_t handle = 0;
    EXPECT_EQ(kinds_.at(command).create(&handle), VK_ERROR_OUT_OF_HOST_MEMORY);
    EXPECT_EQ(handle, 0u);
  }
  const VkDeviceMemory memory = Allocate(4096, kMockCoherent);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  mock_.FailNext(number::vkBindBufferMemory, VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_ERROR_OUT_OF_HOST_MEMORY);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(NoPosts, EveryCommandThatCreates) {
  size_t posted = 0;
  TryEveryCommand(&posted);
  EXPECT_GT(posted, 0u);
  EXPECT_LT(posted, kinds_.size()) << "each of them twice";
}

class SyncPoison : public Poison {
 protected:
  void SetUp() override {
    environment_.debug_sync = true;
    Poison::SetUp();
  }
};

TEST_F(SyncPoison, EveryCommandThatCreatesTellsAtOnce) {
  size_t posted = 1;
  TryEveryCommand(&posted);
  EXPECT_EQ(posted, 0u);
}

TEST(PostKinds, AreReadFromAList) {
  EXPECT_EQ(client::ReadPostKinds(""), client::kPostAll);
  EXPECT_EQ(client::ReadPostKinds("off"), 0u);
  EXPECT_EQ(client::ReadPostKinds("memory"), client::kPostMemory);
  EXPECT_EQ(client::ReadPostKinds("resources,pipelines,descriptors,memory"), client::kPostAll);
  EXPECT_EQ(client::ReadPostKinds("pipelines,nonsense,"), client::kPostPipelines);
}

}  // namespace
}  // namespace vesper::tests
