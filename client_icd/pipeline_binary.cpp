// SPDX-License-Identifier: Apache-2.0
//
// Pipeline binaries. New handles come back inside a struct, and pipelines are described by create
// infos that hang in a chain which the registry gives no type, so both travel as commands of
// Vesper's own. The guest gives the ids, one for each place in the program's array; the host says
// which of them became binaries.
#include <algorithm>
#include <optional>
#include <vector>

#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/graphics_infos.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

/// The create info that hangs in a VkPipelineCreateInfoKHR, by its kind.
class DescribedPipeline {
 public:
  DescribedPipeline(Session& session, const VkPipelineCreateInfoKHR* info) {
    const void* next = info != nullptr ? info->pNext : nullptr;
    compute_ = FindInChain<VkComputePipelineCreateInfo>(
        next, VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO);
    ray_tracing_ = FindInChain<VkRayTracingPipelineCreateInfoKHR>(
        next, VK_STRUCTURE_TYPE_RAY_TRACING_PIPELINE_CREATE_INFO_KHR);
    if (const auto* graphics = FindInChain<VkGraphicsPipelineCreateInfo>(
            next, VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO)) {
      graphics_.emplace(session, graphics, 1);
    }
    known_ =
        info == nullptr || graphics() != nullptr || compute_ != nullptr || ray_tracing_ != nullptr;
  }

  /// False if something is described that this driver cannot carry.
  bool IsKnown() const { return known_; }
  const VkGraphicsPipelineCreateInfo* graphics() const {
    return graphics_.has_value() ? graphics_->data() : nullptr;
  }
  const VkComputePipelineCreateInfo* compute() const { return compute_; }
  const VkRayTracingPipelineCreateInfoKHR* ray_tracing() const { return ray_tracing_; }

 private:
  std::optional<CleanGraphicsInfos> graphics_;
  const VkComputePipelineCreateInfo* compute_ = nullptr;
  const VkRayTracingPipelineCreateInfoKHR* ray_tracing_ = nullptr;
  bool known_ = true;
};

constexpr uint32_t kErrors = kHostMemory | kDeviceMemory | kInitialization;

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreatePipelineBinariesKHR(
    VkDevice device, const VkPipelineBinaryCreateInfoKHR* pCreateInfo, const VkAllocationCallbacks*,
    VkPipelineBinaryHandlesInfoKHR* pBinaries) {
  Device& owner = Device::From(device);
  Session& session = owner.session();
  const DescribedPipeline described(session, pCreateInfo->pPipelineCreateInfo);
  VkPipelineBinaryKHR* handles = pBinaries->pPipelineBinaries;
  const uint32_t room = handles == nullptr ? 0 : pBinaries->pipelineBinaryCount;
  std::fill_n(handles, room, VkPipelineBinaryKHR{VK_NULL_HANDLE});
  if (!described.IsKnown()) {
    return VK_ERROR_INITIALIZATION_FAILED;
  }
  if (const VkResult pending = owner.TakePendingError(kErrors)) {
    return pending;
  }
  std::vector<proto::ObjectId> ids;
  ids.reserve(room);
  for (uint32_t i = 0; i < room; ++i) {
    const proto::ObjectId id = session.store().Allocate(proto::HandleType::kPipelineBinaryKHR);
    if (id == 0) {
      break;
    }
    ids.push_back(id);
    handles[i] = FromId<VkPipelineBinaryKHR>(id);
  }
  uint32_t count = 0;
  proto::Args_vesperCreatePipelineBinaries args{device,
                                                pCreateInfo->pKeysAndDataInfo,
                                                pCreateInfo->pipeline,
                                                described.graphics(),
                                                described.compute(),
                                                described.ray_tracing(),
                                                &count,
                                                room,
                                                handles};
  VkResult result = VK_ERROR_OUT_OF_HOST_MEMORY;
  if (ids.size() == room) {
    const bool answered =
        !owner.IsLost() && session.Call(proto::command_number::vesperCreatePipelineBinaries, &args);
    result = answered ? args.ret : LostResult(kErrors);
    if (!answered) {
      std::fill_n(handles, room, VkPipelineBinaryKHR{VK_NULL_HANDLE});
    }
  } else {
    std::fill_n(handles, room, VkPipelineBinaryKHR{VK_NULL_HANDLE});
  }
  // The reply holds each binary's id, or 0 for one that was not made.
  uint32_t made = 0;
  for (uint32_t i = 0; i < ids.size(); ++i) {
    if (ToId(handles[i]) == ids[i]) {
      ++made;
    } else {
      handles[i] = VK_NULL_HANDLE;
      session.store().Free(ids[i]);
    }
  }
  if (result < 0) {
    return result;
  }
  if (handles != nullptr && (count > room || (result == VK_SUCCESS && made < count))) {
    // A host that reports success for what it did not make can't be believed in anything.
    return LostResult(kErrors);
  }
  pBinaries->pipelineBinaryCount = count;
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL
vkGetPipelineKeyKHR(VkDevice device, const VkPipelineCreateInfoKHR* pPipelineCreateInfo,
                    VkPipelineBinaryKeyKHR* pPipelineKey) {
  Device& owner = Device::From(device);
  const DescribedPipeline described(owner.session(), pPipelineCreateInfo);
  if (!described.IsKnown()) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  proto::Args_vesperGetPipelineKey args{device, described.graphics(), described.compute(),
                                        described.ray_tracing(), pPipelineKey};
  return CallResult(owner, proto::command_number::vesperGetPipelineKey, &args, &args.ret,
                    kHostMemory | kDeviceMemory);
}

}  // namespace entry
}  // namespace vesper::client
