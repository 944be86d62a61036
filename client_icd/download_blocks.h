// SPDX-License-Identifier: Apache-2.0
//
// Which blocks of one mapping are absent, and which should become so: the decisions of downloading
// on first touch, without what carries them out (downloads.h).
//
//   present   the host pushes what the device writes there, as it does by default.
//     |  pushed to a few times
//   watched   present too; but the program's view was emptied, so that it shows whether the program
//     |       looks there. If it does, it is left alone for twice as long as the last time.
//     |  pushed to again, and nobody has looked
//   absent    the host pushes nothing. Who touches it stops.
//     |  touched
//   fetched   the host is being asked. Present when it has answered.
//
// Small runs are not worth it: each is a system call and a message.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vesper::client {

/// Not thread-safe. Blocks are counted from the start of the allocation.
class DownloadBlocks {
 public:
  static constexpr uint64_t kBytes = 64u << 10;
  /// What is read ahead at most.
  static constexpr size_t kMaxWindow = 32;

  /// From `begin` up to, but not including, `end`.
  struct Run {
    size_t begin = 0;
    size_t end = 0;

    bool IsEmpty() const { return begin >= end; }
    size_t count() const { return end - begin; }
    friend bool operator==(const Run&, const Run&) = default;
  };
  enum class Advice : uint8_t { kLeave, kWatch, kDefer };

  /// `at_once`: whatever was pushed to is deferred, without a look at what the program does.
  explicit DownloadBlocks(size_t count, bool at_once) : blocks_(count), at_once_(at_once) {}

  size_t count() const { return blocks_.size(); }
  /// Runs that are shorter are left alone.
  size_t shortest_run() const { return at_once_ ? 1 : 16; }

  /// The host has pushed to these bytes.
  void NotePushed(uint64_t begin, uint64_t end);
  /// True if something was pushed since the last Advise.
  bool has_news() const { return has_news_; }

  /// Runs of `among` for which something is to be done. `are_unseen(block)`: the program has not
  /// looked there since it was watched.
  template <typename AreUnseen, typename Visit>
  void Advise(Run among, const AreUnseen& are_unseen, const Visit& visit) {
    has_news_ = false;
    Run run{among.begin, among.begin};
    Advice advice = Advice::kLeave;
    for (size_t block = among.begin; block <= among.end; ++block) {
      const Advice next = block < among.end ? AdviceFor(block, are_unseen) : Advice::kLeave;
      if (next != advice || block == among.end) {
        if (advice != Advice::kLeave && run.count() >= shortest_run()) {
          visit(run, advice);
        }
        run.begin = block;
        advice = next;
      }
      run.end = block + 1;
    }
  }
  /// An advice was followed.
  void Watch(Run run);
  void Defer(Run run);

  bool IsPresent(size_t block) const { return blocks_[block].state == State::kPresent; }
  bool IsAbsent(size_t block) const { return blocks_[block].state == State::kAbsent; }
  /// Somebody touched an absent block: what to ask the host for, read-ahead included.
  Run Fetch(size_t block);
  /// What may be shown with a present block that somebody touched, without a fault for each.
  Run ShownWith(size_t block) const;
  /// The host has answered: calls visit(run) for what of it was asked for, and is present now.
  template <typename Visit>
  void Arrive(Run among, const Visit& visit) {
    VisitRuns(among, [](const Block& block) { return block.state == State::kFetched; }, visit);
  }
  /// All is present: calls visit(run) for what was not.
  template <typename Visit>
  void Forget(const Visit& visit) {
    VisitRuns(
        {0, blocks_.size()}, [](const Block& block) { return block.state != State::kPresent; },
        visit);
  }

 private:
  enum class State : uint8_t { kPresent, kAbsent, kFetched };
  struct Block {
    State state = State::kPresent;
    bool was_pushed = false;
    bool is_watched = false;
    uint8_t pushes = 0;  // since the last change
    uint8_t patience = kFirstPatience;
  };
  struct Stream {
    size_t next = 0;  // where a reader that goes on comes next
    size_t window = 0;
  };

  static constexpr uint8_t kFirstPatience = 2;
  static constexpr uint8_t kLongestPatience = 64;
  static constexpr uint8_t kUnseenPushes = 2;

  template <typename AreUnseen>
  Advice AdviceFor(size_t index, const AreUnseen& are_unseen) {
    Block& block = blocks_[index];
    if (block.was_pushed) {
      block.was_pushed = false;
      block.pushes = static_cast<uint8_t>(block.pushes + (block.pushes < UINT8_MAX ? 1 : 0));
    }
    if (block.state != State::kPresent || block.pushes == 0) {
      return Advice::kLeave;
    }
    if (at_once_) {
      return Advice::kDefer;
    }
    if (!block.is_watched) {
      return block.pushes >= block.patience ? Advice::kWatch : Advice::kLeave;
    }
    if (block.pushes < kUnseenPushes) {
      return Advice::kLeave;
    }
    if (are_unseen(index)) {
      return Advice::kDefer;
    }
    WasSeen(block);
    return Advice::kLeave;
  }

  template <typename Is, typename Visit>
  void VisitRuns(Run among, const Is& is, const Visit& visit) {
    Run run{among.begin, among.begin};
    for (size_t block = among.begin; block <= among.end; ++block) {
      if (block < among.end && is(blocks_[block])) {
        WasSeen(blocks_[block]);
        continue;
      }
      run.end = block;
      if (!run.IsEmpty()) {
        visit(run);
      }
      run.begin = block + 1;
    }
  }

  static void WasSeen(Block& block);

  std::vector<Block> blocks_;
  const bool at_once_;
  bool has_news_ = false;
  std::array<Stream, 4> streams_{};
  size_t next_stream_ = 0;
};

}  // namespace vesper::client
