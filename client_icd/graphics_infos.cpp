// SPDX-License-Identifier: Apache-2.0
#include "client_icd/graphics_infos.h"

#include <algorithm>

#include "client_icd/chain.h"
#include "client_icd/object.h"
#include "client_icd/render_pass.h"
#include "client_icd/session.h"

namespace vesper::client {
namespace {

constexpr VkGraphicsPipelineLibraryFlagsEXT kAllParts =
    VK_GRAPHICS_PIPELINE_LIBRARY_VERTEX_INPUT_INTERFACE_BIT_EXT |
    VK_GRAPHICS_PIPELINE_LIBRARY_PRE_RASTERIZATION_SHADERS_BIT_EXT |
    VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_SHADER_BIT_EXT |
    VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_OUTPUT_INTERFACE_BIT_EXT;

/// Which parts of the pipeline this create info itself describes.
VkGraphicsPipelineLibraryFlagsEXT DescribedParts(const VkGraphicsPipelineCreateInfo& info) {
  const auto* own = FindInChain<VkGraphicsPipelineLibraryCreateInfoEXT>(
      info.pNext, VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_LIBRARY_CREATE_INFO_EXT);
  if (own != nullptr) {
    return own->flags;
  }
  const auto* linked = FindInChain<VkPipelineLibraryCreateInfoKHR>(
      info.pNext, VK_STRUCTURE_TYPE_PIPELINE_LIBRARY_CREATE_INFO_KHR);
  return linked != nullptr && linked->libraryCount > 0 ? 0 : kAllParts;
}

/// Which attachments the pipeline can draw to. Where this create info does not tell, all of them.
RenderPass::Subpass UsedAttachments(Session& session, const VkGraphicsPipelineCreateInfo& info,
                                    bool describes_output) {
  if (info.renderPass != VK_NULL_HANDLE) {
    const auto* render_pass =
        static_cast<const RenderPass*>(session.store().State(ToId(info.renderPass)));
    if (render_pass != nullptr && info.subpass < render_pass->subpasses.size()) {
      return render_pass->subpasses[info.subpass];
    }
  } else if (describes_output) {
    const auto* rendering = FindInChain<VkPipelineRenderingCreateInfo>(
        info.pNext, VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO);
    if (rendering == nullptr) {
      return {false, false};
    }
    return {rendering->colorAttachmentCount > 0,
            rendering->depthAttachmentFormat != VK_FORMAT_UNDEFINED ||
                rendering->stencilAttachmentFormat != VK_FORMAT_UNDEFINED};
  }
  return {true, true};
}

bool IsDynamic(const VkGraphicsPipelineCreateInfo& info, VkDynamicState state) {
  const VkPipelineDynamicStateCreateInfo* dynamic = info.pDynamicState;
  return dynamic != nullptr &&
         std::find(dynamic->pDynamicStates, dynamic->pDynamicStates + dynamic->dynamicStateCount,
                   state) != dynamic->pDynamicStates + dynamic->dynamicStateCount;
}

}  // namespace

CleanGraphicsInfos::CleanGraphicsInfos(Session& session, const VkGraphicsPipelineCreateInfo* infos,
                                       uint32_t count)
    : infos_(infos, infos + count) {
  for (VkGraphicsPipelineCreateInfo& info : infos_) {
    Clean(session, info);
  }
}

void CleanGraphicsInfos::Clean(Session& session, VkGraphicsPipelineCreateInfo& info) {
  const VkGraphicsPipelineLibraryFlagsEXT parts = DescribedParts(info);
  const auto has = [parts](VkGraphicsPipelineLibraryFlagsEXT part) { return (parts & part) != 0; };
  const bool vertex_input = has(VK_GRAPHICS_PIPELINE_LIBRARY_VERTEX_INPUT_INTERFACE_BIT_EXT);
  const bool pre_raster = has(VK_GRAPHICS_PIPELINE_LIBRARY_PRE_RASTERIZATION_SHADERS_BIT_EXT);
  const bool fragment = has(VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_SHADER_BIT_EXT);
  const bool output = has(VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_OUTPUT_INTERFACE_BIT_EXT);
  if (!pre_raster && !fragment) {
    info.stageCount = 0;
    info.pStages = nullptr;
  }
  VkShaderStageFlags stages = 0;
  for (uint32_t i = 0; i < info.stageCount; ++i) {
    stages |= info.pStages[i].stage;
  }
  // A pipeline from binaries may name no stages; then only the binaries know which ones there are.
  const auto* binaries =
      FindInChain<VkPipelineBinaryInfoKHR>(info.pNext, VK_STRUCTURE_TYPE_PIPELINE_BINARY_INFO_KHR);
  const bool unknown_stages =
      info.stageCount == 0 && binaries != nullptr && binaries->binaryCount > 0;
  const bool mesh = (stages & VK_SHADER_STAGE_MESH_BIT_EXT) != 0;
  const bool tessellation =
      unknown_stages || (stages & (VK_SHADER_STAGE_TESSELLATION_CONTROL_BIT |
                                   VK_SHADER_STAGE_TESSELLATION_EVALUATION_BIT)) != 0;
  if (!pre_raster) {
    info.pRasterizationState = nullptr;
  }
  const bool rasterizes = info.pRasterizationState == nullptr ||
                          info.pRasterizationState->rasterizerDiscardEnable == VK_FALSE ||
                          IsDynamic(info, VK_DYNAMIC_STATE_RASTERIZER_DISCARD_ENABLE);
  if (!vertex_input || mesh) {
    info.pVertexInputState = nullptr;
    info.pInputAssemblyState = nullptr;
  }
  if (IsDynamic(info, VK_DYNAMIC_STATE_VERTEX_INPUT_EXT)) {
    info.pVertexInputState = nullptr;
  }
  if (!pre_raster || !tessellation) {
    info.pTessellationState = nullptr;
  }
  if (!pre_raster || !rasterizes) {
    info.pViewportState = nullptr;
  }
  if ((!fragment && !output) || !rasterizes) {
    info.pMultisampleState = nullptr;
  }
  const RenderPass::Subpass used = UsedAttachments(session, info, output);
  if (!fragment || !rasterizes || !used.uses_depth_stencil) {
    info.pDepthStencilState = nullptr;
  }
  if (!output || !rasterizes || !used.uses_color) {
    info.pColorBlendState = nullptr;
  }
  CleanViewports(info);
  CleanBlending(info);
}

void CleanGraphicsInfos::CleanViewports(VkGraphicsPipelineCreateInfo& info) {
  if (info.pViewportState == nullptr) {
    return;
  }
  VkPipelineViewportStateCreateInfo& state = viewports_.emplace_back(*info.pViewportState);
  if (IsDynamic(info, VK_DYNAMIC_STATE_VIEWPORT) ||
      IsDynamic(info, VK_DYNAMIC_STATE_VIEWPORT_WITH_COUNT)) {
    state.pViewports = nullptr;
  }
  if (IsDynamic(info, VK_DYNAMIC_STATE_SCISSOR) ||
      IsDynamic(info, VK_DYNAMIC_STATE_SCISSOR_WITH_COUNT)) {
    state.pScissors = nullptr;
  }
  info.pViewportState = &state;
}

void CleanGraphicsInfos::CleanBlending(VkGraphicsPipelineCreateInfo& info) {
  if (info.pColorBlendState != nullptr &&
      IsDynamic(info, VK_DYNAMIC_STATE_COLOR_BLEND_ENABLE_EXT) &&
      IsDynamic(info, VK_DYNAMIC_STATE_COLOR_BLEND_EQUATION_EXT) &&
      IsDynamic(info, VK_DYNAMIC_STATE_COLOR_WRITE_MASK_EXT)) {
    VkPipelineColorBlendStateCreateInfo& state = blends_.emplace_back(*info.pColorBlendState);
    state.pAttachments = nullptr;
    info.pColorBlendState = &state;
  }
  if (info.pMultisampleState != nullptr && IsDynamic(info, VK_DYNAMIC_STATE_SAMPLE_MASK_EXT)) {
    VkPipelineMultisampleStateCreateInfo& state =
        multisamples_.emplace_back(*info.pMultisampleState);
    state.pSampleMask = nullptr;
    info.pMultisampleState = &state;
  }
}

}  // namespace vesper::client
