// SPDX-License-Identifier: Apache-2.0
//
// The session's hand-written commands: memory, what is bound to it, and host image copies.
#include <algorithm>

#include "proto/image_copy.h"
#include "server/chain.h"
#include "server/session.h"

namespace vesper::server {
namespace {

/// What the guest fetches comes in pieces of this size.
constexpr uint64_t kFetchedPiece = 256u << 10;

/// Fills in the host pointers of a copy's regions; false if one reaches past the data.
template <typename Region>
bool PointIntoData(HostDevice& device, VkImage image, VkHostImageCopyFlags flags, Region* regions,
                   uint32_t count, const uint64_t* offsets, uint64_t data_size, std::byte* data) {
  const std::shared_ptr<const ImageInfo> found = device.resources().Find(image);
  if (found == nullptr) {
    return false;
  }
  const ImageInfo& info = *found;
  for (uint32_t i = 0; i < count; ++i) {
    const VkImageSubresourceLayers& subresource = regions[i].imageSubresource;
    if (subresource.baseArrayLayer >= info.layers) {
      return false;
    }
    const uint32_t layers = subresource.layerCount == VK_REMAINING_ARRAY_LAYERS
                                ? info.layers - subresource.baseArrayLayer
                                : subresource.layerCount;
    if (layers > info.layers - subresource.baseArrayLayer) {
      return false;
    }
    uint64_t bytes = 0;
    if ((flags & VK_HOST_IMAGE_COPY_MEMCPY) != 0) {
      VkSubresourceHostMemcpySize size{VK_STRUCTURE_TYPE_SUBRESOURCE_HOST_MEMCPY_SIZE};
      VkSubresourceLayout2 layout{VK_STRUCTURE_TYPE_SUBRESOURCE_LAYOUT_2, &size, {}};
      const VkImageSubresource2 one{
          VK_STRUCTURE_TYPE_IMAGE_SUBRESOURCE_2,
          nullptr,
          {subresource.aspectMask, subresource.mipLevel, subresource.baseArrayLayer}};
      if (device.table().vkGetImageSubresourceLayout2 == nullptr) {
        return false;
      }
      device.table().vkGetImageSubresourceLayout2(device.handle(), image, &one, &layout);
      if (__builtin_mul_overflow(uint64_t{size.size}, uint64_t{layers}, &bytes)) {
        return false;
      }
    } else {
      const auto shape = proto::ShapeOfRegion(
          proto::BlockOfAspect(info.format, subresource.aspectMask), regions[i].imageExtent, layers,
          regions[i].memoryRowLength, regions[i].memoryImageHeight);
      if (!shape) {
        return false;
      }
      bytes = shape->Bytes();
    }
    if (offsets[i] > data_size || bytes > data_size - offsets[i]) {
      return false;
    }
    regions[i].pHostPointer = data + offsets[i];
  }
  return true;
}

}  // namespace

bool Session::IsReadByGpu(const HostInstance::PhysicalDevice& device, uint32_t memory_type) const {
  constexpr VkMemoryPropertyFlags kFast =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  const auto* types = device.memory.memoryTypes;
  const auto is_fast = [](const VkMemoryType& type) {
    return (type.propertyFlags & kFast) == kFast;
  };
  if ((types[memory_type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) == 0 ||
      !std::any_of(types, types + device.memory.memoryTypeCount, is_fast)) {
    return false;
  }
  return memory_reading_ == MemoryReading::kGpu ||
         (memory_reading_ == MemoryReading::kAuto && !is_fast(types[memory_type]));
}

bool Session::CanHoldOthers(HostDevice& device, VkMemoryAllocateInfo& info) {
  const auto* dedicated = FindInChain<VkMemoryDedicatedAllocateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
  if (dedicated == nullptr) {
    return true;
  }
  const DeviceTable& vk = device.table();
  if (dedicated->buffer == VK_NULL_HANDLE || vk.vkGetBufferMemoryRequirements2 == nullptr) {
    return dedicated->image == VK_NULL_HANDLE && dedicated->buffer == VK_NULL_HANDLE;
  }
  VkMemoryDedicatedRequirements needs{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS};
  VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, &needs, {}};
  const VkBufferMemoryRequirementsInfo2 of{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2,
                                           nullptr, dedicated->buffer};
  vk.vkGetBufferMemoryRequirements2(device.handle(), &of, &requirements);
  if (needs.requiresDedicatedAllocation == VK_TRUE) {
    return false;
  }
  const void** link = &info.pNext;
  while (*link != dedicated) {
    auto* before = const_cast<VkBaseInStructure*>(static_cast<const VkBaseInStructure*>(*link));
    link = reinterpret_cast<const void**>(&before->pNext);
  }
  *link = dedicated->pNext;
  return true;
}

bool Session::AllocateMemory(HostDevice& device, proto::Args_vkAllocateMemory& args) {
  VkMemoryAllocateInfo info = *args.pAllocateInfo;
  const VkPhysicalDeviceMemoryProperties& memory = device.physical().memory;
  if (info.memoryTypeIndex >= memory.memoryTypeCount) {
    return false;
  }
  GpuReader* reader =
      IsReadByGpu(device.physical(), info.memoryTypeIndex) ? device.reader() : nullptr;
  if (reader != nullptr && !CanHoldOthers(device, info)) {
    reader = nullptr;
  }
  args.ret = device.table().vkAllocateMemory(args.device, &info, nullptr, args.pMemory);
  if (args.ret != VK_SUCCESS && !tasks_.IsIdle()) {
    // What the program has freed may be waiting to be freed.
    WaitForDestructions();
    args.ret = device.table().vkAllocateMemory(args.device, &info, nullptr, args.pMemory);
  }
  const VkMemoryPropertyFlags flags = memory.memoryTypes[info.memoryTypeIndex].propertyFlags;
  if (args.ret == VK_SUCCESS && (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0) {
    auto made = std::make_shared<HostMemory>(
        device.table(), device.handle(),
        HostMemory::Info{stream_.decoder.new_ids().front(), *args.pMemory, info.allocationSize,
                         (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0,
                         device.physical().properties.limits.nonCoherentAtomSize,
                         device.compares_all_memory(), reader, info.memoryTypeIndex,
                         stream_.position,
                         device.physical().properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU});
    if (device.compares_all_memory()) {
      made->SetWritable(0, info.allocationSize, Writers::kShaders);
    }
    device.memories().Add(std::move(made));
  }
  return true;
}

void Session::FreeMemory(HostDevice& device, const proto::Args_vkFreeMemory& args) {
  if (const auto memory = device.memories().Find(args.memory)) {
    memory->Retire();
    device.memories().Remove(args.memory);
  }
  device.table().vkFreeMemory(args.device, args.memory, nullptr);
  if (device.shared() != nullptr) {
    device.shared()->Forget(args.memory);
  }
  if (const uint32_t heap = device.leases().Free(args.memory); heap < VK_MAX_MEMORY_HEAPS) {
    RenewLease(device, heap);
  }
}

void Session::NoteAllocation(HostDevice& device, const VkMemoryAllocateInfo& info,
                             VkDeviceMemory memory, bool is_leased) {
  const uint32_t heap = device.physical().memory.memoryTypes[info.memoryTypeIndex].heapIndex;
  device.leases().Allocate(memory, heap, info.allocationSize, is_leased);
  RenewLease(device, heap);
}

void Session::RenewLease(HostDevice& device, uint32_t heap) {
  MemoryLeases& leases = device.leases();
  if (!leases.IsLow(heap)) {
    return;
  }
  const uint64_t size = device.physical().memory.memoryHeaps[heap].size;
  uint64_t available = size - std::min(size, leases.Used(heap));
  available = std::min(available, instance_->AvailableMemory(device.physical(), heap));
  if (const MemoryLeases::Loan loan = leases.Renew(heap, available); loan.size != 0) {
    const proto::Args_vesperLeaseMemory args{device.id(), heap, loan.round, loan.size};
    outbox_.Push(proto::command_number::vesperLeaseMemory, &args);
  }
}

bool Session::ReturnLease(HostDevice& device, const proto::Args_vesperReturnLease& args) {
  if (args.heap >= device.physical().memory.memoryHeapCount) {
    return false;
  }
  device.leases().Return(args.heap);
  return true;
}

HostMemory* Session::FindMemory(HostDevice& device, proto::ObjectId id) {
  if (proto::ObjectTypeByte(id) != static_cast<uint8_t>(proto::HandleType::kDeviceMemory) ||
      objects_.DeviceOf(id) != &device) {
    return nullptr;
  }
  // Kept alive by the device's table: only this thread removes from it.
  return device.memories().Find(reinterpret_cast<VkDeviceMemory>(objects_.Handle(id))).get();
}

bool Session::MapMemory(HostDevice& device, proto::Args_vesperMapMemory& args) {
  HostMemory* memory = FindMemory(device, args.memory);
  args.ret = memory == nullptr ? VK_ERROR_MEMORY_MAP_FAILED : device.Map(*memory);
  return true;
}

bool Session::WriteMemory(HostDevice& device, const proto::Args_vesperWriteMemory& args) {
  HostMemory* memory = FindMemory(device, args.memory);
  return memory == nullptr ||
         memory->Write({static_cast<const std::byte*>(args.pPatch), args.patchSize});
}

void Session::DeferMemory(HostDevice& device, const proto::Args_vesperDeferMemory& args) {
  HostMemory* memory = FindMemory(device, args.memory);
  if (memory != nullptr && args.offset <= memory->size()) {
    memory->Defer(args.offset, args.offset + std::min(args.size, memory->size() - args.offset));
  }
}

void Session::FetchMemory(HostDevice& device, const proto::Args_vesperFetchMemory& args) {
  HostMemory* memory = FindMemory(device, args.memory);
  if (memory == nullptr || args.offset > memory->size()) {
    return;
  }
  // In pieces: the program waits for the first byte, and what follows is read ahead for it.
  const uint64_t end = args.offset + std::min(args.size, memory->size() - args.offset);
  for (uint64_t begin = args.offset; begin < end; begin += kFetchedPiece) {
    const uint64_t size = std::min(kFetchedPiece, end - begin);
    memory->Fetch(begin, begin + size, outbox_);
    const proto::Args_vesperFetchedMemory fetched{args.memory, args.round, begin, size};
    outbox_.Push(proto::command_number::vesperFetchedMemory, &fetched);
  }
}

bool Session::NotePictures(HostDevice& device, const proto::Args_vesperNotePictures& args) {
  HostMemory* memory = FindMemory(device, args.memory);
  if (memory == nullptr) {
    return true;
  }
  const PictureLayout layout{
      args.count, args.stride, {args.width, args.height}, IsRedFirst(args.format), args.quality};
  return memory->SetPictures(layout);
}

void Session::NoteSparseBinds(HostDevice& device, const VkBindSparseInfo* infos, uint32_t count) {
  const auto note = [&](VkDeviceMemory memory, uint64_t offset, uint64_t size) {
    if (const auto found = device.memories().Find(memory)) {
      const uint64_t begin = std::min(offset, found->size());
      found->SetWritable(begin, begin + std::min(size, found->size() - begin), Writers::kAny);
    }
  };
  const auto note_all = [&](const auto* resources, uint32_t resource_count) {
    for (uint32_t i = 0; resources != nullptr && i < resource_count; ++i) {
      for (uint32_t j = 0; resources[i].pBinds != nullptr && j < resources[i].bindCount; ++j) {
        const auto& bind = resources[i].pBinds[j];
        if constexpr (requires { bind.size; }) {
          note(bind.memory, bind.memoryOffset, bind.size);
        } else {
          note(bind.memory, bind.memoryOffset, VK_WHOLE_SIZE);  // as many bytes as its blocks take
        }
      }
    }
  };
  for (uint32_t i = 0; i < count; ++i) {
    note_all(infos[i].pBufferBinds, infos[i].bufferBindCount);
    note_all(infos[i].pImageOpaqueBinds, infos[i].imageOpaqueBindCount);
    note_all(infos[i].pImageBinds, infos[i].imageBindCount);
  }
}

void Session::MakeUpRequirements(const HostDevice* device, uint16_t command, void* args) {
  namespace number = proto::command_number;
  constexpr VkDeviceSize kSize = 65536;
  VkMemoryRequirements2* requirements =
      command == number::vkGetBufferMemoryRequirements2
          ? static_cast<proto::Args_vkGetBufferMemoryRequirements2*>(args)->pMemoryRequirements
      : command == number::vkGetImageMemoryRequirements2
          ? static_cast<proto::Args_vkGetImageMemoryRequirements2*>(args)->pMemoryRequirements
          : nullptr;
  if (requirements != nullptr && device != nullptr) {
    const uint32_t types = device->physical().memory.memoryTypeCount;
    requirements->memoryRequirements = {kSize, kSize,
                                        static_cast<uint32_t>((uint64_t{1} << types) - 1)};
  }
}

void Session::BreakUnbound(uint16_t command, const void* args) {
  namespace number = proto::command_number;
  using proto::HandleType;
  const auto break_object = [this](HandleType type, auto handle) {
    objects_.Break(type, reinterpret_cast<uint64_t>(handle));
  };
  switch (command) {
    case number::vkBindBufferMemory:
      break_object(HandleType::kBuffer,
                   static_cast<const proto::Args_vkBindBufferMemory*>(args)->buffer);
      break;
    case number::vkBindImageMemory:
      break_object(HandleType::kImage,
                   static_cast<const proto::Args_vkBindImageMemory*>(args)->image);
      break;
    // Which of several were bound nobody knows.
    case number::vkBindBufferMemory2: {
      const auto& a = *static_cast<const proto::Args_vkBindBufferMemory2*>(args);
      for (uint32_t i = 0; i < a.bindInfoCount; ++i) {
        break_object(HandleType::kBuffer, a.pBindInfos[i].buffer);
      }
      break;
    }
    case number::vkBindImageMemory2: {
      const auto& a = *static_cast<const proto::Args_vkBindImageMemory2*>(args);
      for (uint32_t i = 0; i < a.bindInfoCount; ++i) {
        break_object(HandleType::kImage, a.pBindInfos[i].image);
      }
      break;
    }
    case number::vkBindAccelerationStructureMemoryNV: {
      const auto& a = *static_cast<const proto::Args_vkBindAccelerationStructureMemoryNV*>(args);
      for (uint32_t i = 0; i < a.bindInfoCount; ++i) {
        break_object(HandleType::kAccelerationStructureNV, a.pBindInfos[i].accelerationStructure);
      }
      break;
    }
    case number::vkBindOpticalFlowSessionImageNV:
      break_object(HandleType::kOpticalFlowSessionNV,
                   static_cast<const proto::Args_vkBindOpticalFlowSessionImageNV*>(args)->session);
      break;
    default:
      break;
  }
}

void Session::NoteBinds(HostDevice& device,
                        const proto::Args_vkBindAccelerationStructureMemoryNV& args) {
  for (uint32_t i = 0; i < args.bindInfoCount; ++i) {
    const VkBindAccelerationStructureMemoryInfoNV& info = args.pBindInfos[i];
    if (const auto memory = device.memories().Find(info.memory)) {
      memory->SetWritable(std::min(info.memoryOffset, memory->size()), memory->size(),
                          Writers::kShaders);
    }
  }
}

bool Session::CopyMemoryToImage(Context& context, HostDevice& device,
                                proto::Args_vesperCopyMemoryToImage& args) {
  const VkCopyMemoryToImageInfo& info = *args.pCopyInfo;
  if (device.table().vkCopyMemoryToImage == nullptr || info.regionCount != args.offsetCount ||
      !PointIntoData(device, info.dstImage, info.flags,
                     const_cast<VkMemoryToImageCopy*>(info.pRegions), info.regionCount,
                     args.pOffsets, args.dataSize,
                     static_cast<std::byte*>(const_cast<void*>(args.pData)))) {
    return false;
  }
  context.host_writes.AddImage(device.resources().Find(info.dstImage).get());
  args.ret = device.table().vkCopyMemoryToImage(args.device, &info);
  return true;
}

bool Session::CopyImageToMemory(HostDevice& device, proto::Args_vesperCopyImageToMemory& args) {
  const VkCopyImageToMemoryInfo& info = *args.pCopyInfo;
  if (device.table().vkCopyImageToMemory == nullptr || info.regionCount != args.offsetCount ||
      !PointIntoData(device, info.srcImage, info.flags,
                     const_cast<VkImageToMemoryCopy*>(info.pRegions), info.regionCount,
                     args.pOffsets, args.dataSize, static_cast<std::byte*>(args.pData))) {
    return false;
  }
  args.ret = device.table().vkCopyImageToMemory(args.device, &info);
  return true;
}

}  // namespace vesper::server
