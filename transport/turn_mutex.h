// SPDX-License-Identifier: Apache-2.0
//
// A mutex for those who need it for a moment and those who need it over and over. Who writes many
// pieces takes it for each of them; an ordinary mutex would be theirs again before a thread that
// sleeps for it has woken up. Here they let everybody pass first who asked before them.
//
// Usage:
//   const std::lock_guard lock(mutex);          // as any other
//   const TurnMutex::Piece lock(mutex);         // for one of many pieces
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace vesper::transport {

/// Thread-safe. Those who ask with lock() are not ordered among each other.
class TurnMutex {
 public:
  TurnMutex() = default;
  TurnMutex(const TurnMutex&) = delete;
  TurnMutex& operator=(const TurnMutex&) = delete;

  void lock() {
    asked_.fetch_add(1);
    mutex_.lock();
  }
  void unlock() {
    mutex_.unlock();
    passed_.fetch_add(1);
    if (waiting_.load() != 0) {
      {
        const std::lock_guard lock(turn_mutex_);
      }  // who waits has looked, or sleeps
      passed_changed_.notify_all();
    }
  }

  /// True if somebody holds it, or waits for it, who asked with lock().
  bool IsWanted() const { return passed_.load() != asked_.load(); }

  /// Held for one of many pieces.
  class Piece {
   public:
    explicit Piece(TurnMutex& mutex) : mutex_(mutex) { mutex_.LockAfterOthers(); }
    ~Piece() { mutex_.mutex_.unlock(); }
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;

   private:
    TurnMutex& mutex_;
  };

 private:
  void LockAfterOthers() {
    const uint64_t asked = asked_.load();
    if (passed_.load() < asked) {
      std::unique_lock lock(turn_mutex_);
      waiting_.fetch_add(1);
      passed_changed_.wait(lock, [&] { return passed_.load() >= asked; });
      waiting_.fetch_sub(1);
    }
    mutex_.lock();
  }

  std::mutex mutex_;
  std::atomic<uint64_t> asked_{0};
  std::atomic<uint64_t> passed_{0};
  std::atomic<uint32_t> waiting_{0};
  std::mutex turn_mutex_;
  std::condition_variable passed_changed_;
};

}  // namespace vesper::transport
