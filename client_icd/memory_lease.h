// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <array>
#include <cstdint>
#include <mutex>

namespace vesper::client {

/// What the host has lent of each heap: allocations that fit may be posted
/// (server/memory_leases.h). Before it calls for memory the guest gives all of the heap's lease
/// back, for the driver shall decide with nothing promised; what the host lent before it heard of
/// that is void, which the rounds tell. Thread-safe. Sizes are in bytes.
class MemoryLease {
 public:
  /// True if there was as much, which is then taken.
  bool Take(uint32_t heap, uint64_t size) {
    const std::lock_guard lock(mutex_);
    if (heaps_[heap].left < size) {
      return false;
    }
    heaps_[heap].left -= size;
    return true;
  }
  /// What was taken is there again: it was not sent, or its end is in the stream.
  void Give(uint32_t heap, uint64_t size) {
    const std::lock_guard lock(mutex_);
    heaps_[heap].left += size;
  }
  /// Gives everything back: the host has to be told.
  void Return(uint32_t heap) {
    const std::lock_guard lock(mutex_);
    heaps_[heap] = {0, heaps_[heap].round + 1};
  }
  /// The host lends.
  void Grant(uint32_t heap, uint32_t round, uint64_t size) {
    const std::lock_guard lock(mutex_);
    if (round == heaps_[heap].round) {
      heaps_[heap].left += size;
    }
  }

 private:
  struct Heap {
    uint64_t left = 0;
    uint32_t round = 0;
  };

  std::mutex mutex_;
  std::array<Heap, VK_MAX_MEMORY_HEAPS> heaps_;
};

}  // namespace vesper::client
