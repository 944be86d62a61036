// SPDX-License-Identifier: Apache-2.0
//
// How much memory a buffer needs, without asking for each size.
//
// Vulkan promises for buffers that differ in nothing but their size (Vulkan 1.4, "Resource Memory
// Association"; the second since VK_KHR_maintenance4, which is a part of 1.3):
//   - alignment and memory types are the same;
//   - a buffer of `size` bytes needs no more than `size` rounded up to the alignment.
// It needs no less than `size`, either. So one answer tells everything about sizes that are
// multiples of the alignment. About others it leaves little open, and drivers either round up or
// don't: once an answer has shown that this one rounds up, as far as it is allowed to, it is taken
// to do so for all sizes, which can never be too little. For a driver that doesn't, sizes between
// are asked for one by one. Whether memory of its own is preferred may depend on the size: it is
// not preferred for a buffer that is no larger than one for which it was not.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <optional>

#include "proto/hash.h"

namespace vesper::client {

class Device;

/// What a buffer was created with, as far as its memory depends on it.
struct BufferCreation {
  uint64_t size = 0;
  std::optional<proto::Hash128> with_size;     ///< nothing: it has to be asked for
  std::optional<proto::Hash128> without_size;  ///< nothing: other sizes say nothing about it
};

/// Called when a buffer is created.
BufferCreation NoteCreation(Device& device, const VkBufferCreateInfo& create_info);
/// That of a buffer that is there.
BufferCreation CreationOf(Device& device, VkBuffer buffer);

/// What is known of all buffers that differ in nothing but their size.
struct BufferFacts {
  enum State : uint32_t {
    kNothing,
    kKeepsPromises,
    kRoundsUp,      ///< an answer has shown it
    kIsAskedAlways  ///< two answers contradict each other, or the promises
  };
  uint64_t alignment = 0;
  uint32_t memory_types = 0;
  uint32_t state = kNothing;
  uint64_t not_dedicated = 0;  ///< sizes up to this don't ask for memory of their own

  /// Learns from an answer. `asks_for_own`: whether it asked for memory of its own, if that was
  /// asked.
  void Learn(uint64_t size, const VkMemoryRequirements& answer, std::optional<bool> asks_for_own);
  /// The answer, if it follows. `with_own`: whether it also has to say that no memory of its own is
  /// asked for.
  std::optional<VkMemoryRequirements> Requirements(uint64_t size, bool with_own) const;
};

}  // namespace vesper::client
