// SPDX-License-Identifier: Apache-2.0
#include "transport/loopback.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/transport/stream_helpers.h"

namespace vesper::transport {
namespace {

using ::testing::HasSubstr;

TEST(LoopbackTest, CarriesBytesBothWaysInOrder) {
  auto [a, b] = MakeLoopback();
  const Bytes one = ToBytes("one");
  const Bytes two = ToBytes("two");
  const std::span<const std::byte> parts[] = {one, {}, two};
  ASSERT_TRUE(a->Write(parts));
  EXPECT_EQ(ReadUpTo(*b, 6), ToBytes("onetwo"));
  ASSERT_TRUE(WriteAll(*b, ToBytes("back")));
  EXPECT_EQ(ReadUpTo(*a, 4), ToBytes("back"));
  EXPECT_EQ(a->Error(), "");
  EXPECT_EQ(a->Peer(), "loopback");
  EXPECT_TRUE(a->IsLocal());
}

TEST(LoopbackTest, ClosesInOrder) {
  auto [a, b] = MakeLoopback();
  ASSERT_TRUE(WriteAll(*a, ToBytes("last words")));
  a.reset();
  EXPECT_EQ(ReadUpTo(*b, 100), ToBytes("last words"));
  EXPECT_EQ(b->Error(), "");
  EXPECT_FALSE(WriteAll(*b, ToBytes("x")));
}

TEST(LoopbackTest, WritingToAClosedPeerSaysSo) {
  auto [a, b] = MakeLoopback();
  a.reset();
  EXPECT_FALSE(WriteAll(*b, ToBytes("x")));
  EXPECT_THAT(b->Error(), HasSubstr("the peer closed the connection"));
  EXPECT_FALSE(WriteAll(*b, ToBytes("x")));
}

TEST(LoopbackTest, DelaysWithoutReordering) {
  Faults late;
  late.delay = std::chrono::milliseconds(30);
  auto [a, b] = MakeLoopback(late);
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(WriteAll(*a, ToBytes("first ")));
  ASSERT_TRUE(WriteAll(*a, ToBytes("second")));
  EXPECT_EQ(ReadUpTo(*b, 12), ToBytes("first second"));
  // A lower bound is not a matter of how busy the machine is.
  EXPECT_GE(std::chrono::steady_clock::now() - start, late.delay);
}

TEST(LoopbackTest, ShutdownDoesNotWaitForTheDelay) {
  Faults never;
  never.delay = std::chrono::hours(24);
  auto [a, b] = MakeLoopback(never);
  ASSERT_TRUE(WriteAll(*a, ToBytes("x")));
  std::thread reader([&b = b] { EXPECT_EQ(ReadUpTo(*b, 1).size(), 0u); });
  b->Shutdown();
  reader.join();
}

TEST(LoopbackTest, CutsBothDirectionsAfterSoManyBytes) {
  Faults cut;
  cut.cut_after = 5;
  auto [a, b] = MakeLoopback(cut);
  ASSERT_TRUE(WriteAll(*b, ToBytes("never read")));
  ASSERT_TRUE(WriteAll(*a, ToBytes("0123456789")));
  EXPECT_EQ(ReadUpTo(*b, 10), ToBytes("01234"));
  EXPECT_THAT(b->Error(), HasSubstr("cut"));
  EXPECT_EQ(ReadUpTo(*a, 10), Bytes());
  EXPECT_THAT(a->Error(), HasSubstr("cut"));
  EXPECT_FALSE(WriteAll(*a, ToBytes("x")));
  EXPECT_FALSE(WriteAll(*b, ToBytes("x")));
}

TEST(LoopbackTest, CutAtZeroIsBrokenFromTheStart) {
  Faults cut;
  cut.cut_after = 0;
  auto [a, b] = MakeLoopback({}, cut);
  EXPECT_FALSE(WriteAll(*a, ToBytes("x")));
  EXPECT_EQ(ReadUpTo(*b, 1), Bytes());
  EXPECT_THAT(b->Error(), HasSubstr("cut"));
}

TEST(LoopbackTest, CutWakesABlockedReaderOfTheOtherDirection) {
  Faults cut;
  cut.cut_after = 1;
  auto [a, b] = MakeLoopback(cut);
  std::thread reader([&a = a] { EXPECT_EQ(ReadUpTo(*a, 1), Bytes()); });
  ASSERT_TRUE(WriteAll(*a, ToBytes("x")));
  EXPECT_EQ(ReadUpTo(*b, 1).size(), 1u);
  reader.join();
}

TEST(LoopbackTest, ReadsAreAsShortAsAsked) {
  Faults small;
  small.max_read = 3;
  auto [a, b] = MakeLoopback(small);
  ASSERT_TRUE(WriteAll(*a, ToBytes("01234567")));
  Bytes buffer(100);
  EXPECT_EQ(b->ReadSome(buffer), 3u);
  EXPECT_EQ(b->ReadSome(buffer), 3u);
  EXPECT_EQ(b->ReadSome(buffer), 2u);
}

TEST(LoopbackTest, CorruptsExactlyTheByteAskedFor) {
  const Bytes sent = RandomBytes(1000, 1);
  for (const uint64_t offset : {0, 1, 499, 500, 501, 999}) {
    Faults flip;
    flip.corrupt_at = offset;
    flip.corrupt_mask = std::byte{0x10};
    auto [a, b] = MakeLoopback(flip);
    const std::span<const std::byte> parts[] = {std::span(sent).first(500),
                                                std::span(sent).subspan(500)};
    ASSERT_TRUE(a->Write(parts));
    Bytes expected = sent;
    expected[offset] ^= std::byte{0x10};
    EXPECT_EQ(ReadUpTo(*b, 1000), expected) << "offset " << offset;
  }
}

TEST(LoopbackTest, CorruptionPastTheEndChangesNothing) {
  Faults flip;
  flip.corrupt_at = 10;
  auto [a, b] = MakeLoopback(flip);
  ASSERT_TRUE(WriteAll(*a, ToBytes("0123456789")));
  EXPECT_EQ(ReadUpTo(*b, 10), ToBytes("0123456789"));
}

TEST(LoopbackTest, AFullLinkBlocksTheWriterUntilThereIsRoom) {
  Faults narrow;
  narrow.capacity = 7;
  auto [a, b] = MakeLoopback(narrow);
  const Bytes sent = RandomBytes(10000, 2);
  std::atomic<bool> written = false;
  std::thread writer([&, &a = a] {
    EXPECT_TRUE(WriteAll(*a, sent));
    written = true;
  });
  Bytes received = ReadUpTo(*b, 9000);
  EXPECT_FALSE(written);
  const Bytes rest = ReadUpTo(*b, 1000);
  received.insert(received.end(), rest.begin(), rest.end());
  writer.join();
  EXPECT_EQ(received, sent);
}

TEST(LoopbackTest, ShutdownWakesABlockedReaderAndWriter) {
  Faults narrow;
  narrow.capacity = 1;
  auto [a, b] = MakeLoopback(narrow);
  std::thread reader([&a = a] { EXPECT_EQ(ReadUpTo(*a, 1), Bytes()); });
  std::thread writer([&a = a] { EXPECT_FALSE(WriteAll(*a, Bytes(100))); });
  a->Shutdown();
  a->Shutdown();
  reader.join();
  writer.join();
  EXPECT_THAT(a->Error(), HasSubstr("shut down on this side"));
}

TEST(LoopbackTest, PeerThatLeavesWakesABlockedWriter) {
  Faults narrow;
  narrow.capacity = 1;
  auto [a, b] = MakeLoopback(narrow);
  std::thread writer([&a = a] { EXPECT_FALSE(WriteAll(*a, Bytes(100))); });
  b.reset();
  writer.join();
}

TEST(LoopbackTest, PeerIsGoneBeforeItsBytesWereRead) {
  auto [a, b] = MakeLoopback();
  EXPECT_FALSE(a->PeerIsGone());
  ASSERT_TRUE(WriteAll(*b, Bytes(100)));
  EXPECT_FALSE(a->PeerIsGone());
  b.reset();
  EXPECT_TRUE(a->PeerIsGone());
  EXPECT_EQ(ReadUpTo(*a, 200), Bytes(100));
}

TEST(LoopbackTest, ReadsAndWritesFromTwoThreadsAtEachEnd) {
  Faults rough;
  rough.capacity = 4096;
  rough.max_read = 1000;
  auto [a, b] = MakeLoopback(rough, rough);
  const Bytes to_b = RandomBytes(300000, 3);
  const Bytes to_a = RandomBytes(300000, 4);
  std::thread writer_a([&, &a = a] { EXPECT_TRUE(WriteAll(*a, to_b)); });
  std::thread writer_b([&, &b = b] { EXPECT_TRUE(WriteAll(*b, to_a)); });
  std::thread reader_a([&, &a = a] { EXPECT_EQ(ReadUpTo(*a, to_a.size()), to_a); });
  EXPECT_EQ(ReadUpTo(*b, to_b.size()), to_b);
  writer_a.join();
  writer_b.join();
  reader_a.join();
}

}  // namespace
}  // namespace vesper::transport
