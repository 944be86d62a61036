// SPDX-License-Identifier: Apache-2.0
#include "proto/hash.h"

#include <blake2.h>

#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace vesper::proto {

Hash128 HashOf(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

Hash128 HashOf(std::span<const std::byte> bytes, const HashKey& key) {
  std::array<uint8_t, sizeof(Hash128)> digest{};
  // It fails for sizes that don't exist only, and these are given.
  ::blake2b(digest.data(), bytes.data(), key.data(), digest.size(), bytes.size(), key.size());
  Hash128 hash;
  std::memcpy(&hash.low, digest.data(), sizeof(hash.low));
  std::memcpy(&hash.high, digest.data() + sizeof(hash.low), sizeof(hash.high));
  return hash;
}

uint64_t ChecksumOf(std::span<const std::byte> bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace vesper::proto
