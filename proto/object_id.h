// SPDX-License-Identifier: Apache-2.0
//
// Object ids. The guest names every object: {type, generation, index}. Indices are dense per type,
// so the host's tables are vectors; the generation grows whenever an index is used again, so a late
// message about a dead object cannot reach its successor. A non-dispatchable Vulkan handle in the
// guest *is* the id, so structs that hold such handles need no translation on the way out. Zero is
// VK_NULL_HANDLE: type 0 does not exist.
#pragma once

#include <cstdint>

#include "proto/handle_types_gen.h"

namespace vesper::proto {

using ObjectId = uint64_t;

inline constexpr uint32_t kMaxGeneration = (1u << 24) - 1;

constexpr ObjectId MakeObjectId(HandleType type, uint32_t generation, uint32_t index) {
  return (static_cast<uint64_t>(type) << 56) | (static_cast<uint64_t>(generation) << 32) | index;
}

constexpr uint8_t ObjectTypeByte(ObjectId id) { return static_cast<uint8_t>(id >> 56); }
constexpr uint32_t ObjectGeneration(ObjectId id) {
  return static_cast<uint32_t>(id >> 32) & kMaxGeneration;
}
constexpr uint32_t ObjectIndex(ObjectId id) { return static_cast<uint32_t>(id); }

}  // namespace vesper::proto
