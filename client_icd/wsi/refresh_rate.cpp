// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/refresh_rate.h"

namespace vesper::client {
namespace {

/// As many are measured at once. Servers without a screen tell the time at which they were asked
/// and not that of the refresh: the mistake is one part in so many.
constexpr uint64_t kMeasured = 64;
/// Whoever asks less often may have missed another screen.
constexpr std::chrono::seconds kMaxGap{1};
/// What a screen can be thought to take.
constexpr std::chrono::nanoseconds kLeast = std::chrono::milliseconds(1);
constexpr std::chrono::nanoseconds kMost = std::chrono::milliseconds(100);

}  // namespace

void RefreshRate::Note(std::chrono::microseconds time, uint64_t count) {
  const bool goes_on =
      has_first_ && time >= last_.time && time - last_.time <= kMaxGap && count >= last_.count;
  last_ = {time, count};
  if (!goes_on) {
    has_first_ = true;
    first_ = last_;
    return;
  }
  if (count - first_.count < kMeasured) {
    return;
  }
  const Period period = Period(time - first_.time) / static_cast<int64_t>(count - first_.count);
  if (period >= kLeast && period <= kMost) {
    period_ = period;
  }
  first_ = last_;
}

}  // namespace vesper::client
