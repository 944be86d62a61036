// SPDX-License-Identifier: Apache-2.0
// Compute pipelines: specialization, several in one call, feedback, executables that must not
// compile; and the pipeline cache.
#include <cstdint>
#include <cstring>

#include "shaders/accumulate_comp.h"
#include "shaders/push_write_comp.h"
#include "shaders/specialized_comp.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class ComputePipelineTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    data_ = MakeHostBuffer(gpu(), 64 * sizeof(uint32_t));
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                               VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    set_layout_ = MakeSetLayout(gpu(), {&binding, 1});
    layout_ = MakePipelineLayout(gpu(), {set_layout_.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 8);
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
    pool_ = MakePool(gpu(), {&size, 1}, 1);
    set_ = AllocateSet(gpu(), pool_, set_layout_);
    WriteBufferDescriptor(gpu(), set_, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, data_.handle);
  }

  void Dispatch(VkPipeline pipeline) {
    Execute([&](VkCommandBuffer commands) {
      const uint32_t push[2] = {0, 17};
      vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
      vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set_, 0,
                               nullptr);
      vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
      vk.CmdDispatch(commands, 1, 1, 1);
    });
  }

  VkComputePipelineCreateInfo Info(VkShaderModule module) const {
    VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = module;
    info.stage.pName = "main";
    info.layout = layout_;
    info.basePipelineIndex = -1;
    return info;
  }

  Owned<VkPipelineCache> MakeCache(std::span<const uint8_t> data = {}) {
    VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    info.initialDataSize = data.size();
    info.pInitialData = data.data();
    return Make(vk.CreatePipelineCache, vk.DestroyPipelineCache, info);
  }

  std::vector<uint8_t> CacheData(VkPipelineCache cache) {
    size_t size = 0;
    VESPER_CHECK(vk.GetPipelineCacheData(device, cache, &size, nullptr));
    std::vector<uint8_t> data(size);
    VESPER_CHECK(vk.GetPipelineCacheData(device, cache, &size, data.data()));
    EXPECT_EQ(data.size(), size);
    return data;
  }

  std::span<uint32_t> data() const { return data_.As<uint32_t>(); }

  Buffer data_;
  Owned<VkDescriptorSetLayout> set_layout_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkDescriptorPool> pool_;
  VkDescriptorSet set_ = VK_NULL_HANDLE;
};

TEST_F(ComputePipelineTest, SpecializationConstants) {
  struct {
    uint8_t junk = 0xFF;
    int32_t number = -77;
    float real = 2.25f;
    VkBool32 flag = VK_TRUE;
    uint32_t group = 16;
  } values;
  // Not in the order of the ids; one constant keeps its default; one id is not in the shader.
  const VkSpecializationMapEntry entries[] = {
      {2, static_cast<uint32_t>(offsetof(decltype(values), real)), 4},
      {0, static_cast<uint32_t>(offsetof(decltype(values), group)), 4},
      {1, static_cast<uint32_t>(offsetof(decltype(values), number)), 4},
      {3, static_cast<uint32_t>(offsetof(decltype(values), flag)), 4},
      {99, static_cast<uint32_t>(offsetof(decltype(values), number)), 4}};
  const VkSpecializationInfo specialization{5, entries, sizeof(values), &values};
  Dispatch(MakeComputePipeline(gpu(), kSpecializedComp, layout_, &specialization));
  EXPECT_EQ(16u, data()[0]);
  EXPECT_EQ(static_cast<uint32_t>(-77), data()[1]);
  float real = 0;
  std::memcpy(&real, &data()[2], 4);
  EXPECT_EQ(2.25f, real);
  EXPECT_EQ(1u, data()[3]);
  EXPECT_EQ(7u, data()[4]);
}

