// SPDX-License-Identifier: Apache-2.0
#include "server/resources.h"

#include <algorithm>
#include <mutex>

#include "server/chain.h"

namespace vesper::server {
namespace {

/// A buffer with no other use cannot be written by the device.
constexpr VkBufferUsageFlags2 kReadOnlyUses =
    VK_BUFFER_USAGE_2_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_2_UNIFORM_TEXEL_BUFFER_BIT |
    VK_BUFFER_USAGE_2_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_2_INDEX_BUFFER_BIT |
    VK_BUFFER_USAGE_2_VERTEX_BUFFER_BIT;
/// What transfers write is noted exactly. Indirect buffers are written by commands that generate
/// commands only, of which everything is expected.
constexpr VkBufferUsageFlags2 kTransferUses =
    kReadOnlyUses | VK_BUFFER_USAGE_2_TRANSFER_DST_BIT | VK_BUFFER_USAGE_2_INDIRECT_BUFFER_BIT;
/// Shaders write such a buffer through a descriptor, if at all.
constexpr VkBufferUsageFlags2 kDescriptorUses = kTransferUses |
                                                VK_BUFFER_USAGE_2_STORAGE_BUFFER_BIT |
                                                VK_BUFFER_USAGE_2_STORAGE_TEXEL_BUFFER_BIT;
/// Transfers and changes of layout write such an image, and nothing else does.
constexpr VkImageUsageFlags kTransferImageUses =
    VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_SAMPLED_BIT |
    VK_IMAGE_USAGE_HOST_TRANSFER_BIT;

/// The most that one query's result takes: 16 counters, availability, 8 bytes each, rounded up.
/// Performance queries may have more counters: for them it is noted what they take.
constexpr uint64_t kMaxQueryBytes = 256;

}  // namespace

Writers WritersOfBuffer(VkBufferUsageFlags2 usage) {
  return (usage & ~kReadOnlyUses) == 0                                ? Writers::kNone
         : (usage & ~kTransferUses) == 0                              ? Writers::kTransfers
         : (usage & ~kDescriptorUses) == 0                            ? Writers::kDescriptors
         : (usage & VK_BUFFER_USAGE_2_SHADER_DEVICE_ADDRESS_BIT) != 0 ? Writers::kAny
                                                                      : Writers::kShaders;
}

Writers WritersOfImage(VkImageUsageFlags usage) {
  return (usage & ~kTransferImageUses) == 0 ? Writers::kTransfers : Writers::kShaders;
}

void HostResources::Add(VkBuffer buffer, const VkBufferCreateInfo& info) {
  BufferInfo made{info.usage, info.size, (info.flags & VK_BUFFER_CREATE_SPARSE_BINDING_BIT) != 0};
  if (const auto* more = FindInChain<VkBufferUsageFlags2CreateInfo>(
          info.pNext, VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO)) {
    made.usage = more->usage;
  }
  const std::lock_guard lock(mutex_);
  has_descriptor_buffers_ =
      has_descriptor_buffers_ ||
      (made.usage & VK_BUFFER_USAGE_2_RESOURCE_DESCRIPTOR_BUFFER_BIT_EXT) != 0;
  buffers_[buffer] = std::make_shared<const BufferInfo>(std::move(made));
}

void HostResources::Add(VkImage image, const VkImageCreateInfo& info) {
  ImageInfo made{info.format, info.arrayLayers, info.usage,
                 (info.flags & VK_IMAGE_CREATE_SPARSE_BINDING_BIT) != 0,
                 (info.flags & VK_IMAGE_CREATE_DISJOINT_BIT) != 0};
  if (const auto* stencil = FindInChain<VkImageStencilUsageCreateInfo>(
          info.pNext, VK_STRUCTURE_TYPE_IMAGE_STENCIL_USAGE_CREATE_INFO)) {
    made.usage |= stencil->stencilUsage;
  }
  const std::lock_guard lock(mutex_);
  images_[image] = std::make_shared<const ImageInfo>(std::move(made));
}

void HostResources::Remove(VkBuffer buffer) {
  const std::lock_guard lock(mutex_);
  buffers_.erase(buffer);
}

void HostResources::Remove(VkImage image) {
  const std::lock_guard lock(mutex_);
  images_.erase(image);
}

std::shared_ptr<const BufferInfo> HostResources::Find(VkBuffer buffer) const {
  const std::shared_lock lock(mutex_);
  const auto found = buffers_.find(buffer);
  return found == buffers_.end() ? nullptr : found->second;
}

std::shared_ptr<const ImageInfo> HostResources::Find(VkImage image) const {
  const std::shared_lock lock(mutex_);
  const auto found = images_.find(image);
  return found == images_.end() ? nullptr : found->second;
}

void HostResources::SetQueryBytes(VkQueryPool pool, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  query_bytes_[pool] = bytes;
}

void HostResources::Remove(VkQueryPool pool) {
  const std::lock_guard lock(mutex_);
  query_bytes_.erase(pool);
}

uint64_t HostResources::MaxQueryBytes(VkQueryPool pool) const {
  const std::shared_lock lock(mutex_);
  const auto found = query_bytes_.find(pool);
  return std::max(found == query_bytes_.end() ? 0 : found->second, kMaxQueryBytes);
}

Writers HostResources::WithDescriptorsInMemory(Writers writers) const {
  return writers >= Writers::kDescriptors && has_descriptor_buffers_ ? Writers::kAny : writers;
}

void HostResources::Bind(VkBuffer buffer, std::shared_ptr<HostMemory> memory, uint64_t offset) {
  const std::shared_ptr<const BufferInfo> found = Find(buffer);
  if (found == nullptr) {
    if (memory != nullptr) {
      memory->SetWritable(0, memory->size(), Writers::kAny);
    }
    return;
  }
  BufferInfo info = *found;
  info.is_bound = true;
  if (memory != nullptr) {
    const uint64_t begin = std::min(offset, memory->size());
    const uint64_t end = begin + std::min(info.size, memory->size() - begin);
    memory->SetWritable(begin, end, WithDescriptorsInMemory(WritersOfBuffer(info.usage)));
    info.place = {std::move(memory), begin, end};
  }
  const std::lock_guard lock(mutex_);
  buffers_[buffer] = std::make_shared<const BufferInfo>(std::move(info));
}

void HostResources::Bind(VkImage image, std::shared_ptr<HostMemory> memory, uint64_t offset) {
  const std::shared_ptr<const ImageInfo> found = Find(image);
  if (found == nullptr) {
    if (memory != nullptr) {
      memory->SetWritable(0, memory->size(), Writers::kAny);
    }
    return;
  }
  ImageInfo info = *found;
  info.is_bound = true;
  if (memory != nullptr) {
    const uint64_t begin = std::min(offset, memory->size());
    uint64_t end = memory->size();
    // Each plane of a disjoint image asks for itself; such images are rare enough to guess high.
    if (!info.is_disjoint && vk_.vkGetImageMemoryRequirements2 != nullptr) {
      const VkImageMemoryRequirementsInfo2 of{VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2,
                                              nullptr, image};
      VkMemoryRequirements2 needs{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, nullptr, {}};
      vk_.vkGetImageMemoryRequirements2(device_, &of, &needs);
      end = begin + std::min<uint64_t>(needs.memoryRequirements.size, end - begin);
    }
    memory->SetWritable(begin, end, WithDescriptorsInMemory(WritersOfImage(info.usage)));
    info.places.push_back({std::move(memory), begin, end});
  }
  const std::lock_guard lock(mutex_);
  images_[image] = std::make_shared<const ImageInfo>(std::move(info));
}

}  // namespace vesper::server
