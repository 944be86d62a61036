// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vesper::server {

/// From `begin` up to, but not including, `end`.
struct ByteRange {
  uint64_t begin;
  uint64_t end;

  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

/// A set of bytes of one allocation, as ranges in order that neither overlap nor touch.
class ByteRanges {
 public:
  ByteRanges() = default;
  ByteRanges(uint64_t begin, uint64_t end) { Add(begin, end); }

  /// An empty range adds nothing. Cheapest in ascending order.
  void Add(uint64_t begin, uint64_t end);
  void Add(const ByteRanges& other);
  void Clear() { ranges_.clear(); }

  bool IsEmpty() const { return ranges_.empty(); }
  bool Contains(uint64_t begin, uint64_t end) const;
  uint64_t Bytes() const;
  const std::vector<ByteRange>& ranges() const { return ranges_; }
  /// The first range that ends after `offset`, as an index; the number of ranges if there is none.
  size_t FirstAfter(uint64_t offset) const;

  ByteRanges And(const ByteRanges& other) const;
  /// What is in this set and not in the other.
  ByteRanges Without(const ByteRanges& other) const;

  /// Joins neighbours until at most `count` ranges are left: a larger set with less to look at.
  void Coarsen(size_t count);

 private:
  std::vector<ByteRange> ranges_;
};

}  // namespace vesper::server
