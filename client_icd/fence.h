// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "client_icd/object.h"
#include "client_icd/progress.h"

namespace vesper::client {

class Device;
class Session;

/// Guarded by Session::progress_mutex().
struct Fence {
  bool signaled = false;
  std::shared_ptr<QueueProgress> queue;  // set while a submission is to signal it
  uint64_t batch = 0;
  Allocator allocator;

  bool IsSignaled() const {
    return signaled || (queue != nullptr && queue->reached.load() >= batch);
  }
};

/// The fence is signalled once `queue` has reached `batch`. With Session::progress_mutex() held.
void AttachFence(Session& session, VkFence fence, const std::shared_ptr<QueueProgress>& queue,
                 uint64_t batch);

/// The fence is signalled now, by the guest itself.
void SignalFence(Device& device, VkFence fence);

}  // namespace vesper::client
