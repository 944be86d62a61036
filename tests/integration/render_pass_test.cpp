// SPDX-License-Identifier: Apache-2.0
// Render passes and framebuffers as Vulkan 1.0 has them, their second generation, and framebuffers
// without images. Rendering without a pass is in dynamic_rendering_test.cpp.
#include <cstdint>

#include "shaders/color_frag.h"
#include "shaders/quad_vert.h"
#include "shaders/subpass_frag.h"
#include "tests/framework/graphics_pipeline.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkFormat kRgba = VK_FORMAT_R8G8B8A8_UNORM;
constexpr uint32_t kSide = 16;

struct Push {
  float rect[4] = {-1, -1, 1, 1};
  float color[4] = {1, 1, 1, 1};
  float depth = 0;
};

using Texel = std::vector<uint8_t>;

class RenderPassTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    target_ = MakeImage(gpu(), ImageInfo(kRgba, kSide, kSide,
                                         VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT |
                                             VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT));
    view_ = MakeView(gpu(), target_);
    quad_ = MakeShader(gpu(), kQuadVert);
    color_ = MakeShader(gpu(), kColorFrag);
    layout_ = MakePipelineLayout(gpu(), {}, VK_SHADER_STAGE_VERTEX_BIT, sizeof(Push));
  }

  static VkAttachmentDescription Attachment(VkFormat format, VkImageLayout final_layout) {
    VkAttachmentDescription attachment{};
    attachment.format = format;
    attachment.samples = VK_SAMPLE_COUNT_1_BIT;
    attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
    attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    attachment.stencilLoadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE;
    attachment.stencilStoreOp = VK_ATTACHMENT_STORE_OP_DONT_CARE;
    attachment.finalLayout = final_layout;
    return attachment;
  }

  // One subpass with one colour attachment, which ends ready to be copied from.
  Owned<VkRenderPass> MakeColorPass() {
    const VkAttachmentDescription attachment =
        Attachment(kRgba, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
    const VkAttachmentReference reference{0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
    VkSubpassDescription subpass{};
    subpass.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS;
    subpass.colorAttachmentCount = 1;
    subpass.pColorAttachments = &reference;
    VkRenderPassCreateInfo info{VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO};
    info.attachmentCount = 1;
    info.pAttachments = &attachment;
    info.subpassCount = 1;
    info.pSubpasses = &subpass;
    return Make(vk.CreateRenderPass, vk.DestroyRenderPass, info);
  }

  Owned<VkFramebuffer> MakeFramebuffer(VkRenderPass pass, const std::vector<VkImageView>& views) {
    VkFramebufferCreateInfo info{VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO};
    info.renderPass = pass;
    info.attachmentCount = static_cast<uint32_t>(views.size());
    info.pAttachments = views.data();
    info.width = info.height = kSide;
    info.layers = 1;
    return Make(vk.CreateFramebuffer, vk.DestroyFramebuffer, info);
  }

  void AddQuadStages(GraphicsState& state) {
    state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, quad_);
    state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_);
    state.layout = layout_;
  }

  Owned<VkPipeline> QuadPipeline(VkRenderPass pass) {
    GraphicsState state;
    AddQuadStages(state);
    state.render_pass = pass;
    return state.Build(gpu());
  }

  void DrawQuad(VkCommandBuffer commands, VkPipeline pipeline, const Push& push) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(push), &push);
    vk.CmdDraw(commands, 6, 1, 0, 0);
  }

  std::vector<uint8_t> Target() {
    return ReadImage(gpu(), target_, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, 4);
  }

  static Texel At(const std::vector<uint8_t>& texels, size_t x, size_t y) {
    const auto begin = texels.begin() + static_cast<std::ptrdiff_t>((y * kSide + x) * 4);
    return {begin, begin + 4};
  }

  Image target_;
  Owned<VkImageView> view_;
  Owned<VkShaderModule> quad_;
  Owned<VkShaderModule> color_;
  Owned<VkPipelineLayout> layout_;
};

