// SPDX-License-Identifier: Apache-2.0
// Pipeline binaries: new handles inside a struct, and create infos inside a chain.
#include <array>
#include <cstring>
#include <string>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::Each;
using testing::ElementsAre;

class PipelineBinaries : public WireTest {
 protected:
  void SetUp() override { Open(); }
  VkPipeline MakeComputePipeline() {
    VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
    info.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
    info.stage.pName = "main";
    VkPipeline pipeline = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateComputePipelines(device_, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline),
              VK_SUCCESS);
    return pipeline;
  }
};

TEST_F(PipelineBinaries, BinariesOfAPipeline) {
  const VkPipeline pipeline = MakeComputePipeline();
  const VkPipelineBinaryCreateInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_BINARY_CREATE_INFO_KHR,
                                           nullptr, nullptr, pipeline, nullptr};
  VkPipelineBinaryHandlesInfoKHR handles{VK_STRUCTURE_TYPE_PIPELINE_BINARY_HANDLES_INFO_KHR};
  ASSERT_EQ(vk::vkCreatePipelineBinariesKHR(device_, &info, nullptr, &handles), VK_SUCCESS);
  EXPECT_EQ(handles.pipelineBinaryCount, 3u);

  // Too little room, and too much.
  const size_t before = mock_.Live();
  std::array<VkPipelineBinaryKHR, 5> binaries{};
  handles = {VK_STRUCTURE_TYPE_PIPELINE_BINARY_HANDLES_INFO_KHR, nullptr, 2, binaries.data()};
  ASSERT_EQ(vk::vkCreatePipelineBinariesKHR(device_, &info, nullptr, &handles), VK_INCOMPLETE);
  EXPECT_EQ(handles.pipelineBinaryCount, 2u);
  EXPECT_NE(binaries[0], VK_NULL_HANDLE);
  EXPECT_NE(binaries[1], VK_NULL_HANDLE);
  EXPECT_NE(binaries[0], binaries[1]);
  vk::vkDestroyPipelineBinaryKHR(device_, binaries[0], nullptr);
  vk::vkDestroyPipelineBinaryKHR(device_, binaries[1], nullptr);
  handles = {VK_STRUCTURE_TYPE_PIPELINE_BINARY_HANDLES_INFO_KHR, nullptr, 5, binaries.data()};
  ASSERT_EQ(vk::vkCreatePipelineBinariesKHR(device_, &info, nullptr, &handles), VK_SUCCESS);
  EXPECT_EQ(handles.pipelineBinaryCount, 3u);
  EXPECT_NE(binaries[2], VK_NULL_HANDLE);
  EXPECT_EQ(binaries[3], VK_NULL_HANDLE);
  mock_.Clear();
  const VkReleaseCapturedPipelineDataInfoKHR release{
      VK_STRUCTURE_TYPE_RELEASE_CAPTURED_PIPELINE_DATA_INFO_KHR, nullptr, pipeline};
  EXPECT_EQ(vk::vkReleaseCapturedPipelineDataKHR(device_, &release, nullptr), VK_SUCCESS);
  for (const VkPipelineBinaryKHR binary : binaries) {
    vk::vkDestroyPipelineBinaryKHR(device_, binary, nullptr);
  }
  EXPECT_THAT(Calls(), ElementsAre("vkReleaseCapturedPipelineDataKHR", "vkDestroyPipelineBinaryKHR",
                                   "vkDestroyPipelineBinaryKHR", "vkDestroyPipelineBinaryKHR"));
  EXPECT_EQ(mock_.Live(), before);
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
}

