// SPDX-License-Identifier: Apache-2.0
//
// What a tracker tells, for each that this system allows. tests/integration runs whole programs on
// each, and in places that forbid some.
#include "client_icd/write_tracker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client_icd/shadow_arena.h"

namespace vesper::client {
namespace {

constexpr uint64_t kBytes = 4u << 20;

TEST(MemoryTiers, HaveNames) {
  for (const MemoryTier tier : {MemoryTier::kAsync, MemoryTier::kCompare, MemoryTier::kFault,
                                MemoryTier::kSignal, MemoryTier::kReference}) {
    MemoryTier found = MemoryTier::kAsync;
    EXPECT_TRUE(TierFromName(TierName(tier), &found));
    EXPECT_EQ(found, tier);
  }
  MemoryTier none = MemoryTier::kFault;
  EXPECT_FALSE(TierFromName("", &none));
  EXPECT_FALSE(TierFromName("asynchronous", &none));
  EXPECT_EQ(none, MemoryTier::kFault);
}

TEST(MemoryTiers, ComparingNeedsNoTracker) {
  std::string why = "before";
  EXPECT_EQ(MakeWriteTracker(MemoryTier::kCompare, &why), nullptr);
  EXPECT_EQ(why, "");
}

class WriteTrackerTest : public testing::TestWithParam<MemoryTier> {
 protected:
  void SetUp() override {
    std::string why;
    tracker_ = MakeWriteTracker(GetParam(), &why);
    if (tracker_ == nullptr) {
      GTEST_SKIP() << "This system does not allow the tier: " << why;
    }
    ASSERT_TRUE(arena_.Allocate(kBytes, &piece_));
    ASSERT_TRUE(tracker_->Watch(View()));
    Take();  // everything, the first time
  }
  void TearDown() override {
    if (tracker_ != nullptr) {
      tracker_->Unwatch(View());
    }
  }

  PageRange View() const { return {piece_.program, piece_.program + kBytes}; }
  // The pages that are told, by number.
  std::vector<bool> Take() {
    std::vector<PageRange> written;
    EXPECT_TRUE(tracker_->Take(View(), written));
    std::vector<bool> pages(kBytes / PageSize());
    for (const PageRange& range : written) {
      EXPECT_GE(range.begin, View().begin);
      EXPECT_LE(range.end, View().end);
      for (const std::byte* page = range.begin; page < range.end; page += PageSize()) {
        pages[static_cast<size_t>(page - View().begin) / PageSize()] = true;
      }
    }
    return pages;
  }

  ShadowArena arena_;
  ShadowArena::Piece piece_;
  std::unique_ptr<WriteTracker> tracker_;
};

TEST_P(WriteTrackerTest, TellsEachWrittenPageOnce) {
  for (const size_t page : {0u, 33u, 700u, 1023u}) {
    piece_.program[page * PageSize() + 17] = std::byte{1};
    EXPECT_TRUE(Take()[page]);
    EXPECT_FALSE(Take()[page]) << "nobody wrote since";
  }
}

TEST_P(WriteTrackerTest, DoesNotTellWhatTheDriverWrites) {
  for (uint64_t offset = 0; offset < kBytes; offset += PageSize()) {
    piece_.driver[offset] = std::byte{1};
  }
  const std::vector<bool> pages = Take();
  EXPECT_EQ(std::count(pages.begin(), pages.end(), true), 0);
}

TEST_P(WriteTrackerTest, NoStoreIsLostToACollection) {
  // A thread counts up in every page; whatever it had written before it was seen to stop has been
  // told by then, together with the page that holds it.
  constexpr size_t kPages = 64;
  std::vector<uint32_t> copied(kPages, 0);
  std::atomic<bool> stop{false};
  std::atomic<uint32_t> rounds{0};
  std::thread writer([&] {
    for (uint32_t value = 1; !stop.load(); ++value) {
      for (size_t page = 0; page < kPages; ++page) {
        auto* word = reinterpret_cast<uint32_t*>(piece_.program + page * PageSize());
        std::atomic_ref<uint32_t>(*word).store(value, std::memory_order_relaxed);
      }
      rounds = value;
    }
  });
  const auto collect = [&] {
    const std::vector<bool> pages = Take();
    for (size_t page = 0; page < kPages; ++page) {
      if (pages[page]) {
        auto* word = reinterpret_cast<uint32_t*>(piece_.driver + page * PageSize());
        copied[page] = std::atomic_ref<uint32_t>(*word).load(std::memory_order_relaxed);
      }
    }
  };
  while (rounds.load() < 300) {
    collect();
  }
  stop = true;
  writer.join();
  collect();
  for (size_t page = 0; page < kPages; ++page) {
    uint32_t value = 0;
    std::memcpy(&value, piece_.driver + page * PageSize(), sizeof(value));
    EXPECT_EQ(copied[page], value) << "page " << page;
  }
}

TEST_P(WriteTrackerTest, LeavesAloneWhatIsNoLongerWatched) {
  tracker_->Unwatch(View());
  piece_.program[5] = std::byte{1};
  EXPECT_EQ(piece_.driver[5], std::byte{1});
  ASSERT_TRUE(tracker_->Watch(View()));
  Take();
}

INSTANTIATE_TEST_SUITE_P(Tiers, WriteTrackerTest,
                         testing::Values(MemoryTier::kAsync, MemoryTier::kFault,
                                         MemoryTier::kSignal),
                         [](const testing::TestParamInfo<MemoryTier>& tier) {
                           return TierName(tier.param);
                         });

}  // namespace
}  // namespace vesper::client
