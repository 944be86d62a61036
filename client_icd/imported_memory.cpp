// SPDX-License-Identifier: Apache-2.0
#include "client_icd/imported_memory.h"

#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/physical_device.h"
#include "client_icd/shadows.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

/// The memory types that the program's memory can be imported as: coherent ones, and of those the
/// ones that are not the device's own, unless there is no other.
uint32_t ImportableTypes(const VkPhysicalDeviceMemoryProperties& properties) {
  constexpr VkMemoryPropertyFlags kNeeded =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  constexpr VkMemoryPropertyFlags kUnsuited =
      VK_MEMORY_PROPERTY_PROTECTED_BIT | VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD;
  uint32_t any = 0;
  uint32_t of_the_host = 0;
  for (uint32_t i = 0; i < properties.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = properties.memoryTypes[i].propertyFlags;
    if ((flags & kNeeded) != kNeeded || (flags & kUnsuited) != 0) {
      continue;
    }
    any |= 1u << i;
    if ((flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) == 0) {
      of_the_host |= 1u << i;
    }
  }
  return of_the_host != 0 ? of_the_host : any;
}

bool IsAligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % PageSize() == 0;
}

}  // namespace

void DescribeExternalMemory(VkExternalMemoryHandleTypeFlagBits type,
                            VkExternalMemoryProperties* properties) {
  *properties = {};
  if (type == kHostPointer) {
    properties->externalMemoryFeatures = VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
    properties->compatibleHandleTypes = kHostPointer;
  }
}

const VkImportMemoryHostPointerInfoEXT* FindImport(const VkMemoryAllocateInfo& info) {
  const auto* import = FindInChain<VkImportMemoryHostPointerInfoEXT>(
      info.pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);
  return import != nullptr && import->handleType != 0 ? import : nullptr;
}

VkResult Import(Device& device, VkDeviceMemory handle, DeviceMemory& memory,
                const VkImportMemoryHostPointerInfoEXT& info) {
  Session& session = device.session();
  if (info.handleType != kHostPointer || info.pHostPointer == nullptr ||
      !IsAligned(info.pHostPointer) || !memory.is_host_visible || !memory.is_coherent) {
    return VK_ERROR_INVALID_EXTERNAL_HANDLE;
  }
  auto* const begin = static_cast<std::byte*>(info.pHostPointer);
  memory.shadow = session.shadows().Import(ToId(handle), memory.size, begin);
  if (memory.shadow == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  // Nothing that was submitted can have written to it: there is nothing to wait for.
  const proto::Args_vesperMapMemory args{device.handle(), ToId(handle)};
  session.Post(proto::command_number::vesperMapMemory, &args);
  memory.imported = begin;
  device.AddMapped(memory.shadow);
  return VK_SUCCESS;
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkGetMemoryHostPointerPropertiesEXT(
    VkDevice device, VkExternalMemoryHandleTypeFlagBits handleType, const void* pHostPointer,
    VkMemoryHostPointerPropertiesEXT* pMemoryHostPointerProperties) {
  pMemoryHostPointerProperties->memoryTypeBits = 0;
  if (handleType != kHostPointer || pHostPointer == nullptr || !IsAligned(pHostPointer)) {
    return VK_ERROR_INVALID_EXTERNAL_HANDLE;
  }
  pMemoryHostPointerProperties->memoryTypeBits =
      ImportableTypes(Device::From(device).physical_device().snapshot().memory->memoryProperties);
  return VK_SUCCESS;
}

}  // namespace entry
}  // namespace vesper::client
