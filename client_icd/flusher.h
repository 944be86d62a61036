// SPDX-License-Identifier: Apache-2.0
//
// Writes what is queued and nobody has written for a while: a program that records or posts
// something and then does nothing more for a long time is heard all the same.
//
// The thread is woken up only if it would sleep past the time that somebody asks for. After it has
// had something to do it looks a few times more by itself: a program that posts all the time
// doesn't pay for waking it up each time. When nothing is asked for any more it sleeps for good.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace vesper::client {

/// Thread-safe. The thread starts at the first Within.
class Flusher {
 public:
  using Clock = std::chrono::steady_clock;

  /// `flush` is called on the flusher's thread, never twice at once, and throws nothing.
  explicit Flusher(std::function<void()> flush) : flush_(std::move(flush)) {}
  ~Flusher();
  Flusher(const Flusher&) = delete;
  Flusher& operator=(const Flusher&) = delete;

  /// Flushes at that time, or soon after. False if there can be no thread.
  bool By(Clock::time_point time);

 private:
  static constexpr int64_t kNever = INT64_MAX;

  void Run();

  const std::function<void()> flush_;
  std::atomic<int64_t> due_{kNever};       // of the clock
  std::atomic<int64_t> wakes_at_{kNever};  // the thread, by itself
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_stopping_ = false;
  bool has_failed_ = false;
  std::thread thread_;
};

}  // namespace vesper::client
