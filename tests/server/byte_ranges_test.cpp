// SPDX-License-Identifier: Apache-2.0
#include "server/byte_ranges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "tests/framework/random.h"

namespace vesper::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint64_t kSize = 200;

// The same set, a flag for each byte.
std::vector<bool> Flags(const ByteRanges& ranges) {
  std::vector<bool> flags(kSize, false);
  for (const ByteRange& range : ranges.ranges()) {
    std::fill(flags.begin() + static_cast<long>(range.begin),
              flags.begin() + static_cast<long>(range.end), true);
  }
  return flags;
}

void ExpectInOrder(const ByteRanges& ranges) {
  for (size_t i = 0; i < ranges.ranges().size(); ++i) {
    ASSERT_LT(ranges.ranges()[i].begin, ranges.ranges()[i].end);
    if (i > 0) {
      ASSERT_GT(ranges.ranges()[i].begin, ranges.ranges()[i - 1].end) << "touching ranges join";
    }
  }
}

ByteRanges RandomRanges(tests::Random& random, std::vector<bool>* flags) {
  ByteRanges ranges;
  flags->assign(kSize, false);
  for (uint64_t i = random.Below(12); i > 0; --i) {
    const uint64_t begin = random.Below(kSize);
    const uint64_t end = begin + random.Below(kSize - begin);
    ranges.Add(begin, end);
    std::fill(flags->begin() + static_cast<long>(begin), flags->begin() + static_cast<long>(end),
              true);
  }
  return ranges;
}

TEST(ByteRanges, JoinWhatOverlapsOrTouches) {
  ByteRanges ranges;
  ranges.Add(10, 20);
  ranges.Add(30, 40);
  ranges.Add(5, 5);
  EXPECT_THAT(ranges.ranges(), ElementsAre(ByteRange{10, 20}, ByteRange{30, 40}));
  ranges.Add(20, 25);
  EXPECT_THAT(ranges.ranges(), ElementsAre(ByteRange{10, 25}, ByteRange{30, 40}));
  ranges.Add(0, 100);
  EXPECT_THAT(ranges.ranges(), ElementsAre(ByteRange{0, 100}));
  EXPECT_EQ(ranges.Bytes(), 100u);
}

TEST(ByteRanges, AreTheSameSetsAsFlags) {
  tests::Random random(4);
  for (int round = 0; round < 2000; ++round) {
    std::vector<bool> a_flags;
    std::vector<bool> b_flags;
    const ByteRanges a = RandomRanges(random, &a_flags);
    const ByteRanges b = RandomRanges(random, &b_flags);
    ASSERT_EQ(Flags(a), a_flags);
    ByteRanges sum = a;
    sum.Add(b);
    const ByteRanges both = a.And(b);
    const ByteRanges rest = a.Without(b);
    std::vector<bool> sum_flags(kSize);
    std::vector<bool> both_flags(kSize);
    std::vector<bool> rest_flags(kSize);
    for (size_t i = 0; i < kSize; ++i) {
      sum_flags[i] = a_flags[i] || b_flags[i];
      both_flags[i] = a_flags[i] && b_flags[i];
      rest_flags[i] = a_flags[i] && !b_flags[i];
    }
    ASSERT_EQ(Flags(sum), sum_flags);
    ASSERT_EQ(Flags(both), both_flags);
    ASSERT_EQ(Flags(rest), rest_flags);
    for (const ByteRanges* each :
         std::initializer_list<const ByteRanges*>{&a, &sum, &both, &rest}) {
      ExpectInOrder(*each);
    }
    const uint64_t begin = random.Below(kSize);
    const uint64_t end = begin + random.Below(kSize - begin);
    const bool contains =
        std::all_of(a_flags.begin() + static_cast<long>(begin),
                    a_flags.begin() + static_cast<long>(end), [](bool flag) { return flag; });
    ASSERT_EQ(a.Contains(begin, end), contains);
  }
}

TEST(ByteRanges, CoarserOnesHoldAtLeastAsMuch) {
  ByteRanges ranges;
  for (uint64_t i = 0; i < 19; ++i) {
    ranges.Add(i * 10, i * 10 + 3);
  }
  ByteRanges coarse = ranges;
  coarse.Coarsen(4);
  EXPECT_LE(coarse.ranges().size(), 4u);
  EXPECT_THAT(ranges.Without(coarse).ranges(), IsEmpty());
  ranges.Coarsen(100);
  EXPECT_EQ(ranges.ranges().size(), 19u);
}

}  // namespace
}  // namespace vesper::server
