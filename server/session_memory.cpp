// SPDX-License-Identifier: Apache-2.0
//
// The session's hand-written commands: memory, what is bound to it, and host image copies.
#include <algorithm>

#include "proto/image_copy.h"
#include "server/session.h"

namespace vesper::server {
namespace {

/// A buffer with no other use cannot be written by the device.
constexpr VkBufferUsageFlags2 kReadOnlyUses =
    VK_BUFFER_USAGE_2_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_2_UNIFORM_TEXEL_BUFFER_BIT |
    VK_BUFFER_USAGE_2_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_2_INDEX_BUFFER_BIT |
    VK_BUFFER_USAGE_2_VERTEX_BUFFER_BIT | VK_BUFFER_USAGE_2_INDIRECT_BUFFER_BIT;

/// Fills in the host pointers of a copy's regions; false if one reaches past the data.
template <typename Region>
bool PointIntoData(HostDevice& device, VkImage image, VkHostImageCopyFlags flags, Region* regions,
                   uint32_t count, const uint64_t* offsets, uint64_t data_size, std::byte* data) {
  const auto found = device.images().find(image);
  if (found == device.images().end()) {
    return false;
  }
  const ImageInfo& info = found->second;
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

bool Session::AllocateMemory(HostDevice& device, proto::Args_vkAllocateMemory& args) {
  const VkMemoryAllocateInfo& info = *args.pAllocateInfo;
  const VkPhysicalDeviceMemoryProperties& memory = device.physical().memory;
  if (info.memoryTypeIndex >= memory.memoryTypeCount) {
    return false;
  }
  args.ret = device.table().vkAllocateMemory(args.device, &info, nullptr, args.pMemory);
  const VkMemoryPropertyFlags flags = memory.memoryTypes[info.memoryTypeIndex].propertyFlags;
  if (args.ret == VK_SUCCESS && (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0) {
    device.memories().Add(std::make_shared<HostMemory>(
        decoder_.new_ids().front(), *args.pMemory, info.allocationSize,
        (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0, device.submissions()));
  }
  return true;
}

void Session::FreeMemory(HostDevice& device, const proto::Args_vkFreeMemory& args) {
  if (const auto memory = device.memories().Find(args.memory)) {
    memory->Retire();
    device.memories().Remove(args.memory);
  }
  device.table().vkFreeMemory(args.device, args.memory, nullptr);
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
  args.ret = memory == nullptr ? VK_ERROR_MEMORY_MAP_FAILED
                               : memory->Map(device.table(), device.handle(), device.submissions(),
                                             device.outbox());
  return true;
}

bool Session::WriteMemory(HostDevice& device, const proto::Args_vesperWriteMemory& args) {
  HostMemory* memory = FindMemory(device, args.memory);
  return memory == nullptr ||
         memory->Write(device.table(), device.handle(),
                       {static_cast<const std::byte*>(args.pPatch), args.patchSize});
}

void Session::NoteBuffer(HostDevice& device, VkBuffer buffer, const VkBufferCreateInfo& info) {
  VkBufferUsageFlags2 usage = info.usage;
  for (auto* next = static_cast<const VkBaseInStructure*>(info.pNext); next != nullptr;
       next = next->pNext) {
    if (next->sType == VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO) {
      usage = reinterpret_cast<const VkBufferUsageFlags2CreateInfo*>(next)->usage;
    }
  }
  device.buffer_usage()[buffer] = usage;
}

void Session::NoteBind(HostDevice& device, VkBuffer buffer, VkDeviceMemory memory) {
  const auto usage = device.buffer_usage().find(buffer);
  const bool read_only =
      usage != device.buffer_usage().end() && (usage->second & ~kReadOnlyUses) == 0;
  if (const auto found = device.memories().Find(memory); found != nullptr && !read_only) {
    found->SetWritable();
  }
}

void Session::NoteBind(HostDevice& device, VkImage, VkDeviceMemory memory) {
  if (const auto found = device.memories().Find(memory)) {
    found->SetWritable();  // layout transitions alone may write an image
  }
}

bool Session::CopyMemoryToImage(HostDevice& device, proto::Args_vesperCopyMemoryToImage& args) {
  const VkCopyMemoryToImageInfo& info = *args.pCopyInfo;
  if (device.table().vkCopyMemoryToImage == nullptr || info.regionCount != args.offsetCount ||
      !PointIntoData(device, info.dstImage, info.flags,
                     const_cast<VkMemoryToImageCopy*>(info.pRegions), info.regionCount,
                     args.pOffsets, args.dataSize,
                     static_cast<std::byte*>(const_cast<void*>(args.pData)))) {
    return false;
  }
  device.CountSubmission();  // memory that a linear image lies in is written from now on
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
