// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/refresh_rate.h"

#include <gtest/gtest.h>

namespace vesper::client {
namespace {

using std::chrono::microseconds;

// A screen that is looked at each `step` microseconds, from one time to another.
void Look(RefreshRate& rate, int64_t period, int64_t step, int64_t begin, int64_t end) {
  for (int64_t time = begin; time < end; time += step) {
    rate.Note(microseconds(time / period * period), static_cast<uint64_t>(time / period));
  }
}

double PerSecond(const RefreshRate& rate) {
  return 1e9 / static_cast<double>(rate.period().count());
}

TEST(RefreshRate, UsualUntilItIsMeasured) {
  RefreshRate rate;
  EXPECT_NEAR(60, PerSecond(rate), 0.01);
  Look(rate, 6944, 6944, 0, 300'000);
  EXPECT_NEAR(60, PerSecond(rate), 0.01);
}

TEST(RefreshRate, FollowsTheScreen) {
  for (const int64_t period : {4166, 6944, 13'333, 33'333}) {
    for (const int64_t step : {int64_t{2000}, period, 3 * period / 2, int64_t{900'000}}) {
      RefreshRate rate;
      Look(rate, period, step, 5'000'000, 15'000'000);
      EXPECT_NEAR(1e6 / static_cast<double>(period), PerSecond(rate), 0.1) << period << ' ' << step;
    }
  }
}

// Servers without a screen say when they were asked.
TEST(RefreshRate, TimesOfTheQuestionAreNearEnough) {
  RefreshRate rate;
  for (int64_t time = 0; time < 10'000'000; time += 7'321) {
    rate.Note(microseconds(time), static_cast<uint64_t>(time / 16'667));
  }
  EXPECT_NEAR(60, PerSecond(rate), 1);
}

TEST(RefreshRate, AnotherScreen) {
  RefreshRate rate;
  Look(rate, 6944, 6944, 0, 3'000'000);
  EXPECT_NEAR(144, PerSecond(rate), 0.1);
  // Its counter begins elsewhere.
  for (int64_t i = 0; i < 200; ++i) {
    rate.Note(microseconds(3'000'000 + i * 20'000), static_cast<uint64_t>(7 + i));
  }
  EXPECT_NEAR(50, PerSecond(rate), 0.1);
}

TEST(RefreshRate, CountersThatCannotBeTrueChangeNothing) {
  RefreshRate rate;
  Look(rate, 6944, 6944, 0, 3'000'000);
  const auto before = rate.period();
  rate.Note(microseconds(3'000'100), UINT64_MAX);  // far too many
  rate.Note(microseconds(3'000'200), 0);
  rate.Note(microseconds(0), 1);
  for (int64_t i = 0; i < 10'000; ++i) {
    rate.Note(microseconds(3'000'000 + i * 1000), 500);  // stands still
  }
  rate.Note(microseconds(13'000'000), 500 + 64);  // and goes on as if nothing had been
  rate.Note(microseconds(9'999'999'999), 1'000'000);
  EXPECT_EQ(before, rate.period());
}

}  // namespace
}  // namespace vesper::client
