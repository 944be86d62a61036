// SPDX-License-Identifier: Apache-2.0
#include "server/descriptors.h"

#include <algorithm>
#include <mutex>

#include "server/resources.h"

namespace vesper::server {

void HostDescriptors::Add(VkDescriptorSetLayout layout,
                          const VkDescriptorSetLayoutCreateInfo& info) {
  const std::lock_guard lock(mutex_);
  layouts_[layout] = {
      std::make_shared<tracking::SetLayout>(info),
      (info.flags & VK_DESCRIPTOR_SET_LAYOUT_CREATE_UPDATE_AFTER_BIND_POOL_BIT) != 0};
}

void HostDescriptors::Add(VkBufferView view, const VkBufferViewCreateInfo& info) {
  const std::lock_guard lock(mutex_);
  views_[view] = {info.buffer, info.offset, info.range};
}

void HostDescriptors::Add(VkDescriptorSet set, VkDescriptorSetLayout layout) {
  const std::lock_guard lock(mutex_);
  const auto found = layouts_.find(layout);
  sets_[set] = std::make_shared<HostSet>(found == layouts_.end() ? HostSetLayout() : found->second);
}

bool HostDescriptors::MayChangeWhileBound(VkDescriptorSet set) const {
  const std::shared_ptr<HostSet> found = Find(set);
  return found != nullptr && found->update_after_bind;
}

void HostDescriptors::Remove(VkDescriptorSetLayout layout) {
  const std::lock_guard lock(mutex_);
  layouts_.erase(layout);
}

void HostDescriptors::Remove(VkBufferView view) {
  const std::lock_guard lock(mutex_);
  views_.erase(view);
}

void HostDescriptors::Remove(VkDescriptorSet set) {
  const std::lock_guard lock(mutex_);
  sets_.erase(set);
}

std::shared_ptr<HostSet> HostDescriptors::Find(VkDescriptorSet set) const {
  const std::shared_lock lock(mutex_);
  const auto found = sets_.find(set);
  return found == sets_.end() ? nullptr : found->second;
}

tracking::BufferPart HostDescriptors::Resolver::View(VkBufferView view) const {
  const std::shared_lock lock(descriptors.mutex_);
  const auto found = descriptors.views_.find(view);
  if (found != descriptors.views_.end()) {
    return found->second;
  }
  tracking::BufferPart unknown;
  unknown.is_unknown = true;
  return unknown;
}

void HostDescriptors::Update(const VkWriteDescriptorSet* writes, uint32_t write_count,
                             const VkCopyDescriptorSet* copies, uint32_t copy_count) {
  const std::lock_guard lock(sets_mutex_);
  ++version_;
  for (uint32_t i = 0; writes != nullptr && i < write_count; ++i) {
    if (const std::shared_ptr<HostSet> set = Find(writes[i].dstSet)) {
      set->contents.Write(writes[i], Resolver{*this});
    }
  }
  for (uint32_t i = 0; copies != nullptr && i < copy_count; ++i) {
    if (const std::shared_ptr<HostSet> set = Find(copies[i].dstSet)) {
      const std::shared_ptr<HostSet> source = Find(copies[i].srcSet);
      set->contents.Copy(copies[i], source == nullptr ? nullptr : &source->contents);
    }
  }
}

void HostDescriptors::AddPart(const tracking::BufferPart& part, WriteSet& writes) const {
  if (part.is_unknown) {
    writes.AddUnknownDescriptors();
  } else if (part.is_writable && part.buffer != VK_NULL_HANDLE) {
    writes.AddDescriptor(resources_.Find(part.buffer).get(), part.offset, part.size);
  }
}

std::shared_ptr<const WriteSet> HostDescriptors::WritesOf(HostSet& set) const {
  const std::lock_guard lock(sets_mutex_);
  if (const uint64_t version = set.contents.version(); set.resolved_version != version) {
    auto writes = std::make_shared<WriteSet>();
    if (!set.contents.ForEach([&](const tracking::BufferPart& part) { AddPart(part, *writes); })) {
      writes->AddUnknownDescriptors();
    }
    set.writes = std::move(writes);
    set.resolved_version = version;
  }
  return set.writes;
}

void HostDescriptors::AddPushed(const VkWriteDescriptorSet& write, WriteSet& writes) const {
  if (!tracking::NamesBuffers(write.descriptorType)) {
    return;
  }
  for (uint32_t i = 0; i < write.descriptorCount; ++i) {
    if (i == tracking::DescriptorSet::kMaxSlots) {
      writes.AddUnknownDescriptors();
      break;
    }
    AddPart(tracking::PartOf(write, i, Resolver{*this}), writes);
  }
}

}  // namespace vesper::server
