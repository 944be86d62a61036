// SPDX-License-Identifier: Apache-2.0
// Connections through rings: bytes, back-pressure, and the end that the socket tells of.
#include "transport/ring_connection.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "tests/framework/random.h"
#include "tests/transport/ring_pair.h"

namespace vesper::transport {
namespace {

using testing::HasSubstr;

constexpr size_t kSmall = RingMemory::kMinBytes;

TEST(RingConnection, BytesArriveInOrderBothWays) {
  RingPair pair(kSmall);
  const Bytes question = ToBytes("what is it?");
  const std::span<const std::byte> parts[] = {
      std::span(question).first(4), {}, std::span(question).subspan(4)};
  EXPECT_TRUE(pair.guest->Write(parts));
  EXPECT_EQ(ReadUpTo(*pair.host, question.size()), question);
  EXPECT_TRUE(WriteAll(*pair.host, ToBytes("bytes")));
  EXPECT_EQ(ReadUpTo(*pair.guest, 5), ToBytes("bytes"));
  EXPECT_FALSE(pair.guest->PeerIsGone());
  EXPECT_TRUE(pair.guest->IsLocal());
}

// Both rings are full nearly all the time; who writes waits for the other side's reader, and no
// reader ever writes.
TEST(RingConnection, FullRingsBothWays) {
  RingPair pair(kSmall);
  constexpr size_t kBytes = 3u << 20;
  const Bytes bytes = RandomBytes(kBytes, 3);
  const auto write = [&](Connection& connection, unsigned seed) {
    tests::Random random(seed);
    std::span<const std::byte> rest = bytes;
    while (!rest.empty()) {
      const size_t count = std::min<size_t>(rest.size(), random.Below(3 * kSmall));
      ASSERT_TRUE(WriteAll(connection, rest.first(count)));
      rest = rest.subspan(count);
    }
  };
  std::thread threads[] = {
      std::thread([&] { write(*pair.guest, 1); }),
      std::thread([&] { write(*pair.host, 2); }),
      std::thread([&] { EXPECT_EQ(ReadUpTo(*pair.guest, kBytes), bytes); }),
      std::thread([&] { EXPECT_EQ(ReadUpTo(*pair.host, kBytes), bytes); }),
  };
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST(RingConnection, WhoSleepsIsWokenEachTime) {
  RingPair pair(kSmall);
  std::thread host([&] {
    for (int i = 0; i < 5000; ++i) {
      const Bytes bytes = ReadUpTo(*pair.host, 3);
      ASSERT_EQ(bytes.size(), 3u);
      ASSERT_TRUE(WriteAll(*pair.host, bytes));
    }
  });
  for (unsigned i = 0; i < 5000; ++i) {
    const Bytes bytes = RandomBytes(3, i);
    ASSERT_TRUE(WriteAll(*pair.guest, bytes));
    ASSERT_EQ(ReadUpTo(*pair.guest, 3), bytes);
  }
  host.join();
}

TEST(RingConnection, WhatWasWrittenBeforeTheEndIsRead) {
  RingPair pair(kSmall);
  EXPECT_TRUE(WriteAll(*pair.guest, ToBytes("goodbye")));
  pair.guest.reset();
  pair.sockets.client.reset();
  pair.host->WaitForEnd();
  EXPECT_TRUE(pair.host->PeerIsGone());
  EXPECT_EQ(ReadUpTo(*pair.host, 99), ToBytes("goodbye"));
  std::byte byte{};
  EXPECT_EQ(pair.host->ReadSome({&byte, 1}), 0u) << "and stays so";
  EXPECT_EQ(pair.host->Error(), "") << "it left in order";
}

TEST(RingConnection, TheEndWakesReadersAndWriters) {
  for (const bool by_peer : {true, false}) {
    RingPair pair(kSmall);
    std::thread reader([&] { EXPECT_TRUE(ReadUpTo(*pair.host, 1).empty()); });
    std::thread writer([&] { EXPECT_FALSE(WriteAll(*pair.host, Bytes(10 * kSmall))); });
    // They sleep by now, as a rule; it must not matter.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    (by_peer ? *pair.guest : *pair.host).Shutdown();
    reader.join();
    writer.join();
    EXPECT_FALSE(WriteAll(*pair.host, Bytes(1)));
    std::byte byte{};
    EXPECT_EQ(pair.host->ReadSome({&byte, 1}), 0u);
  }
}

// A process with the guest's end of the socket, which does this until it is killed.
class GuestProcess {
 public:
  GuestProcess(ConnectedPair& sockets, const std::function<void(RingConnection&)>& act) {
    pid_ = ::fork();
    if (pid_ == 0) {
      sockets.server.reset();
      const auto rings = OfferRings(*sockets.client, kSmall);
      for (;;) {
        act(*rings);
      }
    }
    sockets.client.reset();
  }
  ~GuestProcess() {
    Kill();
    ::waitpid(pid_, nullptr, 0);
  }
  void Kill() const { ::kill(pid_, SIGKILL); }

 private:
  pid_t pid_ = -1;
};

TEST(RingConnection, AWriterIsKilledAnywhere) {
  tests::Random random(5);
  for (int round = 0; round < 20; ++round) {
    ConnectedPair sockets(Endpoint::Kind::kUnix);
    const Bytes bytes = RandomBytes(3001, 4);
    const GuestProcess guest(sockets, [&](RingConnection& rings) { WriteAll(rings, bytes); });
    const auto host = AcceptRings(*sockets.server, kSmall);
    ASSERT_NE(host, nullptr);
    std::thread killer([&, pause = random.Below(3000)] {
      std::this_thread::sleep_for(std::chrono::microseconds(pause));
      guest.Kill();
    });
    // Whatever comes is the beginning of what was to come.
    for (;;) {
      const Bytes received = ReadUpTo(*host, bytes.size());
      ASSERT_TRUE(std::equal(received.begin(), received.end(), bytes.begin()));
      if (received.size() < bytes.size()) {
        break;
      }
    }
    EXPECT_TRUE(host->PeerIsGone());
    killer.join();
  }
}

TEST(RingConnection, AReaderIsKilledWhileTheRingIsFull) {
  for (const bool reads : {true, false}) {
    ConnectedPair sockets(Endpoint::Kind::kUnix);
    const GuestProcess guest(sockets, [&](RingConnection& rings) {
      Bytes some(1000);
      if (!reads) {
        ::pause();
      }
      rings.ReadSome(some);
    });
    const auto host = AcceptRings(*sockets.server, kSmall);
    ASSERT_NE(host, nullptr);
    std::thread killer([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      guest.Kill();
    });
    while (WriteAll(*host, Bytes(777))) {
    }
    EXPECT_TRUE(host->PeerIsGone());
    killer.join();
  }
}

TEST(RingMemory, IsSealed) {
  std::string why_not;
  const auto memory = RingMemory::Create(kSmall, &why_not);
  ASSERT_NE(memory, nullptr) << why_not;
  EXPECT_NE(::ftruncate(memory->file(), 0), 0);
  EXPECT_NE(::ftruncate(memory->file(), 1 << 20), 0);
  EXPECT_NE(::fcntl(memory->file(), F_ADD_SEALS, F_SEAL_WRITE), 0) << "no more seals";
}

TEST(RingMemory, IsRefusedUnlessItIsAsItShouldBe) {
  std::string why_not;
  const auto memory = RingMemory::Create(kSmall, &why_not);
  ASSERT_NE(memory, nullptr) << why_not;
  const auto accept = [&](int file, uint64_t ring_bytes) {
    why_not.clear();
    return RingMemory::Accept(UniqueFd(file), ring_bytes, &why_not) != nullptr;
  };
  EXPECT_TRUE(accept(::dup(memory->file()), kSmall)) << why_not;
  EXPECT_FALSE(accept(-1, kSmall));
  EXPECT_THAT(why_not, HasSubstr("no file"));
  EXPECT_FALSE(accept(::dup(memory->file()), 2 * kSmall));
  EXPECT_THAT(why_not, HasSubstr("another size"));
  for (const uint64_t bytes :
       {uint64_t{1}, uint64_t{kSmall / 2}, uint64_t{kSmall + 1},
        uint64_t{2} * RingMemory::kMaxBytes, uint64_t{1} << 63, UINT64_MAX}) {
    EXPECT_FALSE(accept(::dup(memory->file()), bytes)) << bytes;
    EXPECT_THAT(why_not, HasSubstr("a power of two")) << bytes;
  }
  const UniqueFd unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), 8192 + 2 * kSmall), 0);
  EXPECT_FALSE(accept(::dup(unsealed.get()), kSmall));
  EXPECT_THAT(why_not, HasSubstr("not sealed"));
  EXPECT_FALSE(accept(::open("/dev/zero", O_RDWR | O_CLOEXEC), kSmall));
  EXPECT_THAT(why_not, HasSubstr("not sealed"));
}

TEST(RingMemory, ALimitOfFileSizesIsNoTrap) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit little{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
  std::string why_not;
  EXPECT_EQ(RingMemory::Create(kSmall, &why_not), nullptr);
  EXPECT_THAT(why_not, HasSubstr("RLIMIT_FSIZE"));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
}

}  // namespace
}  // namespace vesper::transport
