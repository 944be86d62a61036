// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "client_icd/calibration.h"
#include "client_icd/object.h"
#include "client_icd/progress.h"
#include "client_icd/reach.h"
#include "client_icd/session.h"
#include "client_icd/shadows.h"
#include "proto/hash.h"

namespace vesper::client {

class PhysicalDevice;
class Queue;

/// A VkDevice.
class Device : public Dispatchable {
 public:
  static Device& From(VkDevice device) { return *reinterpret_cast<Device*>(device); }

  Device(proto::ObjectId object_id, PhysicalDevice& physical_device,
         std::vector<bool> enabled_extensions, const std::optional<proto::Hash128>& answer_scope,
         const Allocator& allocator);
  ~Device();

  VkDevice handle() { return reinterpret_cast<VkDevice>(this); }
  PhysicalDevice& physical_device() { return physical_device_; }
  const PhysicalDevice& physical_device() const { return physical_device_; }
  Session& session() { return session_; }
  const Allocator& allocator() const { return allocator_; }
  bool IsLost() const { return state_->lost.load(std::memory_order_acquire) || session_.IsLost(); }
  /// A failure of a posted command that no call has reported yet and that `reportable` (ErrorMask)
  /// accepts; VK_SUCCESS if there is none. Any thread.
  VkResult TakePendingError(uint32_t reportable);
  /// What answers about it depend on, besides the set-up (answers.h).
  const std::optional<proto::Hash128>& answer_scope() const { return answer_scope_; }
  bool IsExtensionEnabled(uint16_t index) const { return enabled_extensions_[index]; }
  /// True if the program has enabled the feature that lets it ask for addresses of buffers.
  bool gives_buffer_addresses() const { return gives_buffer_addresses_; }

  /// Remembers which features the program has enabled.
  void NoteFeatures(const VkDeviceCreateInfo& create_info);
  /// Makes the queues known to guest and host; false if memory is out, which may also be thrown.
  bool MakeQueues(const VkDeviceCreateInfo& create_info);
  Queue* FindQueue(uint32_t family, uint32_t index, VkDeviceQueueCreateFlags flags);
  const std::vector<std::unique_ptr<Queue>>& queues() const { return queues_; }

  /// The hook of every call that releases the program's writes to the device: what it may reach of
  /// mapped coherent memory is collected and is in the stream when it returns.
  void ReleaseMemory(const Reached& reached);
  /// How many such calls there have been: while there are none and nothing is pending, the device
  /// writes nothing.
  uint64_t releases() const { return releases_.load(); }
  /// True if everything that was submitted is known to be done.
  bool IsIdle();
  /// What batches that wait for semaphores, or are queued behind one that does, may reach, of all
  /// that were ever submitted; and kHasWaited.
  std::atomic<uint32_t>& waiting_reach() { return waiting_reach_; }
  void AddMapped(std::shared_ptr<Shadow> shadow);
  void RemoveMapped(const Shadow* shadow);

  /// Semaphores that an acquired image has signalled and nobody has waited for yet.
  std::atomic<uint32_t>& acquired_semaphores() { return acquired_semaphores_; }

  MemoryLease& lease() { return state_->lease; }
  Sharing& sharing() { return state_->sharing; }
  /// Allocations of memory that there are.
  std::atomic<uint32_t>& allocations() { return allocations_; }

  Calibration& calibration() { return calibration_; }

  // Private data (private_data.cpp): the program's, per slot and object.
  std::mutex& private_data_mutex() { return private_data_mutex_; }
  std::unordered_map<uint64_t, std::unordered_map<uint64_t, uint64_t>>& private_data() {
    return private_data_;
  }

 private:
  /// With mapped_mutex_ held: mapped_, which nobody else reads.
  using Mapped = std::vector<std::shared_ptr<Shadow>>;
  Mapped& OwnMapped();

  PhysicalDevice& physical_device_;
  Session& session_;
  const Allocator allocator_;
  const std::vector<bool> enabled_extensions_;
  const std::optional<proto::Hash128> answer_scope_;
  bool gives_buffer_addresses_ = false;
  std::shared_ptr<DeviceState> state_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::atomic<uint64_t> releases_{0};
  std::atomic<uint32_t> waiting_reach_{0};
  std::atomic<uint32_t> allocations_{0};
  std::atomic<uint32_t> acquired_semaphores_{0};
  std::mutex mapped_mutex_;
  std::shared_ptr<Mapped> mapped_;  // coherent memory that is mapped; replaced while it is read
  Calibration calibration_;
  std::mutex private_data_mutex_;
  std::unordered_map<uint64_t, std::unordered_map<uint64_t, uint64_t>> private_data_;
};

}  // namespace vesper::client
