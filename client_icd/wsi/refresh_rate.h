// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

namespace vesper::client {

/// How long a refresh of a screen takes, from what its counter has shown.
class RefreshRate {
 public:
  using Period = std::chrono::nanoseconds;
  /// As long as nothing is known.
  static constexpr Period kUsual{1'000'000'000 / 60};

  /// At that time, of any clock, the screen had been refreshed so often. A counter that stands
  /// still, jumps, or belongs to another screen all of a sudden, changes nothing.
  void Note(std::chrono::microseconds time, uint64_t count);
  Period period() const { return period_; }

 private:
  struct Sample {
    std::chrono::microseconds time;
    uint64_t count;
  };

  bool has_first_ = false;
  Sample first_{};
  Sample last_{};
  Period period_ = kUsual;
};

}  // namespace vesper::client
