// SPDX-License-Identifier: Apache-2.0
//
// VkDeviceMemory and mapping. docs/memory.md tells how shadow, twin and host memory agree; here are
// the moments: mapping brings the host's content, flushing and unmapping send the program's writes,
// and every submission sends those to coherent memory (Device::ReleaseMemory). Invalidating needs
// nothing: what the device wrote is in the shadow before the fence that says so is signalled.
//
// Placing a mapping where the program wants it (VK_EXT_map_memory_placed) is the guest's business
// alone, since a shadow can be mapped anywhere: it is offered whatever the host's driver can do.
#include "client_icd/device_memory.h"

#include <algorithm>
#include <utility>

#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/imported_memory.h"
#include "client_icd/physical_device.h"
#include "client_icd/reach.h"
#include "client_icd/shadows.h"
#include "client_icd/wait.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

DeviceMemory* Find(Device& device, VkDeviceMemory memory) {
  return static_cast<DeviceMemory*>(device.session().store().State(ToId(memory)));
}

void Collect(Device& device, DeviceMemory& memory, uint64_t offset, uint64_t size) {
  if (memory.shadow == nullptr || memory.shadow->is_shared() || offset > memory.size) {
    return;
  }
  device.session().shadows().Collect(device.session(), device.handle(), *memory.shadow, offset,
                                     std::min(size, memory.size - offset));
}

/// True if only what all devices can do is asked for, so that a lease is all that it takes.
bool IsPlain(const VkMemoryAllocateInfo& info) {
  for (auto* next = static_cast<const VkBaseInStructure*>(info.pNext); next != nullptr;
       next = next->pNext) {
    switch (next->sType) {
      case VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO:
      case VK_STRUCTURE_TYPE_DEDICATED_ALLOCATION_MEMORY_ALLOCATE_INFO_NV:
      case VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT:
      // To the host, what is imported is memory like any other.
      case VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT:
        break;
      case VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO: {
        const auto& flags = *reinterpret_cast<const VkMemoryAllocateFlagsInfo*>(next);
        if ((flags.flags &
             ~static_cast<VkMemoryAllocateFlags>(VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT)) != 0) {
          return false;
        }
        break;
      }
      default:
        return false;
    }
  }
  return true;
}

/// Takes the memory from what the host has lent, if it may be posted: the heap. Else the host has
/// it all back.
std::optional<uint32_t> TakeLease(Device& device, const VkMemoryAllocateInfo& info) {
  const PhysicalDevice& physical = device.physical_device();
  const VkPhysicalDeviceMemoryProperties& memory = physical.snapshot().memory->memoryProperties;
  // The worker has some allocations of its own.
  const uint32_t max_count =
      physical.snapshot().properties->properties.limits.maxMemoryAllocationCount / 2;
  if (!device.session().Posts(proto::command_number::vkAllocateMemory) ||
      info.memoryTypeIndex >= memory.memoryTypeCount) {
    return std::nullopt;
  }
  const VkMemoryType& type = memory.memoryTypes[info.memoryTypeIndex];
  if (IsPlain(info) && (type.propertyFlags & VK_MEMORY_PROPERTY_PROTECTED_BIT) == 0 &&
      info.allocationSize <= physical.max_allocation_size() &&
      device.allocations().load() < max_count &&
      device.lease().Take(type.heapIndex, info.allocationSize)) {
    return type.heapIndex;
  }
  device.lease().Return(type.heapIndex);
  const proto::Args_vesperReturnLease args{device.handle(), type.heapIndex};
  device.session().Post(proto::command_number::vesperReturnLease, &args);
  return std::nullopt;
}

/// True if the host may be able to make the allocation of the guest's own pages.
bool MayShare(Device& device, const VkMemoryAllocateInfo& info) {
  if (!IsPlain(info) || FindImport(info) != nullptr ||
      info.memoryTypeIndex >= VK_MAX_MEMORY_TYPES ||
      (device.sharing().types() & (1u << info.memoryTypeIndex)) == 0) {
    return false;
  }
  // What is made for one image may have to be the driver's own.
  const auto* dedicated = FindInChain<VkMemoryDedicatedAllocateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
  return dedicated == nullptr || dedicated->image == VK_NULL_HANDLE;
}

