// SPDX-License-Identifier: Apache-2.0
// Rendering without render pass objects: suspended and resumed, in secondary command buffers, with
// a resolve at its end, into several views, and with local reads.
#include <cstdint>

#include "shaders/color_frag.h"
#include "shaders/quad_vert.h"
#include "shaders/view_index_vert.h"
#include "tests/framework/graphics_pipeline.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkFormat kRgba = VK_FORMAT_R8G8B8A8_UNORM;
constexpr uint32_t kSide = 8;
constexpr VkImageLayout kColorLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;

struct Push {
  float rect[4] = {-1, -1, 1, 1};
  float color[4] = {1, 1, 1, 1};
  float depth = 0;
};

using Texel = std::vector<uint8_t>;

class DynamicRenderingTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    target_ = MakeImage(gpu(), ImageInfo(kRgba, kSide, kSide, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT));
    view_ = MakeView(gpu(), target_);
    quad_ = MakeShader(gpu(), kQuadVert);
    color_ = MakeShader(gpu(), kColorFrag);
    layout_ = MakePipelineLayout(gpu(), {}, VK_SHADER_STAGE_VERTEX_BIT, sizeof(Push));
  }

  Owned<VkPipeline> QuadPipeline(VkSampleCountFlagBits samples = VK_SAMPLE_COUNT_1_BIT,
                                 size_t attachments = 1) {
    GraphicsState state;
    state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, quad_);
    state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_);
    state.layout = layout_;
    state.multisample.rasterizationSamples = samples;
    state.color_formats.assign(attachments, kRgba);
    state.blend_attachments.resize(attachments, state.blend_attachments[0]);
    return state.Build(gpu());
  }

  void DrawQuad(VkCommandBuffer commands, VkPipeline pipeline, const Push& push) {
    SetArea(gpu(), commands, kSide, kSide);
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(push), &push);
    vk.CmdDraw(commands, 6, 1, 0, 0);
  }

  Texel TargetAt(size_t x, size_t y) {
    const std::vector<uint8_t> texels = ReadImage(gpu(), target_, kColorLayout, 4);
    const auto begin = texels.begin() + static_cast<std::ptrdiff_t>((y * kSide + x) * 4);
    Execute([&](VkCommandBuffer commands) {
      Transition(commands, target_.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, kColorLayout);
    });
    return {begin, begin + 4};
  }

  Image target_;
  Owned<VkImageView> view_;
  Owned<VkShaderModule> quad_;
  Owned<VkShaderModule> color_;
  Owned<VkPipelineLayout> layout_;
};

TEST_F(DynamicRenderingTest, SuspendedAndResumed) {
  const Owned<VkPipeline> pipeline = QuadPipeline();
  VkCommandBuffer first = Record([&](VkCommandBuffer commands) {
    Transition(commands, target_.handle, VK_IMAGE_LAYOUT_UNDEFINED, kColorLayout);
    BeginColorRendering(gpu(), commands, view_, kSide, kSide, {}, VK_RENDERING_SUSPENDING_BIT);
    DrawQuad(commands, pipeline, {{-1, -1, 0, 1}, {1, 0, 0, 1}, 0});
    vk.CmdEndRendering(commands);
  });
  VkCommandBuffer second = Record([&](VkCommandBuffer commands) {
    BeginColorRendering(gpu(), commands, view_, kSide, kSide, {}, VK_RENDERING_RESUMING_BIT);
    DrawQuad(commands, pipeline, {{0, -1, 1, 1}, {0, 1, 0, 1}, 0});
    vk.CmdEndRendering(commands);
  });
  const VkCommandBuffer both[2] = {first, second};
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.commandBufferCount = 2;
  submit.pCommandBuffers = both;
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ((Texel{255, 0, 0, 255}), TargetAt(1, 4));
  EXPECT_EQ((Texel{0, 255, 0, 255}), TargetAt(6, 4));
}

TEST_F(DynamicRenderingTest, SecondaryCommandBuffer) {
  const Owned<VkPipeline> pipeline = QuadPipeline();
  VkCommandBufferInheritanceRenderingInfo rendering{
      VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_RENDERING_INFO};
  rendering.colorAttachmentCount = 1;
  rendering.pColorAttachmentFormats = &kRgba;
  rendering.rasterizationSamples = VK_SAMPLE_COUNT_1_BIT;
  VkCommandBufferInheritanceInfo inheritance{VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  inheritance.pNext = &rendering;
  VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  begin.flags = VK_COMMAND_BUFFER_USAGE_RENDER_PASS_CONTINUE_BIT;
  begin.pInheritanceInfo = &inheritance;
  VkCommandBuffer secondary = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  ASSERT_EQ(VK_SUCCESS, vk.BeginCommandBuffer(secondary, &begin));
  DrawQuad(secondary, pipeline, {{-1, -1, 1, 0}, {1, 0, 1, 1}, 0});
  ASSERT_EQ(VK_SUCCESS, vk.EndCommandBuffer(secondary));
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, target_.handle, VK_IMAGE_LAYOUT_UNDEFINED, kColorLayout);
    BeginColorRendering(gpu(), commands, view_, kSide, kSide, {},
                        VK_RENDERING_CONTENTS_SECONDARY_COMMAND_BUFFERS_BIT);
    vk.CmdExecuteCommands(commands, 1, &secondary);
    vk.CmdEndRendering(commands);
  });
  EXPECT_EQ((Texel{255, 0, 255, 255}), TargetAt(4, 1));
  EXPECT_EQ((Texel{0, 0, 0, 0}), TargetAt(4, 6));
}

