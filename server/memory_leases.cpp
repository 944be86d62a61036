// SPDX-License-Identifier: Apache-2.0
#include "server/memory_leases.h"

#include <algorithm>

namespace vesper::server {
namespace {

/// The part of what is available that is lent.
constexpr uint64_t kPart = 8;

/// Less is not worth a message.
constexpr uint64_t kLeastBytes = 1u << 20;

}  // namespace

void MemoryLeases::Allocate(VkDeviceMemory memory, uint32_t heap, uint64_t size, bool is_leased) {
  const std::lock_guard lock(mutex_);
  allocations_[memory] = {heap, size, is_leased};
  heaps_[heap].used += size;
  if (is_leased) {
    heaps_[heap].lent -= std::min(size, heaps_[heap].lent);
  }
}

uint32_t MemoryLeases::Free(VkDeviceMemory memory) {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(memory);
  if (found == allocations_.end()) {
    return VK_MAX_MEMORY_HEAPS;
  }
  const Allocation freed = found->second;
  allocations_.erase(found);
  heaps_[freed.heap].used -= freed.size;
  if (freed.is_leased) {
    heaps_[freed.heap].lent += freed.size;
  }
  return freed.heap;
}

uint64_t MemoryLeases::Used(uint32_t heap) const {
  const std::lock_guard lock(mutex_);
  return heaps_[heap].used;
}

bool MemoryLeases::IsLow(uint32_t heap) const {
  const std::lock_guard lock(mutex_);
  return heaps_[heap].lent <= heaps_[heap].last_target / 2;
}

void MemoryLeases::Return(uint32_t heap) {
  const std::lock_guard lock(mutex_);
  heaps_[heap].lent = 0;
  ++heaps_[heap].round;
}

MemoryLeases::Loan MemoryLeases::Renew(uint32_t index, uint64_t available) {
  const std::lock_guard lock(mutex_);
  Heap& heap = heaps_[index];
  heap.last_target = available / kPart;
  if (heap.last_target < heap.lent + kLeastBytes) {
    return {0, heap.round};
  }
  const uint64_t more = heap.last_target - heap.lent;
  heap.lent = heap.last_target;
  return {more, heap.round};
}

}  // namespace vesper::server