/// Makes the shadow once it is known what it is to be; the mutex is held.
VkResult MakeShadow(Device& device, VkDeviceMemory handle, DeviceMemory& memory) {
  Shadows& shadows = device.session().shadows();
  if (!memory.offered.has_value()) {
    memory.shadow = shadows.Add(ToId(handle), memory.size);
    return memory.shadow == nullptr ? VK_ERROR_OUT_OF_HOST_MEMORY : VK_SUCCESS;
  }
  std::optional<bool> is_shared;
  if (WaitOnDevice(device, UINT64_MAX, [&] {
        is_shared = device.sharing().Find(ToId(handle));
        return is_shared.has_value();
      }) != VK_SUCCESS) {
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  memory.shadow = shadows.Add(ToId(handle), memory.size, *memory.offered, *is_shared);
  memory.offered.reset();
  return memory.shadow == nullptr ? VK_ERROR_OUT_OF_HOST_MEMORY : VK_SUCCESS;
}

/// Makes the shadow, unless there is one.
VkResult NeedShadow(Device& device, VkDeviceMemory handle, DeviceMemory& memory) {
  const std::lock_guard lock(memory.mutex);
  if (memory.shadow != nullptr) {
    return VK_SUCCESS;
  }
  if (const VkResult result = MakeShadow(device, handle, memory);
      result != VK_SUCCESS || memory.shadow->is_shared()) {
    return result;
  }
  Session& session = device.session();
  session.shadows().Bind(session, device.handle(), *memory.shadow, memory.reach, false, 0, 0);
  for (const DeviceMemory::Range& range : memory.device_writes) {
    session.shadows().Bind(session, device.handle(), *memory.shadow, 0, true, range.offset,
                           range.size);
  }
  return VK_SUCCESS;
}

/// Brings guest and host to agreement. While it was unmapped the host did not push what the device
/// wrote; it answers after it has.
VkResult Agree(Device& device, VkDeviceMemory handle, const DeviceMemory& memory) {
  proto::Args_vesperMapMemory args{device.handle(), ToId(handle)};
  if (memory.agreed_at == device.releases()) {
    device.session().Post(proto::command_number::vesperMapMemory, &args);
    return VK_SUCCESS;
  }
  if (!device.session().Call(proto::command_number::vesperMapMemory, &args)) {
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  return args.ret;
}

/// Has the host allocate, of the pages that were reserved if there are any.
VkResult Allocate(Device& device, const VkMemoryAllocateInfo& info, const DeviceMemory& memory,
                  VkDeviceMemory* handle) {
  namespace number = proto::command_number;
  const Send send = memory.leased_from.has_value() ? Send::kPost : Send::kCall;
  const auto create = [&](uint16_t command, auto& args) {
    return CreateObjects(device, send, command, &args, &args.ret, proto::HandleType::kDeviceMemory,
                         reinterpret_cast<uint64_t*>(handle), 1, kHostMemory | kDeviceMemory);
  };
  if (memory.offered.has_value()) {
    proto::Args_vesperAllocateMemory args{device.handle(), &info, memory.offered->file_offset,
                                          handle};
    return create(number::vesperAllocateMemory, args);
  }
  proto::Args_vkAllocateMemory args{device.handle(), &info, nullptr, handle};
  return create(number::vkAllocateMemory, args);
}

VkResult Map(Device& device, VkMemoryMapFlags flags, VkDeviceMemory handle, uint64_t offset,
             uint64_t size, std::byte* place, void** data) {
  Shadows& shadows = device.session().shadows();
  DeviceMemory* memory = Find(device, handle);
  if (memory == nullptr || !memory->is_host_visible || device.IsLost() || offset > memory->size) {
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  if (memory->imported != nullptr) {
    if ((flags & VK_MEMORY_MAP_PLACED_BIT_EXT) != 0) {
      return VK_ERROR_MEMORY_MAP_FAILED;  // it lies where it lies
    }
    memory->is_mapped = true;
    *data = memory->imported + offset;
    return VK_SUCCESS;
  }
  if (const VkResult result = NeedShadow(device, handle, *memory); result != VK_SUCCESS) {
    return result;
  }
  const bool is_shared = memory->shadow->is_shared();
  if (const VkResult result = is_shared ? VK_SUCCESS : Agree(device, handle, *memory);
      result != VK_SUCCESS) {
    return result;
  }
  std::byte* begin = nullptr;
  if ((flags & VK_MEMORY_MAP_PLACED_BIT_EXT) != 0) {
    const uint64_t bytes =
        (std::min(size, memory->size - offset) + PageSize() - 1) / PageSize() * PageSize();
    if (!shadows.MapAt(*memory->shadow, offset, place, bytes)) {
      return VK_ERROR_MEMORY_MAP_FAILED;
    }
    begin = place;
  } else {
    begin = shadows.Map(*memory->shadow);
    if (begin == nullptr) {
      return VK_ERROR_MEMORY_MAP_FAILED;
    }
    begin += offset;
  }
  if (memory->is_coherent && !is_shared) {
    device.AddMapped(memory->shadow);
  }
  memory->is_mapped = true;
  *data = begin;
  return VK_SUCCESS;
}

VkResult Unmap(Device& device, VkDeviceMemory handle, VkMemoryUnmapFlags flags) {
  DeviceMemory* memory = Find(device, handle);
  if (memory == nullptr || !memory->is_mapped) {
    return VK_SUCCESS;
  }
  const bool reserve = (flags & VK_MEMORY_UNMAP_RESERVE_BIT_EXT) != 0;
  Collect(device, *memory, 0, memory->size);
  if (memory->imported != nullptr) {
    memory->is_mapped = reserve;  // the addresses are the program's, and not to be taken away
    return reserve ? VK_ERROR_MEMORY_MAP_FAILED : VK_SUCCESS;
  }
  Downloads* downloads = device.session().shadows().downloads();
  const bool was_deferred = downloads != nullptr && downloads->Forget(ToId(handle));
  if (!device.session().shadows().Unmap(*memory->shadow, reserve)) {
    // It is mapped as before, but for what was deferred: that is fetched.
    memory->agreed_at.reset();
    if (was_deferred) {
      Agree(device, handle, *memory);
    }
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  memory->is_mapped = false;
  if (memory->shadow->is_shared()) {
    return VK_SUCCESS;
  }
  memory->agreed_at.reset();
  if (const uint64_t releases = device.releases(); device.IsIdle() && !was_deferred) {
    memory->agreed_at = releases;
  }
  device.RemoveMapped(memory->shadow.get());
  const proto::Args_vesperUnmapMemory args{device.handle(), ToId(handle)};
  device.session().Post(proto::command_number::vesperUnmapMemory, &args);
  return VK_SUCCESS;
}

}  // namespace

void NoteBind(Device& device, VkDeviceMemory handle, uint32_t reach, bool is_written,
              uint64_t offset, uint64_t size) {
  DeviceMemory* memory = Find(device, handle);
  if (memory == nullptr || !memory->is_host_visible || offset > memory->size) {
    return;
  }
  size = std::min(size, memory->size - offset);
  const std::lock_guard lock(memory->mutex);
  memory->reach |= reach;
  if (memory->shadow != nullptr && memory->shadow->is_shared()) {
    return;
  }
  if (memory->shadow != nullptr) {
    device.session().shadows().Bind(device.session(), device.handle(), *memory->shadow, reach,
                                    is_written, offset, size);
  } else if (is_written) {
    memory->device_writes.push_back({offset, size});
  }
}

VkResult ViewForDriver(Device& device, VkDeviceMemory handle, DriverView* view) {
  DeviceMemory* memory = Find(device, handle);
  if (memory == nullptr || !memory->is_host_visible || device.IsLost()) {
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  if (const VkResult result = NeedShadow(device, handle, *memory); result != VK_SUCCESS) {
    return result;
  }
  *view = device.session().shadows().ViewForDriver(*memory->shadow);
  return memory->shadow->is_shared() ? VK_SUCCESS : Agree(device, handle, *memory);
}

void NoteSparseBinds(Device& device, uint32_t count, const VkBindSparseInfo* binds) {
  const auto note = [&device](const auto& infos, uint32_t info_count) {
    for (uint32_t i = 0; i < info_count; ++i) {
      for (uint32_t k = 0; k < infos[i].bindCount; ++k) {
        NoteBind(device, infos[i].pBinds[k].memory, kReachEverything, true, 0, VK_WHOLE_SIZE);
      }
    }
  };
  for (uint32_t i = 0; i < count; ++i) {
    note(binds[i].pBufferBinds, binds[i].bufferBindCount);
    note(binds[i].pImageOpaqueBinds, binds[i].imageOpaqueBindCount);
    note(binds[i].pImageBinds, binds[i].imageBindCount);
  }
}

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
    memory->heap = properties.memoryTypes[pAllocateInfo->memoryTypeIndex].heapIndex;
    memory->is_host_visible = (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0;
    memory->is_coherent = (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0;
  }
  // Nothing that was submitted can have written to it, so its first mapping has nothing to wait
  // for.
  memory->agreed_at = owner.releases();
  memory->leased_from = TakeLease(owner, *pAllocateInfo);
  if (ShadowArena::Piece piece;
      MayShare(owner, *pAllocateInfo) && owner.session().shadows().Reserve(memory->size, &piece)) {
    memory->offered = piece;
    memory->was_offered = true;
  }
  const VkResult result = Allocate(owner, *pAllocateInfo, *memory, pMemory);
  if (result != VK_SUCCESS) {
    if (memory->offered.has_value()) {
      owner.session().shadows().Release(*memory->offered);
    }
    if (memory->leased_from.has_value()) {
      owner.lease().Give(*memory->leased_from, memory->size);  // it was not sent
    }
    allocator.Delete(memory);
    return result;
  }
  ++owner.allocations();
  owner.physical_device().memory_budget().NoteAllocation(memory->heap, memory->size);
  owner.session().store().SetState(ToId(*pMemory), memory);
  if (const VkImportMemoryHostPointerInfoEXT* import = FindImport(*pAllocateInfo)) {
    const VkResult imported = Import(owner, *pMemory, *memory, *import);
    if (imported != VK_SUCCESS) {
      vkFreeMemory(device, std::exchange(*pMemory, VK_NULL_HANDLE), pAllocator);
    }
    return imported;
  }
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
  owner.session().store().Free(ToId(memory));
  if (object != nullptr) {
    --owner.allocations();
    owner.physical_device().memory_budget().NoteFree(object->heap, object->size);
    if (object->leased_from.has_value()) {
      owner.lease().Give(*object->leased_from, object->size);
    }
    if (object->offered.has_value()) {
      owner.session().shadows().Release(*object->offered);
    }
    if (object->was_offered) {
      owner.sharing().Forget(ToId(memory));
    }
    if (object->shadow != nullptr) {
      owner.RemoveMapped(object->shadow.get());
      owner.session().shadows().Remove(ToId(memory));
    }
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkMapMemory(VkDevice device, VkDeviceMemory memory,
                                           VkDeviceSize offset, VkDeviceSize size,
                                           VkMemoryMapFlags flags, void** ppData) {
  // A place can be given to vkMapMemory2 only.
  return Map(Device::From(device), flags & ~VK_MEMORY_MAP_PLACED_BIT_EXT, memory, offset, size,
             nullptr, ppData);
}

VKAPI_ATTR VkResult VKAPI_CALL vkMapMemory2(VkDevice device, const VkMemoryMapInfo* pMemoryMapInfo,
                                            void** ppData) {
  const VkMemoryMapInfo& info = *pMemoryMapInfo;
  std::byte* place = nullptr;
  if ((info.flags & VK_MEMORY_MAP_PLACED_BIT_EXT) != 0) {
    const auto* placed = FindInChain<VkMemoryMapPlacedInfoEXT>(
        info.pNext, VK_STRUCTURE_TYPE_MEMORY_MAP_PLACED_INFO_EXT);
    place = placed == nullptr ? nullptr : static_cast<std::byte*>(placed->pPlacedAddress);
    if (reinterpret_cast<uintptr_t>(place) % PageSize() != 0 || place == nullptr ||
        info.offset % PageSize() != 0) {
      return VK_ERROR_MEMORY_MAP_FAILED;
    }
  }
  return Map(Device::From(device), info.flags, info.memory, info.offset, info.size, place, ppData);
}

VKAPI_ATTR void VKAPI_CALL vkUnmapMemory(VkDevice device, VkDeviceMemory memory) {
  Unmap(Device::From(device), memory, 0);
}

VKAPI_ATTR VkResult VKAPI_CALL vkUnmapMemory2(VkDevice device,
                                              const VkMemoryUnmapInfo* pMemoryUnmapInfo) {
  return Unmap(Device::From(device), pMemoryUnmapInfo->memory, pMemoryUnmapInfo->flags);
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
