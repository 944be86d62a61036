// SPDX-License-Identifier: Apache-2.0
//
// How much device memory the guest may allocate without asking. For each heap the worker lends a
// part of what is available; the guest posts allocations as long as they fit into what it was lent.
// What it frees of them it has again. For what does not fit it calls, and before that it gives all
// of the heap's lease back: the driver shall decide with nothing promised, and what was promised
// must be there. Both sides keep the same account, the guest when it posts, the worker when it
// executes. (Between threads that allocate at once the guest's order may differ from the stream's;
// then the account is wrong by what they were about, until the next return.) What the worker lends
// while a return is on its way is void: rounds tell.
//
// A lease is an eighth of what is available: the worker is not alone on the device. As less is left
// the leases become smaller, and a program that allocates until it fails hears it from the driver.
#pragma once

#include <vulkan/vulkan_core.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace vesper::server {

/// The leases of one device. Thread-safe: memory is freed by tasks, too. Sizes are in bytes.
class MemoryLeases {
 public:
  /// `is_leased`: the guest did not ask.
  void Allocate(VkDeviceMemory memory, uint32_t heap, uint64_t size, bool is_leased);
  /// The heap that the memory was of; VK_MAX_MEMORY_HEAPS if it is not known.
  uint32_t Free(VkDeviceMemory memory);

  /// All that the device has allocated of a heap.
  uint64_t Used(uint32_t heap) const;
  /// True if little is left of the lease, so that it should be renewed.
  bool IsLow(uint32_t heap) const;
  /// The guest has given back all that it was lent.
  void Return(uint32_t heap);
  struct Loan {
    uint64_t size;
    uint32_t round;  // how often the guest has given all of the heap's lease back
  };
  /// Lends more, or nothing if that is not worth a message.
  Loan Renew(uint32_t heap, uint64_t available);

 private:
  struct Heap {
    uint64_t used = 0;
    uint64_t lent = 0;  // and not taken, as far as the worker knows
    uint64_t last_target = 0;
    uint32_t round = 0;
  };
  struct Allocation {
    uint32_t heap;
    uint64_t size;
    bool is_leased;
  };

  mutable std::mutex mutex_;
  std::array<Heap, VK_MAX_MEMORY_HEAPS> heaps_;
  std::unordered_map<VkDeviceMemory, Allocation> allocations_;
};

}  // namespace vesper::server
