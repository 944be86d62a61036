// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "client_icd/memory_budget.h"
#include "client_icd/object.h"
#include "client_icd/session.h"
#include "proto/hash.h"
#include "proto/snapshot.h"

namespace vesper::client {

class Instance;

/// Answers a two-call enumeration: count only if `out` is null, else as many as fit.
template <typename T>
VkResult CopyOut(const std::vector<T>& values, uint32_t* count, T* out) {
  const uint32_t available = static_cast<uint32_t>(values.size());
  if (out == nullptr) {
    *count = available;
    return VK_SUCCESS;
  }
  *count = std::min(*count, available);
  std::copy_n(values.begin(), *count, out);
  return *count < available ? VK_INCOMPLETE : VK_SUCCESS;
}

/// A VkPhysicalDevice: a view of the snapshot, immutable but for what memory there is. Owned by the
/// instance.
class PhysicalDevice : public Dispatchable {
 public:
  static PhysicalDevice& From(VkPhysicalDevice device) {
    return *reinterpret_cast<PhysicalDevice*>(device);
  }

  PhysicalDevice(Instance& instance, const proto::PhysicalDeviceSnapshot& snapshot);

  Instance& instance() { return instance_; }
  Session& session();
  bool IsLost();
  const proto::PhysicalDeviceSnapshot& snapshot() const { return snapshot_; }
  bool Offers(const char* extension) const;
  /// The largest buffer, in bytes, that the device surely makes unless memory is out.
  uint64_t max_buffer_size() const { return max_buffer_size_; }
  /// What answers about it depend on, besides the set-up (answers.h).
  const std::optional<proto::Hash128>& answer_scope() const { return answer_scope_; }
  /// The same of an allocation of memory.
  uint64_t max_allocation_size() const { return max_allocation_size_; }
  MemoryBudget& memory_budget() { return memory_budget_; }

 private:
  Instance& instance_;
  const proto::PhysicalDeviceSnapshot& snapshot_;
  uint64_t max_buffer_size_;
  const std::optional<proto::Hash128> answer_scope_;
  uint64_t max_allocation_size_;
  MemoryBudget memory_budget_;
};

}  // namespace vesper::client
