// SPDX-License-Identifier: Apache-2.0
// Which blocks are taken out of the program's sight, when, and how far is read ahead.
#include "client_icd/download_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

namespace vesper::client {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Blocks = DownloadBlocks::Run;
using Advice = DownloadBlocks::Advice;
using Given = std::pair<Blocks, Advice>;

constexpr uint64_t kBytes = DownloadBlocks::kBytes;
constexpr size_t kCount = 64;

class DownloadBlocksTest : public testing::Test {
 protected:
  void Push(Blocks run) { blocks_.NotePushed(run.begin * kBytes, run.end * kBytes); }
  // Asks for advice and follows it.
  std::vector<Given> Advise() {
    std::vector<Given> given;
    blocks_.Advise(
        {0, kCount}, [this](size_t block) { return !seen_.contains(block); },
        [&](Blocks run, Advice advice) {
          given.emplace_back(run, advice);
          advice == Advice::kWatch ? blocks_.Watch(run) : blocks_.Defer(run);
        });
    return given;
  }
  std::vector<Given> PushAndAdvise(Blocks run) {
    Push(run);
    return Advise();
  }
  // How often a run is pushed to until it is deferred.
  int PushesUntilDeferred(Blocks run) {
    for (int pushes = 1; pushes < 1000; ++pushes) {
      PushAndAdvise(run);
      if (blocks_.IsAbsent(run.begin)) {
        return pushes;
      }
    }
    return -1;
  }
  std::vector<Blocks> Arrive(Blocks run) {
    std::vector<Blocks> runs;
    blocks_.Arrive(run, [&](Blocks each) { runs.push_back(each); });
    return runs;
  }

  DownloadBlocks blocks_{kCount, false};
  std::set<size_t> seen_;
};

TEST_F(DownloadBlocksTest, WhatIsPushedToAndNotSeenIsDeferred) {
  const Blocks run{8, 40};
  EXPECT_THAT(PushAndAdvise(run), IsEmpty());
  EXPECT_THAT(PushAndAdvise(run), ElementsAre(Given{run, Advice::kWatch}));
  EXPECT_THAT(PushAndAdvise(run), IsEmpty());
  EXPECT_TRUE(blocks_.IsPresent(8));
  EXPECT_THAT(PushAndAdvise(run), ElementsAre(Given{run, Advice::kDefer}));
  EXPECT_TRUE(blocks_.IsAbsent(8));
  EXPECT_TRUE(blocks_.IsAbsent(39));
  EXPECT_TRUE(blocks_.IsPresent(7));
  EXPECT_TRUE(blocks_.IsPresent(40));
}

TEST_F(DownloadBlocksTest, ManyPatchesOfOneWorkCountOnce) {
  for (int i = 0; i < 10; ++i) {
    Push({0, 32});
  }
  EXPECT_THAT(Advise(), IsEmpty());
  EXPECT_FALSE(blocks_.has_news());
}

TEST_F(DownloadBlocksTest, WhatIsSeenStaysAndItsNeighboursGo) {
  seen_ = {20};
  const Blocks run{0, 40};
  for (int i = 0; i < 3; ++i) {
    PushAndAdvise(run);
  }
  EXPECT_THAT(PushAndAdvise(run),
              ElementsAre(Given{{0, 20}, Advice::kDefer}, Given{{21, 40}, Advice::kDefer}));
  EXPECT_TRUE(blocks_.IsPresent(20));
}

TEST_F(DownloadBlocksTest, ShortRunsAreNotWorthIt) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(PushAndAdvise({0, 15}), IsEmpty());
  }
}

TEST_F(DownloadBlocksTest, WhatWasTouchedIsLeftAloneForLongerEachTime) {
  const Blocks run{0, 16};
  int before = PushesUntilDeferred(run);
  for (int i = 0; i < 3; ++i) {
    while (!blocks_.IsPresent(15)) {
      for (size_t block = 0; block < 16; ++block) {
        if (blocks_.IsAbsent(block)) {
          Arrive(blocks_.Fetch(block));
        }
      }
    }
    const int now = PushesUntilDeferred(run);
    EXPECT_GT(now, before);
    before = now;
  }
}

TEST_F(DownloadBlocksTest, AllAtOnce) {
  DownloadBlocks blocks(kCount, true);
  blocks.NotePushed(3 * kBytes + 7, 3 * kBytes + 8);
  std::vector<Given> given;
  blocks.Advise(
      {0, kCount}, [](size_t) { return false; },
      [&](Blocks run, Advice advice) { given.emplace_back(run, advice); });
  EXPECT_THAT(given, ElementsAre(Given{{3, 4}, Advice::kDefer}));
}

TEST_F(DownloadBlocksTest, NothingOutsideOfTheViewIsAdvised) {
  std::vector<Given> given;
  for (int i = 0; i < 2; ++i) {
    Push({0, kCount});
    blocks_.Advise(
        {4, 24}, [](size_t) { return true; },
        [&](Blocks run, Advice advice) { given.emplace_back(run, advice); });
  }
  EXPECT_THAT(given, ElementsAre(Given{{4, 24}, Advice::kWatch}));
}

TEST_F(DownloadBlocksTest, ReadAheadDoubles) {
  blocks_.Defer({0, kCount});
  EXPECT_EQ(blocks_.Fetch(0), (Blocks{0, 1}));
  EXPECT_EQ(blocks_.Fetch(1), (Blocks{1, 3}));
  EXPECT_EQ(blocks_.Fetch(3), (Blocks{3, 7}));
  // Somebody else, somewhere else.
  EXPECT_EQ(blocks_.Fetch(60), (Blocks{60, 61}));
  EXPECT_EQ(blocks_.Fetch(7), (Blocks{7, 15}));
  EXPECT_EQ(blocks_.Fetch(61), (Blocks{61, 63}));
  EXPECT_EQ(blocks_.Fetch(15), (Blocks{15, 31}));
  EXPECT_EQ(blocks_.Fetch(31), (Blocks{31, 60}));  // up to what is asked for already
}

TEST_F(DownloadBlocksTest, OnlyWhatWasAskedForArrives) {
  blocks_.Defer({0, 8});
  blocks_.Fetch(2);
  blocks_.Fetch(5);
  EXPECT_THAT(Arrive({0, kCount}), ElementsAre(Blocks{2, 3}, Blocks{5, 6}));
  EXPECT_TRUE(blocks_.IsPresent(2));
  EXPECT_TRUE(blocks_.IsAbsent(3));
  EXPECT_THAT(Arrive({0, kCount}), IsEmpty());
}

TEST_F(DownloadBlocksTest, ForgettingMakesAllPresent) {
  blocks_.Defer({0, 8});
  blocks_.Fetch(2);
  std::vector<Blocks> runs;
  blocks_.Forget([&](Blocks run) { runs.push_back(run); });
  EXPECT_THAT(runs, ElementsAre(Blocks{0, 8}));
  EXPECT_TRUE(blocks_.IsPresent(2));
}

TEST_F(DownloadBlocksTest, WatchedBlocksAreShownAlone) {
  EXPECT_EQ(blocks_.ShownWith(0), (Blocks{0, DownloadBlocks::kMaxWindow}));
  blocks_.Watch({4, 20});
  EXPECT_EQ(blocks_.ShownWith(5), (Blocks{5, 6}));
  EXPECT_EQ(blocks_.ShownWith(0), (Blocks{0, 4}));
  blocks_.Defer({30, 40});
  EXPECT_EQ(blocks_.ShownWith(22), (Blocks{22, 30}));
}

}  // namespace
}  // namespace vesper::client
