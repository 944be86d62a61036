// SPDX-License-Identifier: Apache-2.0
//
// Pipelines: posted, unless the program asks for something that only the compilation tells. Several
// in one command are posted one by one, so that each fails, and waits for what it is made of, by
// itself; and at once, so that the host can compile while the program goes on.
#include <algorithm>

#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/graphics_infos.h"
#include "client_icd/ray_tracing.h"
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

namespace command = proto::command_number;
using proto::HandleType;

template <typename CreateInfo>
VkPipelineCreateFlags2 FlagsOf(const CreateInfo& info) {
  const auto* flags = FindInChain<VkPipelineCreateFlags2CreateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_PIPELINE_CREATE_FLAGS_2_CREATE_INFO);
  return flags != nullptr ? flags->flags : info.flags;
}

/// True if the answer is more than a pipeline that memory was there for.
template <typename CreateInfo>
bool NeedsAnswer(const CreateInfo& info) {
  constexpr VkPipelineCreateFlags2 kAsking =
      VK_PIPELINE_CREATE_2_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT |
      VK_PIPELINE_CREATE_2_EARLY_RETURN_ON_FAILURE_BIT | VK_PIPELINE_CREATE_2_DEFER_COMPILE_BIT_NV;
  return (FlagsOf(info) & kAsking) != 0 ||
         FindInChain<VkPipelineCreationFeedbackCreateInfo>(
             info.pNext, VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO) != nullptr ||
         FindInChain<VkPipelineBinaryInfoKHR>(
             info.pNext, VK_STRUCTURE_TYPE_PIPELINE_BINARY_INFO_KHR) != nullptr;
}

/// True if it is derived from another pipeline of the same command.
template <typename CreateInfo>
bool NeedsOthers(const CreateInfo& info) {
  return (FlagsOf(info) & VK_PIPELINE_CREATE_2_DERIVATIVE_BIT) != 0 && info.basePipelineIndex >= 0;
}

/// `make_args` gives the command's Args for so many pipelines, from that one on.
template <typename CreateInfo, typename MakeArgs>
VkResult Create(VkDevice device, const VkAllocationCallbacks* callbacks, Send send, uint16_t number,
                const CreateInfo* infos, uint32_t count, VkPipeline* pipelines,
                const MakeArgs& make_args) {
  Device& owner = Device::From(device);
  ClearFeedback(infos, count);
  if (std::any_of(infos, infos + count, NeedsAnswer<CreateInfo>)) {
    send = Send::kCall;
  }
  const bool is_posted = send == Send::kPost && owner.session().Posts(number);
  const bool is_split = is_posted && std::none_of(infos, infos + count, NeedsOthers<CreateInfo>);
  const uint32_t step = is_split ? 1 : count;
  VkResult result = VK_SUCCESS;
  for (uint32_t i = 0; i < count; i += step) {
    auto args = make_args(i, step);
    const VkResult made = CreateAllocatedObjects(
        owner, callbacks, send, number, &args, &args.ret, HandleType::kPipeline,
        reinterpret_cast<uint64_t*>(pipelines + i), step, kHostMemory | kDeviceMemory);
    result = result == VK_SUCCESS ? made : result;
  }
  if (is_posted) {
    owner.session().Flush();
  }
  return result;
}

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL
vkCreateGraphicsPipelines(VkDevice device, VkPipelineCache pipelineCache, uint32_t createInfoCount,
                          const VkGraphicsPipelineCreateInfo* pCreateInfos,
                          const VkAllocationCallbacks* pAllocator, VkPipeline* pPipelines) {
  const CleanGraphicsInfos infos(Device::From(device).session(), pCreateInfos, createInfoCount);
  return Create(device, pAllocator, Send::kPost, command::vkCreateGraphicsPipelines, pCreateInfos,
                createInfoCount, pPipelines, [&](uint32_t first, uint32_t count) {
                  return proto::Args_vkCreateGraphicsPipelines{device,  pipelineCache,
                                                               count,   infos.data() + first,
                                                               nullptr, pPipelines + first};
                });
}

VKAPI_ATTR VkResult VKAPI_CALL
vkCreateComputePipelines(VkDevice device, VkPipelineCache pipelineCache, uint32_t createInfoCount,
                         const VkComputePipelineCreateInfo* pCreateInfos,
                         const VkAllocationCallbacks* pAllocator, VkPipeline* pPipelines) {
  return Create(device, pAllocator, Send::kPost, command::vkCreateComputePipelines, pCreateInfos,
                createInfoCount, pPipelines, [&](uint32_t first, uint32_t count) {
                  return proto::Args_vkCreateComputePipelines{device,  pipelineCache,
                                                              count,   pCreateInfos + first,
                                                              nullptr, pPipelines + first};
                });
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateRayTracingPipelinesKHR(
    VkDevice device, VkDeferredOperationKHR deferredOperation, VkPipelineCache pipelineCache,
    uint32_t createInfoCount, const VkRayTracingPipelineCreateInfoKHR* pCreateInfos,
    const VkAllocationCallbacks* pAllocator, VkPipeline* pPipelines) {
  // A program that offers an operation will ask it for the result.
  const Send send = deferredOperation == VK_NULL_HANDLE ? Send::kPost : Send::kCall;
  const VkResult result =
      Create(device, pAllocator, send, command::vkCreateRayTracingPipelinesKHR, pCreateInfos,
             createInfoCount, pPipelines, [&](uint32_t first, uint32_t count) {
               return proto::Args_vkCreateRayTracingPipelinesKHR{
                   device,  VK_NULL_HANDLE,    pipelineCache, count, pCreateInfos + first,
                   nullptr, pPipelines + first};
             });
  for (uint32_t i = 0; i < createInfoCount; ++i) {
    if (pPipelines[i] != VK_NULL_HANDLE) {
      NoteRayTracingPipeline(Device::From(device), pAllocator, pCreateInfos[i], pPipelines[i]);
    }
  }
  // The work is done: a deferred operation that was offered has not been made use of.
  return result == VK_SUCCESS && deferredOperation != VK_NULL_HANDLE ? VK_OPERATION_NOT_DEFERRED_KHR
                                                                     : result;
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateRayTracingPipelinesNV(
    VkDevice device, VkPipelineCache pipelineCache, uint32_t createInfoCount,
    const VkRayTracingPipelineCreateInfoNV* pCreateInfos, const VkAllocationCallbacks* pAllocator,
    VkPipeline* pPipelines) {
  return Create(device, pAllocator, Send::kPost, command::vkCreateRayTracingPipelinesNV,
                pCreateInfos, createInfoCount, pPipelines, [&](uint32_t first, uint32_t count) {
                  return proto::Args_vkCreateRayTracingPipelinesNV{device,  pipelineCache,
                                                                   count,   pCreateInfos + first,
                                                                   nullptr, pPipelines + first};
                });
}

}  // namespace entry
}  // namespace vesper::client
