// SPDX-License-Identifier: Apache-2.0
#include "transport/ring.h"

#include <algorithm>
#include <cstring>

namespace vesper::transport {
namespace {

/// Calls copy(place in the ring, its offset in the bytes, count) for one or two runs.
template <typename Copy>
void ForEachRun(uint64_t position, size_t count, size_t capacity, const Copy& copy) {
  const auto begin = static_cast<size_t>(position & (capacity - 1));
  const size_t first = std::min(count, capacity - begin);
  copy(begin, 0, first);
  if (first < count) {
    copy(0, first, count - first);
  }
}

}  // namespace

size_t RingWriter::Room() {
  if (put_ - seen_read_ == bytes_.size()) {
    const uint64_t read = words_.read.load(std::memory_order_acquire);
    if (put_ - read > bytes_.size()) {
      is_broken_ = true;
      return 0;
    }
    seen_read_ = read;
  }
  return is_broken_ ? 0 : bytes_.size() - static_cast<size_t>(put_ - seen_read_);
}

size_t RingWriter::Put(std::span<const std::byte> bytes) {
  const size_t count = std::min(bytes.size(), Room());
  if (count == 0) {
    return 0;
  }
  ForEachRun(put_, count, bytes_.size(), [&](size_t place, size_t offset, size_t run) {
    std::memcpy(bytes_.data() + place, bytes.data() + offset, run);
  });
  put_ += count;
  return count;
}

void RingWriter::Publish() {
  if (published_ != put_) {
    published_ = put_;
    words_.written.store(put_, std::memory_order_release);
    bell_.Ring();
  }
}

size_t RingReader::Available() {
  if (seen_written_ == taken_) {
    const uint64_t written = words_.written.load(std::memory_order_acquire);
    if (written - taken_ > bytes_.size()) {
      is_broken_ = true;
      return 0;
    }
    seen_written_ = written;
  }
  return is_broken_ ? 0 : static_cast<size_t>(seen_written_ - taken_);
}

size_t RingReader::Take(std::span<std::byte> bytes) {
  const size_t count = std::min(bytes.size(), Available());
  if (count == 0) {
    return 0;
  }
  ForEachRun(taken_, count, bytes_.size(), [&](size_t place, size_t offset, size_t run) {
    std::memcpy(bytes.data() + offset, bytes_.data() + place, run);
  });
  taken_ += count;
  words_.read.store(taken_, std::memory_order_release);
  bell_.Ring();
  return count;
}

}  // namespace vesper::transport
