// SPDX-License-Identifier: Apache-2.0
//
// What the device's clock shows, known without asking (VK_KHR_calibrated_timestamps). Profilers ask
// in each frame, and again and again until the deviation suits them.
//
// A reading is a value of the device's clock and the two moments of the guest's clock between which
// it was taken: over a link of 100 ms those are 100 ms apart. From a reading later values follow,
// for both clocks run evenly, or nearly so: the deviation grows with the reading's age
// (kDriftPerSecond). That is negligible beside 100 ms, and matters beside the 60 us of a local
// call. So a reading is used for as long as it makes the deviation no more than an eighth larger,
// and for no longer than a second; while it is, the next one is asked for ahead. Else the host is
// called, as it is by somebody who asks for the first time.
//
// Clocks that don't keep to this (a device that was suspended, a program that was frozen) are found
// out by the next reading, which then lies elsewhere than it should; from then on each question is
// a call.
#pragma once

#include <cstdint>
#include <optional>

namespace vesper::client {

/// All times of the guest are of CLOCK_MONOTONIC, in nanoseconds. Not thread-safe.
class DeviceClock {
 public:
  /// What two clocks run apart in a second, at most: Linux slews its own by 500 us, crystals differ
  /// by 100.
  static constexpr uint64_t kDriftPerSecond = 1'000'000;
  static constexpr uint64_t kLongest = 1'000'000'000;
  /// Readings are asked for ahead no more often.
  static constexpr uint64_t kShortest = 250'000'000;

  struct Reading {
    uint64_t before = 0;  ///< when it was asked for
    uint64_t after = 0;   ///< when it had come
    uint64_t ticks = 0;
    uint64_t deviation = 0;  ///< ns, as the driver says
  };
  struct Estimate {
    uint64_t ticks = 0;
    uint64_t deviation = 0;  ///< ns
  };

  /// `period`: ns for each tick, more than 0.
  explicit DeviceClock(double period) : period_(period) {}

  /// What the clock shows at `now`; nothing if that isn't known well enough.
  std::optional<Estimate> At(uint64_t now) const;
  /// True if it is time to ask ahead.
  bool IsAskedNext(uint64_t now) const { return now >= last_asked_ + kShortest; }
  /// Somebody asks now.
  void NoteAsked(uint64_t now) { last_asked_ = now; }
  void Add(const Reading& reading);
  bool IsSteady() const { return is_steady_; }

 private:
  /// What the reading says of `now`, however old it is.
  Estimate From(const Reading& reading, uint64_t now) const;

  const double period_;
  bool is_steady_ = true;
  std::optional<Reading> best_;
  uint64_t last_asked_ = 0;
};

}  // namespace vesper::client