TEST_F(RenderPassTest, ClearAndDraw) {
  const Owned<VkRenderPass> pass = MakeColorPass();
  const Owned<VkFramebuffer> framebuffer = MakeFramebuffer(pass, {view_});
  const Owned<VkPipeline> pipeline = QuadPipeline(pass);
  VkExtent2D granularity{};
  vk.GetRenderAreaGranularity(device, pass, &granularity);
  EXPECT_GE(granularity.width, 1u);
  const VkClearValue clear{.color = {.float32 = {0, 0, 1, 1}}};
  VkRenderPassBeginInfo begin{VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
  begin.renderPass = pass;
  begin.framebuffer = framebuffer;
  begin.renderArea = {{0, 0}, {kSide, kSide}};
  begin.clearValueCount = 1;
  begin.pClearValues = &clear;
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_INLINE);
    SetArea(gpu(), commands, kSide, kSide);
    DrawQuad(commands, pipeline, {{-1, -1, 0, 0}, {1, 0, 0, 1}, 0});
    // A rectangle cleared in the middle of the pass.
    const VkClearAttachment attachment{
        VK_IMAGE_ASPECT_COLOR_BIT, 0, {.color = {.float32 = {0, 1, 0, 1}}}};
    const VkClearRect rect{{{12, 12}, {4, 4}}, 0, 1};
    vk.CmdClearAttachments(commands, 1, &attachment, 1, &rect);
    vk.CmdEndRenderPass(commands);
  });
  const std::vector<uint8_t> texels = Target();
  EXPECT_EQ((Texel{255, 0, 0, 255}), At(texels, 7, 7));
  EXPECT_EQ((Texel{0, 0, 255, 255}), At(texels, 8, 8));
  EXPECT_EQ((Texel{0, 255, 0, 255}), At(texels, 12, 12));
}

TEST_F(RenderPassTest, SecondaryCommandBufferContinuesThePass) {
  const Owned<VkRenderPass> pass = MakeColorPass();
  const Owned<VkFramebuffer> framebuffer = MakeFramebuffer(pass, {view_});
  const Owned<VkPipeline> pipeline = QuadPipeline(pass);
  VkCommandBufferInheritanceInfo inheritance{VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  inheritance.renderPass = pass;
  inheritance.framebuffer = framebuffer;
  VkCommandBufferBeginInfo begin_secondary{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  begin_secondary.flags = VK_COMMAND_BUFFER_USAGE_RENDER_PASS_CONTINUE_BIT;
  begin_secondary.pInheritanceInfo = &inheritance;
  VkCommandBuffer secondary = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  ASSERT_EQ(VK_SUCCESS, vk.BeginCommandBuffer(secondary, &begin_secondary));
  SetArea(gpu(), secondary, kSide, kSide);
  DrawQuad(secondary, pipeline, {{0, 0, 1, 1}, {1, 1, 0, 1}, 0});
  ASSERT_EQ(VK_SUCCESS, vk.EndCommandBuffer(secondary));

  const VkClearValue clear{};
  VkRenderPassBeginInfo begin{VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
  begin.renderPass = pass;
  begin.framebuffer = framebuffer;
  begin.renderArea = {{0, 0}, {kSide, kSide}};
  begin.clearValueCount = 1;
  begin.pClearValues = &clear;
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_SECONDARY_COMMAND_BUFFERS);
    vk.CmdExecuteCommands(commands, 1, &secondary);
    vk.CmdEndRenderPass(commands);
  });
  EXPECT_EQ((Texel{255, 255, 0, 255}), At(Target(), 12, 12));
  EXPECT_EQ((Texel{0, 0, 0, 0}), At(Target(), 3, 12));
}

TEST_F(RenderPassTest, PrimaryMayNameNoInheritance) {
  // For a primary command buffer pInheritanceInfo is ignored, and may be rubbish.
  VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  begin.pInheritanceInfo =
      reinterpret_cast<const VkCommandBufferInheritanceInfo*>(uintptr_t{0xBAD0});
  const Buffer buffer = MakeHostBuffer(gpu(), 64);
  VkCommandBuffer commands = AllocateCommandBuffer();
  ASSERT_EQ(VK_SUCCESS, vk.BeginCommandBuffer(commands, &begin));
  vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 3);
  FullBarrier(commands);
  ASSERT_EQ(VK_SUCCESS, vk.EndCommandBuffer(commands));
  Submit(commands);
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(3u, buffer.As<uint32_t>()[15]);
}

