// SPDX-License-Identifier: Apache-2.0
//
// What encoder and decoders share: reading fields of an image, and element counts.
#pragma once

#include <cstdint>
#include <cstring>

#include "proto/record.h"

namespace vesper::proto {

/// Presence of what a pointer points to, in the pointer's place in an image: 0 is null, else this
/// bit with the element count (or, for pNext, the number of the next struct).
inline constexpr uint64_t kPresent = uint64_t{1} << 63;

template <typename T>
T LoadField(const void* image, size_t offset) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(image) + offset, sizeof(T));
  return value;
}

template <typename T>
void StoreField(void* image, size_t offset, T value) {
  std::memcpy(static_cast<std::byte*>(image) + offset, &value, sizeof(T));
}

/// The element count that a native image gives for one of its pointers. `index` is the element for
/// kSibling lengths. The image's own pointers are followed, so it must be native, not wire.
inline uint64_t EvaluateLength(const Length& length, const void* image, uint64_t index = 0) {
  uint64_t value = 0;
  switch (length.kind) {
    case LengthKind::kConstant:
      return length.add;
    case LengthKind::kU8:
      value = LoadField<uint8_t>(image, length.offset);
      break;
    case LengthKind::kU16:
      value = LoadField<uint16_t>(image, length.offset);
      break;
    case LengthKind::kU32:
      value = LoadField<uint32_t>(image, length.offset);
      break;
    case LengthKind::kU64:
      value = LoadField<uint64_t>(image, length.offset);
      break;
    case LengthKind::kPointerU32:
    case LengthKind::kPointerU64: {
      const void* target = LoadField<const void*>(image, length.offset);
      if (target == nullptr) {
        return 0;
      }
      value = length.kind == LengthKind::kPointerU32 ? LoadField<uint32_t>(target, 0)
                                                     : LoadField<uint64_t>(target, 0);
      break;
    }
    case LengthKind::kPath: {
      const void* target = LoadField<const void*>(image, length.offset);
      if (target == nullptr) {
        return 0;
      }
      value = LoadField<uint32_t>(target, length.inner);
      break;
    }
    case LengthKind::kSibling: {
      const std::byte* array = LoadField<const std::byte*>(image, length.offset);
      return array == nullptr ? 0 : LoadField<uint32_t>(array + index * length.add, length.inner);
    }
  }
  const uint64_t sum = value + length.add;
  return sum < value ? UINT64_MAX : sum / length.divide;
}

}  // namespace vesper::proto
