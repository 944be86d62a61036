// SPDX-License-Identifier: Apache-2.0
#include "server/progress_slots.h"

namespace vesper::server {

std::optional<size_t> ProgressSlots::Take(proto::ObjectId id) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < is_taken_.size(); ++i) {
    if (!is_taken_[i]) {
      is_taken_[i] = true;
      transport::ProgressSlot& slot = page_->slots[i];
      slot.value.store(0, std::memory_order_relaxed);
      slot.after.store(0, std::memory_order_relaxed);
      slot.key.store(id, std::memory_order_release);
      return i;
    }
  }
  return std::nullopt;
}

void ProgressSlots::Give(size_t slot) {
  const std::lock_guard lock(mutex_);
  page_->slots[slot].key.store(0, std::memory_order_release);
  is_taken_[slot] = false;
}

void ProgressSlots::Set(size_t slot, uint64_t value, uint64_t after) {
  transport::ProgressSlot& place = page_->slots[slot];
  place.after.store(after, std::memory_order_relaxed);
  place.value.store(value, std::memory_order_release);
  page_->Bell().Ring();
}

}  // namespace vesper::server