TEST_F(RenderPassTest, DepthAndStencil) {
  const VkFormat format = VK_FORMAT_D32_SFLOAT_S8_UINT;
  VkFormatProperties support{};
  vk.GetPhysicalDeviceFormatProperties(physical_device, format, &support);
  VESPER_REQUIRE((support.optimalTilingFeatures & VK_FORMAT_FEATURE_DEPTH_STENCIL_ATTACHMENT_BIT) !=
                 0);
  const VkImageAspectFlags both = VK_IMAGE_ASPECT_DEPTH_BIT | VK_IMAGE_ASPECT_STENCIL_BIT;
  const Image depth = MakeImage(
      gpu(), ImageInfo(format, kSide, kSide, VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT));
  const Owned<VkImageView> depth_view = MakeView(gpu(), depth, both);
  VkAttachmentDescription attachments[2] = {
      Attachment(kRgba, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL),
      Attachment(format, VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL)};
  attachments[1].stencilLoadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
  const VkAttachmentReference color_reference{0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
  const VkAttachmentReference depth_reference{1, VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL};
  VkSubpassDescription subpass{};
  subpass.colorAttachmentCount = 1;
  subpass.pColorAttachments = &color_reference;
  subpass.pDepthStencilAttachment = &depth_reference;
  VkRenderPassCreateInfo info{VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO};
  info.attachmentCount = 2;
  info.pAttachments = attachments;
  info.subpassCount = 1;
  info.pSubpasses = &subpass;
  const Owned<VkRenderPass> pass = Make(vk.CreateRenderPass, vk.DestroyRenderPass, info);
  const Owned<VkFramebuffer> framebuffer = MakeFramebuffer(pass, {view_, depth_view});
  GraphicsState state;
  AddQuadStages(state);
  state.render_pass = pass;
  state.dynamic_states.push_back(VK_DYNAMIC_STATE_STENCIL_REFERENCE);
  state.depth_stencil.depthTestEnable = VK_TRUE;
  state.depth_stencil.depthWriteEnable = VK_TRUE;
  state.depth_stencil.depthCompareOp = VK_COMPARE_OP_LESS;
  state.depth_stencil.stencilTestEnable = VK_TRUE;
  state.depth_stencil.front.compareOp = VK_COMPARE_OP_EQUAL;
  state.depth_stencil.front.passOp = VK_STENCIL_OP_INCREMENT_AND_CLAMP;
  state.depth_stencil.front.compareMask = 0xFF;
  state.depth_stencil.front.writeMask = 0xFF;
  state.depth_stencil.back = state.depth_stencil.front;
  const Owned<VkPipeline> pipeline = state.Build(gpu());
  VkClearValue clears[2] = {};
  clears[1].depthStencil = {0.5f, 7};
  VkRenderPassBeginInfo begin{VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
  begin.renderPass = pass;
  begin.framebuffer = framebuffer;
  begin.renderArea = {{0, 0}, {kSide, kSide}};
  begin.clearValueCount = 2;
  begin.pClearValues = clears;
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_INLINE);
    SetArea(gpu(), commands, kSide, kSide);
    vk.CmdSetStencilReference(commands, VK_STENCIL_FACE_FRONT_AND_BACK, 7);
    DrawQuad(commands, pipeline, {{-1, -1, 1, 1}, {1, 0, 0, 1}, 0.6f});  // Behind: fails.
    DrawQuad(commands, pipeline, {{-1, -1, 0, 1}, {0, 1, 0, 1}, 0.4f});  // Passes, stencil 8.
    DrawQuad(commands, pipeline, {{-1, -1, 0, 1}, {1, 0, 0, 1}, 0.3f});  // Stencil 8: fails.
    vk.CmdSetStencilReference(commands, VK_STENCIL_FACE_FRONT_AND_BACK, 8);
    DrawQuad(commands, pipeline, {{-1, -1, 0, 0}, {0, 0, 1, 1}, 0.2f});  // Passes.
    vk.CmdEndRenderPass(commands);
  });
  const std::vector<uint8_t> texels = Target();
  EXPECT_EQ((Texel{0, 0, 255, 255}), At(texels, 3, 3));
  EXPECT_EQ((Texel{0, 255, 0, 255}), At(texels, 3, 12));
  EXPECT_EQ((Texel{0, 0, 0, 0}), At(texels, 12, 3));
}

