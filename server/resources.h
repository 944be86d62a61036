// SPDX-License-Identifier: Apache-2.0
//
// What the worker remembers of buffers and images: what they are for, and where they lie in memory
// that the guest can map. From that follows what the device may write.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "server/device_memory.h"

namespace vesper::server {

/// A part of an allocation that the guest can map.
struct Place {
  std::shared_ptr<HostMemory> memory;
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct BufferInfo {
  VkBufferUsageFlags2 usage = 0;
  uint64_t size = 0;
  bool is_sparse = false;
  bool is_bound = false;
  Place place;  // no memory: bound to some that the guest cannot map
};

struct ImageInfo {
  VkFormat format = VK_FORMAT_UNDEFINED;
  uint32_t layers = 0;
  VkImageUsageFlags usage = 0;
  bool is_sparse = false;
  bool is_disjoint = false;
  bool is_bound = false;
  std::vector<Place> places;
};

/// The buffers and images of one device. Thread-safe: command buffers are replayed while others are
/// made. What is found does not change.
class HostResources {
 public:
  HostResources(const DeviceTable& vk, VkDevice device) : vk_(vk), device_(device) {}

  void Add(VkBuffer buffer, const VkBufferCreateInfo& info);
  void Add(VkImage image, const VkImageCreateInfo& info);
  void Remove(VkBuffer buffer);
  void Remove(VkImage image);
  /// Null if it is not known.
  std::shared_ptr<const BufferInfo> Find(VkBuffer buffer) const;
  std::shared_ptr<const ImageInfo> Find(VkImage image) const;

  /// Bytes of one result of a pool of performance queries.
  void SetQueryBytes(VkQueryPool pool, uint64_t bytes);
  void Remove(VkQueryPool pool);
  /// The most bytes that one result takes, whatever kind of pool it is.
  uint64_t MaxQueryBytes(VkQueryPool pool) const;

  /// A resource is about to be bound. `memory` is null if the guest cannot map it.
  void Bind(VkBuffer buffer, std::shared_ptr<HostMemory> memory, uint64_t offset);
  void Bind(VkImage image, std::shared_ptr<HostMemory> memory, uint64_t offset);

 private:
  /// Descriptors that lie in memory can be written while the work that uses them is under way.
  Writers WithDescriptorsInMemory(Writers writers) const;

  const DeviceTable& vk_;
  const VkDevice device_;
  mutable std::shared_mutex mutex_;
  bool has_descriptor_buffers_ = false;
  std::unordered_map<VkBuffer, std::shared_ptr<const BufferInfo>> buffers_;
  std::unordered_map<VkImage, std::shared_ptr<const ImageInfo>> images_;
  std::unordered_map<VkQueryPool, uint64_t> query_bytes_;
};

/// Who can write a resource with these uses.
Writers WritersOfBuffer(VkBufferUsageFlags2 usage);
Writers WritersOfImage(VkImageUsageFlags usage);

}  // namespace vesper::server
