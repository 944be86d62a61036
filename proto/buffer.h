// SPDX-License-Identifier: Apache-2.0
//
// A growing run of bytes, 8-byte aligned throughout. The writer of the codec: everything appended
// is padded with zeros to a multiple of 8, so that images can be read in place of their alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

namespace vesper::proto {

constexpr size_t Align8(size_t bytes) { return (bytes + 7) & ~size_t{7}; }

/// Not thread-safe. Out of memory is sticky: Failed() is true and later appends write to nowhere.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(failed_, other.failed_);
    return *this;
  }

  /// Appends `bytes` bytes and the padding after them; returns the offset, which means nothing once
  /// Failed(). The bytes are not yet written, except the padding.
  size_t Append(size_t bytes) {
    const size_t offset = size_;
    // Both are multiples of 8, so there is room for the padding too.
    if (bytes > capacity_ - size_ && !Grow(bytes)) {
      return size_;
    }
    const size_t padded = Align8(bytes);
    if (padded != bytes) {
      std::memset(data_ + offset + padded - 8, 0, 8);
    }
    size_ += padded;
    return offset;
  }

  void Put(const void* source, size_t bytes) {
    const size_t offset = Append(bytes);
    if (!failed_ && bytes != 0) {
      std::memcpy(data_ + offset, source, bytes);
    }
  }

  template <typename T>
  void PutValue(T value) {
    static_assert(sizeof(T) <= 8);
    Put(&value, sizeof(T));
  }

  /// Overwrites bytes that were appended before.
  template <typename T>
  void Patch(size_t offset, T value) {
    if (!failed_) {
      std::memcpy(data_ + offset, &value, sizeof(T));
    }
  }

  std::byte* At(size_t offset) { return data_ + offset; }
  std::span<const std::byte> Bytes() const { return {data_, size_}; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool Failed() const { return failed_; }
  void Clear() {
    size_ = 0;
    failed_ = false;
  }
  /// Drops everything after `size` bytes.
  void Truncate(size_t size) { size_ = size; }
  /// Gives memory back if much more is held than needed.
  void Shrink(size_t keep) {
    if (capacity_ > keep) {
      std::free(data_);
      data_ = nullptr;
      size_ = capacity_ = 0;
    }
  }

 private:
  bool Grow(size_t bytes) {
    if (failed_) {
      return false;
    }
    size_t capacity = capacity_ == 0 ? 4096 : capacity_;
    while (capacity - size_ < bytes) {
      if (capacity > SIZE_MAX / 4) {
        failed_ = true;
        return false;
      }
      capacity *= 2;
    }
    void* data = std::realloc(data_, capacity);
    if (data == nullptr) {
      failed_ = true;
      return false;
    }
    data_ = static_cast<std::byte*>(data);
    capacity_ = capacity;
    return true;
  }

  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
  bool failed_ = false;
};

}  // namespace vesper::proto
