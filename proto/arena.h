// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "proto/limits.h"

// With the address sanitizer every allocation is a block of its own and of exactly its size, so
// that a step past its end shows.
#if defined(__SANITIZE_ADDRESS__)
#define VESPER_EXACT_ARENA 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VESPER_EXACT_ARENA 1
#endif
#endif

namespace vesper::proto {

/// Scratch memory for what one command decodes to: zeroed, 16-byte aligned, freed all at once, and
/// capped. Not thread-safe.
class Arena {
 public:
  explicit Arena(size_t cap = kMaxArenaBytes) : cap_(cap) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Zeroed memory, or null when the cap or the machine's memory is reached.
  void* Allocate(uint64_t bytes) {
    if (bytes > cap_ - used_) {
      return nullptr;
    }
    const size_t rounded = (static_cast<size_t>(bytes) + 15) & ~size_t{15};
    used_ += rounded < cap_ - used_ ? rounded : cap_ - used_;
#ifdef VESPER_EXACT_ARENA
    Block own;
    own.memory.reset(static_cast<std::byte*>(std::calloc(bytes == 0 ? 1 : bytes, 1)));
    blocks_.push_back(std::move(own));
    return blocks_.back().memory.get();
#else
    if (blocks_.empty() || rounded > blocks_.back().size - blocks_.back().used) {
      const size_t size = rounded > kBlockBytes ? rounded : kBlockBytes;
      Block block;
      block.memory.reset(static_cast<std::byte*>(std::malloc(size)));
      if (block.memory == nullptr) {
        return nullptr;
      }
      block.size = size;
      blocks_.push_back(std::move(block));
    }
    Block& block = blocks_.back();
    void* result = block.memory.get() + block.used;
    block.used += rounded;
    std::memset(result, 0, rounded);
    return result;
#endif
  }

  /// Forgets everything allocated; keeps one block for the next command.
  void Reset() {
#ifdef VESPER_EXACT_ARENA
    blocks_.clear();
#endif
    if (!blocks_.empty()) {
      if (blocks_.front().size > kBlockBytes) {
        blocks_.clear();
      } else {
        blocks_.resize(1);
        blocks_.front().used = 0;
      }
    }
    used_ = 0;
  }

 private:
  static constexpr size_t kBlockBytes = 64u << 10;

  struct FreeBytes {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  struct Block {
    std::unique_ptr<std::byte, FreeBytes> memory;
    size_t size = 0;
    size_t used = 0;
  };

  size_t cap_;
  size_t used_ = 0;
  std::vector<Block> blocks_;
};

}  // namespace vesper::proto