TEST_F(ComputePipelineTest, SeveralInOneCallAndDerivatives) {
  const Owned<VkShaderModule> push = MakeShader(gpu(), kPushWriteComp);
  const Owned<VkShaderModule> accumulate = MakeShader(gpu(), kAccumulateComp);
  VkComputePipelineCreateInfo infos[3] = {Info(push), Info(accumulate), Info(push)};
  infos[0].flags = VK_PIPELINE_CREATE_ALLOW_DERIVATIVES_BIT;
  infos[2].flags = VK_PIPELINE_CREATE_DERIVATIVE_BIT;
  infos[2].basePipelineIndex = 0;
  VkPipeline pipelines[3] = {};
  ASSERT_EQ(VK_SUCCESS,
            vk.CreateComputePipelines(device, VK_NULL_HANDLE, 3, infos, nullptr, pipelines));
  Dispatch(pipelines[0]);
  EXPECT_EQ(17u, data()[0]);
  Dispatch(pipelines[1]);
  EXPECT_EQ(35u, data()[0]);
  // By handle this time.
  VkComputePipelineCreateInfo derived = Info(push);
  derived.flags = VK_PIPELINE_CREATE_DERIVATIVE_BIT;
  derived.basePipelineHandle = pipelines[0];
  VkPipeline fourth = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS,
            vk.CreateComputePipelines(device, VK_NULL_HANDLE, 1, &derived, nullptr, &fourth));
  Dispatch(fourth);
  EXPECT_EQ(17u, data()[0]);
  for (const VkPipeline pipeline : {pipelines[0], pipelines[1], pipelines[2], fourth}) {
    vk.DestroyPipeline(device, pipeline, nullptr);
  }
}

TEST_F(ComputePipelineTest, ShaderCodeInTheStage) {
  VESPER_REQUIRE(features.v14.maintenance5 == VK_TRUE);
  // Since maintenance5 the code may come without a module.
  VkShaderModuleCreateInfo module{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  module.codeSize = sizeof(kPushWriteComp);
  module.pCode = kPushWriteComp;
  VkPipelineCreateFlags2CreateInfo flags{VK_STRUCTURE_TYPE_PIPELINE_CREATE_FLAGS_2_CREATE_INFO};
  VkComputePipelineCreateInfo info = Info(VK_NULL_HANDLE);
  info.stage.pNext = &module;
  info.pNext = &flags;
  VkPipeline pipeline = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS,
            vk.CreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline));
  Dispatch(pipeline);
  EXPECT_EQ(17u, data()[0]);
  vk.DestroyPipeline(device, pipeline, nullptr);
}

TEST_F(ComputePipelineTest, CreationFeedbackIsFilledIn) {
  const Owned<VkShaderModule> module = MakeShader(gpu(), kPushWriteComp);
  VkPipelineCreationFeedback whole{};
  VkPipelineCreationFeedback stage{};
  VkPipelineCreationFeedbackCreateInfo feedback{
      VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO};
  feedback.pPipelineCreationFeedback = &whole;
  feedback.pipelineStageCreationFeedbackCount = 1;
  feedback.pPipelineStageCreationFeedbacks = &stage;
  VkComputePipelineCreateInfo info = Info(module);
  info.pNext = &feedback;
  VkPipeline pipeline = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS,
            vk.CreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline));
  Dispatch(pipeline);
  EXPECT_EQ(17u, data()[0]);
  // Feedback may be invalid, but it must not be rubbish.
  constexpr VkPipelineCreationFeedbackFlags kKnown =
      VK_PIPELINE_CREATION_FEEDBACK_VALID_BIT |
      VK_PIPELINE_CREATION_FEEDBACK_APPLICATION_PIPELINE_CACHE_HIT_BIT |
      VK_PIPELINE_CREATION_FEEDBACK_BASE_PIPELINE_ACCELERATION_BIT;
  EXPECT_EQ(0u, whole.flags & ~kKnown);
  EXPECT_EQ(0u, stage.flags & ~kKnown);
  vk.DestroyPipeline(device, pipeline, nullptr);
}

TEST_F(ComputePipelineTest, FailOnCompileRequired) {
  VESPER_REQUIRE(features.v13.pipelineCreationCacheControl == VK_TRUE);
  const Owned<VkShaderModule> module = MakeShader(gpu(), kPushWriteComp);
  VkComputePipelineCreateInfo info = Info(module);
  info.flags = VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT;
  VkPipeline pipeline = VK_NULL_HANDLE;
  const VkResult result =
      vk.CreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline);
  if (result == VK_SUCCESS) {
    Dispatch(pipeline);
    EXPECT_EQ(17u, data()[0]);
    vk.DestroyPipeline(device, pipeline, nullptr);
  } else {
    EXPECT_EQ(VK_PIPELINE_COMPILE_REQUIRED, result);
    EXPECT_EQ(VkPipeline{VK_NULL_HANDLE}, pipeline);
  }
}

