// SPDX-License-Identifier: Apache-2.0
//
// What a session cost: the round trips that the program's threads waited for, by command, what was
// sent without waiting, and bytes by kind. Always counted, for counting costs less than deciding
// whether to; told if VESPER_STATS asks for it (docs/debugging.md), once for each session: when it
// ends, or when the process does without having destroyed its instance.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "proto/frame.h"

namespace vesper::client {

/// One session's counters. Any thread; nothing here waits.
class Statistics {
 public:
  /// Bytes before compression, commands with their headers. kWire… are what the link carried.
  enum Bytes {
    kCommandsOut,
    kRecordingsOut,
    kMemoryOut,
    kWireOut,
    kRepliesIn,
    kPushesIn,
    kMemoryIn,
    kWireIn,
    kBytesKinds,
  };
  using Clock = std::chrono::steady_clock;

  Statistics();
  Statistics(const Statistics&) = delete;
  Statistics& operator=(const Statistics&) = delete;

  void NotePost(uint16_t number) { Add(commands_[number].posts, 1); }
  /// A call whose reply the caller waited for since `begin`.
  void NoteCall(uint16_t number, Clock::time_point begin);
  /// A call that was answered without asking the host.
  void NoteAnswer(uint16_t number) { Add(commands_[number].answers, 1); }
  void NoteRecording() { Add(recordings_, 1); }
  /// A reply or a push; nobody has looked into it yet.
  void NoteReceived(const proto::Command& command);
  /// A wait of the program's for progress; `slept` since `begin` if it was not there yet.
  void NoteWait(bool slept, Clock::time_point begin);
  void NoteBytes(Bytes kind, uint64_t bytes) { Add(bytes_[kind], bytes); }

  /// Round trips that a thread waited for: the set-up, calls, and memory that was fetched when it
  /// was touched. Waits for progress are none: what they wait for is pushed.
  uint64_t RoundTrips() const;

  /// Several lines for people. `title` says whose numbers these are.
  std::string Table(const std::string& title) const;
  /// The same as one line of JSON.
  std::string Json(const std::string& program, uint64_t pid) const;

 private:
  struct Command {
    std::atomic<uint64_t> calls{0};
    std::atomic<uint64_t> nanoseconds{0};  // in calls
    std::atomic<uint64_t> posts{0};
    std::atomic<uint64_t> answers{0};
  };

  static void Add(std::atomic<uint64_t>& counter, uint64_t amount) {
    counter.fetch_add(amount, std::memory_order_relaxed);
  }

  const Clock::time_point begin_ = Clock::now();
  const std::unique_ptr<Command[]> commands_;  // by wire number
  std::atomic<uint64_t> recordings_{0};
  std::atomic<uint64_t> pushes_{0};
  std::atomic<uint64_t> waits_{0};
  std::atomic<uint64_t> sleeps_{0};
  std::atomic<uint64_t> slept_nanoseconds_{0};
  std::array<std::atomic<uint64_t>, kBytesKinds> bytes_{};
};

/// A wait from its making to its end.
class WaitNote {
 public:
  explicit WaitNote(Statistics& statistics) : statistics_(statistics) {}
  ~WaitNote() { statistics_.NoteWait(sleeps_, begin_); }
  WaitNote(const WaitNote&) = delete;
  WaitNote& operator=(const WaitNote&) = delete;

  /// What is waited for is not there yet.
  void Sleeps() {
    if (!sleeps_) {
      sleeps_ = true;
      begin_ = Statistics::Clock::now();
    }
  }

 private:
  Statistics& statistics_;
  bool sleeps_ = false;
  Statistics::Clock::time_point begin_{};
};

/// Tells `statistics` to `where`: "1" is a table on stderr, a name that ends in ".json" a file that
/// gets one line for each session, any other a file that gets the table. Files are appended to.
void Tell(const Statistics& statistics, const std::string& where);

}  // namespace vesper::client