TEST_F(DynamicRenderingTest, ResolveAtTheEnd) {
  VkImageCreateInfo info = ImageInfo(kRgba, kSide, kSide, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT);
  info.samples = VK_SAMPLE_COUNT_4_BIT;
  const Image many = MakeImage(gpu(), info);
  const Owned<VkImageView> many_view = MakeView(gpu(), many);
  const Owned<VkPipeline> pipeline = QuadPipeline(VK_SAMPLE_COUNT_4_BIT);
  VkRenderingAttachmentInfo attachment{VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO};
  attachment.imageView = many_view;
  attachment.imageLayout = kColorLayout;
  attachment.resolveMode = VK_RESOLVE_MODE_AVERAGE_BIT;
  attachment.resolveImageView = view_;
  attachment.resolveImageLayout = kColorLayout;
  attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
  attachment.storeOp = VK_ATTACHMENT_STORE_OP_DONT_CARE;
  VkRenderingInfo rendering{VK_STRUCTURE_TYPE_RENDERING_INFO};
  rendering.renderArea = {{0, 0}, {kSide, kSide}};
  rendering.layerCount = 1;
  rendering.colorAttachmentCount = 1;
  rendering.pColorAttachments = &attachment;
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, many.handle, VK_IMAGE_LAYOUT_UNDEFINED, kColorLayout);
    Transition(commands, target_.handle, VK_IMAGE_LAYOUT_UNDEFINED, kColorLayout);
    vk.CmdBeginRendering(commands, &rendering);
    DrawQuad(commands, pipeline, {{-1, -1, 0, 1}, {0.6f, 0.4f, 0.2f, 1}, 0});
    vk.CmdEndRendering(commands);
  });
  EXPECT_EQ((Texel{153, 102, 51, 255}), TargetAt(1, 1));
  EXPECT_EQ((Texel{0, 0, 0, 0}), TargetAt(6, 1));
}

TEST_F(DynamicRenderingTest, AttachmentsWithoutAnImage) {
  // An attachment may be null, and then the other members may be rubbish.
  const Owned<VkPipeline> pipeline = QuadPipeline(VK_SAMPLE_COUNT_1_BIT, 2);
  VkRenderingAttachmentInfo attachments[2] = {{VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO},
                                              {VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO}};
  attachments[0].imageView = view_;
  attachments[0].imageLayout = kColorLayout;
  attachments[0].loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
  attachments[0].storeOp = VK_ATTACHMENT_STORE_OP_STORE;
  // Without a resolve mode the resolve view is ignored.
  attachments[0].resolveImageView = reinterpret_cast<VkImageView>(uintptr_t{0xBAD0});
  attachments[1].imageView = VK_NULL_HANDLE;
  VkRenderingInfo rendering{VK_STRUCTURE_TYPE_RENDERING_INFO};
  rendering.renderArea = {{0, 0}, {kSide, kSide}};
  rendering.layerCount = 1;
  rendering.colorAttachmentCount = 2;
  rendering.pColorAttachments = attachments;
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, target_.handle, VK_IMAGE_LAYOUT_UNDEFINED, kColorLayout);
    vk.CmdBeginRendering(commands, &rendering);
    DrawQuad(commands, pipeline, {{-1, -1, 1, 1}, {1, 1, 0, 1}, 0});
    vk.CmdEndRendering(commands);
  });
  EXPECT_EQ((Texel{255, 255, 0, 255}), TargetAt(4, 4));
}

