// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "client_icd/object.h"
#include "client_icd/progress.h"
#include "client_icd/reach.h"

namespace vesper::client {

class Device;
class Session;

/// A VkQueue. Owned by its device.
class Queue : public Dispatchable {
 public:
  static Queue& From(VkQueue queue) { return *reinterpret_cast<Queue*>(queue); }

  Queue(proto::ObjectId object_id, Device& device, uint32_t family, uint32_t index,
        VkDeviceQueueCreateFlags flags)
      : Dispatchable(object_id),
        device_(device),
        family_(family),
        index_(index),
        flags_(flags),
        progress_(std::make_shared<QueueProgress>()) {}

  Device& device() { return device_; }
  Session& session();
  bool IsLost();
  VkResult TakePendingError(uint32_t reportable);
  /// Device::ReleaseMemory of the queue's device.
  void ReleaseMemory(const Reached& reached);
  uint32_t family() const { return family_; }
  uint32_t index() const { return index_; }
  VkDeviceQueueCreateFlags flags() const { return flags_; }
  const std::shared_ptr<QueueProgress>& progress() const { return progress_; }
  /// One batch that the program did not submit itself, and its number. Reaches no memory that the
  /// program has mapped.
  VkResult SubmitForPresenting(const VkSubmitInfo& batch, uint64_t* number);
  /// The program has waited until nothing is pending. The host's driver is told, so that it is done
  /// with everything that the queue used before the program destroys any of it.
  void LetGo();

 private:
  Device& device_;
  const uint32_t family_;
  const uint32_t index_;
  const VkDeviceQueueCreateFlags flags_;
  std::shared_ptr<QueueProgress> progress_;
  uint64_t let_go_ = 0;  // of this many batches; guarded by Session::progress_mutex()
};

}  // namespace vesper::client
