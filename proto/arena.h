// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "proto/limits.h"

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
  }

  /// Forgets everything allocated; keeps one block for the next command.
  void Reset() {
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
