// SPDX-License-Identifier: Apache-2.0
#include "proto/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace vesper::proto {

Hash128 HashOf(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

uint64_t ChecksumOf(std::span<const std::byte> bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace vesper::proto
