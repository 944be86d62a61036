// SPDX-License-Identifier: Apache-2.0
#include "client_icd/shadow.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "client_icd/shadow_sender.h"
#include "client_icd/shadows.h"
#include "proto/limits.h"
#include "proto/memory_patch.h"

namespace vesper::client {
namespace {

// How hot a block is: each collection takes a quarter away and adds kHeatOfPage for each page that
// was written. Comparing a block costs what four to five faults cost, so a block which stays above
// six pages a time is compared; the gap down to kCool keeps it from going to and fro.
constexpr uint32_t kHeatOfPage = 4;
constexpr uint32_t kHot = 96;
constexpr uint32_t kCool = 48;
constexpr uint32_t kHottest = 128;

// A block that two comparisons in a row have found rewritten is then sent without looking a few
// times, and more often each time it is found so again: comparing would read and write as much
// memory again as sending does. A program that stops writing there pays for that once.
constexpr uint8_t kRewritten = 2;
constexpr uint8_t kMostRewritten = 4;
constexpr uint8_t UnseenAfter(uint8_t rewritten) {
  return static_cast<uint8_t>(1u << rewritten);  // 4, 8, 16
}

uint8_t NextHeat(uint8_t heat, uint32_t pages) {
  return static_cast<uint8_t>(
      std::min<uint32_t>(heat - (heat + 3u) / 4 + kHeatOfPage * pages, kHottest));
}

bool IsZero(const std::byte* bytes, uint64_t size) {
  return bytes[0] == std::byte{0} && std::memcmp(bytes, bytes + 1, size - 1) == 0;
}

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

}  // namespace

Shadow::Shadow(ShadowArena& arena, proto::ObjectId memory, uint64_t size,
               const ShadowArena::Piece& piece, std::byte* twin, bool tracks, bool always_twin)
    : arena_(arena),
      memory_(memory),
      size_(size),
      always_twin_(always_twin),
      is_shared_(twin == nullptr),
      piece_(piece),
      blocks_(tracks ? RoundUp(piece.bytes, kBlockBytes) / kBlockBytes : 0),
      active_((blocks_.size() + 63) / 64),
      dirty_(tracks ? (piece.bytes / PageSize() + 63) / 64 : 0),
      tracks_(tracks),
      live_(piece.driver),
      twin_(twin) {}

Shadow::~Shadow() {
  if (twin_ != nullptr) {
    ::munmap(twin_, piece_.bytes);
  }
}

bool Shadow::Apply(std::span<const std::byte> patch) {
  if (is_shared_ || !proto::PatchFits(patch, size_)) {
    return false;
  }
  const std::lock_guard lock(merge_mutex_);
  if (live_ != nullptr) {
    proto::ApplyPatch(patch, live_, twin_);
  }
  return true;
}

uint64_t Shadow::BlockEnd(size_t block) const {
  return std::min<uint64_t>((block + 1) * kBlockBytes, piece_.bytes);
}

PageRange Shadow::ViewOf(uint64_t begin, uint64_t end) const {
  begin = std::max(begin, view_.offset);
  end = std::min(end, view_.offset + view_.range.bytes());
  if (begin >= end) {
    return {};
  }
  std::byte* const first = view_.range.begin + (begin - view_.offset);
  return {first, first + (end - begin)};
}

// -- what is tracked ------------------------------------------------------------------------------

void Shadow::SetView(const ShadowView& view) {
  view_ = view;
  runs_are_stale_ = true;
  // Nothing is watched in a new view. What guest and host agreed on stays so.
  for (Block& block : blocks_) {
    block.state = State::kFresh;
    block.heat = 0;
    block.rewritten = 0;
    block.unseen = 0;
  }
  std::ranges::fill(active_, 0);
  std::ranges::fill(dirty_, 0);
}

bool Shadow::Arm(WriteTracker& tracker, bool as_written) {
  const uint64_t view_end = view_.offset + view_.range.bytes();
  const auto is_fresh = [this](uint64_t offset) {
    return blocks_[offset / kBlockBytes].state == State::kFresh;
  };
  bool works = true;
  for (uint64_t begin = view_.offset; begin < view_end;) {
    uint64_t end = begin;
    while (end < view_end && is_fresh(end)) {
      end = std::min(RoundUp(end + 1, kChunkBytes), view_end);
    }
    if (end == begin) {
      begin = std::min(RoundUp(begin + 1, kChunkBytes), view_end);
      continue;
    }
    uint64_t armed = begin;
    arena_.ForEachWritten(piece_, begin, end, [&](uint64_t data, uint64_t hole) {
      const uint64_t first = std::max(data / kChunkBytes * kChunkBytes, armed);
      const uint64_t last = std::min(RoundUp(hole, kChunkBytes), end);
      if (first < last && works) {
        works = ArmChunks(tracker, first, last, as_written);
        armed = last;
      }
    });
    begin = end;
  }
  return works;
}

bool Shadow::ArmChunks(WriteTracker& tracker, uint64_t begin, uint64_t end, bool as_written) {
  // The first time, all pages are told, those that nobody touched as well.
  std::vector<PageRange> all;
  if (!tracker.Take(ViewOf(begin, end), all)) {
    return false;
  }
  for (size_t block = begin / kBlockBytes; block * kBlockBytes < end; ++block) {
    blocks_[block].state = State::kTracked;
    blocks_[block].has_twin |= always_twin_;
  }
  runs_are_stale_ = true;
  if (as_written) {
    arena_.ForEachWritten(piece_, begin, end,
                          [this](uint64_t data, uint64_t hole) { MarkWritten(data, hole); });
  }
  return true;
}

const std::vector<PageRange>& Shadow::TrackedRuns() {
  if (runs_are_stale_) {
    runs_.clear();
    for (size_t block = 0; block < blocks_.size(); ++block) {
      if (blocks_[block].state != State::kTracked) {
        continue;
      }
      const PageRange range = ViewOf(block * kBlockBytes, BlockEnd(block));
      if (range.begin == nullptr) {
        continue;
      }
      if (!runs_.empty() && runs_.back().end == range.begin) {
        runs_.back().end = range.end;
      } else {
        runs_.push_back(range);
      }
    }
    runs_are_stale_ = false;
  }
  return runs_;
}

void Shadow::MarkWritten(PageRange range) {
  const uint64_t begin = view_.offset + static_cast<uint64_t>(range.begin - view_.range.begin);
  MarkWritten(begin, begin + range.bytes());
}

void Shadow::MarkWritten(uint64_t begin, uint64_t end) {
  const uint64_t page_bytes = PageSize();
  for (uint64_t page = begin / page_bytes; page * page_bytes < end; ++page) {
    dirty_[page / 64] |= uint64_t{1} << (page % 64);
  }
  for (size_t block = begin / kBlockBytes; block * kBlockBytes < end; ++block) {
    Activate(block);
  }
}

uint64_t Shadow::TakeDirty(size_t block, uint64_t begin, uint64_t end) {
  // There are at most sixteen pages in a block, so its bits lie in one word.
  const uint64_t first = block * kBlockBytes / PageSize();
  const uint64_t from = std::max(begin / PageSize(), first) - first;
  const uint64_t to = std::min(RoundUp(end, PageSize()), BlockEnd(block)) / PageSize() - first;
  const uint64_t mask = ((uint64_t{1} << to) - (uint64_t{1} << from)) << (first % 64);
  const uint64_t bits = dirty_[first / 64] & mask;
  dirty_[first / 64] &= ~mask;
  return bits >> (first % 64);
}

bool Shadow::IsDirty(size_t block) const {
  const uint64_t pages = kBlockBytes / PageSize();
  const uint64_t first = block * pages;
  return (dirty_[first / 64] >> (first % 64) & ((uint64_t{1} << pages) - 1)) != 0;
}

// -- collecting -----------------------------------------------------------------------------------

void Shadow::CollectTracked(ShadowSender& sender, WriteTracker& tracker, uint64_t begin,
                            uint64_t end) {
  for (size_t word = 0; word < active_.size(); ++word) {
    for (uint64_t rest = active_[word]; rest != 0; rest &= rest - 1) {
      const size_t index = word * 64 + static_cast<size_t>(std::countr_zero(rest));
      if (BlockEnd(index) <= begin || index * kBlockBytes >= end) {
        continue;
      }
      Block& block = blocks_[index];
      bool stays_active = false;
      if (block.state == State::kCompared) {
        stays_active = true;
        CollectCompared(sender, tracker, index);
      } else if (block.state == State::kTracked) {
        const uint64_t pages = TakeDirty(index, begin, end);
        block.heat = NextHeat(block.heat, static_cast<uint32_t>(std::popcount(pages)));
        stays_active = block.heat != 0 || IsDirty(index);
        if (pages != 0) {
          CollectPages(sender, index, pages);
        }
      }
      if (!stays_active) {
        active_[word] &= ~(uint64_t{1} << (index % 64));
      }
    }
  }
  DropTwins(sender);
}

void Shadow::CollectCompared(ShadowSender& sender, WriteTracker& tracker, size_t index) {
  Block& block = blocks_[index];
  if (block.unseen != 0) {
    // What the program stores while it is read is sent next time, when all is sent again.
    if (--block.unseen == 0) {
      MakeTwin(sender, index);
    } else {
      const uint64_t begin = index * kBlockBytes;
      sender.Whole(begin, {live_ + begin, std::min(BlockEnd(index), size_) - begin});
    }
    return;
  }
  const Found found = CompareBlock(sender, index);
  block.heat = NextHeat(block.heat, found.pages);
  block.rewritten = found.is_all_new ? std::min<uint8_t>(block.rewritten + 1, kMostRewritten) : 0;
  if (block.rewritten >= kRewritten && !block.needs_twin && !always_twin_ && sender.IsLinkFast()) {
    block.unseen = UnseenAfter(block.rewritten);
    block.has_twin = false;
    block.was_sent = true;
  } else if (block.heat < kCool) {
    Track(sender, tracker, index);
  }
}

void Shadow::CollectPages(ShadowSender& sender, size_t index, uint64_t pages) {
  Block& block = blocks_[index];
  if (block.heat >= kHot) {
    // Compared from now on. What is compared is what was sent.
    if (block.has_twin) {
      CompareBlock(sender, index);
    } else {
      MakeTwin(sender, index);
    }
    block.state = State::kCompared;
    runs_are_stale_ = true;
    return;
  }
  const uint64_t page_bytes = PageSize();
  for (; pages != 0; pages &= pages - 1) {
    const uint64_t begin =
        index * kBlockBytes + static_cast<uint64_t>(std::countr_zero(pages)) * page_bytes;
    const uint64_t end = std::min(begin + page_bytes, size_);
    if (begin >= end) {
      continue;
    }
    if (block.has_twin) {
      Compare(sender, begin, end);
    } else if (!IsZero(live_ + begin, end - begin)) {
      sender.Whole(begin, {live_ + begin, end - begin});
    } else if (block.was_sent) {
      sender.Zeros(begin, end - begin);
    }
  }
  block.was_sent = true;
}

bool Shadow::Compare(ShadowSender& sender, uint64_t begin, uint64_t end) {
  bool differs = false;
  while (begin < end && !sender.IsLost()) {
    {
      const std::lock_guard lock(merge_mutex_);
      const size_t before = sender.parts().size();
      begin = proto::MakePatch(live_, twin_, begin, end - begin, sender.Room(), sender.parts());
      differs |= sender.parts().size() != before;
    }
    sender.Breathe();
  }
  return differs;
}

void Shadow::CollectByComparing(ShadowSender& sender, uint64_t begin, uint64_t end) {
  arena_.ForEachWritten(piece_, begin, std::min(end, size_),
                        [&](uint64_t data, uint64_t hole) { Compare(sender, data, hole); });
}

Shadow::Found Shadow::CompareBlock(ShadowSender& sender, size_t block) {
  Found found;
  const uint64_t block_end = std::min(BlockEnd(block), size_);
  {
    const std::lock_guard lock(merge_mutex_);
    const size_t start = sender.parts().size();
    for (uint64_t begin = block * kBlockBytes; begin < block_end; begin += PageSize()) {
      const uint64_t bytes = std::min(PageSize(), block_end - begin);
      const size_t before = sender.parts().size();
      proto::MakePatch(live_, twin_, begin, bytes, SIZE_MAX, sender.parts());
      found.pages += sender.parts().size() != before ? 1 : 0;
    }
    const uint64_t bytes = block_end - block * kBlockBytes;
    found.is_all_new = sender.parts().size() - start >= bytes - bytes / 8;
  }
  sender.Breathe();
  return found;
}

void Shadow::VisitDeferrable(DownloadBlocks::Run run, bool fill, const Downloads::Parts& visit) {
  static_assert(DownloadBlocks::kBytes == kBlockBytes);
  if (lost_track_ || live_ == nullptr) {
    return;
  }
  const auto is_agreed = [this](size_t block) {
    return !tracks_ || (blocks_[block].has_twin && blocks_[block].state != State::kFresh);
  };
  const auto visit_agreed = [&](uint64_t data, uint64_t hole) {
    DownloadBlocks::Run part{RoundUp(data, kBlockBytes) / kBlockBytes, 0};
    for (size_t block = part.begin; block <= hole / kBlockBytes; ++block) {
      part.end = block;
      if (block == hole / kBlockBytes || !is_agreed(block)) {
        if (!part.IsEmpty()) {
          visit(part);
        }
        part.begin = block + 1;
      }
    }
  };
  const uint64_t begin = run.begin * kBlockBytes;
  const uint64_t end = run.end * kBlockBytes;
  if (fill && arena_.Fill(piece_, begin, end)) {
    visit_agreed(begin, end);
  } else {
    arena_.ForEachWritten(piece_, begin, end, visit_agreed);
  }
}

void Shadow::Track(ShadowSender& sender, WriteTracker& tracker, size_t index) {
  std::vector<PageRange> all;
  if (!tracker.Take(ViewOf(index * kBlockBytes, BlockEnd(index)), all)) {
    return;  // compared for another while
  }
  // Once more: what was written since the comparison, and before it was protected.
  CompareBlock(sender, index);
  Block& block = blocks_[index];
  block.state = State::kTracked;
  block.was_sent = true;
  runs_are_stale_ = true;
  if (!block.needs_twin && !always_twin_) {
    spare_twins_.push_back(index);
  }
}

void Shadow::DropTwins(ShadowSender& sender) {
  if (spare_twins_.empty()) {
    return;
  }
  sender.Finish();
  const std::lock_guard lock(merge_mutex_);
  for (const size_t index : spare_twins_) {
    // A collection that ran out of memory may have left some for the next.
    if (blocks_[index].state != State::kTracked || blocks_[index].needs_twin) {
      continue;
    }
    blocks_[index].has_twin = false;
    ::madvise(twin_ + index * kBlockBytes, BlockEnd(index) - index * kBlockBytes, MADV_DONTNEED);
  }
  spare_twins_.clear();
}

// -- twins ----------------------------------------------------------------------------------------

void Shadow::MakeTwin(ShadowSender& sender, size_t index) {
  const uint64_t begin = index * kBlockBytes;
  const uint64_t end = std::min(BlockEnd(index), size_);
  {
    const std::lock_guard lock(merge_mutex_);
    // Each byte is read once: what the twin gets is what is sent, whatever the program does
    // meanwhile. That may be sent although nobody changed it, and the device has not either.
    std::memcpy(twin_ + begin, live_ + begin, end - begin);
    proto::Buffer& entries = sender.entries();
    entries.PutValue(begin);
    entries.PutValue(end - begin);
    entries.Put(twin_ + begin, end - begin);
  }
  blocks_[index].has_twin = true;
  sender.Breathe();
}

void Shadow::ExpectDeviceWrites(ShadowSender& sender, uint64_t begin, uint64_t end) {
  for (size_t index = begin / kBlockBytes; index < blocks_.size() && index * kBlockBytes < end;
       ++index) {
    Block& block = blocks_[index];
    block.needs_twin = true;
    block.unseen = 0;
    if (!block.has_twin && block.was_sent) {
      MakeTwin(sender, index);
    }
    block.has_twin = true;  // zeros, if nothing was ever sent
  }
}

void Shadow::StopTracking(ShadowSender& sender) {
  tracks_ = false;
  lost_track_ = false;
  for (size_t index = 0; index < blocks_.size(); ++index) {
    if (!blocks_[index].has_twin && blocks_[index].was_sent) {
      MakeTwin(sender, index);
    }
  }
}

}  // namespace vesper::client
