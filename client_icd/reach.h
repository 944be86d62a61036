// SPDX-License-Identifier: Apache-2.0
//
// How far a submission reaches. The program's writes have to be on the host before a submission
// that may read them, and no sooner: what a submission can't reach is collected by a later one. A
// command buffer knows which kinds of commands were recorded into it, an allocation which kinds of
// resources were bound to it; where the two have nothing in common, nothing can be read.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>

namespace vesper::client {

/// A set of ways to get at memory.
enum Reach : uint32_t {
  kReachNothing = 0,
  kReachCopies = 1,   // buffers, by transfer commands
  kReachImages = 2,   // images, by whatever may read or write one, layout transitions too
  kReachShaders = 4,  // buffers, by everything else
  kReachEverything = 7,
};

/// Beside a set of Reach: some batch has waited for a semaphore.
inline constexpr uint32_t kHasWaited = 8;

/// How a buffer with these usages can be got at.
uint32_t ReachOfBuffer(VkBufferUsageFlags2 usage);
/// True unless none of the usages lets the device write to the buffer.
bool IsWrittenByDevice(VkBufferUsageFlags2 usage);

// How far a call that releases memory reaches: overloads for the arguments of those that say so.
uint32_t ReachOf(VkQueue queue, uint32_t count, const VkSubmitInfo* submits, VkFence fence);
uint32_t ReachOf(VkQueue queue, uint32_t count, const VkSubmitInfo2* submits, VkFence fence);
template <typename... Arguments>
uint32_t ReachOf(const Arguments&...) {
  return kReachEverything;
}

}  // namespace vesper::client