TEST_F(PipelineBinaries, BinariesFromDataOfWhichOneIsMissing) {
  std::array<char, 5> data[] = {{'a', 'b', 'c', 'd', 'e'}, {0, 1, 2, 3, 4}};
  VkPipelineBinaryKeyKHR keys[2] = {{VK_STRUCTURE_TYPE_PIPELINE_BINARY_KEY_KHR, nullptr, 4, {}},
                                    {VK_STRUCTURE_TYPE_PIPELINE_BINARY_KEY_KHR, nullptr, 4, {}}};
  const VkPipelineBinaryDataKHR datas[] = {{data[0].size(), data[0].data()},
                                           {data[1].size(), data[1].data()}};
  const VkPipelineBinaryKeysAndDataKHR keys_and_data{2, keys, datas};
  const VkPipelineBinaryCreateInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_BINARY_CREATE_INFO_KHR,
                                           nullptr, &keys_and_data, VK_NULL_HANDLE, nullptr};
  VkPipelineBinaryKHR binaries[2] = {};
  VkPipelineBinaryHandlesInfoKHR handles{VK_STRUCTURE_TYPE_PIPELINE_BINARY_HANDLES_INFO_KHR,
                                         nullptr, 2, binaries};
  EXPECT_EQ(vk::vkCreatePipelineBinariesKHR(device_, &info, nullptr, &handles),
            VK_PIPELINE_BINARY_MISSING_KHR);
  EXPECT_NE(binaries[0], VK_NULL_HANDLE);
  EXPECT_EQ(binaries[1], VK_NULL_HANDLE);

  // A pipeline from it, without stages of its own.
  const VkPipelineBinaryInfoKHR from{VK_STRUCTURE_TYPE_PIPELINE_BINARY_INFO_KHR, nullptr, 1,
                                     binaries};
  VkGraphicsPipelineCreateInfo graphics{VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO, &from};
  const VkPipelineTessellationStateCreateInfo tessellation{
      VK_STRUCTURE_TYPE_PIPELINE_TESSELLATION_STATE_CREATE_INFO, nullptr, 0, 3};
  graphics.pTessellationState = &tessellation;
  VkPipeline pipeline = VK_NULL_HANDLE;
  ASSERT_EQ(
      vk::vkCreateGraphicsPipelines(device_, VK_NULL_HANDLE, 1, &graphics, nullptr, &pipeline),
      VK_SUCCESS);
  const auto& created =
      Arguments<proto::Args_vkCreateGraphicsPipelines>("vkCreateGraphicsPipelines");
  EXPECT_EQ(created.pCreateInfos[0].stageCount, 0u);
  ASSERT_NE(created.pCreateInfos[0].pTessellationState, nullptr) << "only the binaries know stages";
  EXPECT_EQ(created.pCreateInfos[0].pTessellationState->patchControlPoints, 3u);
  const auto* passed = static_cast<const VkPipelineBinaryInfoKHR*>(created.pCreateInfos[0].pNext);
  ASSERT_NE(passed, nullptr);
  EXPECT_EQ(passed->binaryCount, 1u);
  EXPECT_NE(passed->pPipelineBinaries[0], VK_NULL_HANDLE);
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
  vk::vkDestroyPipelineBinaryKHR(device_, binaries[0], nullptr);
}

