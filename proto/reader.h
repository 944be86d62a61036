// SPDX-License-Identifier: Apache-2.0
//
// The one class that touches bytes of the peer. Position and remaining size move together; every
// take is checked against what remains, products are checked for overflow, and failure is sticky.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "proto/buffer.h"

namespace vesper::proto {

/// A bounded cursor over received bytes. Not thread-safe.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  /// The next `bytes` bytes, and past their padding; empty and Failed() if there are fewer.
  std::span<const std::byte> Take(uint64_t bytes) {
    const uint64_t padded = (bytes + 7) & ~uint64_t{7};
    if (failed_ || padded < bytes || padded > bytes_.size() - position_) {
      failed_ = true;
      return {};
    }
    const std::span<const std::byte> taken = bytes_.subspan(position_, bytes);
    position_ += padded;
    return taken;
  }

  /// `count` elements of `size` bytes.
  std::span<const std::byte> TakeArray(uint64_t count, uint64_t size) {
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes)) {
      failed_ = true;
      return {};
    }
    return Take(bytes);
  }

  template <typename T>
  T Value() {
    T value{};
    const std::span<const std::byte> taken = Take(sizeof(T));
    if (!failed_) {
      std::memcpy(&value, taken.data(), sizeof(T));
    }
    return value;
  }

  void Fail() { failed_ = true; }
  bool Failed() const { return failed_; }
  bool AtEnd() const { return position_ == bytes_.size(); }
  size_t Remaining() const { return bytes_.size() - position_; }

 private:
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  bool failed_ = false;
};

}  // namespace vesper::proto
