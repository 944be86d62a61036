// SPDX-License-Identifier: Apache-2.0
//
// Counts that the host raises and the guest looks at, in memory that both share: how far each queue
// has come is one load, and a thread that waits for it is woken by who raises it, with nobody in
// between.
//
// What is true once a count has been reached must have reached the guest, too. The host says with
// each value how many frames it had sent before ("after"); the guest believes the value once it has
// dealt with so many.
//
// The host stores `after` and then, with release, the value; the guest loads the value with acquire
// and then `after`. So it sees the `after` of that value or of a later one, which is not less: it
// may wait too long, until the later value's frames are there, and never too short.
//
// The host only stores here, and rings the bell; it never reads but for the words of the bell. The
// guest believes no more than the host could have said in a frame.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "transport/doorbell.h"

namespace vesper::transport {

/// One count.
struct alignas(64) ProgressSlot {
  std::atomic<uint64_t> key;  ///< What is counted; 0: nothing.
  std::atomic<uint64_t> value;
  std::atomic<uint64_t> after;
};

/// All zero to begin with.
struct ProgressPage {
  static constexpr size_t kSlots = 60;

  alignas(128) std::atomic<uint32_t> count;  // of the bell
  alignas(128) std::atomic<uint32_t> asleep;
  alignas(64) std::array<ProgressSlot, kSlots> slots;

  Doorbell Bell() { return {count, asleep}; }
};
static_assert(sizeof(ProgressPage) <= 4096);

}  // namespace vesper::transport
