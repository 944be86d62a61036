// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vesper::proto {

/// What stands for bytes that are too many to keep. Good enough to tell any two contents apart that
/// come about without intent (two in 2^64 have one chance in 2^64 to agree); not against somebody
/// who looks for a collision.
struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;

  friend auto operator<=>(const Hash128&, const Hash128&) = default;
};

/// The same on all machines and in all builds.
Hash128 HashOf(std::span<const std::byte> bytes);

/// Whoever doesn't know the key can neither tell a content's hash nor look for two with the same.
using HashKey = std::array<std::byte, 32>;

/// BLAKE2b: the same on all machines and in all builds.
Hash128 HashOf(std::span<const std::byte> bytes, const HashKey& key);

/// Notices bytes that were damaged, or belong to another `seed`.
uint64_t ChecksumOf(std::span<const std::byte> bytes, uint64_t seed);

}  // namespace vesper::proto
