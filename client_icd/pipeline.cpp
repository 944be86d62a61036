// SPDX-License-Identifier: Apache-2.0
//
// Pipelines. Much of VkGraphicsPipelineCreateInfo only counts under conditions that other members
// decide, and the specification lets what doesn't count be garbage, so it is taken out before the
// codec follows pointers. (Vulkan 1.4, "Graphics Pipelines"; conditions that a struct shows by
// itself are in codegen/policy.toml.)
#include <algorithm>
#include <deque>
#include <vector>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/render_pass.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

constexpr VkGraphicsPipelineLibraryFlagsEXT kAllParts =
    VK_GRAPHICS_PIPELINE_LIBRARY_VERTEX_INPUT_INTERFACE_BIT_EXT |
    VK_GRAPHICS_PIPELINE_LIBRARY_PRE_RASTERIZATION_SHADERS_BIT_EXT |
    VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_SHADER_BIT_EXT |
    VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_OUTPUT_INTERFACE_BIT_EXT;

template <typename T>
const T* FindInChain(const void* next, VkStructureType type) {
  for (auto* element = static_cast<const VkBaseInStructure*>(next); element != nullptr;
       element = element->pNext) {
    if (element->sType == type) {
      return reinterpret_cast<const T*>(element);
    }
  }
  return nullptr;
}

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

/// Create infos without what doesn't count. Owns the structs it had to change.
class CleanGraphicsInfos {
 public:
  CleanGraphicsInfos(Session& session, const VkGraphicsPipelineCreateInfo* infos, uint32_t count)
      : infos_(infos, infos + count) {
    for (VkGraphicsPipelineCreateInfo& info : infos_) {
      Clean(session, info);
    }
  }

  const VkGraphicsPipelineCreateInfo* data() const { return infos_.data(); }

 private:
  static bool IsDynamic(const VkGraphicsPipelineCreateInfo& info, VkDynamicState state) {
    const VkPipelineDynamicStateCreateInfo* dynamic = info.pDynamicState;
    return dynamic != nullptr &&
           std::find(dynamic->pDynamicStates, dynamic->pDynamicStates + dynamic->dynamicStateCount,
                     state) != dynamic->pDynamicStates + dynamic->dynamicStateCount;
  }

  void Clean(Session& session, VkGraphicsPipelineCreateInfo& info) {
    const VkGraphicsPipelineLibraryFlagsEXT parts = DescribedParts(info);
    const auto has = [parts](VkGraphicsPipelineLibraryFlagsEXT part) {
      return (parts & part) != 0;
    };
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
    const bool mesh = (stages & VK_SHADER_STAGE_MESH_BIT_EXT) != 0;
    const bool tessellation = (stages & (VK_SHADER_STAGE_TESSELLATION_CONTROL_BIT |
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

  void CleanViewports(VkGraphicsPipelineCreateInfo& info) {
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

  void CleanBlending(VkGraphicsPipelineCreateInfo& info) {
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

  std::vector<VkGraphicsPipelineCreateInfo> infos_;
  // Deques: elements stay where they are while others are added.
  std::deque<VkPipelineViewportStateCreateInfo> viewports_;
  std::deque<VkPipelineColorBlendStateCreateInfo> blends_;
  std::deque<VkPipelineMultisampleStateCreateInfo> multisamples_;
};

/// Feedback is optional; what the driver does not give is marked as not valid.
template <typename CreateInfo>
void ClearFeedback(const CreateInfo* infos, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const auto* feedback = FindInChain<VkPipelineCreationFeedbackCreateInfo>(
        infos[i].pNext, VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO);
    if (feedback == nullptr) {
      continue;
    }
    *feedback->pPipelineCreationFeedback = {};
    for (uint32_t stage = 0; stage < feedback->pipelineStageCreationFeedbackCount; ++stage) {
      feedback->pPipelineStageCreationFeedbacks[stage] = {};
    }
  }
}

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL
vkCreateGraphicsPipelines(VkDevice device, VkPipelineCache pipelineCache, uint32_t createInfoCount,
                          const VkGraphicsPipelineCreateInfo* pCreateInfos,
                          const VkAllocationCallbacks*, VkPipeline* pPipelines) {
  const CleanGraphicsInfos infos(Device::From(device).session(), pCreateInfos, createInfoCount);
  ClearFeedback(pCreateInfos, createInfoCount);
  proto::Args_vkCreateGraphicsPipelines args{device,       pipelineCache, createInfoCount,
                                             infos.data(), nullptr,       pPipelines};
  return CreateObjects(Device::From(device), Send::kCall,
                       proto::command_number::vkCreateGraphicsPipelines, &args, &args.ret,
                       proto::HandleType::kPipeline, reinterpret_cast<uint64_t*>(pPipelines),
                       createInfoCount, kHostMemory | kDeviceMemory);
}

VKAPI_ATTR VkResult VKAPI_CALL
vkCreateComputePipelines(VkDevice device, VkPipelineCache pipelineCache, uint32_t createInfoCount,
                         const VkComputePipelineCreateInfo* pCreateInfos,
                         const VkAllocationCallbacks*, VkPipeline* pPipelines) {
  ClearFeedback(pCreateInfos, createInfoCount);
  proto::Args_vkCreateComputePipelines args{device,       pipelineCache, createInfoCount,
                                            pCreateInfos, nullptr,       pPipelines};
  return CreateObjects(Device::From(device), Send::kCall,
                       proto::command_number::vkCreateComputePipelines, &args, &args.ret,
                       proto::HandleType::kPipeline, reinterpret_cast<uint64_t*>(pPipelines),
                       createInfoCount, kHostMemory | kDeviceMemory);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateRayTracingPipelinesKHR(
    VkDevice device, VkDeferredOperationKHR deferredOperation, VkPipelineCache pipelineCache,
    uint32_t createInfoCount, const VkRayTracingPipelineCreateInfoKHR* pCreateInfos,
    const VkAllocationCallbacks*, VkPipeline* pPipelines) {
  ClearFeedback(pCreateInfos, createInfoCount);
  proto::Args_vkCreateRayTracingPipelinesKHR args{
      device, VK_NULL_HANDLE, pipelineCache, createInfoCount, pCreateInfos, nullptr, pPipelines};
  const VkResult result = CreateObjects(
      Device::From(device), Send::kCall, proto::command_number::vkCreateRayTracingPipelinesKHR,
      &args, &args.ret, proto::HandleType::kPipeline, reinterpret_cast<uint64_t*>(pPipelines),
      createInfoCount, kHostMemory | kDeviceMemory);
  // The work is done: a deferred operation that was offered has not been made use of.
  return result == VK_SUCCESS && deferredOperation != VK_NULL_HANDLE ? VK_OPERATION_NOT_DEFERRED_KHR
                                                                     : result;
}

}  // namespace entry
}  // namespace vesper::client
