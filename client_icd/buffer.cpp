// SPDX-License-Identifier: Apache-2.0
//
// VkBuffer: the older forms of its commands, and binding.
#include "client_icd/bind_status.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "proto/records_gen.h"

namespace vesper::client::entry {

VKAPI_ATTR void VKAPI_CALL vkGetBufferMemoryRequirements(
    VkDevice device, VkBuffer buffer, VkMemoryRequirements* pMemoryRequirements) {
  const VkBufferMemoryRequirementsInfo2 info{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2,
                                             nullptr, buffer};
  VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, nullptr, {}};
  vkGetBufferMemoryRequirements2(device, &info, &requirements);
  *pMemoryRequirements = requirements.memoryRequirements;
}

VKAPI_ATTR VkResult VKAPI_CALL vkBindBufferMemory2(VkDevice device, uint32_t bindInfoCount,
                                                   const VkBindBufferMemoryInfo* pBindInfos) {
  proto::Args_vkBindBufferMemory2 args{device, bindInfoCount, pBindInfos};
  const VkResult result =
      CallResult(Device::From(device), proto::command_number::vkBindBufferMemory2, &args, &args.ret,
                 kHostMemory | kDeviceMemory);
  WriteBindStatus(pBindInfos, bindInfoCount, result);
  return result;
}

}  // namespace vesper::client::entry
