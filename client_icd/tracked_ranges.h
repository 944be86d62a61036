// SPDX-License-Identifier: Apache-2.0
//
// What the trackers that handle faults themselves remember: which blocks of which ranges may be
// written. A block is 64 KiB, since one fault costs as much as comparing many pages: the caller
// finds the bytes in it by comparing with a twin.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "client_icd/write_tracker.h"

namespace vesper::client {

/// Not thread-safe: its owner's lock guards it.
class TrackedRanges {
 public:
  static constexpr size_t kBlockBytes = 64u << 10;

  /// All of it may be written, for now.
  void Add(PageRange range) {
    ranges_[range.begin] = {
        range, std::vector<bool>((range.bytes() + kBlockBytes - 1) / kBlockBytes, true)};
  }
  void Remove(PageRange range) { ranges_.erase(range.begin); }

  /// The block that holds `address`, marked as written; empty if no range holds it.
  PageRange Mark(std::byte* address) {
    Tracked* tracked = Find(address);
    if (tracked == nullptr) {
      return {};
    }
    const size_t block = static_cast<size_t>(address - tracked->range.begin) / kBlockBytes;
    tracked->written[block] = true;
    return Blocks(*tracked, block, block + 1);
  }

  /// Calls `protect(run)` for each run of written blocks within `range`, which no longer count as
  /// written; false as soon as one call does.
  template <typename Protect>
  bool TakeRuns(PageRange range, const Protect& protect) {
    while (range.begin < range.end) {
      Tracked* tracked = Find(range.begin);
      if (tracked == nullptr) {
        // Nothing is watched here: go on with the next range.
        const auto next = ranges_.upper_bound(range.begin);
        if (next == ranges_.end()) {
          return true;
        }
        range.begin = next->first;
        continue;
      }
      const size_t first = static_cast<size_t>(range.begin - tracked->range.begin) / kBlockBytes;
      std::byte* const end = std::min(range.end, tracked->range.end);
      const size_t last =
          (static_cast<size_t>(end - tracked->range.begin) + kBlockBytes - 1) / kBlockBytes;
      for (size_t block = first; block < last; ++block) {
        size_t run = block;
        while (run < last && tracked->written[run]) {
          tracked->written[run++] = false;
        }
        if (run > block && !protect(Blocks(*tracked, block, run))) {
          return false;
        }
        block = std::max(block, run);
      }
      range.begin = end;
    }
    return true;
  }

 private:
  struct Tracked {
    PageRange range;
    std::vector<bool> written;
  };

  Tracked* Find(std::byte* address) {
    auto found = ranges_.upper_bound(address);
    if (found == ranges_.begin()) {
      return nullptr;
    }
    --found;
    return address < found->second.range.end ? &found->second : nullptr;
  }
  static PageRange Blocks(const Tracked& tracked, size_t first, size_t last) {
    return {tracked.range.begin + first * kBlockBytes,
            std::min(tracked.range.begin + last * kBlockBytes, tracked.range.end)};
  }

  std::map<std::byte*, Tracked> ranges_;
};

}  // namespace vesper::client