TEST_F(ComputePipelineTest, ModuleMayGoBeforeThePipelineIsUsed) {
  Owned<VkShaderModule> module = MakeShader(gpu(), kPushWriteComp);
  const VkComputePipelineCreateInfo info = Info(module);
  VkPipeline pipeline = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS,
            vk.CreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline));
  module.Reset();
  Dispatch(pipeline);
  EXPECT_EQ(17u, data()[0]);
  vk.DestroyPipeline(device, pipeline, nullptr);
}

TEST_F(ComputePipelineTest, CacheDataGoesOutAndIn) {
  const Owned<VkPipelineCache> cache = MakeCache();
  Dispatch(MakeComputePipeline(gpu(), kPushWriteComp, layout_, nullptr, cache));
  EXPECT_EQ(17u, data()[0]);
  const std::vector<uint8_t> saved = CacheData(cache);
  ASSERT_GE(saved.size(), sizeof(VkPipelineCacheHeaderVersionOne));
  VkPipelineCacheHeaderVersionOne header{};
  std::memcpy(&header, saved.data(), sizeof(header));
  EXPECT_GE(header.headerSize, 32u);
  EXPECT_EQ(VK_PIPELINE_CACHE_HEADER_VERSION_ONE, header.headerVersion);
  EXPECT_EQ(properties.core.properties.vendorID, header.vendorID);
  EXPECT_EQ(properties.core.properties.deviceID, header.deviceID);
  EXPECT_EQ(0, std::memcmp(properties.core.properties.pipelineCacheUUID, header.pipelineCacheUUID,
                           VK_UUID_SIZE));
  data()[0] = 0;
  const Owned<VkPipelineCache> again = MakeCache(saved);
  Dispatch(MakeComputePipeline(gpu(), kPushWriteComp, layout_, nullptr, again));
  EXPECT_EQ(17u, data()[0]);
}

TEST_F(ComputePipelineTest, CacheIgnoresForeignData) {
  std::vector<uint8_t> saved;
  {
    const Owned<VkPipelineCache> cache = MakeCache();
    MakeComputePipeline(gpu(), kPushWriteComp, layout_, nullptr, cache);
    saved = CacheData(cache);
  }
  // Another driver's UUID, a cut file, and no cache data at all: each is taken and ignored.
  std::vector<uint8_t> foreign = saved;
  foreign[20] ^= 0xFF;
  std::vector<uint8_t> cut(saved.begin(), saved.begin() + 20);
  const std::vector<uint8_t> junk(200, 0xEE);
  for (const std::vector<uint8_t>& bytes : {foreign, cut, junk}) {
    const Owned<VkPipelineCache> cache = MakeCache(bytes);
    data()[0] = 0;
    Dispatch(MakeComputePipeline(gpu(), kPushWriteComp, layout_, nullptr, cache));
    EXPECT_EQ(17u, data()[0]);
  }
}

TEST_F(ComputePipelineTest, CacheDataIntoTooLittleRoom) {
  const Owned<VkPipelineCache> cache = MakeCache();
  MakeComputePipeline(gpu(), kPushWriteComp, layout_, nullptr, cache);
  const size_t full = CacheData(cache).size();
  std::vector<uint8_t> room(full + 8, 0x99);
  size_t size = full - 1;
  EXPECT_EQ(VK_INCOMPLETE, vk.GetPipelineCacheData(device, cache, &size, room.data()));
  EXPECT_LE(size, full - 1);
  EXPECT_EQ(0x99, room[full - 1]);
  size = full;
  EXPECT_EQ(VK_SUCCESS, vk.GetPipelineCacheData(device, cache, &size, room.data()));
  EXPECT_EQ(0x99, room[full]);
}

TEST_F(ComputePipelineTest, MergedCaches) {
  const Owned<VkPipelineCache> caches[3] = {MakeCache(), MakeCache(), MakeCache()};
  MakeComputePipeline(gpu(), kPushWriteComp, layout_, nullptr, caches[1]);
  MakeComputePipeline(gpu(), kAccumulateComp, layout_, nullptr, caches[2]);
  const VkPipelineCache sources[2] = {caches[1], caches[2]};
  ASSERT_EQ(VK_SUCCESS, vk.MergePipelineCaches(device, caches[0], 2, sources));
  EXPECT_GE(CacheData(caches[0]).size(), CacheData(caches[1]).size());
  Dispatch(MakeComputePipeline(gpu(), kPushWriteComp, layout_, nullptr, caches[0]));
  EXPECT_EQ(17u, data()[0]);
}

}  // namespace
}  // namespace vesper::tests
