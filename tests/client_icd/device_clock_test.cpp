// SPDX-License-Identifier: Apache-2.0
#include "client_icd/device_clock.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/framework/random.h"

namespace vesper::client {
namespace {

using Reading = DeviceClock::Reading;

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kStart = 1000 * kMillisecond;

// Taken over a link that needs `width` there and back.
Reading TakenAt(uint64_t before, uint64_t width, uint64_t ticks, uint64_t deviation = 10) {
  return {before, before + width, ticks, deviation};
}

TEST(DeviceClock, NothingIsKnownAtFirst) {
  const DeviceClock clock(1);
  EXPECT_FALSE(clock.At(kStart).has_value());
  EXPECT_TRUE(clock.IsAskedNext(kStart));
}

TEST(DeviceClock, LaterTimesFollowFromAReading) {
  DeviceClock clock(2.5);
  clock.Add(TakenAt(kStart, 100 * kMillisecond, 5000));
  const uint64_t middle = kStart + 50 * kMillisecond;
  for (const uint64_t age : {50 * kMillisecond, 100 * kMillisecond, 900 * kMillisecond}) {
    const auto estimate = clock.At(middle + age);
    ASSERT_TRUE(estimate.has_value()) << age;
    EXPECT_EQ(estimate->ticks, 5000 + age * 2 / 5);
    EXPECT_EQ(estimate->deviation, 10 + 100 * kMillisecond + age / 1000);
  }
}

TEST(DeviceClock, AReadingLastsAsLongAsItsAgeIsSmallBesideTheLink) {
  for (const auto& [width, longest] :
       {std::pair(60'000u, 7'500'000u), {400'000u, 50'000'000u}, {100'000'000u, 900'000'000u}}) {
    DeviceClock clock(1);
    clock.Add(TakenAt(kStart, width, 0));
    const uint64_t middle = kStart + width / 2;
    EXPECT_TRUE(clock.At(middle + longest - 1000).has_value()) << width;
    EXPECT_EQ(clock.At(middle + longest + 2000).has_value(), width == 100'000'000u) << width;
    EXPECT_FALSE(clock.At(kStart + DeviceClock::kLongest + 1).has_value()) << width;
  }
}

TEST(DeviceClock, IsAskedForAheadNowAndThen) {
  DeviceClock clock(1);
  clock.NoteAsked(kStart);
  EXPECT_FALSE(clock.IsAskedNext(kStart + DeviceClock::kShortest - 1));
  EXPECT_TRUE(clock.IsAskedNext(kStart + DeviceClock::kShortest));
}

TEST(DeviceClock, AFasterReadingIsKeptForAWhile) {
  DeviceClock clock(1);
  clock.Add(TakenAt(kStart, 20 * kMillisecond, kStart));
  clock.Add(TakenAt(kStart + 100 * kMillisecond, 200 * kMillisecond, kStart + 200 * kMillisecond));
  const auto kept = clock.At(kStart + 310 * kMillisecond);
  ASSERT_TRUE(kept.has_value());
  EXPECT_LT(kept->deviation, 21 * kMillisecond);
  clock.Add(TakenAt(kStart + 600 * kMillisecond, 200 * kMillisecond, kStart + 700 * kMillisecond));
  const auto replaced = clock.At(kStart + 1200 * kMillisecond);
  ASSERT_TRUE(replaced.has_value()) << "the better one has come to its end";
  EXPECT_GT(replaced->deviation, 200 * kMillisecond);
}

TEST(DeviceClock, AClockThatJumpsIsNotFollowed) {
  for (const int64_t jump : {int64_t{30'000'000}, int64_t{-30'000'000}}) {
    DeviceClock clock(1);
    clock.Add(TakenAt(kStart, 10 * kMillisecond, kStart));
    clock.Add(TakenAt(kStart + 300 * kMillisecond, 10 * kMillisecond,
                      kStart + 300 * kMillisecond + static_cast<uint64_t>(jump)));
    EXPECT_FALSE(clock.IsSteady());
    EXPECT_FALSE(clock.At(kStart + 311 * kMillisecond).has_value());
  }
  DeviceClock clock(1);
  clock.Add(TakenAt(kStart, 10 * kMillisecond, kStart));
  clock.Add(TakenAt(kStart + 300 * kMillisecond, 10 * kMillisecond,
                    kStart + 300 * kMillisecond + 9 * kMillisecond));
  EXPECT_TRUE(clock.IsSteady()) << "the link explains it";
}

// Clocks that run apart as fast as they may, over links of any speed.
TEST(DeviceClock, EveryEstimateIsTrueToItsDeviation) {
  tests::Random random(1);
  for (const double rate : {1 - 600e-6, 1.0, 1 + 600e-6}) {
    for (const double period : {0.5, 1.0, 52.08}) {
      DeviceClock clock(period);
      const auto truth = [&](uint64_t now) {
        return static_cast<double>(now - kStart) * rate + 1e12;  // ns
      };
      size_t known = 0;
      uint64_t now = kStart;
      for (int i = 0; i < 2000; ++i) {
        now += random.Between(1, 20'000'000);
        if (const auto estimate = clock.At(now)) {
          const double shown = static_cast<double>(estimate->ticks) * period;
          EXPECT_LE(std::abs(shown - truth(now)),
                    static_cast<double>(estimate->deviation) + period);
          ++known;
        } else {
          const uint64_t width = random.Between(50'000, 80'000'000);
          const uint64_t taken = now + random.Between(0, width);
          clock.Add({now, now + width, static_cast<uint64_t>(truth(taken) / period), 0});
          now += width;
        }
      }
      EXPECT_TRUE(clock.IsSteady());
      EXPECT_GT(known, 1000u);
    }
  }
}

}  // namespace
}  // namespace vesper::client
