// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_GRAPHICS_PIPELINE_H_
#define VESPER_TESTS_FRAMEWORK_GRAPHICS_PIPELINE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "tests/framework/gpu.h"

namespace vesper::tests {

// The state of a graphics pipeline, as Vulkan's own structs with plain defaults: a triangle list
// without vertex input, one viewport and scissor set while recording, no culling, no depth, one
// colour attachment without blending. Change the members that a test is about, then call Build.
struct GraphicsState {
  GraphicsState();
  GraphicsState(const GraphicsState&) = delete;
  GraphicsState& operator=(const GraphicsState&) = delete;

  void AddStage(VkShaderStageFlagBits stage, VkShaderModule module,
                const VkSpecializationInfo* specialization = nullptr);
  // Points `info` at the members of this object. `info` is for callers who create the pipeline
  // themselves, and is valid until the state changes.
  VkGraphicsPipelineCreateInfo& Link();
  Owned<VkPipeline> Build(Gpu& gpu, VkPipelineCache cache = VK_NULL_HANDLE);

  std::vector<VkPipelineShaderStageCreateInfo> stages;
  std::vector<VkVertexInputBindingDescription> vertex_bindings;
  std::vector<VkVertexInputAttributeDescription> vertex_attributes;
  std::vector<VkPipelineColorBlendAttachmentState> blend_attachments;
  std::vector<VkDynamicState> dynamic_states;
  VkPipelineVertexInputStateCreateInfo vertex_input{
      VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO};
  VkPipelineInputAssemblyStateCreateInfo input_assembly{
      VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO};
  VkPipelineTessellationStateCreateInfo tessellation{
      VK_STRUCTURE_TYPE_PIPELINE_TESSELLATION_STATE_CREATE_INFO};
  VkPipelineViewportStateCreateInfo viewport{VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO};
  VkPipelineRasterizationStateCreateInfo rasterization{
      VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO};
  VkPipelineMultisampleStateCreateInfo multisample{
      VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO};
  VkPipelineDepthStencilStateCreateInfo depth_stencil{
      VK_STRUCTURE_TYPE_PIPELINE_DEPTH_STENCIL_STATE_CREATE_INFO};
  VkPipelineColorBlendStateCreateInfo color_blend{
      VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO};
  VkPipelineDynamicStateCreateInfo dynamic{VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO};
  // For dynamic rendering: used when the render pass is null.
  std::vector<VkFormat> color_formats;
  VkPipelineRenderingCreateInfo rendering{VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO};
  VkRenderPass render_pass = VK_NULL_HANDLE;
  uint32_t subpass = 0;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkGraphicsPipelineCreateInfo info{VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO};
};

// Sets one viewport (depth 0 to 1) and one scissor that cover the area.
void SetArea(Gpu& gpu, VkCommandBuffer commands, uint32_t width, uint32_t height);

// vkCmdBeginRendering with one colour attachment, cleared and stored, layout
// COLOR_ATTACHMENT_OPTIMAL.
void BeginColorRendering(Gpu& gpu, VkCommandBuffer commands, VkImageView view, uint32_t width,
                         uint32_t height, const VkClearColorValue& clear,
                         VkRenderingFlags flags = 0);

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_GRAPHICS_PIPELINE_H_
