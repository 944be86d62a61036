// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/graphics_pipeline.h"

namespace vesper::tests {

GraphicsState::GraphicsState() {
  input_assembly.topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST;
  tessellation.patchControlPoints = 3;
  viewport.viewportCount = 1;
  viewport.scissorCount = 1;
  rasterization.polygonMode = VK_POLYGON_MODE_FILL;
  rasterization.cullMode = VK_CULL_MODE_NONE;
  rasterization.frontFace = VK_FRONT_FACE_COUNTER_CLOCKWISE;
  rasterization.lineWidth = 1.0f;
  multisample.rasterizationSamples = VK_SAMPLE_COUNT_1_BIT;
  VkPipelineColorBlendAttachmentState attachment{};
  attachment.colorWriteMask = VK_COLOR_COMPONENT_R_BIT | VK_COLOR_COMPONENT_G_BIT |
                              VK_COLOR_COMPONENT_B_BIT | VK_COLOR_COMPONENT_A_BIT;
  blend_attachments.push_back(attachment);
  dynamic_states = {VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
  color_formats = {VK_FORMAT_R8G8B8A8_UNORM};
}

void GraphicsState::AddStage(VkShaderStageFlagBits stage, VkShaderModule module,
                             const VkSpecializationInfo* specialization) {
  VkPipelineShaderStageCreateInfo stage_info{VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
  stage_info.stage = stage;
  stage_info.module = module;
  stage_info.pName = "main";
  stage_info.pSpecializationInfo = specialization;
  stages.push_back(stage_info);
}

VkGraphicsPipelineCreateInfo& GraphicsState::Link() {
  vertex_input.vertexBindingDescriptionCount = static_cast<uint32_t>(vertex_bindings.size());
  vertex_input.pVertexBindingDescriptions = vertex_bindings.data();
  vertex_input.vertexAttributeDescriptionCount = static_cast<uint32_t>(vertex_attributes.size());
  vertex_input.pVertexAttributeDescriptions = vertex_attributes.data();
  color_blend.attachmentCount = static_cast<uint32_t>(blend_attachments.size());
  color_blend.pAttachments = blend_attachments.data();
  dynamic.dynamicStateCount = static_cast<uint32_t>(dynamic_states.size());
  dynamic.pDynamicStates = dynamic_states.data();
  rendering.colorAttachmentCount = static_cast<uint32_t>(color_formats.size());
  rendering.pColorAttachmentFormats = color_formats.data();
  info.pNext = render_pass == VK_NULL_HANDLE ? &rendering : nullptr;
  info.stageCount = static_cast<uint32_t>(stages.size());
  info.pStages = stages.data();
  info.pVertexInputState = &vertex_input;
  info.pInputAssemblyState = &input_assembly;
  info.pTessellationState = &tessellation;
  info.pViewportState = &viewport;
  info.pRasterizationState = &rasterization;
  info.pMultisampleState = &multisample;
  info.pDepthStencilState = &depth_stencil;
  info.pColorBlendState = &color_blend;
  info.pDynamicState = &dynamic;
  info.layout = layout;
  info.renderPass = render_pass;
  info.subpass = subpass;
  info.basePipelineIndex = -1;
  return info;
}

Owned<VkPipeline> GraphicsState::Build(Gpu& gpu, VkPipelineCache cache) {
  VkPipeline pipeline = VK_NULL_HANDLE;
  VESPER_CHECK(gpu.vk.CreateGraphicsPipelines(gpu.device, cache, 1, &Link(), nullptr, &pipeline));
  return Owned<VkPipeline>(pipeline, [device = gpu.device, destroy = gpu.vk.DestroyPipeline](
                                         VkPipeline object) { destroy(device, object, nullptr); });
}

void SetArea(Gpu& gpu, VkCommandBuffer commands, uint32_t width, uint32_t height) {
  const VkViewport viewport{0, 0, static_cast<float>(width), static_cast<float>(height), 0, 1};
  const VkRect2D scissor{{0, 0}, {width, height}};
  gpu.vk.CmdSetViewport(commands, 0, 1, &viewport);
  gpu.vk.CmdSetScissor(commands, 0, 1, &scissor);
}

void BeginColorRendering(Gpu& gpu, VkCommandBuffer commands, VkImageView view, uint32_t width,
                         uint32_t height, const VkClearColorValue& clear, VkRenderingFlags flags) {
  VkRenderingAttachmentInfo attachment{VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO};
  attachment.imageView = view;
  attachment.imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL;
  attachment.loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR;
  attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
  attachment.clearValue.color = clear;
  VkRenderingInfo info{VK_STRUCTURE_TYPE_RENDERING_INFO};
  info.flags = flags;
  info.renderArea = {{0, 0}, {width, height}};
  info.layerCount = 1;
  info.colorAttachmentCount = 1;
  info.pColorAttachments = &attachment;
  gpu.vk.CmdBeginRendering(commands, &info);
}

}  // namespace vesper::tests
