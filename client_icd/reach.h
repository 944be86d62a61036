// SPDX-License-Identifier: Apache-2.0
//
// How far a submission reaches. The program's writes have to be on the host before a submission
// that may read them, and no sooner: what a submission can't reach is collected by a later one. A
// command buffer knows which kinds of commands were recorded into it, an allocation which kinds of
// resources were bound to it; where the two have nothing in common, nothing can be read. Of buffers
// that have to be named, it is known which allocations the command buffer names (named_memory.h).
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <vector>

#include "proto/object_id.h"

namespace vesper::client {

class ObjectStore;

/// A set of ways to get at memory.
enum Reach : uint32_t {
  kReachNothing = 0,
  kReachCopies = 1,   // buffers, by transfer commands
  kReachImages = 2,   // images, by whatever may read or write one, layout transitions too
  kReachShaders = 4,  // buffers, by whatever names none: addresses, and all that is not known
  kReachNamed = 8,    // buffers, by descriptors, bindings and parameters of draws
  kReachEverything = 15,
};

/// Beside a set of Reach: some batch has waited for a semaphore.
inline constexpr uint32_t kHasWaited = 16;

/// How far a call reaches: everything that one of these ways leads to, and these allocations.
struct Reached {
  Reached(uint32_t all_ways) : ways(all_ways) {}  // NOLINT: a set of Reach is one

  uint32_t ways;
  std::vector<proto::ObjectId> memories;  ///< in order
};

/// How a buffer with these usages can be got at.
uint32_t ReachOfBuffer(VkBufferUsageFlags2 usage);
/// The memory that a buffer which is not null lies in; 0 if it is not known: it is not bound yet,
/// or bound sparsely.
proto::ObjectId MemoryOf(const ObjectStore& store, VkBuffer buffer);
/// True unless none of the usages lets the device write to the buffer.
bool IsWrittenByDevice(VkBufferUsageFlags2 usage);

// How far a call that releases memory reaches: overloads for the arguments of those that say so.
Reached ReachOf(VkQueue queue, uint32_t count, const VkSubmitInfo* submits, VkFence fence);
Reached ReachOf(VkQueue queue, uint32_t count, const VkSubmitInfo2* submits, VkFence fence);
template <typename... Arguments>
Reached ReachOf(const Arguments&...) {
  return kReachEverything;
}

}  // namespace vesper::client
