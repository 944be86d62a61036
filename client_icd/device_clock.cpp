// SPDX-License-Identifier: Apache-2.0
#include "client_icd/device_clock.h"

#include <algorithm>
#include <cmath>

namespace vesper::client {
namespace {

uint64_t Middle(const DeviceClock::Reading& reading) {
  return reading.before + (reading.after - reading.before) / 2;
}

/// Nanoseconds that two clocks may have run apart in `age` (ns).
uint64_t Drift(uint64_t age) { return age / 1000 * (DeviceClock::kDriftPerSecond / 1'000'000); }

}  // namespace

DeviceClock::Estimate DeviceClock::From(const Reading& reading, uint64_t now) const {
  const uint64_t middle = Middle(reading);
  const uint64_t age = now > middle ? now - middle : 0;
  const auto ticks = static_cast<uint64_t>(std::llround(static_cast<double>(age) / period_));
  return {reading.ticks + ticks, reading.deviation + (reading.after - reading.before) + Drift(age)};
}

std::optional<DeviceClock::Estimate> DeviceClock::At(uint64_t now) const {
  if (!is_steady_ || !best_ || now < best_->after || now - best_->before > kLongest ||
      Drift(now - Middle(*best_)) > (best_->after - best_->before) / 8) {
    return std::nullopt;
  }
  return From(*best_, now);
}

void DeviceClock::Add(const Reading& reading) {
  if (!best_) {
    best_ = reading;
    return;
  }
  const uint64_t middle = Middle(reading);
  const Estimate expected = From(*best_, middle);
  const double apart =
      std::abs(static_cast<double>(static_cast<int64_t>(reading.ticks - expected.ticks))) * period_;
  const uint64_t width = reading.after - reading.before;
  if (apart > static_cast<double>(expected.deviation + reading.deviation + width) + period_) {
    is_steady_ = false;
  }
  // An older one may be better, if the link was faster then; but it must not come to its end.
  if (reading.deviation + width <= expected.deviation ||
      middle - std::min(middle, best_->before) > kLongest / 2) {
    best_ = reading;
  }
}

}  // namespace vesper::client
