// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "proto/object_id.h"
#include "transport/progress_page.h"

namespace vesper::server {

/// The places of queues on the progress page. Who has which is remembered here: what the page says
/// is never read. Thread-safe.
class ProgressSlots {
 public:
  /// The guest looks at the page from now on.
  void Use(transport::ProgressPage& page) {
    const std::lock_guard lock(mutex_);
    page_ = &page;
    is_taken_.assign(transport::ProgressPage::kSlots, false);
  }

  /// A place for what has this id, which is not 0; nothing if there is no page, or none is free.
  std::optional<size_t> Take(proto::ObjectId id);
  void Give(size_t slot);
  /// Shows a value to who looks there, and wakes who waits. `after`: frames that the guest must
  /// have dealt with before it may believe the value.
  void Set(size_t slot, uint64_t value, uint64_t after);

 private:
  std::mutex mutex_;
  transport::ProgressPage* page_ = nullptr;
  std::vector<bool> is_taken_;
};

}  // namespace vesper::server
