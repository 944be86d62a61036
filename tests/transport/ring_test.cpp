// SPDX-License-Identifier: Apache-2.0
// The ring itself, and what it does when the other side scribbles over the words that both see.
#include "transport/ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/framework/random.h"

namespace vesper::transport {
namespace {

constexpr size_t kCapacity = 64;

class RingTest : public testing::Test {
 protected:
  static std::vector<std::byte> Numbers(size_t count, unsigned first = 0) {
    std::vector<std::byte> bytes(count);
    std::ranges::generate(bytes, [&] { return static_cast<std::byte>(first++); });
    return bytes;
  }
  std::vector<std::byte> Take(size_t most) {
    std::vector<std::byte> bytes(most);
    bytes.resize(reader_.Take(bytes));
    return bytes;
  }

  const std::unique_ptr<RingWords> words_ = std::make_unique<RingWords>();
  std::vector<std::byte> bytes_ = std::vector<std::byte>(kCapacity);
  RingWriter writer_{*words_, bytes_};
  RingReader reader_{*words_, bytes_};
};

TEST_F(RingTest, NothingIsSeenBeforeItIsPublished) {
  EXPECT_EQ(writer_.Put(Numbers(10)), 10u);
  EXPECT_FALSE(reader_.HasBytes());
  EXPECT_TRUE(Take(10).empty());
  writer_.Publish();
  EXPECT_TRUE(reader_.HasBytes());
  EXPECT_EQ(Take(99), Numbers(10));
  EXPECT_FALSE(reader_.HasBytes());
}

TEST_F(RingTest, AFullRingTakesNoMore) {
  EXPECT_EQ(writer_.Put(Numbers(kCapacity + 1)), kCapacity);
  writer_.Publish();
  EXPECT_FALSE(writer_.HasRoom());
  EXPECT_EQ(writer_.Put(Numbers(1)), 0u);
  EXPECT_EQ(Take(3), Numbers(3));
  EXPECT_TRUE(writer_.HasRoom());
  EXPECT_EQ(writer_.Put(Numbers(9, 100)), 3u);
  writer_.Publish();
  EXPECT_EQ(Take(99), Numbers(kCapacity - 3, 3));
  EXPECT_EQ(Take(99), Numbers(3, 100));
}

TEST_F(RingTest, AnySizesInAnyOrder) {
  tests::Random random(7);
  unsigned written = 0;
  unsigned read = 0;
  for (int step = 0; step < 20'000; ++step) {
    const std::vector<std::byte> bytes = Numbers(random.Below(2 * kCapacity), written);
    written += static_cast<unsigned>(writer_.Put(bytes));
    writer_.Publish();
    const std::vector<std::byte> taken = Take(random.Below(2 * kCapacity) + 1);
    ASSERT_EQ(taken, Numbers(taken.size(), read));
    read += static_cast<unsigned>(taken.size());
    ASSERT_LE(written - read, kCapacity);
  }
  EXPECT_GT(read, 100'000u);
}

TEST_F(RingTest, ACountBeyondTheCapacityBreaksTheReader) {
  words_->written.store(kCapacity + 1);
  EXPECT_TRUE(reader_.HasBytes()) << "so that nobody waits";
  EXPECT_TRUE(reader_.IsBroken());
  EXPECT_TRUE(Take(10).empty());
  words_->written.store(1);  // it stays broken
  EXPECT_TRUE(Take(10).empty());
}

TEST_F(RingTest, ACountThatGoesBackBreaksTheReader) {
  writer_.Put(Numbers(10));
  writer_.Publish();
  EXPECT_EQ(Take(10).size(), 10u);
  words_->written.store(9);
  EXPECT_TRUE(Take(10).empty());
  EXPECT_TRUE(reader_.IsBroken());
}

TEST_F(RingTest, ReadingWhatWasNotWrittenBreaksTheWriter) {
  EXPECT_EQ(writer_.Put(Numbers(kCapacity)), kCapacity);
  words_->read.store(kCapacity + 1);
  EXPECT_TRUE(writer_.HasRoom()) << "so that nobody waits";
  EXPECT_TRUE(writer_.IsBroken());
  EXPECT_EQ(writer_.Put(Numbers(1)), 0u);
}

// The side's own count is in shared memory, too, but for the other side only.
TEST_F(RingTest, OwnCountsAreNotReadBack) {
  writer_.Put(Numbers(10));
  writer_.Publish();
  words_->read.store(5);  // somebody else's
  EXPECT_EQ(Take(4), Numbers(4));
  words_->read.store(77);
  EXPECT_EQ(Take(9), Numbers(6, 4));
  EXPECT_EQ(words_->read.load(), 10u);
  words_->written.store(1000);
  EXPECT_EQ(writer_.Put(Numbers(5)), 5u);
  writer_.Publish();
  EXPECT_EQ(words_->written.load(), 15u);
}

TEST_F(RingTest, RandomWordsNeverLeadOutOfTheRing) {
  // Bytes around the ring that must stay as they are; the address sanitizer watches the rest.
  tests::Random random(11);
  for (int round = 0; round < 2000; ++round) {
    RingWords words{};
    std::vector<std::byte> ring(kCapacity);
    RingWriter writer(words, ring);
    RingReader reader(words, ring);
    std::vector<std::byte> taken(2 * kCapacity);
    for (int step = 0; step < 20; ++step) {
      const std::vector<std::byte> bytes = Numbers(random.Below(2 * kCapacity));
      EXPECT_LE(writer.Put(bytes), kCapacity);
      writer.Publish();
      const uint64_t near = words.written.load() + random.Below(4 * kCapacity) - 2 * kCapacity;
      (random.Below(2) != 0 ? words.read : words.written)
          .store(random.Below(3) != 0 ? near : random.Next());
      EXPECT_LE(reader.Take(taken), kCapacity);
    }
  }
}

}  // namespace
}  // namespace vesper::transport
