// SPDX-License-Identifier: Apache-2.0
// Pipelines taken apart into binaries and put together again from their data.
#include <cstdint>
#include <vector>

#include "shaders/push_write_comp.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class PipelineBinaryTest : public VulkanTest {
 protected:
  void Configure(GpuOptions& options) override {
    offered_ = HasDeviceExtension("VK_KHR_pipeline_binary");
    if (offered_) {
      options.device_extensions.push_back("VK_KHR_pipeline_binary");
      options.device_features = &features_;
    }
  }

  void SetUp() override {
    features_.pipelineBinaries = VK_TRUE;
    VulkanTest::SetUp();
    VESPER_REQUIRE(offered_);
    create_ = vk.Find<PFN_vkCreatePipelineBinariesKHR>(device, "vkCreatePipelineBinariesKHR");
    destroy_ = vk.Find<PFN_vkDestroyPipelineBinaryKHR>(device, "vkDestroyPipelineBinaryKHR");
    get_key_ = vk.Find<PFN_vkGetPipelineKeyKHR>(device, "vkGetPipelineKeyKHR");
    get_data_ = vk.Find<PFN_vkGetPipelineBinaryDataKHR>(device, "vkGetPipelineBinaryDataKHR");
    release_ =
        vk.Find<PFN_vkReleaseCapturedPipelineDataKHR>(device, "vkReleaseCapturedPipelineDataKHR");
    results_ = MakeHostBuffer(gpu(), 16);
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                               VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    set_layout_ = MakeSetLayout(gpu(), {&binding, 1});
    layout_ = MakePipelineLayout(gpu(), {set_layout_.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 8);
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
    pool_ = MakePool(gpu(), {&size, 1}, 1);
    set_ = AllocateSet(gpu(), pool_, set_layout_);
    WriteBufferDescriptor(gpu(), set_, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, results_.handle);
  }

  VkComputePipelineCreateInfo Info(VkShaderModule module, const void* next) const {
    VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO, next};
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = module;
    info.stage.pName = "main";
    info.layout = layout_;
    info.basePipelineIndex = -1;
    return info;
  }

  Owned<VkPipeline> MakePipeline(VkShaderModule module, const void* next) {
    const VkComputePipelineCreateInfo info = Info(module, next);
    VkPipeline pipeline = VK_NULL_HANDLE;
    VESPER_CHECK(vk.CreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline));
    return Owned<VkPipeline>(
        pipeline, [this](VkPipeline object) { vk.DestroyPipeline(device, object, nullptr); });
  }

  std::vector<VkPipelineBinaryKHR> Create(const VkPipelineBinaryCreateInfoKHR& info) {
    VkPipelineBinaryHandlesInfoKHR handles{VK_STRUCTURE_TYPE_PIPELINE_BINARY_HANDLES_INFO_KHR};
    VESPER_CHECK(create_(device, &info, nullptr, &handles));
    std::vector<VkPipelineBinaryKHR> binaries(handles.pipelineBinaryCount);
    handles.pPipelineBinaries = binaries.data();
    VESPER_CHECK(create_(device, &info, nullptr, &handles));
    EXPECT_EQ(binaries.size(), handles.pipelineBinaryCount);
    return binaries;
  }

  void Destroy(const std::vector<VkPipelineBinaryKHR>& binaries) {
    for (const VkPipelineBinaryKHR binary : binaries) {
      destroy_(device, binary, nullptr);
    }
  }

  uint32_t Run(VkPipeline pipeline, uint32_t value) {
    Execute([&](VkCommandBuffer commands) {
      const uint32_t push[2] = {1, value};
      vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
      vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set_, 0,
                               nullptr);
      vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
      vk.CmdDispatch(commands, 1, 1, 1);
    });
    return results_.As<uint32_t>()[1];
  }

  VkPhysicalDevicePipelineBinaryFeaturesKHR features_{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_BINARY_FEATURES_KHR};
  bool offered_ = false;
  PFN_vkCreatePipelineBinariesKHR create_ = nullptr;
  PFN_vkDestroyPipelineBinaryKHR destroy_ = nullptr;
  PFN_vkGetPipelineKeyKHR get_key_ = nullptr;
  PFN_vkGetPipelineBinaryDataKHR get_data_ = nullptr;
  PFN_vkReleaseCapturedPipelineDataKHR release_ = nullptr;
  Buffer results_;
  Owned<VkDescriptorSetLayout> set_layout_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkDescriptorPool> pool_;
  VkDescriptorSet set_ = VK_NULL_HANDLE;
};

