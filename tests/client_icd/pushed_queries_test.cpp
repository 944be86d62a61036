// SPDX-License-Identifier: Apache-2.0
#include "client_icd/pushed_queries.h"

#include <gtest/gtest.h>

#include <vector>

#include "proto/query_state.h"

namespace vesper::client {
namespace {

using proto::kQueryAvailable;
using proto::kQueryUnknown;

constexpr proto::ObjectId kPool = 17;

class PushedQueriesTest : public testing::Test {
 protected:
  PushedQueriesTest() {
    queries_.Watch(kPool, [this] { ++posts_; });
  }

  bool Push(uint64_t resets, uint32_t first, const std::vector<uint64_t>& words,
            uint32_t values = 1, proto::ObjectId pool = kPool, uint64_t looks = 0,
            bool is_more_to_come = false) {
    return queries_.Apply({pool, resets, looks, is_more_to_come ? VK_TRUE : VK_FALSE, first, values,
                           words.size(), words.data()});
  }
  void Look(uint64_t looks) { EXPECT_TRUE(Push(0, 0, {}, 1, kPool, looks)); }
  void Reset(uint32_t first, uint32_t count) {
    queries_.Reset(kPool, first, count, [this] { ++posts_; });
  }
  // The value of a query, -1 if it is not available, -2 if that is not known.
  int64_t Get(uint32_t query, bool is_idle = true) {
    int64_t value = -1;
    const std::optional<VkResult> result = queries_.Get(
        kPool, query, 1, &value, 8, VK_QUERY_RESULT_64_BIT, is_idle, [this] { ++looks_; });
    return result.has_value() ? value : -2;
  }

