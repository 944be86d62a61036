// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "proto/object_id.h"

namespace vesper::client {

/// What the host says about making memory of the guest's own pages (server/shared_memory.h). An
/// allocation of a type that can be shared is offered pages; whether they were taken the host tells
/// without being asked, in time for the first mapping as a rule. Thread-safe.
class Sharing {
 public:
  /// The types of memory that can be shared, as bits; none until the host has said so.
  uint32_t types() const { return types_.load(); }
  void SetTypes(uint32_t types) { types_.store(types); }

  /// The host has made the allocation of the pages that it was offered, or of its own.
  void Answer(proto::ObjectId memory, bool is_shared) {
    const std::lock_guard lock(mutex_);
    const auto [entry, is_new] = answers_.emplace(memory, is_shared);
    if (!is_new) {
      answers_.erase(entry);  // it was freed before the answer came
    }
  }
  /// Nothing if the host has not said yet.
  std::optional<bool> Find(proto::ObjectId memory) const {
    const std::lock_guard lock(mutex_);
    const auto found = answers_.find(memory);
    return found == answers_.end() ? std::nullopt : std::optional(found->second);
  }
  /// An allocation that was offered pages is freed.
  void Forget(proto::ObjectId memory) {
    const std::lock_guard lock(mutex_);
    if (answers_.erase(memory) == 0) {
      answers_.emplace(memory, false);  // until the answer comes
    }
  }

 private:
  std::atomic<uint32_t> types_{0};
  mutable std::mutex mutex_;
  std::unordered_map<proto::ObjectId, bool> answers_;
};

}  // namespace vesper::client
