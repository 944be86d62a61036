// SPDX-License-Identifier: Apache-2.0
#include "server/byte_ranges.h"

#include <algorithm>

namespace vesper::server {

void ByteRanges::Add(uint64_t begin, uint64_t end) {
  if (begin >= end) {
    return;
  }
  if (ranges_.empty() || begin > ranges_.back().end) {
    ranges_.push_back({begin, end});
    return;
  }
  // The first range that the new one overlaps or touches, and the first that it doesn't any more.
  const auto first =
      std::lower_bound(ranges_.begin(), ranges_.end(), begin,
                       [](const ByteRange& range, uint64_t at) { return range.end < at; });
  auto last = first;
  while (last != ranges_.end() && last->begin <= end) {
    ++last;
  }
  if (first == last) {
    ranges_.insert(first, {begin, end});
    return;
  }
  first->begin = std::min(first->begin, begin);
  first->end = std::max(std::prev(last)->end, end);
  ranges_.erase(std::next(first), last);
}

void ByteRanges::Add(const ByteRanges& other) {
  if (ranges_.empty()) {
    ranges_ = other.ranges_;
    return;
  }
  if (other.ranges_.size() <= 4) {
    for (const ByteRange& range : other.ranges_) {
      Add(range.begin, range.end);
    }
    return;
  }
  std::vector<ByteRange> all(ranges_.size() + other.ranges_.size());
  std::merge(ranges_.begin(), ranges_.end(), other.ranges_.begin(), other.ranges_.end(),
             all.begin(), [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
  ranges_.clear();
  for (const ByteRange& range : all) {
    Add(range.begin, range.end);
  }
}

size_t ByteRanges::FirstAfter(uint64_t offset) const {
  const auto found =
      std::upper_bound(ranges_.begin(), ranges_.end(), offset,
                       [](uint64_t at, const ByteRange& range) { return at < range.end; });
  return static_cast<size_t>(found - ranges_.begin());
}

bool ByteRanges::Contains(uint64_t begin, uint64_t end) const {
  const size_t index = FirstAfter(begin);
  return begin >= end ||
         (index < ranges_.size() && ranges_[index].begin <= begin && ranges_[index].end >= end);
}

uint64_t ByteRanges::Bytes() const {
  uint64_t bytes = 0;
  for (const ByteRange& range : ranges_) {
    bytes += range.end - range.begin;
  }
  return bytes;
}

ByteRanges ByteRanges::And(const ByteRanges& other) const {
  ByteRanges both;
  auto a = ranges_.begin();
  auto b = other.ranges_.begin();
  while (a != ranges_.end() && b != other.ranges_.end()) {
    both.Add(std::max(a->begin, b->begin), std::min(a->end, b->end));
    if (a->end < b->end) {
      ++a;
    } else {
      ++b;
    }
  }
  return both;
}

ByteRanges ByteRanges::Without(const ByteRanges& other) const {
  ByteRanges rest;
  auto taken = other.ranges_.begin();
  for (const ByteRange& range : ranges_) {
    uint64_t begin = range.begin;
    while (taken != other.ranges_.end() && taken->end <= begin) {
      ++taken;
    }
    for (auto next = taken; next != other.ranges_.end() && next->begin < range.end; ++next) {
      rest.Add(begin, next->begin);
      begin = std::max(begin, next->end);
    }
    rest.Add(begin, range.end);
  }
  return rest;
}

void ByteRanges::Coarsen(size_t count) {
  while (ranges_.size() > std::max<size_t>(count, 1)) {
    size_t kept = 0;
    for (size_t i = 0; i < ranges_.size(); i += 2) {
      const size_t last = std::min(i + 1, ranges_.size() - 1);
      ranges_[kept++] = {ranges_[i].begin, ranges_[last].end};
    }
    ranges_.resize(kept);
  }
}

}  // namespace vesper::server