TEST_F(RenderPassTest, TwoSubpassesWithAnInputAttachment) {
  const Image second =
      MakeImage(gpu(), ImageInfo(kRgba, kSide, kSide, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT));
  const Owned<VkImageView> second_view = MakeView(gpu(), second);
  VkAttachmentDescription2 attachments[2] = {};
  for (VkAttachmentDescription2& attachment : attachments) {
    attachment.sType = VK_STRUCTURE_TYPE_ATTACHMENT_DESCRIPTION_2;
    attachment.format = kRgba;
    attachment.samples = VK_SAMPLE_COUNT_1_BIT;
    attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
    attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    attachment.stencilLoadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE;
    attachment.stencilStoreOp = VK_ATTACHMENT_STORE_OP_DONT_CARE;
    attachment.finalLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
  }
  VkAttachmentReference2 references[3] = {{VK_STRUCTURE_TYPE_ATTACHMENT_REFERENCE_2},
                                          {VK_STRUCTURE_TYPE_ATTACHMENT_REFERENCE_2},
                                          {VK_STRUCTURE_TYPE_ATTACHMENT_REFERENCE_2}};
  references[0].attachment = 0;
  references[0].layout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
  references[1].attachment = 0;
  references[1].layout = VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL;
  references[1].aspectMask = VK_IMAGE_ASPECT_COLOR_BIT;
  references[2].attachment = 1;
  references[2].layout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
  VkSubpassDescription2 subpasses[2] = {{VK_STRUCTURE_TYPE_SUBPASS_DESCRIPTION_2},
                                        {VK_STRUCTURE_TYPE_SUBPASS_DESCRIPTION_2}};
  subpasses[0].colorAttachmentCount = 1;
  subpasses[0].pColorAttachments = &references[0];
  subpasses[1].inputAttachmentCount = 1;
  subpasses[1].pInputAttachments = &references[1];
  subpasses[1].colorAttachmentCount = 1;
  subpasses[1].pColorAttachments = &references[2];
  VkSubpassDependency2 dependency{VK_STRUCTURE_TYPE_SUBPASS_DEPENDENCY_2};
  dependency.srcSubpass = 0;
  dependency.dstSubpass = 1;
  dependency.srcStageMask = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT;
  dependency.dstStageMask = VK_PIPELINE_STAGE_FRAGMENT_SHADER_BIT;
  dependency.srcAccessMask = VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT;
  dependency.dstAccessMask = VK_ACCESS_INPUT_ATTACHMENT_READ_BIT;
  dependency.dependencyFlags = VK_DEPENDENCY_BY_REGION_BIT;
  VkRenderPassCreateInfo2 info{VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO_2};
  info.attachmentCount = 2;
  info.pAttachments = attachments;
  info.subpassCount = 2;
  info.pSubpasses = subpasses;
  info.dependencyCount = 1;
  info.pDependencies = &dependency;
  const Owned<VkRenderPass> pass = Make(vk.CreateRenderPass2, vk.DestroyRenderPass, info);
  const Owned<VkFramebuffer> framebuffer = MakeFramebuffer(pass, {view_, second_view});

  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT, 1,
                                             VK_SHADER_STAGE_FRAGMENT_BIT, nullptr};
  const Owned<VkDescriptorSetLayout> set_layout = MakeSetLayout(gpu(), {&binding, 1});
  const Owned<VkPipelineLayout> layout = MakePipelineLayout(
      gpu(), {set_layout.address(), 1}, VK_SHADER_STAGE_VERTEX_BIT, sizeof(Push));
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT, 1};
  const Owned<VkDescriptorPool> pool = MakePool(gpu(), {&size, 1}, 1);
  VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  const VkDescriptorImageInfo image{VK_NULL_HANDLE, view_,
                                    VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL};
  VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.dstSet = set;
  write.descriptorCount = 1;
  write.descriptorType = VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT;
  write.pImageInfo = &image;
  vk.UpdateDescriptorSets(device, 1, &write, 0, nullptr);
  const Owned<VkShaderModule> invert = MakeShader(gpu(), kSubpassFrag);
  GraphicsState state;
  state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, quad_);
  state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, invert);
  state.layout = layout;
  state.render_pass = pass;
  state.subpass = 1;
  const Owned<VkPipeline> second_pipeline = state.Build(gpu());
  const Owned<VkPipeline> first_pipeline = QuadPipeline(pass);

  const VkClearValue clears[2] = {};
  VkRenderPassBeginInfo begin{VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
  begin.renderPass = pass;
  begin.framebuffer = framebuffer;
  begin.renderArea = {{0, 0}, {kSide, kSide}};
  begin.clearValueCount = 2;
  begin.pClearValues = clears;
  const VkSubpassBeginInfo inline_contents{VK_STRUCTURE_TYPE_SUBPASS_BEGIN_INFO};
  const VkSubpassEndInfo end{VK_STRUCTURE_TYPE_SUBPASS_END_INFO};
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBeginRenderPass2(commands, &begin, &inline_contents);
    SetArea(gpu(), commands, kSide, kSide);
    DrawQuad(commands, first_pipeline, {{-1, -1, 1, 1}, {1, 0.2f, 0, 1}, 0});
    vk.CmdNextSubpass2(commands, &inline_contents, &end);
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, second_pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, layout, 0, 1, &set, 0,
                             nullptr);
    const Push push;
    vk.CmdPushConstants(commands, layout, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(push), &push);
    vk.CmdDraw(commands, 6, 1, 0, 0);
    vk.CmdEndRenderPass2(commands, &end);
  });
  EXPECT_EQ((Texel{0, 204, 255, 255}),
            At(ReadImage(gpu(), second, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, 4), 9, 9));
}

