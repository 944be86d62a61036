// SPDX-License-Identifier: Apache-2.0
// Samplers: filters, borders, samplers that are part of a set layout.
#include <cstdint>

#include "shaders/quad_vert.h"
#include "shaders/texture_frag.h"
#include "tests/framework/graphics_pipeline.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

struct Push {
  float rect[4] = {-1, -1, 1, 1};
  float color[4] = {};
  float depth = 0;
};

class SamplerTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    target_ = MakeImage(
        gpu(), ImageInfo(VK_FORMAT_R8G8B8A8_UNORM, 8, 8, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT));
    target_view_ = MakeView(gpu(), target_);
    texture_ =
        MakeImage(gpu(), ImageInfo(VK_FORMAT_R8G8B8A8_UNORM, 2, 2, VK_IMAGE_USAGE_SAMPLED_BIT));
    texture_view_ = MakeView(gpu(), texture_);
    // Red, green; blue, white.
    const std::vector<uint8_t> texels = {255, 0, 0,   255, 0,   255, 0,   255,
                                         0,   0, 255, 255, 255, 255, 255, 255};
    WriteImage(gpu(), texture_, texels, VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
  }

  static VkSamplerCreateInfo SamplerInfo(VkFilter filter, VkSamplerAddressMode mode) {
    VkSamplerCreateInfo info{VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
    info.magFilter = info.minFilter = filter;
    info.addressModeU = info.addressModeV = info.addressModeW = mode;
    info.maxLod = VK_LOD_CLAMP_NONE;
    return info;
  }

  // Draws the texture over the target and returns the target's texels.
  std::vector<uint8_t> Draw(VkSampler sampler, bool immutable) {
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1,
                                               VK_SHADER_STAGE_FRAGMENT_BIT,
                                               immutable ? &sampler : nullptr};
    const Owned<VkDescriptorSetLayout> set_layout = MakeSetLayout(gpu(), {&binding, 1});
    const Owned<VkPipelineLayout> layout = MakePipelineLayout(
        gpu(), {set_layout.address(), 1}, VK_SHADER_STAGE_VERTEX_BIT, sizeof(Push));
    // An image of several planes may take a descriptor for each.
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 3};
    const Owned<VkDescriptorPool> pool = MakePool(gpu(), {&size, 1}, 1);
    VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
    // With an immutable sampler the one that is written is ignored, and may be rubbish.
    const VkDescriptorImageInfo image{
        immutable ? reinterpret_cast<VkSampler>(uintptr_t{0xBAD0}) : sampler, texture_view_,
        VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL};
    VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    write.dstSet = set;
    write.descriptorCount = 1;
    write.descriptorType = VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER;
    write.pImageInfo = &image;
    vk.UpdateDescriptorSets(device, 1, &write, 0, nullptr);

    const Owned<VkShaderModule> vertex = MakeShader(gpu(), kQuadVert);
    const Owned<VkShaderModule> fragment = MakeShader(gpu(), kTextureFrag);
    GraphicsState state;
    state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, vertex);
    state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, fragment);
    state.layout = layout;
    const Owned<VkPipeline> pipeline = state.Build(gpu());
    Execute([&](VkCommandBuffer commands) {
      Transition(commands, target_.handle, VK_IMAGE_LAYOUT_UNDEFINED,
                 VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
      BeginColorRendering(gpu(), commands, target_view_, 8, 8, {});
      SetArea(gpu(), commands, 8, 8);
      vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
      vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, layout, 0, 1, &set, 0,
                               nullptr);
      const Push push;
      vk.CmdPushConstants(commands, layout, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(push), &push);
      vk.CmdDraw(commands, 6, 1, 0, 0);
      vk.CmdEndRendering(commands);
    });
    return ReadImage(gpu(), target_, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, 4);
  }

  using Texel = std::vector<uint8_t>;
  static Texel At(const std::vector<uint8_t>& texels, size_t x, size_t y) {
    const auto begin = texels.begin() + static_cast<std::ptrdiff_t>((y * 8 + x) * 4);
    return {begin, begin + 4};
  }

  Image target_;
  Owned<VkImageView> target_view_;
  Image texture_;
  Owned<VkImageView> texture_view_;
};

