// SPDX-License-Identifier: Apache-2.0
//
// VkDeviceMemory and mapping. docs/memory.md tells how shadow, twin and host memory agree; here are
// the moments: mapping brings the host's content, flushing and unmapping send the program's writes,
// and every submission sends those to coherent memory (Device::ReleaseMemory). Invalidating needs
// nothing: what the device wrote is in the shadow before the fence that says so is signalled.
#include "client_icd/device_memory.h"

#include <algorithm>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/physical_device.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

DeviceMemory* Find(Device& device, VkDeviceMemory memory) {
  return static_cast<DeviceMemory*>(device.session().store().State(ToId(memory)));
}

void Collect(Device& device, DeviceMemory& memory, uint64_t offset, uint64_t size) {
  if (memory.shadow == nullptr || offset > memory.size) {
    return;
  }
  memory.shadow->Collect(device.session(), device.handle(), offset,
                         std::min(size, memory.size - offset));
}

VkResult Map(Device& device, VkDeviceMemory handle, uint64_t offset, void** data) {
  Session& session = device.session();
  DeviceMemory* memory = Find(device, handle);
  if (memory == nullptr || !memory->is_host_visible || device.IsLost()) {
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  if (memory->shadow == nullptr) {
    auto shadow = std::make_shared<Shadow>(ToId(handle), memory->size);
    if (!shadow->Valid()) {
      return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    memory->shadow = std::move(shadow);
    session.AddShadow(ToId(handle), memory->shadow);
  }
  // The host answers after it has pushed what differs from the last agreement.
  proto::Args_vesperMapMemory args{device.handle(), ToId(handle)};
  if (!session.Call(proto::command_number::vesperMapMemory, &args)) {
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  if (args.ret != VK_SUCCESS) {
    return args.ret;
  }
  memory->is_mapped = true;
  if (memory->is_coherent) {
    device.AddMapped(memory->shadow);
  }
  *data = memory->shadow->data() + offset;
  return VK_SUCCESS;
}

void Unmap(Device& device, VkDeviceMemory handle) {
  DeviceMemory* memory = Find(device, handle);
  if (memory == nullptr || !memory->is_mapped) {
    return;
  }
  Collect(device, *memory, 0, memory->size);
  memory->is_mapped = false;
  device.RemoveMapped(memory->shadow.get());
  const proto::Args_vesperUnmapMemory args{device.handle(), ToId(handle)};
  device.session().Post(proto::command_number::vesperUnmapMemory, &args);
}

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkAllocateMemory(VkDevice device,
                                                const VkMemoryAllocateInfo* pAllocateInfo,
                                                const VkAllocationCallbacks* pAllocator,
                                                VkDeviceMemory* pMemory) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  *pMemory = VK_NULL_HANDLE;
  DeviceMemory* memory = allocator.New<DeviceMemory>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  if (memory == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  memory->allocator = allocator;
  memory->size = pAllocateInfo->allocationSize;
  const VkPhysicalDeviceMemoryProperties& properties =
      owner.physical_device().snapshot().memory->memoryProperties;
  if (pAllocateInfo->memoryTypeIndex < properties.memoryTypeCount) {
    const VkMemoryPropertyFlags flags =
        properties.memoryTypes[pAllocateInfo->memoryTypeIndex].propertyFlags;
    memory->is_host_visible = (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0;
    memory->is_coherent = (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0;
  }
  proto::Args_vkAllocateMemory args{device, pAllocateInfo, nullptr, pMemory};
  const VkResult result =
      CreateObjects(owner, Send::kCall, proto::command_number::vkAllocateMemory, &args, &args.ret,
                    proto::HandleType::kDeviceMemory, reinterpret_cast<uint64_t*>(pMemory), 1,
                    kHostMemory | kDeviceMemory);
  if (result != VK_SUCCESS) {
    allocator.Delete(memory);
    return result;
  }
  owner.session().store().SetState(ToId(*pMemory), memory);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkFreeMemory(VkDevice device, VkDeviceMemory memory,
                                        const VkAllocationCallbacks*) {
  if (memory == VK_NULL_HANDLE) {
    return;
  }
  Device& owner = Device::From(device);
  DeviceMemory* object = Find(owner, memory);
  const proto::Args_vkFreeMemory args{device, memory, nullptr};
  owner.session().Post(proto::command_number::vkFreeMemory, &args);
  owner.session().RemoveShadow(ToId(memory));
  owner.session().store().Free(ToId(memory));
  if (object != nullptr) {
    if (object->shadow != nullptr) {
      owner.RemoveMapped(object->shadow.get());
    }
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkMapMemory(VkDevice device, VkDeviceMemory memory,
                                           VkDeviceSize offset, VkDeviceSize, VkMemoryMapFlags,
                                           void** ppData) {
  return Map(Device::From(device), memory, offset, ppData);
}

VKAPI_ATTR VkResult VKAPI_CALL vkMapMemory2(VkDevice device, const VkMemoryMapInfo* pMemoryMapInfo,
                                            void** ppData) {
  return Map(Device::From(device), pMemoryMapInfo->memory, pMemoryMapInfo->offset, ppData);
}

VKAPI_ATTR void VKAPI_CALL vkUnmapMemory(VkDevice device, VkDeviceMemory memory) {
  Unmap(Device::From(device), memory);
}

VKAPI_ATTR VkResult VKAPI_CALL vkUnmapMemory2(VkDevice device,
                                              const VkMemoryUnmapInfo* pMemoryUnmapInfo) {
  Unmap(Device::From(device), pMemoryUnmapInfo->memory);
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkFlushMappedMemoryRanges(VkDevice device, uint32_t memoryRangeCount,
                                                         const VkMappedMemoryRange* pMemoryRanges) {
  Device& owner = Device::From(device);
  for (uint32_t i = 0; i < memoryRangeCount; ++i) {
    const VkMappedMemoryRange& range = pMemoryRanges[i];
    if (DeviceMemory* memory = Find(owner, range.memory)) {
      // VK_WHOLE_SIZE is the largest number there is: cut to the allocation.
      Collect(owner, *memory, range.offset, range.size);
    }
  }
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkInvalidateMappedMemoryRanges(VkDevice, uint32_t,
                                                              const VkMappedMemoryRange*) {
  return VK_SUCCESS;
}

}  // namespace entry
}  // namespace vesper::client
