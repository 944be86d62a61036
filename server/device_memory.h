// SPDX-License-Identifier: Apache-2.0
//
// The host's side of mapped memory: the real memory (*live*, mapped here from the guest's first
// mapping until it is freed) and its twin. Bytes from the guest are written to both; bytes that the
// device changed are found by comparing and pushed. docs/memory.md has the whole argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "proto/buffer.h"
#include "proto/object_id.h"
#include "server/host_tables_gen.h"
#include "server/outbox.h"

namespace vesper::server {

/// One host-visible allocation. Its mutex orders the guest's writes against comparisons.
class HostMemory {
 public:
  /// `submissions`: how many the device had seen when the memory was allocated.
  HostMemory(proto::ObjectId id, VkDeviceMemory handle, uint64_t size, bool is_coherent,
             uint64_t submissions)
      : id_(id),
        handle_(handle),
        size_(size),
        is_coherent_(is_coherent),
        submissions_at_birth_(submissions) {}

  proto::ObjectId id() const { return id_; }
  VkDeviceMemory handle() const { return handle_; }
  uint64_t size() const { return size_; }

  /// The guest maps. The first time the memory is mapped here and brought to agree with the guest's
  /// zeroed shadow; every time what differs is pushed before this returns.
  VkResult Map(const DeviceTable& vk, VkDevice device, uint64_t submissions, Outbox& outbox);
  void Unmap();
  /// The memory is about to be freed: nobody touches it any more once this returns.
  void Retire();

  /// A resource that the device may write was bound here.
  void SetWritable();
  /// Pushes what the device changed, if the guest has it mapped.
  void PushChanges(const DeviceTable& vk, VkDevice device, Outbox& outbox);
  /// Writes the guest's bytes; false if the patch does not fit.
  bool Write(const DeviceTable& vk, VkDevice device, std::span<const std::byte> patch);

 private:
  void PushLocked(const DeviceTable& vk, VkDevice device, Outbox& outbox);

  const proto::ObjectId id_;
  const VkDeviceMemory handle_;
  const uint64_t size_;
  const bool is_coherent_;
  const uint64_t submissions_at_birth_;
  std::mutex mutex_;
  std::byte* live_ = nullptr;
  std::unique_ptr<std::byte, void (*)(void*)> twin_{nullptr, nullptr};
  bool guest_has_it_mapped_ = false;
  bool is_writable_ = false;
  proto::Buffer patch_;
};

/// The host-visible allocations of one device. Thread-safe.
class HostMemories {
 public:
  void Add(std::shared_ptr<HostMemory> memory);
  void Remove(VkDeviceMemory handle);
  std::shared_ptr<HostMemory> Find(VkDeviceMemory handle) const;
  std::vector<std::shared_ptr<HostMemory>> All() const;
  /// For work of which it is not known what it writes.
  void SetAllWritable();

 private:
  mutable std::mutex mutex_;
  std::map<VkDeviceMemory, std::shared_ptr<HostMemory>> memories_;
};

}  // namespace vesper::server