TEST_F(SamplerTest, NearestAndLinear) {
  const Owned<VkSampler> nearest =
      Make(vk.CreateSampler, vk.DestroySampler,
           SamplerInfo(VK_FILTER_NEAREST, VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE));
  const std::vector<uint8_t> sharp = Draw(nearest, false);
  EXPECT_EQ((Texel{255, 0, 0, 255}), At(sharp, 3, 3));
  EXPECT_EQ((Texel{0, 255, 0, 255}), At(sharp, 4, 3));
  EXPECT_EQ((Texel{0, 0, 255, 255}), At(sharp, 3, 4));
  EXPECT_EQ((Texel{255, 255, 255, 255}), At(sharp, 4, 4));

  const Owned<VkSampler> linear =
      Make(vk.CreateSampler, vk.DestroySampler,
           SamplerInfo(VK_FILTER_LINEAR, VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE));
  const std::vector<uint8_t> soft = Draw(linear, false);
  EXPECT_EQ((Texel{255, 0, 0, 255}), At(soft, 0, 0));
  const Texel between = At(soft, 4, 0);  // Between red and green.
  EXPECT_GT(between[0], 20);
  EXPECT_GT(between[1], 20);
  EXPECT_LT(between[2], 5);
}

TEST_F(SamplerTest, ImmutableSampler) {
  Owned<VkSampler> nearest = Make(vk.CreateSampler, vk.DestroySampler,
                                  SamplerInfo(VK_FILTER_NEAREST, VK_SAMPLER_ADDRESS_MODE_REPEAT));
  const std::vector<uint8_t> texels = Draw(nearest, true);
  EXPECT_EQ((Texel{255, 0, 0, 255}), At(texels, 0, 0));
  EXPECT_EQ((Texel{255, 255, 255, 255}), At(texels, 7, 7));
}

TEST_F(SamplerTest, SwizzledView) {
  VkImageViewCreateInfo info = ViewInfo(texture_);
  info.components = {VK_COMPONENT_SWIZZLE_B, VK_COMPONENT_SWIZZLE_R, VK_COMPONENT_SWIZZLE_ZERO,
                     VK_COMPONENT_SWIZZLE_ONE};
  texture_view_ = Make(vk.CreateImageView, vk.DestroyImageView, info);
  const Owned<VkSampler> nearest =
      Make(vk.CreateSampler, vk.DestroySampler,
           SamplerInfo(VK_FILTER_NEAREST, VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE));
  const std::vector<uint8_t> texels = Draw(nearest, false);
  EXPECT_EQ((Texel{0, 255, 0, 255}), At(texels, 0, 0));  // Red, turned.
  EXPECT_EQ((Texel{255, 0, 0, 255}), At(texels, 0, 7));  // Blue, turned.
}

TEST_F(SamplerTest, ManyDifferentSamplers) {
  // Every combination of what an info may say, created and destroyed.
  std::vector<Owned<VkSampler>> samplers;
  for (const VkFilter filter : {VK_FILTER_NEAREST, VK_FILTER_LINEAR}) {
    for (const VkSamplerAddressMode mode :
         {VK_SAMPLER_ADDRESS_MODE_REPEAT, VK_SAMPLER_ADDRESS_MODE_MIRRORED_REPEAT,
          VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE, VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_BORDER}) {
      for (const VkBorderColor color :
           {VK_BORDER_COLOR_FLOAT_OPAQUE_WHITE, VK_BORDER_COLOR_INT_TRANSPARENT_BLACK}) {
        VkSamplerCreateInfo info = SamplerInfo(filter, mode);
        info.borderColor = color;
        info.compareEnable = filter == VK_FILTER_LINEAR ? VK_TRUE : VK_FALSE;
        info.compareOp = VK_COMPARE_OP_LESS;
        info.mipLodBias = 0.5f;
        VkSamplerReductionModeCreateInfo reduction{
            VK_STRUCTURE_TYPE_SAMPLER_REDUCTION_MODE_CREATE_INFO};
        reduction.reductionMode = VK_SAMPLER_REDUCTION_MODE_WEIGHTED_AVERAGE;
        info.pNext = features.v12.samplerFilterMinmax == VK_TRUE ? &reduction : nullptr;
        samplers.push_back(Make(vk.CreateSampler, vk.DestroySampler, info));
      }
    }
  }
  std::set<VkSampler> handles;
  for (const Owned<VkSampler>& sampler : samplers) {
    EXPECT_NE(VkSampler{VK_NULL_HANDLE}, sampler.get());
    handles.insert(sampler.get());
  }
  EXPECT_EQ(samplers.size(), handles.size());
}