TEST_F(PipelineBinaries, FailedBinariesLeaveNothingBehind) {
  const VkPipeline pipeline = MakeComputePipeline();
  const VkPipelineBinaryCreateInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_BINARY_CREATE_INFO_KHR,
                                           nullptr, nullptr, pipeline, nullptr};
  VkPipelineBinaryKHR binaries[3] = {};
  VkPipelineBinaryHandlesInfoKHR handles{VK_STRUCTURE_TYPE_PIPELINE_BINARY_HANDLES_INFO_KHR,
                                         nullptr, 3, binaries};
  mock_.FailNext(number::vesperCreatePipelineBinaries, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(vk::vkCreatePipelineBinariesKHR(device_, &info, nullptr, &handles),
            VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_THAT(binaries, Each(VkPipelineBinaryKHR{VK_NULL_HANDLE}));
  // Of a pipeline that is not there any more, as of every absent object.
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
  Sync();
  mock_.Clear();
  EXPECT_EQ(vk::vkCreatePipelineBinariesKHR(device_, &info, nullptr, &handles),
            VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_THAT(binaries, Each(VkPipelineBinaryKHR{VK_NULL_HANDLE}));
  EXPECT_TRUE(Calls().empty());
}

TEST_F(PipelineBinaries, PipelineKeys) {
  const auto key_of = [&](const void* create_info) {
    VkPipelineCreateInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_CREATE_INFO_KHR,
                                 const_cast<void*>(create_info)};
    VkPipelineBinaryKeyKHR key{VK_STRUCTURE_TYPE_PIPELINE_BINARY_KEY_KHR};
    EXPECT_EQ(vk::vkGetPipelineKeyKHR(device_, create_info == nullptr ? nullptr : &info, &key),
              VK_SUCCESS);
    return std::string(reinterpret_cast<const char*>(key.key), key.keySize);
  };
  VkGraphicsPipelineCreateInfo graphics{VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO};
  // Garbage that does not count, for nothing is rasterized.
  VkPipelineRasterizationStateCreateInfo rasterization{
      VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO};
  rasterization.rasterizerDiscardEnable = VK_TRUE;
  graphics.pRasterizationState = &rasterization;
  graphics.pViewportState =
      reinterpret_cast<const VkPipelineViewportStateCreateInfo*>(uintptr_t{0x10});
  VkComputePipelineCreateInfo compute{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  compute.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
  compute.stage.pName = "main";
  const VkRayTracingPipelineCreateInfoKHR rays{
      VK_STRUCTURE_TYPE_RAY_TRACING_PIPELINE_CREATE_INFO_KHR};
  EXPECT_EQ(key_of(nullptr), "----");
  EXPECT_EQ(key_of(&graphics), "gggg");
  EXPECT_EQ(key_of(&compute), "cccc");
  EXPECT_EQ(key_of(&rays), "rrrr");
}

TEST_F(PipelineBinaries, BinaryDataThatDoNotFit) {
  const VkPipeline pipeline = MakeComputePipeline();
  const VkPipelineBinaryCreateInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_BINARY_CREATE_INFO_KHR,
                                           nullptr, nullptr, pipeline, nullptr};
  VkPipelineBinaryKHR binary = VK_NULL_HANDLE;
  VkPipelineBinaryHandlesInfoKHR handles{VK_STRUCTURE_TYPE_PIPELINE_BINARY_HANDLES_INFO_KHR,
                                         nullptr, 1, &binary};
  ASSERT_EQ(vk::vkCreatePipelineBinariesKHR(device_, &info, nullptr, &handles), VK_INCOMPLETE);
  mock_.On(number::vkGetPipelineBinaryDataKHR, [](void* args) {
    auto& a = *static_cast<proto::Args_vkGetPipelineBinaryDataKHR*>(args);
    const size_t room = *a.pPipelineBinaryDataSize;
    *a.pPipelineBinaryDataSize = 6;
    a.pPipelineBinaryKey->keySize = 2;
    if (a.pPipelineBinaryData != nullptr) {
      a.ret = room < 6 ? VK_ERROR_NOT_ENOUGH_SPACE_KHR : VK_SUCCESS;
      std::memcpy(a.pPipelineBinaryData, "binary", room < 6 ? 0 : 6);
    }
  });
  const VkPipelineBinaryDataInfoKHR data_info{VK_STRUCTURE_TYPE_PIPELINE_BINARY_DATA_INFO_KHR,
                                              nullptr, binary};
  VkPipelineBinaryKeyKHR key{VK_STRUCTURE_TYPE_PIPELINE_BINARY_KEY_KHR};
  size_t size = 0;
  EXPECT_EQ(vk::vkGetPipelineBinaryDataKHR(device_, &data_info, &key, &size, nullptr), VK_SUCCESS);
  EXPECT_EQ(size, 6u);
  std::string data(10, '.');
  size = 5;
  EXPECT_EQ(vk::vkGetPipelineBinaryDataKHR(device_, &data_info, &key, &size, data.data()),
            VK_ERROR_NOT_ENOUGH_SPACE_KHR);
  EXPECT_EQ(size, 6u) << "what it would take";
  EXPECT_EQ(data, "..........");
  size = 10;
  EXPECT_EQ(vk::vkGetPipelineBinaryDataKHR(device_, &data_info, &key, &size, data.data()),
            VK_SUCCESS);
  EXPECT_EQ(size, 6u);
  EXPECT_EQ(data, "binary....");
  EXPECT_EQ(key.keySize, 2u);
  vk::vkDestroyPipelineBinaryKHR(device_, binary, nullptr);
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
}

TEST_F(PipelineBinaries, PipelineProperties) {
  const VkPipeline pipeline = MakeComputePipeline();
  mock_.On(number::vkGetPipelinePropertiesEXT, [](void* args) {
    auto& a = *static_cast<proto::Args_vkGetPipelinePropertiesEXT*>(args);
    ASSERT_EQ(a.pPipelineProperties->sType, VK_STRUCTURE_TYPE_PIPELINE_PROPERTIES_IDENTIFIER_EXT);
    auto* identifier = reinterpret_cast<VkPipelinePropertiesIdentifierEXT*>(a.pPipelineProperties);
    std::memset(identifier->pipelineIdentifier, 0x5a, VK_UUID_SIZE);
  });
  const VkPipelineInfoEXT info{VK_STRUCTURE_TYPE_PIPELINE_INFO_EXT, nullptr, pipeline};
  VkPipelinePropertiesIdentifierEXT identifier{
      VK_STRUCTURE_TYPE_PIPELINE_PROPERTIES_IDENTIFIER_EXT};
  ASSERT_EQ(vk::vkGetPipelinePropertiesEXT(device_, &info,
                                           reinterpret_cast<VkBaseOutStructure*>(&identifier)),
            VK_SUCCESS);
  EXPECT_THAT(identifier.pipelineIdentifier, Each(0x5a));
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
}

}  // namespace
}  // namespace vesper::tests
