// SPDX-License-Identifier: Apache-2.0
//
// Pipelines: compiled by calls, in the stream's order.
#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/graphics_infos.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

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
                          const VkAllocationCallbacks* pAllocator, VkPipeline* pPipelines) {
  const CleanGraphicsInfos infos(Device::From(device).session(), pCreateInfos, createInfoCount);
  ClearFeedback(pCreateInfos, createInfoCount);
  proto::Args_vkCreateGraphicsPipelines args{device,       pipelineCache, createInfoCount,
                                             infos.data(), nullptr,       pPipelines};
  return CreateAllocatedObjects(Device::From(device), pAllocator, Send::kCall,
                                proto::command_number::vkCreateGraphicsPipelines, &args, &args.ret,
                                proto::HandleType::kPipeline,
                                reinterpret_cast<uint64_t*>(pPipelines), createInfoCount,
                                kHostMemory | kDeviceMemory);
}

VKAPI_ATTR VkResult VKAPI_CALL
vkCreateComputePipelines(VkDevice device, VkPipelineCache pipelineCache, uint32_t createInfoCount,
                         const VkComputePipelineCreateInfo* pCreateInfos,
                         const VkAllocationCallbacks* pAllocator, VkPipeline* pPipelines) {
  ClearFeedback(pCreateInfos, createInfoCount);
  proto::Args_vkCreateComputePipelines args{device,       pipelineCache, createInfoCount,
                                            pCreateInfos, nullptr,       pPipelines};
  return CreateAllocatedObjects(Device::From(device), pAllocator, Send::kCall,
                                proto::command_number::vkCreateComputePipelines, &args, &args.ret,
                                proto::HandleType::kPipeline,
                                reinterpret_cast<uint64_t*>(pPipelines), createInfoCount,
                                kHostMemory | kDeviceMemory);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateRayTracingPipelinesKHR(
    VkDevice device, VkDeferredOperationKHR deferredOperation, VkPipelineCache pipelineCache,
    uint32_t createInfoCount, const VkRayTracingPipelineCreateInfoKHR* pCreateInfos,
    const VkAllocationCallbacks* pAllocator, VkPipeline* pPipelines) {
  ClearFeedback(pCreateInfos, createInfoCount);
  proto::Args_vkCreateRayTracingPipelinesKHR args{
      device, VK_NULL_HANDLE, pipelineCache, createInfoCount, pCreateInfos, nullptr, pPipelines};
  const VkResult result = CreateAllocatedObjects(
      Device::From(device), pAllocator, Send::kCall,
      proto::command_number::vkCreateRayTracingPipelinesKHR, &args, &args.ret,
      proto::HandleType::kPipeline, reinterpret_cast<uint64_t*>(pPipelines), createInfoCount,
      kHostMemory | kDeviceMemory);
  // The work is done: a deferred operation that was offered has not been made use of.
  return result == VK_SUCCESS && deferredOperation != VK_NULL_HANDLE ? VK_OPERATION_NOT_DEFERRED_KHR
                                                                     : result;
}

}  // namespace entry
}  // namespace vesper::client