TEST_F(RenderPassTest, ImagelessFramebuffer) {
  VESPER_REQUIRE(features.v12.imagelessFramebuffer == VK_TRUE);
  const Owned<VkRenderPass> pass = MakeColorPass();
  VkFramebufferAttachmentImageInfo image{VK_STRUCTURE_TYPE_FRAMEBUFFER_ATTACHMENT_IMAGE_INFO};
  image.usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT |
                VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
  image.width = image.height = kSide;
  image.layerCount = 1;
  image.viewFormatCount = 1;
  image.pViewFormats = &kRgba;
  VkFramebufferAttachmentsCreateInfo images{VK_STRUCTURE_TYPE_FRAMEBUFFER_ATTACHMENTS_CREATE_INFO};
  images.attachmentImageInfoCount = 1;
  images.pAttachmentImageInfos = &image;
  VkFramebufferCreateInfo info{VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO};
  info.pNext = &images;
  info.flags = VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT;
  info.renderPass = pass;
  info.attachmentCount = 1;
  // Ignored with this flag, and may be rubbish.
  info.pAttachments = reinterpret_cast<const VkImageView*>(uintptr_t{0xBAD0});
  info.width = info.height = kSide;
  info.layers = 1;
  const Owned<VkFramebuffer> framebuffer = Make(vk.CreateFramebuffer, vk.DestroyFramebuffer, info);
  const Owned<VkPipeline> pipeline = QuadPipeline(pass);
  VkRenderPassAttachmentBeginInfo views{VK_STRUCTURE_TYPE_RENDER_PASS_ATTACHMENT_BEGIN_INFO};
  views.attachmentCount = 1;
  views.pAttachments = view_.address();
  const VkClearValue clear{};
  VkRenderPassBeginInfo begin{VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
  begin.pNext = &views;
  begin.renderPass = pass;
  begin.framebuffer = framebuffer;
  begin.renderArea = {{0, 0}, {kSide, kSide}};
  begin.clearValueCount = 1;
  begin.pClearValues = &clear;
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_INLINE);
    SetArea(gpu(), commands, kSide, kSide);
    DrawQuad(commands, pipeline, {{-1, -1, 1, 0}, {0.2f, 0.4f, 0.6f, 1}, 0});
    vk.CmdEndRenderPass(commands);
  });
  EXPECT_EQ((Texel{51, 102, 153, 255}), At(Target(), 8, 3));
  EXPECT_EQ((Texel{0, 0, 0, 0}), At(Target(), 8, 12));
}

}  // namespace
}  // namespace vesper::tests
