// SPDX-License-Identifier: Apache-2.0
//
// The guest's copy of one host-visible allocation. The program writes to it through its pointer
// whenever it likes; Collect finds what changed and posts it, Apply brings in what the host pushed.
// docs/memory.md has the whole argument; here is what is remembered, for each block of 64 KiB:
//
//   fresh     nobody has written there since it was mapped, or so it seems: nothing is watched. The
//             shadow's file tells when there is something (its pages exist), and then the block is
//             watched, in chunks as large as a page table. So a large mapping of which little is
//             used costs little.
//   tracked   the tracker tells which pages were written.
//   compared  written in most intervals: more faults than comparing it with the twin costs. When it
//             goes quiet it is tracked again. One of which all bytes change each time is not even
//             compared for some intervals, but sent.
//
// The *twin* is what guest and host last agreed on. A block needs one if the device may write it,
// for then exactly the program's bytes must travel and none of its neighbours; or if it is
// compared. Pages of other blocks are sent whole: nobody but the program writes there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "client_icd/downloads.h"
#include "client_icd/shadow_arena.h"
#include "client_icd/write_tracker.h"
#include "proto/object_id.h"

namespace vesper::client {

class ShadowSender;
class Shadows;

class Shadow {
 public:
  /// Shadows::Add makes them. `twin` is as large as the piece and becomes the shadow's; null for
  /// one whose pages are the host's memory itself.
  /// `always_twin`: the tracker tells no more than blocks.
  Shadow(ShadowArena& arena, proto::ObjectId memory, uint64_t size, const ShadowArena::Piece& piece,
         std::byte* twin, bool tracks, bool always_twin);
  ~Shadow();
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  proto::ObjectId memory() const { return memory_; }
  uint64_t size() const { return size_; }
  /// There is nothing to agree on: guest and host have the same pages.
  bool is_shared() const { return is_shared_; }

  /// Writes what the host pushed; false if the patch does not fit. Any thread.
  bool Apply(std::span<const std::byte> patch);

 private:
  friend class Shadows;

  static constexpr uint64_t kBlockBytes = 64u << 10;
  static constexpr uint64_t kChunkBytes = 2u << 20;

  enum class State : uint8_t { kFresh, kTracked, kCompared };
  struct Block {
    State state = State::kFresh;
    bool has_twin = false;    // and it is true
    bool needs_twin = false;  // for the device may write it
    bool was_sent = false;    // the host may hold something else than zeros
    uint8_t heat = 0;         // how much of it was written lately
    uint8_t rewritten = 0;    // how often in a row a comparison has found next to all bytes changed
    uint8_t unseen = 0;       // for so many collections it is sent without looking
  };

  uint64_t BlockEnd(size_t block) const;
  PageRange ViewOf(uint64_t begin, uint64_t end) const;

  /// Nothing is watched in the view yet.
  void SetView(const ShadowView& view);
  /// Begins to track the chunks that have come to hold something; their pages count as written now,
  /// or do not. False if the tracker refuses.
  bool Arm(WriteTracker& tracker, bool as_written);
  bool ArmChunks(WriteTracker& tracker, uint64_t begin, uint64_t end, bool as_written);
  /// What of the view is tracked, in order.
  const std::vector<PageRange>& TrackedRuns();
  void MarkWritten(PageRange range);
  void MarkWritten(uint64_t begin, uint64_t end);
  void Activate(size_t block) { active_[block / 64] |= uint64_t{1} << (block % 64); }
  /// The bits of a block's pages as far as they lie in a range of the allocation, lowest first;
  /// they no longer count as written.
  uint64_t TakeDirty(size_t block, uint64_t begin, uint64_t end);
  bool IsDirty(size_t block) const;

  // Each posts what has been written in a range of the allocation.
  void CollectTracked(ShadowSender& sender, WriteTracker& tracker, uint64_t begin, uint64_t end);
  void CollectByComparing(ShadowSender& sender, uint64_t begin, uint64_t end);
  void CollectCompared(ShadowSender& sender, WriteTracker& tracker, size_t block);
  void CollectPages(ShadowSender& sender, size_t block, uint64_t pages);
  /// True if something differed.
  bool Compare(ShadowSender& sender, uint64_t begin, uint64_t end);
  /// What a comparison has found in a block.
  struct Found {
    uint32_t pages = 0;       // that differed somewhere
    bool is_all_new = false;  // next to all bytes differed
  };
  Found CompareBlock(ShadowSender& sender, size_t block);

  /// Calls visit(part) for the parts of the run whose pages are in the file and have a twin; with
  /// `fill` the file is given the pages that it lacks.
  void VisitDeferrable(DownloadBlocks::Run run, bool fill, const Downloads::Parts& visit);

  /// A compared block is tracked again.
  void Track(ShadowSender& sender, WriteTracker& tracker, size_t block);
  /// Frees the twins of blocks that Track has made tracked, once what names them is sent.
  void DropTwins(ShadowSender& sender);
  /// Sends all of a block, so that its twin is what the host has.
  void MakeTwin(ShadowSender& sender, size_t block);
  void ExpectDeviceWrites(ShadowSender& sender, uint64_t begin, uint64_t end);
  /// The tracker does not work any more: all of it is compared from now on.
  void StopTracking(ShadowSender& sender);

  ShadowArena& arena_;
  const proto::ObjectId memory_;
  const uint64_t size_;
  const bool always_twin_;
  const bool is_shared_;

  // Whose turn it is to touch the shadow while others' bytes are on their way: tickets that were
  // given and that were used. Guarded by the mutex of Shadows, as what follows.
  uint64_t next_ticket_ = 0;
  uint64_t ticket_ = 0;
  ShadowArena::Piece piece_;
  ShadowView view_;
  std::vector<Block> blocks_;
  std::vector<uint64_t> active_;  // a bit for each block that Collect has to look at
  std::vector<uint64_t> dirty_;   // a bit for each page of a tracked block
  std::vector<PageRange> runs_;   // TrackedRuns(), unless stale
  bool runs_are_stale_ = true;
  std::vector<size_t> spare_twins_;  // blocks whose twin goes at the end of the collection
  bool tracks_ = false;
  bool lost_track_ = false;  // StopTracking is due
  uint32_t reach_ = 0;       // a set of Reach

  // Orders the host's bytes against comparisons; taken after the mutex of Shadows.
  std::mutex merge_mutex_;
  std::byte* live_ = nullptr;  // the driver's view; null once the memory is freed
  std::byte* twin_ = nullptr;
};

}  // namespace vesper::client
