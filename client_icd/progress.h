// SPDX-License-Identifier: Apache-2.0
//
// Progress of queues. Every batch that the guest submits to a queue has a number, counted from 1 in
// submission order; the host signals a timeline semaphore of its own with that number and tells
// how far it has come: in a push, or on a page that both share (transport/progress_page.h). A fence
// is a number on a queue. A timeline semaphore's value is what completed batches and the program
// itself signalled.
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdint>
#include <deque>

#include "client_icd/memory_lease.h"
#include "client_icd/sharing.h"
#include "proto/object_id.h"
#include "transport/progress_page.h"

namespace vesper::client {

/// A timeline semaphore that a batch will signal.
struct PendingSignal {
  uint64_t batch = 0;
  proto::ObjectId semaphore = 0;
  uint64_t value = 0;
};

/// All members are guarded by Session::progress_mutex(), except where the reader alone writes.
struct QueueProgress {
  std::atomic<uint64_t> reached{0};  // written under the mutex, read anywhere
  uint64_t submitted = 0;
  std::deque<PendingSignal> signals;              // in order of `batch`
  const transport::ProgressSlot* slot = nullptr;  // where the host shows it, once that was found
};

struct DeviceState {
  std::atomic<bool> lost{false};
  /// What posted commands have failed with and no call has reported yet: a set of ErrorMask bits,
  /// so that nothing is dropped however many commands fail.
  std::atomic<uint32_t> pending_errors{0};
  MemoryLease lease;
  Sharing sharing;
};

}  // namespace vesper::client