  PushedQueries queries_;
  int posts_ = 0;
  int looks_ = 0;
};

TEST_F(PushedQueriesTest, WatchesOnce) {
  EXPECT_EQ(1, posts_);
  queries_.Watch(kPool, [this] { ++posts_; });
  EXPECT_EQ(1, posts_);
  queries_.Forget(kPool);
  queries_.Watch(kPool, [this] { ++posts_; });
  EXPECT_EQ(2, posts_);
}

TEST_F(PushedQueriesTest, KnowsWhatItIsTold) {
  EXPECT_EQ(-2, Get(3));
  EXPECT_TRUE(Push(0, 3, {kQueryAvailable, 30, proto::kQueryUnavailable, 0, kQueryAvailable, 50}));
  EXPECT_EQ(30, Get(3));
  EXPECT_EQ(-1, Get(4));
  EXPECT_EQ(50, Get(5));
  EXPECT_TRUE(Push(0, 5, {kQueryUnknown, 0}));
  EXPECT_EQ(-2, Get(5));
  EXPECT_TRUE(Push(0, 5, {kQueryAvailable, 1}, 1, 18)) << "nobody's";
  EXPECT_EQ(-2, Get(5));
}

TEST_F(PushedQueriesTest, ForgetsAPool) {
  EXPECT_TRUE(Push(0, 0, {kQueryAvailable, 1}));
  queries_.Forget(kPool);
  EXPECT_EQ(-2, Get(0));
  EXPECT_TRUE(Push(0, 0, {kQueryAvailable, 1}));
  EXPECT_EQ(-2, Get(0));
}

TEST_F(PushedQueriesTest, WhatWasReadBeforeAResetIsVoid) {
  EXPECT_TRUE(Push(0, 0, {kQueryAvailable, 1, kQueryAvailable, 2}));
  Reset(0, 1);
  Reset(5, 1);
  EXPECT_EQ(3, posts_);
  EXPECT_EQ(-1, Get(0));
  EXPECT_TRUE(Push(0, 0, {kQueryAvailable, 7, kQueryAvailable, 8}));
  EXPECT_EQ(-1, Get(0));
  EXPECT_EQ(8, Get(1));
  EXPECT_TRUE(Push(1, 0, {kQueryAvailable, 9}));
  EXPECT_EQ(9, Get(0));
  EXPECT_TRUE(Push(1, 5, {kQueryAvailable, 5}));
  EXPECT_EQ(-2, Get(5)) << "that was the second reset";
  EXPECT_TRUE(Push(2, 5, {kQueryAvailable, 5}));
  EXPECT_EQ(5, Get(5));
}

TEST_F(PushedQueriesTest, NeighboursAreResetOneByOne) {
  EXPECT_TRUE(Push(0, 0, {kQueryAvailable, 1, kQueryAvailable, 2}));
  Reset(0, 1);
  Reset(1, 1);
  EXPECT_TRUE(Push(1, 0, {kQueryAvailable, 3, kQueryAvailable, 4})) << "between the two";
  EXPECT_EQ(3, Get(0));
  EXPECT_EQ(-1, Get(1));
}

TEST_F(PushedQueriesTest, MoreResetsThanAreRemembered) {
  std::vector<uint64_t> words;
  for (uint64_t i = 0; i < 3000; ++i) {
    words.insert(words.end(), {kQueryAvailable, i});
  }
  EXPECT_TRUE(Push(0, 0, words));
  for (uint32_t i = 0; i < 1500; ++i) {
    Reset(i, 1);
    EXPECT_TRUE(Push(0, 0, {kQueryAvailable, 7}));
    ASSERT_LT(Get(0), 0);
  }
  EXPECT_NE(2000, Get(1400)) << "known to be reset, or not known";
  EXPECT_TRUE(Push(1499, 0, words));
  EXPECT_LT(Get(1499), 0);
  EXPECT_TRUE(Push(1500, 0, words));
  EXPECT_EQ(1499, Get(1499));
  EXPECT_EQ(0, Get(0));
}

TEST_F(PushedQueriesTest, LooksOnceAtEachUntilThatIsOver) {
  EXPECT_EQ(-2, Get(0, false)) << "nothing is known: that is no matter of looking";
  EXPECT_TRUE(Push(0, 0, {proto::kQueryUnavailable, 0, proto::kQueryUnavailable, 0}));
  EXPECT_EQ(-1, Get(0)) << "and cannot change";
  EXPECT_EQ(0, looks_);
  EXPECT_EQ(-1, Get(0, false));
  EXPECT_EQ(-1, Get(0, false));
  EXPECT_EQ(1, looks_);
  EXPECT_EQ(-1, Get(1, false));
  EXPECT_EQ(2, looks_);
  Look(1);
  EXPECT_EQ(-1, Get(1, false));
  EXPECT_EQ(2, looks_);
  EXPECT_EQ(-1, Get(0, false));
  EXPECT_EQ(3, looks_);
  Look(3);
  EXPECT_TRUE(Push(0, 0, {kQueryAvailable, 7}, 1, kPool, 3));
  EXPECT_EQ(7, Get(0, false));
  EXPECT_EQ(3, looks_);
}

TEST_F(PushedQueriesTest, WhatIsToldTogetherTakesEffectTogether) {
  EXPECT_TRUE(Push(0, 0, {kQueryAvailable, 1}, 1, kPool, 0, true));
  EXPECT_TRUE(Push(0, 5, {kQueryAvailable, 6}, 1, kPool, 0, true));
  EXPECT_EQ(-2, Get(0));
  EXPECT_TRUE(Push(0, 9, {kQueryAvailable, 10}));
  EXPECT_EQ(1, Get(0));
  EXPECT_EQ(6, Get(5));
  EXPECT_EQ(10, Get(9));
}

TEST_F(PushedQueriesTest, DoesNotCollectWithoutEnd) {
  const std::vector<uint64_t> words(2u << 20);
  int pushes = 0;
  while (pushes < 100 && Push(0, 0, words, 1, kPool, 0, true)) {
    ++pushes;
  }
  EXPECT_GT(pushes, 1);
  EXPECT_LT(pushes, 10);
}

TEST_F(PushedQueriesTest, RefusesWhatNoWorkerSends) {
  EXPECT_FALSE(Push(0, 0, {kQueryAvailable, 1, 2}));
  EXPECT_FALSE(Push(0, (1u << 24) - 1, {kQueryAvailable, 1, kQueryAvailable, 1}));
  EXPECT_FALSE(Push(0, 0, std::vector<uint64_t>(101), 100));
  EXPECT_FALSE(Push(0, UINT32_MAX, {kQueryAvailable, 1}));
  EXPECT_TRUE(Push(0, 0, {}));
}

}  // namespace
}  // namespace vesper::client
