// SPDX-License-Identifier: Apache-2.0
//
// The descriptor sets of a device: which buffers shaders can write through those that are bound. A
// set counts with what it holds when the work is submitted; it may have been updated since it was
// bound.
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "server/write_set.h"
#include "tracking/descriptor_set.h"

namespace vesper::server {

class HostResources;

struct HostSetLayout {
  std::shared_ptr<const tracking::SetLayout> layout;
  bool update_after_bind = false;
};

/// A set of the guest's, and what it was found to lead to the last time. HostDescriptors alone
/// looks into it.
struct HostSet {
  explicit HostSet(const HostSetLayout& made_for)
      : contents(made_for.layout), update_after_bind(made_for.update_after_bind) {}

  tracking::DescriptorSet contents;
  const bool update_after_bind;
  uint64_t resolved_version = 0;  // of the contents, when `writes` was made
  std::shared_ptr<const WriteSet> writes;
};

/// Handles are the driver's; those that are not known lead everywhere. Thread-safe: sets are
/// updated by the session's thread while tasks replay and submit what binds them.
class HostDescriptors {
 public:
  explicit HostDescriptors(const HostResources& resources) : resources_(resources) {}

  void Add(VkDescriptorSetLayout layout, const VkDescriptorSetLayoutCreateInfo& info);
  void Remove(VkDescriptorSetLayout layout);
  void Add(VkBufferView view, const VkBufferViewCreateInfo& info);
  void Remove(VkBufferView view);
  void Add(VkDescriptorSet set, VkDescriptorSetLayout layout);
  void Remove(VkDescriptorSet set);
  /// Null if it is not known.
  std::shared_ptr<HostSet> Find(VkDescriptorSet set) const;

  /// True for a set that may be updated while command buffers bind it. Those have no dynamic
  /// descriptors, which are what drivers read when a set is bound.
  bool MayChangeWhileBound(VkDescriptorSet set) const;

  void Update(const VkWriteDescriptorSet* writes, uint32_t write_count,
              const VkCopyDescriptorSet* copies, uint32_t copy_count);
  /// Changes with every update.
  uint64_t version() const { return version_.load(); }

  /// What shaders can write through the set, as it is now.
  std::shared_ptr<const WriteSet> WritesOf(HostSet& set) const;
  /// The same for descriptors that are pushed.
  void AddPushed(const VkWriteDescriptorSet& write, WriteSet& writes) const;

 private:
  struct Resolver {
    tracking::BufferPart Buffer(VkBuffer buffer) const { return {buffer, 0, VK_WHOLE_SIZE}; }
    tracking::BufferPart View(VkBufferView view) const;

    const HostDescriptors& descriptors;
  };
  void AddPart(const tracking::BufferPart& part, WriteSet& writes) const;

  const HostResources& resources_;
  std::atomic<uint64_t> version_{1};
  mutable std::mutex sets_mutex_;    // for what the sets hold; locked before mutex_
  mutable std::shared_mutex mutex_;  // for the maps
  std::unordered_map<VkDescriptorSetLayout, HostSetLayout> layouts_;
  std::unordered_map<VkBufferView, tracking::BufferPart> views_;
  std::unordered_map<VkDescriptorSet, std::shared_ptr<HostSet>> sets_;
};

}  // namespace vesper::server