TEST_F(SamplerTest, YcbcrConversion) {
  VESPER_REQUIRE(features.v11.samplerYcbcrConversion == VK_TRUE);
  constexpr VkFormat kFormat = VK_FORMAT_G8_B8_R8_3PLANE_420_UNORM;
  VkFormatProperties format{};
  vk.GetPhysicalDeviceFormatProperties(physical_device, kFormat, &format);
  const bool midpoint =
      (format.optimalTilingFeatures & VK_FORMAT_FEATURE_MIDPOINT_CHROMA_SAMPLES_BIT) != 0;
  VESPER_REQUIRE(midpoint || (format.optimalTilingFeatures &
                              VK_FORMAT_FEATURE_COSITED_CHROMA_SAMPLES_BIT) != 0);
  VESPER_REQUIRE((format.optimalTilingFeatures & VK_FORMAT_FEATURE_TRANSFER_DST_BIT) != 0);
  VkSamplerYcbcrConversionCreateInfo info{VK_STRUCTURE_TYPE_SAMPLER_YCBCR_CONVERSION_CREATE_INFO};
  info.format = kFormat;
  info.ycbcrModel = VK_SAMPLER_YCBCR_MODEL_CONVERSION_YCBCR_709;
  info.ycbcrRange = VK_SAMPLER_YCBCR_RANGE_ITU_FULL;
  info.xChromaOffset = info.yChromaOffset =
      midpoint ? VK_CHROMA_LOCATION_MIDPOINT : VK_CHROMA_LOCATION_COSITED_EVEN;
  info.chromaFilter = VK_FILTER_NEAREST;
  const Owned<VkSamplerYcbcrConversion> conversion =
      Make(vk.CreateSamplerYcbcrConversion, vk.DestroySamplerYcbcrConversion, info);
  VkSamplerYcbcrConversionInfo use{VK_STRUCTURE_TYPE_SAMPLER_YCBCR_CONVERSION_INFO};
  use.conversion = conversion;
  VkSamplerCreateInfo sampler_info =
      SamplerInfo(VK_FILTER_NEAREST, VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE);
  sampler_info.pNext = &use;
  const Owned<VkSampler> sampler = Make(vk.CreateSampler, vk.DestroySampler, sampler_info);

  texture_ = MakeImage(gpu(), ImageInfo(kFormat, 8, 8, VK_IMAGE_USAGE_SAMPLED_BIT));
  VkImageViewCreateInfo view = ViewInfo(texture_);
  view.pNext = &use;
  texture_view_ = Make(vk.CreateImageView, vk.DestroyImageView, view);
  // Full luma and neutral chroma: white in every colour space.
  const Buffer planes = MakeHostBuffer(gpu(), 64 + 16 + 16);
  std::fill_n(planes.data, 64, uint8_t{255});
  std::fill_n(planes.data + 64, 32, uint8_t{128});
  VkBufferImageCopy copies[3] = {};
  const VkImageAspectFlagBits aspects[3] = {
      VK_IMAGE_ASPECT_PLANE_0_BIT, VK_IMAGE_ASPECT_PLANE_1_BIT, VK_IMAGE_ASPECT_PLANE_2_BIT};
  for (int i = 0; i < 3; ++i) {
    copies[i].bufferOffset = i == 0 ? 0 : 48 + 16 * i;
    copies[i].imageSubresource = {static_cast<VkImageAspectFlags>(aspects[i]), 0, 0, 1};
    copies[i].imageExtent = {i == 0 ? 8u : 4u, i == 0 ? 8u : 4u, 1};
  }
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, texture_.handle, VK_IMAGE_LAYOUT_UNDEFINED,
               VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    vk.CmdCopyBufferToImage(commands, planes.handle, texture_.handle,
                            VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 3, copies);
    Transition(commands, texture_.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
               VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
  });
  const std::vector<uint8_t> texels = Draw(sampler, true);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(255, At(texels, 4, 4)[i], 2);
  }
}

}  // namespace
}  // namespace vesper::tests
