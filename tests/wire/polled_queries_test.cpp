// SPDX-License-Identifier: Apache-2.0
//
// Queries that the program polls while work is under way: asking costs nothing, and nothing that is
// told is older than what the program knows by something else.
#include <atomic>
#include <vector>

#include "tests/wire/pushed_queries.h"

namespace vesper::tests {
namespace {

TEST_F(PushedQueries, APolledQueryIsLookedAtWhileWorkIsUnderWay) {
  SubmitHeld(1);
  mock_.Clear();
  uint64_t value = 0;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Get(0, &value), VK_NOT_READY);
    Sync();
  }
  EXPECT_EQ(mock_.Count("vkGetQueryPoolResults"), 10u) << "one look at a time";
  Driver(0, {{5}});  // in the middle of what is under way
  EXPECT_EQ(Poll(0), 5u);
  EXPECT_EQ(guests_, 0);
  Finish();
  EXPECT_EQ(Get(0, &value), VK_SUCCESS);
  EXPECT_EQ(value, 5u);
  vk::vkResetQueryPool(device_, query_pool_, 0, 1);
  mock_.Clear();
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  Sync();
  EXPECT_EQ(mock_.Count("vkGetQueryPoolResults"), 0u) << "nothing can make it available";
}

TEST_F(PushedQueries, OneLookAtATime) {
  SubmitHeld(2);
  mock_.Clear();
  stops_host_ = true;
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  ASSERT_TRUE(door_.WaitFor(1));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  }
  EXPECT_EQ(Get(1, &value), VK_NOT_READY);
  door_.Open();
  stops_host_ = false;
  Sync();
  EXPECT_EQ(mock_.Count("vkGetQueryPoolResults"), 2u) << "at each of the two";
  EXPECT_EQ(guests_, 0);
  Finish();
}

// A query that is available tells that others are, too.
TEST_F(PushedQueries, WhatElseIsPolledIsToldTogether) {
  SubmitHeld(2);
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  EXPECT_EQ(Get(1, &value), VK_NOT_READY);
  Sync();
  Driver(0, {{10}});
  Driver(1, {{11}});
  EXPECT_EQ(Poll(1), 11u);
  EXPECT_EQ(Get(0, &value), VK_SUCCESS);
  EXPECT_EQ(value, 10u);
  EXPECT_EQ(guests_, 0);
  Finish();
}

// While the host reads one query after the other the device goes on.
TEST_F(PushedQueries, NoneIsOlderThanAnother) {
  SubmitHeld(3);
  uint64_t value = 0;
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(Get(i, &value), VK_NOT_READY);
  }
  Sync();
  std::atomic<int> readings = 0;
  before_reading_ = [&](uint32_t query) {
    // Query 0 has been read, and not been available; now it is, and then query 1.
    if (query == 1 && readings++ == 0) {
      Driver(0, {{10}});
      Driver(1, {{11}});
    }
  };
  Driver(2, {{12}});
  EXPECT_EQ(Poll(2), 12u);
  EXPECT_GE(readings, 1);
  EXPECT_EQ(Get(1, &value), VK_SUCCESS);
  EXPECT_EQ(Get(0, &value), VK_SUCCESS);
  EXPECT_EQ(value, 10u);
  EXPECT_EQ(guests_, 0);
  Finish();
}

// As long as something becomes available at each reading, none is a moment's.
TEST_F(PushedQueries, WhatNeverRestsIsNotKnown) {
  SubmitHeld(2);
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  EXPECT_EQ(Get(1, &value), VK_NOT_READY);
  Sync();
  uint64_t readings = 0;
  before_reading_ = [&](uint32_t) { Driver(0, {{++readings}}); };
  while (Get(0, &value) == VK_NOT_READY) {
  }
  EXPECT_GE(guests_, 1);
  EXPECT_LE(value, readings);
  EXPECT_GT(value, 8u);
  Sync();
  before_reading_ = nullptr;
  Finish();
}

TEST_F(PushedQueries, WhatIsNotPolledIsNotKnownThen) {
  SubmitHeld(2);
  Driver(0, {{10}});
  Driver(1, {{11}});
  EXPECT_EQ(Poll(0), 10u);
  EXPECT_EQ(guests_, 0);
  uint64_t value = 0;
  EXPECT_EQ(Get(1, &value), VK_SUCCESS);
  EXPECT_EQ(value, 11u);
  EXPECT_EQ(guests_, 1);
  Finish();
}

TEST_F(PushedQueries, MoreThanAreReadAreAskedFor) {
  VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = 400;
  vk::vkDestroyQueryPool(device_, query_pool_, nullptr);
  ASSERT_EQ(vk::vkCreateQueryPool(device_, &info, nullptr, &query_pool_), VK_SUCCESS);
  SubmitHeld(400);
  std::vector<uint64_t> values(400);
  const auto get = [&] {
    return vk::vkGetQueryPoolResults(device_, query_pool_, 0, 400, values.size() * 8, values.data(),
                                     8, VK_QUERY_RESULT_64_BIT);
  };
  EXPECT_EQ(get(), VK_NOT_READY);
  Sync();
  for (uint32_t i = 0; i < 400; ++i) {
    Driver(i, {{i}});
  }
  VkResult result = VK_NOT_READY;
  while (result == VK_NOT_READY) {
    result = get();
  }
  EXPECT_EQ(result, VK_SUCCESS);
  EXPECT_EQ(values[399], 399u);
  EXPECT_GE(guests_, 1);
  Finish();
}

TEST_F(PushedQueries, WhatAnAnswerHasToldStaysSo) {
  SubmitHeld(1);
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  Sync();
  Driver(0, {{5}});
  EXPECT_EQ(Get(0, &value, VK_QUERY_RESULT_WAIT_BIT), VK_SUCCESS);
  EXPECT_EQ(guests_, 1);
  EXPECT_EQ(Get(0, &value), VK_SUCCESS);
  EXPECT_EQ(value, 5u);
  EXPECT_EQ(guests_, 1);
  Finish();
}

TEST_F(PushedQueries, WithEventsThatAreWatchedEachIsAsked) {
  const VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateEvent(device_, &info, nullptr, &event), VK_SUCCESS);
  vk::vkGetEventStatus(device_, event);
  SubmitHeld(1);
  uint64_t value = 0;
  EXPECT_EQ(Get(0, &value), VK_NOT_READY);
  Sync();
  EXPECT_EQ(guests_, 0);
  Driver(0, {{5}});
  EXPECT_EQ(Poll(0), 5u);
  EXPECT_GE(guests_, 1) << "what the events are then comes with the answer";
  Finish();
  vk::vkDestroyEvent(device_, event, nullptr);
}

class QueriesOfADriverThatWaits : public PushedQueries {
 protected:
  void SetUp() override {
    mock_.SetLavapipe(true);
    PushedQueries::SetUp();
  }
};

TEST_F(QueriesOfADriverThatWaits, ItIsNotAskedWhileWorkIsUnderWay) {
  SubmitHeld(1);
  mock_.Clear();
  uint64_t value = 0;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Get(0, &value), VK_NOT_READY);
    Sync();
  }
  EXPECT_EQ(mock_.Count("vkGetQueryPoolResults"), 0u);
  Driver(0, {{5}});
  mock_.Hold(false);
  EXPECT_EQ(Poll(0), 5u) << "told when the work is done";
  EXPECT_EQ(guests_, 0);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
}

}  // namespace
}  // namespace vesper::tests