TEST_F(PipelineBinaryTest, ApartAndTogetherAgain) {
  const Owned<VkShaderModule> module = MakeShader(gpu(), kPushWriteComp);
  const VkPipelineCreateFlags2CreateInfo capture{
      VK_STRUCTURE_TYPE_PIPELINE_CREATE_FLAGS_2_CREATE_INFO, nullptr,
      VK_PIPELINE_CREATE_2_CAPTURE_DATA_BIT_KHR};
  Owned<VkPipeline> captured = MakePipeline(module, &capture);
  EXPECT_EQ(11u, Run(captured, 11));

  VkPipelineBinaryCreateInfoKHR create{VK_STRUCTURE_TYPE_PIPELINE_BINARY_CREATE_INFO_KHR};
  create.pipeline = captured;
  const std::vector<VkPipelineBinaryKHR> binaries = Create(create);
  ASSERT_FALSE(binaries.empty());
  std::vector<VkPipelineBinaryKeyKHR> keys;
  std::vector<std::vector<uint8_t>> contents;
  for (const VkPipelineBinaryKHR binary : binaries) {
    const VkPipelineBinaryDataInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_BINARY_DATA_INFO_KHR, nullptr,
                                           binary};
    VkPipelineBinaryKeyKHR key{VK_STRUCTURE_TYPE_PIPELINE_BINARY_KEY_KHR};
    size_t size = 0;
    ASSERT_EQ(VK_SUCCESS, get_data_(device, &info, &key, &size, nullptr));
    ASSERT_GT(size, 0u);
    std::vector<uint8_t> data(size);
    size_t less = size - 1;
    EXPECT_EQ(VK_ERROR_NOT_ENOUGH_SPACE_KHR, get_data_(device, &info, &key, &less, data.data()));
    EXPECT_EQ(size, less);
    ASSERT_EQ(VK_SUCCESS, get_data_(device, &info, &key, &size, data.data()));
    EXPECT_LE(key.keySize, VK_MAX_PIPELINE_BINARY_KEY_SIZE_KHR);
    keys.push_back(key);
    contents.push_back(std::move(data));
  }
  const VkReleaseCapturedPipelineDataInfoKHR released{
      VK_STRUCTURE_TYPE_RELEASE_CAPTURED_PIPELINE_DATA_INFO_KHR, nullptr, captured};
  EXPECT_EQ(VK_SUCCESS, release_(device, &released, nullptr));
  EXPECT_EQ(12u, Run(captured, 12));
  Destroy(binaries);
  captured = {};

  std::vector<VkPipelineBinaryDataKHR> datas;
  for (std::vector<uint8_t>& data : contents) {
    datas.push_back({data.size(), data.data()});
  }
  const VkPipelineBinaryKeysAndDataKHR keys_and_data{static_cast<uint32_t>(keys.size()),
                                                     keys.data(), datas.data()};
  create.pipeline = VK_NULL_HANDLE;
  create.pKeysAndDataInfo = &keys_and_data;
  const std::vector<VkPipelineBinaryKHR> again = Create(create);
  ASSERT_EQ(keys.size(), again.size());
  const VkPipelineBinaryInfoKHR from{VK_STRUCTURE_TYPE_PIPELINE_BINARY_INFO_KHR, nullptr,
                                     static_cast<uint32_t>(again.size()), again.data()};
  // The shader comes out of the binaries.
  const Owned<VkPipeline> made = MakePipeline(VK_NULL_HANDLE, &from);
  EXPECT_EQ(13u, Run(made, 13));
  Destroy(again);
  EXPECT_EQ(14u, Run(made, 14));
}

TEST_F(PipelineBinaryTest, KeysTellPipelinesApart) {
  const Owned<VkShaderModule> module = MakeShader(gpu(), kPushWriteComp);
  const auto key_of = [&](const VkComputePipelineCreateInfo* info) {
    VkPipelineCreateInfoKHR described{VK_STRUCTURE_TYPE_PIPELINE_CREATE_INFO_KHR,
                                      const_cast<VkComputePipelineCreateInfo*>(info)};
    VkPipelineBinaryKeyKHR key{VK_STRUCTURE_TYPE_PIPELINE_BINARY_KEY_KHR};
    VESPER_CHECK(get_key_(device, info == nullptr ? nullptr : &described, &key));
    return std::vector<uint8_t>(key.key, key.key + key.keySize);
  };
  const VkComputePipelineCreateInfo info = Info(module, nullptr);
  EXPECT_FALSE(key_of(nullptr).empty());
  EXPECT_EQ(key_of(nullptr), key_of(nullptr));
  EXPECT_EQ(key_of(&info), key_of(&info));
  EXPECT_NE(key_of(&info), key_of(nullptr));
}

}  // namespace
}  // namespace vesper::tests
