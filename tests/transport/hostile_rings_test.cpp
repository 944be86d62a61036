// SPDX-License-Identifier: Apache-2.0
// A peer that writes what it likes into the memory that both share, while this side uses it. Its
// bytes race with ours by intention, so the thread sanitizer has nothing to say here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "tests/framework/random.h"
#include "tests/transport/ring_pair.h"
#include "transport/loopback.h"

namespace vesper::transport {
namespace {

class HostileRings : public testing::Test {
 protected:
  HostileRings() {
    std::string why_not;
    auto memory = RingMemory::Create(RingMemory::kMinBytes, &why_not);
    EXPECT_TRUE(memory) << why_not;
    mine_ = RingMemory::Accept(UniqueFd(::dup(memory->file())), RingMemory::kMinBytes, &why_not);
    EXPECT_TRUE(mine_) << why_not;
    host_ = std::make_unique<RingConnection>(*sockets_.server, std::move(memory),
                                             RingConnection::Side::kHost, Spinning::kAuto);
  }

  ConnectedPair sockets_{Endpoint::Kind::kUnix};
  std::unique_ptr<RingMemory> mine_;
  std::unique_ptr<RingConnection> host_;
};

TEST_F(HostileRings, ACountOutOfReachEndsTheConnection) {
  mine_->words(true).written.store(uint64_t{1} << 40);
  std::byte byte{};
  EXPECT_EQ(host_->ReadSome({&byte, 1}), 0u);
  EXPECT_THAT(host_->Error(), testing::HasSubstr("nonsense"));
  EXPECT_FALSE(WriteAll(*host_, Bytes(1)));
  EXPECT_TRUE(sockets_.client->PeerIsGone()) << "and the peer hears of it";
}

TEST_F(HostileRings, RoomThatCannotBeEndsTheConnection) {
  mine_->words(false).read.store(uint64_t{1} << 40);
  EXPECT_FALSE(WriteAll(*host_, Bytes(2 * RingMemory::kMinBytes)));
  EXPECT_THAT(host_->Error(), testing::HasSubstr("nonsense"));
}

// Nobody who sleeps is left behind when the connection ends, even if the words say that nobody
// sleeps, or that the bell was never rung.
TEST_F(HostileRings, TheEndIsHeardWhateverTheWordsSay) {
  std::atomic<bool> is_over{false};
  std::thread scribbler([&] {
    while (!is_over.load()) {
      for (const bool from_guest : {true, false}) {
        RingWords& words = mine_->words(from_guest);
        words.bytes_count.store(0);
        words.room_count.store(0);
        words.reader_sleeps.store(0);
        words.writer_sleeps.store(0);
      }
    }
  });
  std::thread reader([&] { ReadUpTo(*host_, 1); });
  std::thread writer([&] { WriteAll(*host_, Bytes(10 * RingMemory::kMinBytes)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  sockets_.client->Shutdown();
  reader.join();
  writer.join();
  is_over.store(true);
  scribbler.join();
}

// VESPER_TEST_HOSTILE_SECONDS of it; a minute finds what a second doesn't.
TEST(HostilePeer, RandomBytesEverywhere) {
  const char* seconds = std::getenv("VESPER_TEST_HOSTILE_SECONDS");
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(seconds == nullptr ? 1 : std::atoi(seconds));
  tests::Random random(9);
  int rounds = 0;
  int broken = 0;
  while (std::chrono::steady_clock::now() < end) {
    ++rounds;
    auto [peer, socket] = MakeLoopback();
    std::string why_not;
    auto memory = RingMemory::Create(RingMemory::kMinBytes, &why_not);
    ASSERT_TRUE(memory) << why_not;
    const auto theirs =
        RingMemory::Accept(UniqueFd(::dup(memory->file())), RingMemory::kMinBytes, &why_not);
    ASSERT_TRUE(theirs) << why_not;
    RingConnection host(*socket, std::move(memory), RingConnection::Side::kHost, Spinning::kAuto);
    std::thread reader([&] { ReadUpTo(host, 1u << 20); });
    std::thread writer([&] {
      for (size_t size = 1; WriteAll(host, Bytes(size)); size = size % 9000 + 1000) {
      }
    });
    const std::span<std::byte> everything(
        reinterpret_cast<std::byte*>(&theirs->words(true)),
        theirs->bytes(false).data() + theirs->bytes(false).size());
    // Mostly numbers near those that are right, for wild ones end it at once.
    const bool is_wild = random.OneIn(2);
    for (int step = 0; step < 2000 && !host.IsBroken(); ++step) {
      RingWords& words = theirs->words(random.OneIn(2));
      if (is_wild) {
        everything[random.Below(everything.size())] = static_cast<std::byte>(random.Next());
        everything[random.Below(1024)] = static_cast<std::byte>(random.Next());
      }
      std::atomic<uint64_t>& count = random.OneIn(2) ? words.written : words.read;
      count.store((random.OneIn(2) ? words.written : words.read).load() +
                  random.Below(RingMemory::kMinBytes));
      (random.OneIn(2) ? words.bytes_count : words.room_count)
          .store(static_cast<uint32_t>(random.Next()));
    }
    peer->Shutdown();
    reader.join();
    writer.join();
    broken += host.IsBroken() ? 1 : 0;
  }
  EXPECT_GT(rounds, 1);
  EXPECT_GT(broken, 0);
}

}  // namespace
}  // namespace vesper::transport
