// SPDX-License-Identifier: Apache-2.0
//
// Sleeping on memory that two processes share, and waking whoever sleeps: a system call only if
// somebody does.
//
// Problem: who waits looks whether there is something, finds nothing, says "I sleep" and sleeps.
// Who brings something stores it, looks whether somebody sleeps, and wakes them. Each side stores
// and then loads what the other stores. A processor may let the load overtake the store, which
// still lies in its store buffer; if both do, the one sleeps although there is something, and the
// other believes that nobody sleeps: for ever.
//
// So there is a count of how often the bell was rung, and the kernel sleeps only while it has the
// value that was seen before looking:
//
//   Ring                                 Wait
//     (what there is was stored)           seen = count
//     count += 1          (A)              look; if there is something: done
//     if asleep:          (B)              asleep = 1                        (C)
//       asleep = 0                         sleep while count == seen         (D)
//       count += 1        (E)
//       wake all
//
// A and C are atomic exchanges in the one order that all threads agree upon, so each is a fence
// between the stores before it and the loads after it. Suppose the waiter sleeps although it has
// not seen what was stored. Then the ring for that is one that it has not counted: D came before A.
// C came before D, so B, which comes after A, finds `asleep` set, unless another ring has taken it
// down since C. That one goes on with E, which D has not counted, as it sleeps; so E and the waking
// come after D. Without the fence in A the load B may overtake the store of A. Without E another
// ring takes the flag down and wakes before D, and nobody wakes the waiter after it. The test of
// this file runs the functions below on a machine with store buffers, in every order there is, and
// finds the waiter that sleeps for ever in both cases.
//
// One flag for all who sleep: each ring wakes everybody. It is taken down by who wakes, so that
// rings which follow, before those who were woken run, need no system call.
//
// The words may lie in memory that somebody hostile writes to. He can make others wake in vain, or
// sleep until they are woken by RingAlways(): nothing here is used as anything but a number to
// compare with.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <optional>

namespace vesper::transport {

/// The processor and the kernel. The test of the protocol has another one.
struct RealMachine {
  using Word = std::atomic<uint32_t>;
  using Deadline = std::optional<std::chrono::steady_clock::time_point>;

  static uint32_t Load(const Word& word) { return word.load(std::memory_order_seq_cst); }
  static void Increment(Word& word) { word.fetch_add(1, std::memory_order_seq_cst); }
  static uint32_t Exchange(Word& word, uint32_t value) {
    return word.exchange(value, std::memory_order_seq_cst);
  }
  /// Sleeps while the word has this value, or until a signal comes; false if the time is up.
  static bool Sleep(const Word& word, uint32_t value, const Deadline& deadline) {
    timespec time{};
    if (deadline) {
      // steady_clock is CLOCK_MONOTONIC, which this kind of wait counts in.
      const auto since =
          std::chrono::duration_cast<std::chrono::nanoseconds>(deadline->time_since_epoch());
      time.tv_sec = static_cast<time_t>(since.count() / 1'000'000'000);
      time.tv_nsec = static_cast<long>(since.count() % 1'000'000'000);
    }
    const long result = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, value,
                                  deadline ? &time : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
    return result == 0 || errno != ETIMEDOUT;
  }
  static void WakeAll(Word& word) {
    ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
};

/// A bell whose two words lie somewhere. Any number of threads, in any number of processes.
template <typename Machine>
class BasicDoorbell {
 public:
  using Word = typename Machine::Word;

  BasicDoorbell(Word& count, Word& asleep) : count_(&count), asleep_(&asleep) {}

  /// Wakes whoever waits. What they wait for has been stored.
  void Ring() {
    Machine::Increment(*count_);
    if (Machine::Load(*asleep_) != 0 && Machine::Exchange(*asleep_, 0) != 0) {
      Machine::Increment(*count_);  // who has raised the flag since must not fall asleep
      Machine::WakeAll(*count_);
    }
  }
  /// The same, whatever the words say.
  void RingAlways() {
    Machine::Increment(*count_);
    Machine::WakeAll(*count_);
  }

  /// To be read before looking whether there is something to wait for.
  uint32_t Count() const { return Machine::Load(*count_); }
  /// Sleeps unless the bell has been rung since Count() was `seen`. May also return for no reason;
  /// false if the time is up.
  bool SleepSince(uint32_t seen, const typename Machine::Deadline& deadline) {
    Machine::Exchange(*asleep_, 1);
    return Machine::Sleep(*count_, seen, deadline);
  }

  /// Returns once `is_ready()`.
  template <typename IsReady>
  void WaitUntil(const IsReady& is_ready) {
    for (;;) {
      const uint32_t seen = Count();
      if (is_ready()) {
        return;
      }
      SleepSince(seen, {});
    }
  }

 private:
  Word* count_;
  Word* asleep_;
};

using Doorbell = BasicDoorbell<RealMachine>;

}  // namespace vesper::transport
