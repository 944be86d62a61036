// SPDX-License-Identifier: Apache-2.0
//
// Looking again and again for a few ten microseconds before sleeping. To be woken takes 5 to 50 us;
// who gets an answer sooner than that is better off looking. It burns a processor meanwhile, so it
// is done only where there are more than two (with fewer, whoever should answer may need ours), and
// only as long as it helps: after some spins in vain most waits sleep at once, and one in a while
// tries.
#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace vesper::transport {

enum class Spinning : uint8_t { kNever, kAuto };

/// Lets the processor know that it waits, for its other half and for its power.
inline void RelaxProcessor() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Thread-safe; those who share one share its experience.
class AdaptiveSpin {
 public:
  /// As long as being woken takes, about.
  static constexpr std::chrono::microseconds kTime{40};

  explicit AdaptiveSpin(Spinning spinning)
      : is_allowed_(spinning == Spinning::kAuto && Processors() > 2) {}

  /// Looks until `is_ready()`, or it takes too long; true if it is.
  template <typename IsReady>
  bool Until(const IsReady& is_ready) {
    if (is_ready()) {
      return true;
    }
    if (!IsWorthIt()) {
      return false;
    }
    const Clock::time_point end = Clock::now() + kTime;
    do {
      for (int i = 0; i < kLooks; ++i) {
        RelaxProcessor();
        if (is_ready()) {
          credit_.store(std::min(credit_.load(std::memory_order_relaxed) + 2, kMaxCredit),
                        std::memory_order_relaxed);
          return true;
        }
      }
    } while (Clock::now() < end);
    credit_.store(std::max(credit_.load(std::memory_order_relaxed) - 1, 0),
                  std::memory_order_relaxed);
    return false;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kLooks = 16;         // between two looks at the clock
  static constexpr int kMaxCredit = 8;      // spins in vain before it is given up
  static constexpr uint32_t kTryEach = 32;  // then one wait of so many tries again

  static int Processors() {
    cpu_set_t set;
    return ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  }
  bool IsWorthIt() {
    return is_allowed_ && (credit_.load(std::memory_order_relaxed) > 0 ||
                           waits_.fetch_add(1, std::memory_order_relaxed) % kTryEach == 0);
  }

  const bool is_allowed_;
  std::atomic<int> credit_{kMaxCredit / 2};
  std::atomic<uint32_t> waits_{0};
};

}  // namespace vesper::transport
