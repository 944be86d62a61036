// SPDX-License-Identifier: Apache-2.0
// Pages that stop who touches them, beside each tier that can have them.
#include "client_icd/absent_pages.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace vesper::client {
namespace {

constexpr size_t kPages = 16;

class AbsentPagesTest : public testing::TestWithParam<MemoryTier> {
 protected:
  void SetUp() override {
    std::string why;
    pages_ = MakeAbsentPages(GetParam(), &tracker_, &why);
    if (pages_ == nullptr) {
      ASSERT_FALSE(why.empty());
      GTEST_SKIP() << "This machine has no absent pages beside '" << TierName(GetParam())
                   << "': " << why;
    }
    EXPECT_EQ(tracker_ != nullptr, GetParam() == MemoryTier::kAsync);
    file_.Reset(::memfd_create("absent_pages_test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(Bytes())), 0);
    program_ = Map();
    driver_ = Map();
    for (size_t page = 0; page < kPages; ++page) {
      program_[page * PageSize()] = std::byte{1};
    }
    if (tracker_ != nullptr) {
      std::vector<PageRange> written;
      ASSERT_TRUE(tracker_->Watch(All()) && tracker_->Take(All(), written));
    }
    ASSERT_TRUE(pages_->Register(All()));
    handler_ = std::thread([this] {
      while (std::byte* address = pages_->WaitForFault(stop_.get())) {
        ++faults_;
        *reinterpret_cast<volatile std::byte*>(driver_ + (address - program_)) = std::byte{2};
        pages_->Provide({address, address + PageSize()}, is_agreed_);
      }
    });
  }
  void TearDown() override {
    if (handler_.joinable()) {
      const uint64_t one = 1;
      ASSERT_EQ(::write(stop_.get(), &one, sizeof(one)), 8);
      handler_.join();
    }
    for (std::byte* view : {program_, driver_}) {
      if (view != nullptr) {
        ::munmap(view, Bytes());
      }
    }
  }

  static size_t Bytes() { return kPages * PageSize(); }
  PageRange All() const { return {program_, program_ + Bytes()}; }
  std::byte* Map() const {
    return static_cast<std::byte*>(
        ::mmap(nullptr, Bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0));
  }
  std::byte At(size_t page) const {
    return *static_cast<volatile std::byte*>(program_ + page * PageSize());
  }

  std::unique_ptr<WriteTracker> tracker_;
  std::unique_ptr<AbsentPages> pages_;
  transport::UniqueFd file_;
  transport::UniqueFd stop_{::eventfd(0, EFD_CLOEXEC)};
  std::byte* program_ = nullptr;
  std::byte* driver_ = nullptr;
  std::atomic<int> faults_ = 0;
  std::atomic<bool> is_agreed_ = true;
  std::thread handler_;
};

INSTANTIATE_TEST_SUITE_P(Tiers, AbsentPagesTest,
                         testing::Values(MemoryTier::kAsync, MemoryTier::kCompare),
                         [](const auto& tier) { return std::string(TierName(tier.param)); });

// With a tracker beside them.
class TrackedAbsentPagesTest : public AbsentPagesTest {};

INSTANTIATE_TEST_SUITE_P(Tiers, TrackedAbsentPagesTest, testing::Values(MemoryTier::kAsync),
                         [](const auto& tier) { return std::string(TierName(tier.param)); });

TEST_P(AbsentPagesTest, WhoTouchesStopsUntilProvided) {
  EXPECT_EQ(At(3), std::byte{1});
  EXPECT_EQ(faults_, 0);
  ASSERT_TRUE(pages_->Remove(All()));
  EXPECT_TRUE(pages_->AreAbsent(All()));
  EXPECT_EQ(At(3), std::byte{2});
  EXPECT_EQ(faults_, 1);
  EXPECT_EQ(At(3), std::byte{2});
  EXPECT_EQ(faults_, 1);
  EXPECT_FALSE(pages_->AreAbsent(All()));
  EXPECT_TRUE(pages_->AreAbsent({program_ + 4 * PageSize(), program_ + Bytes()}));
}

TEST_P(AbsentPagesTest, ProvidesAroundWhatIsPresent) {
  ASSERT_TRUE(pages_->Remove(All()));
  EXPECT_EQ(At(5), std::byte{2});
  pages_->Provide(All(), true);
  for (size_t page = 0; page < kPages; ++page) {
    EXPECT_EQ(At(page), page == 5 ? std::byte{2} : std::byte{1}) << page;
  }
  EXPECT_EQ(faults_, 1);
}

TEST_P(AbsentPagesTest, ProvidingWhatIsMappedNoMoreHarmsNobody) {
  std::byte* const other = Map();
  ::munmap(other, Bytes());
  pages_->Provide({other, other + Bytes()}, true);
}

TEST_P(TrackedAbsentPagesTest, StoresAreToldAndLoadsAreNot) {
  ASSERT_TRUE(pages_->Remove(All()));
  EXPECT_EQ(At(2), std::byte{2});
  program_[7 * PageSize() + 5] = std::byte{9};
  // Of the pages that are still absent the tracker may say anything: they were compared.
  pages_->Provide(All(), true);
  std::vector<PageRange> written;
  ASSERT_TRUE(tracker_->Take(All(), written));
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(written[0].begin, program_ + 7 * PageSize());
  EXPECT_EQ(written[0].bytes(), PageSize());
}

TEST_P(TrackedAbsentPagesTest, NotAgreedCountsAsWritten) {
  ASSERT_TRUE(pages_->Remove(All()));
  pages_->Provide(All(), false);
  std::vector<PageRange> written;
  ASSERT_TRUE(tracker_->Take(All(), written));
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(written[0].bytes(), Bytes());
}

TEST(AbsentPages, TheOtherTiersDoWithout) {
  for (const MemoryTier tier : {MemoryTier::kFault, MemoryTier::kSignal, MemoryTier::kReference}) {
    std::unique_ptr<WriteTracker> tracker;
    std::string why;
    EXPECT_EQ(MakeAbsentPages(tier, &tracker, &why), nullptr);
    EXPECT_NE(why, "");
  }
}

}  // namespace
}  // namespace vesper::client