TEST_F(DynamicRenderingTest, Multiview) {
  VESPER_REQUIRE(features.v11.multiview == VK_TRUE);
  VkImageCreateInfo info = ImageInfo(kRgba, kSide, kSide, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT);
  info.arrayLayers = 4;
  const Image layered = MakeImage(gpu(), info);
  VkImageViewCreateInfo view_info = ViewInfo(layered);
  view_info.viewType = VK_IMAGE_VIEW_TYPE_2D_ARRAY;
  view_info.subresourceRange.layerCount = 4;
  const Owned<VkImageView> view = Make(vk.CreateImageView, vk.DestroyImageView, view_info);
  const Owned<VkShaderModule> vertex = MakeShader(gpu(), kViewIndexVert);
  GraphicsState state;
  state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, vertex);
  state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_);
  state.layout = layout_;
  state.rendering.viewMask = 0b1011;
  const Owned<VkPipeline> pipeline = state.Build(gpu());
  VkRenderingAttachmentInfo attachment{VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO};
  attachment.imageView = view;
  attachment.imageLayout = kColorLayout;
  attachment.loadOp = VK_ATTACHMENT_LOAD_OP_LOAD;
  attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
  VkRenderingInfo rendering{VK_STRUCTURE_TYPE_RENDERING_INFO};
  rendering.renderArea = {{0, 0}, {kSide, kSide}};
  rendering.layerCount = 1;
  rendering.viewMask = 0b1011;
  rendering.colorAttachmentCount = 1;
  rendering.pColorAttachments = &attachment;
  const Buffer down = MakeHostBuffer(gpu(), 4 * kSide * kSide * 4);
  Execute([&](VkCommandBuffer commands) {
    const VkClearColorValue black{};
    const VkImageSubresourceRange all{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 4};
    Transition(commands, layered.handle, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_GENERAL);
    vk.CmdClearColorImage(commands, layered.handle, VK_IMAGE_LAYOUT_GENERAL, &black, 1, &all);
    Transition(commands, layered.handle, VK_IMAGE_LAYOUT_GENERAL, kColorLayout);
    vk.CmdBeginRendering(commands, &rendering);
    SetArea(gpu(), commands, kSide, kSide);
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    vk.CmdDraw(commands, 3, 1, 0, 0);
    vk.CmdEndRendering(commands);
    Transition(commands, layered.handle, kColorLayout, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
    VkBufferImageCopy copy = WholeImageCopy(layered);
    copy.imageSubresource.layerCount = 4;
    vk.CmdCopyImageToBuffer(commands, layered.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
                            down.handle, 1, &copy);
  });
  const int expected[4] = {51, 102, 0, 204};
  for (size_t layer = 0; layer < 4; ++layer) {
    EXPECT_EQ(expected[layer], down.data[layer * kSide * kSide * 4]) << "layer " << layer;
  }
}

TEST_F(DynamicRenderingTest, LocalReadMapping) {
  VESPER_REQUIRE(features.v14.dynamicRenderingLocalRead == VK_TRUE);
  // Two attachments, and the shader's only output goes to the second.
  const Image other =
      MakeImage(gpu(), ImageInfo(kRgba, kSide, kSide, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT));
  const Owned<VkImageView> other_view = MakeView(gpu(), other);
  const uint32_t locations[2] = {VK_ATTACHMENT_UNUSED, 0};
  VkRenderingAttachmentLocationInfo location_info{
      VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_LOCATION_INFO};
  location_info.colorAttachmentCount = 2;
  location_info.pColorAttachmentLocations = locations;
  GraphicsState state;
  state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, quad_);
  state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_);
  state.layout = layout_;
  state.color_formats.assign(2, kRgba);
  state.blend_attachments.resize(2, state.blend_attachments[0]);
  state.rendering.pNext = &location_info;
  const Owned<VkPipeline> pipeline = state.Build(gpu());
  VkRenderingAttachmentInfo attachments[2] = {{VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO},
                                              {VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO}};
  attachments[0].imageView = view_;
  attachments[1].imageView = other_view;
  for (VkRenderingAttachmentInfo& attachment : attachments) {
    attachment.imageLayout = kColorLayout;
    attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
    attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
  }
  VkRenderingInfo rendering{VK_STRUCTURE_TYPE_RENDERING_INFO};
  rendering.renderArea = {{0, 0}, {kSide, kSide}};
  rendering.layerCount = 1;
  rendering.colorAttachmentCount = 2;
  rendering.pColorAttachments = attachments;
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, target_.handle, VK_IMAGE_LAYOUT_UNDEFINED, kColorLayout);
    Transition(commands, other.handle, VK_IMAGE_LAYOUT_UNDEFINED, kColorLayout);
    vk.CmdBeginRendering(commands, &rendering);
    vk.CmdSetRenderingAttachmentLocations(commands, &location_info);
    DrawQuad(commands, pipeline, {{-1, -1, 1, 1}, {0, 1, 1, 1}, 0});
    vk.CmdEndRendering(commands);
  });
  EXPECT_EQ((Texel{0, 0, 0, 0}), TargetAt(4, 4));
  const std::vector<uint8_t> texels = ReadImage(gpu(), other, kColorLayout, 4);
  EXPECT_EQ((Texel{0, 255, 255, 255}), Texel(texels.end() - 4, texels.end()));
}

TEST_F(DynamicRenderingTest, AreaGranularity) {
  VESPER_REQUIRE(features.v14.maintenance5 == VK_TRUE);
  VkRenderingAreaInfo area{VK_STRUCTURE_TYPE_RENDERING_AREA_INFO};
  area.colorAttachmentCount = 1;
  area.pColorAttachmentFormats = &kRgba;
  VkExtent2D granularity{};
  vk.GetRenderingAreaGranularity(device, &area, &granularity);
  EXPECT_GE(granularity.width, 1u);
  EXPECT_GE(granularity.height, 1u);
}

}  // namespace
}  // namespace vesper::tests
