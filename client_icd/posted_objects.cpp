// SPDX-License-Identifier: Apache-2.0
//
// Objects without state in the guest that are posted unless the driver may refuse this one for
// reasons that only it knows: what the program captured in another run, binaries of another driver,
// and more than a frame holds.
#include <algorithm>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "proto/limits.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

namespace command = proto::command_number;
using proto::HandleType;

/// Half a frame: what else the command needs is not counted.
Send SendOf(size_t bytes) { return bytes <= proto::kMaxFrameBytes / 2 ? Send::kPost : Send::kCall; }

template <typename Args, typename Handle>
VkResult Create(VkDevice device, const VkAllocationCallbacks* callbacks, Send send, uint16_t number,
                Args& args, HandleType type, Handle* handles, uint32_t count,
                uint32_t errors = kHostMemory | kDeviceMemory) {
  return CreateAllocatedObjects(Device::From(device), callbacks, send, number, &args, &args.ret,
                                type, reinterpret_cast<uint64_t*>(handles), count, errors);
}

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateShaderModule(VkDevice device,
                                                    const VkShaderModuleCreateInfo* pCreateInfo,
                                                    const VkAllocationCallbacks* pAllocator,
                                                    VkShaderModule* pShaderModule) {
  proto::Args_vkCreateShaderModule args{device, pCreateInfo, nullptr, pShaderModule};
  return Create(device, pAllocator, SendOf(pCreateInfo->codeSize), command::vkCreateShaderModule,
                args, HandleType::kShaderModule, pShaderModule, 1);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreatePipelineCache(VkDevice device,
                                                     const VkPipelineCacheCreateInfo* pCreateInfo,
                                                     const VkAllocationCallbacks* pAllocator,
                                                     VkPipelineCache* pPipelineCache) {
  proto::Args_vkCreatePipelineCache args{device, pCreateInfo, nullptr, pPipelineCache};
  return Create(device, pAllocator, SendOf(pCreateInfo->initialDataSize),
                command::vkCreatePipelineCache, args, HandleType::kPipelineCache, pPipelineCache,
                1);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateShadersEXT(VkDevice device, uint32_t createInfoCount,
                                                  const VkShaderCreateInfoEXT* pCreateInfos,
                                                  const VkAllocationCallbacks* pAllocator,
                                                  VkShaderEXT* pShaders) {
  size_t bytes = 0;
  bool is_source = true;
  for (uint32_t i = 0; i < createInfoCount; ++i) {
    bytes += std::min<size_t>(pCreateInfos[i].codeSize, proto::kMaxFrameBytes);
    is_source = is_source && pCreateInfos[i].codeType == VK_SHADER_CODE_TYPE_SPIRV_EXT;
  }
  proto::Args_vkCreateShadersEXT args{device, createInfoCount, pCreateInfos, nullptr, pShaders};
  return Create(device, pAllocator, is_source ? SendOf(bytes) : Send::kCall,
                command::vkCreateShadersEXT, args, HandleType::kShaderEXT, pShaders,
                createInfoCount, kHostMemory | kDeviceMemory | kInitialization);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateMicromapEXT(VkDevice device,
                                                   const VkMicromapCreateInfoEXT* pCreateInfo,
                                                   const VkAllocationCallbacks* pAllocator,
                                                   VkMicromapEXT* pMicromap) {
  proto::Args_vkCreateMicromapEXT args{device, pCreateInfo, nullptr, pMicromap};
  constexpr VkMicromapCreateFlagsEXT kCaptured =
      VK_MICROMAP_CREATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT_EXT;
  return Create(
      device, pAllocator, (pCreateInfo->createFlags & kCaptured) != 0 ? Send::kCall : Send::kPost,
      command::vkCreateMicromapEXT, args, HandleType::kMicromapEXT, pMicromap, 1, kHostMemory);
}

}  // namespace entry
}  // namespace vesper::client
