// SPDX-License-Identifier: Apache-2.0
#include "server/device_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "proto/limits.h"
#include "proto/memory_patch.h"
#include "proto/records_gen.h"

namespace vesper::server {

VkResult HostMemory::Map(const DeviceTable& vk, VkDevice device, uint64_t submissions,
                         Outbox& outbox) {
  const std::lock_guard lock(mutex_);
  if (live_ == nullptr) {
    // calloc's pages are the kernel's zero page until they are written.
    twin_ = {static_cast<std::byte*>(std::calloc(1, size_)), std::free};
    if (twin_ == nullptr) {
      return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    void* live = nullptr;
    const VkResult result = vk.vkMapMemory(device, handle_, 0, VK_WHOLE_SIZE, 0, &live);
    if (result != VK_SUCCESS) {
      return result;
    }
    live_ = static_cast<std::byte*>(live);
    if (!is_writable_ || submissions == submissions_at_birth_) {
      // The device cannot have written it: its content is undefined, and may be another program's.
      // Zeros are what the guest's shadow holds, and cheaper than reading slow memory.
      std::memset(live_, 0, size_);
      if (!is_coherent_) {
        const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, handle_, 0,
                                        VK_WHOLE_SIZE};
        vk.vkFlushMappedMemoryRanges(device, 1, &range);
      }
      guest_has_it_mapped_ = true;
      return VK_SUCCESS;  // they agree; looking for differences would read all of it
    }
  }
  guest_has_it_mapped_ = true;
  PushLocked(vk, device, outbox);
  return VK_SUCCESS;
}

void HostMemory::Unmap() {
  const std::lock_guard lock(mutex_);
  guest_has_it_mapped_ = false;
}

void HostMemory::Retire() {
  const std::lock_guard lock(mutex_);
  guest_has_it_mapped_ = false;
  live_ = nullptr;
}

void HostMemory::SetWritable() {
  const std::lock_guard lock(mutex_);
  is_writable_ = true;
}

void HostMemory::PushChanges(const DeviceTable& vk, VkDevice device, Outbox& outbox) {
  const std::lock_guard lock(mutex_);
  if (live_ != nullptr && guest_has_it_mapped_) {
    PushLocked(vk, device, outbox);
  }
}

void HostMemory::PushLocked(const DeviceTable& vk, VkDevice device, Outbox& outbox) {
  if (!is_writable_) {
    return;  // nothing bound here can be written by the device
  }
  if (!is_coherent_) {
    const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, handle_, 0,
                                    VK_WHOLE_SIZE};
    vk.vkInvalidateMappedMemoryRanges(device, 1, &range);
  }
  for (uint64_t offset = 0; offset < size_;) {
    patch_.Clear();
    offset =
        proto::MakePatch(live_, twin_.get(), offset, size_ - offset, proto::kMaxPatchBytes, patch_);
    if (patch_.size() != 0) {
      const proto::Args_vesperPushMemory args{id_, patch_.size(), patch_.Bytes().data()};
      outbox.Push(proto::command_number::vesperPushMemory, &args);
    }
  }
}

bool HostMemory::Write(const DeviceTable& vk, VkDevice device, std::span<const std::byte> patch) {
  if (!proto::PatchFits(patch, size_)) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  if (live_ == nullptr) {
    return false;  // never mapped by the guest, so it has nothing to write
  }
  proto::ApplyPatch(patch, live_, twin_.get());
  if (!is_coherent_) {
    const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, handle_, 0,
                                    VK_WHOLE_SIZE};
    vk.vkFlushMappedMemoryRanges(device, 1, &range);
  }
  return true;
}

void HostMemories::Add(std::shared_ptr<HostMemory> memory) {
  const std::lock_guard lock(mutex_);
  memories_[memory->handle()] = std::move(memory);
}

void HostMemories::Remove(VkDeviceMemory handle) {
  const std::lock_guard lock(mutex_);
  memories_.erase(handle);
}

std::shared_ptr<HostMemory> HostMemories::Find(VkDeviceMemory handle) const {
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(handle);
  return found == memories_.end() ? nullptr : found->second;
}

void HostMemories::SetAllWritable() {
  for (const std::shared_ptr<HostMemory>& memory : All()) {
    memory->SetWritable();
  }
}

std::vector<std::shared_ptr<HostMemory>> HostMemories::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<HostMemory>> all;
  for (const auto& [handle, memory] : memories_) {
    all.push_back(memory);
  }
  return all;
}

}  // namespace vesper::server
