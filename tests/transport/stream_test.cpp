// SPDX-License-Identifier: Apache-2.0
// Connections over real sockets, each case over a Unix socket and over TCP.
#include "transport/stream.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/transport/stream_helpers.h"

namespace vesper::transport {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

using std::chrono::milliseconds;
using std::chrono::seconds;

class StreamTest : public testing::TestWithParam<Endpoint::Kind> {
 protected:
  ConnectedPair pair_{GetParam()};
};

// A kernel with vsock is only to be had in a guest, where tests/vm runs this once more.
#ifdef VESPER_TEST_VSOCK
INSTANTIATE_TEST_SUITE_P(Vsock, StreamTest, testing::Values(Endpoint::Kind::kVsock));
#else
INSTANTIATE_TEST_SUITE_P(Kinds, StreamTest,
                         testing::Values(Endpoint::Kind::kUnix, Endpoint::Kind::kTcp),
                         [](const auto& test) {
                           return test.param == Endpoint::Kind::kUnix ? "Unix" : "Tcp";
                         });
#endif

TEST_P(StreamTest, ADescriptorTravelsWithTheFirstBytesOfAUnixSocket) {
  const bool passes = GetParam() == Endpoint::Kind::kUnix;
  EXPECT_EQ(pair_.client->PassesDescriptors(), passes);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const Bytes hello = ToBytes("hello");
  const std::span<const std::byte> parts[] = {std::span(hello).first(2), std::span(hello).last(3)};
  const int sent[] = {writing.get(), reading.get()};
  ASSERT_TRUE(pair_.client->WriteWithDescriptors(parts, sent));
  EXPECT_EQ(ReadUpTo(*pair_.server, 5), hello);
  const std::vector<UniqueFd> received = pair_.server->TakeDescriptors();
  ASSERT_EQ(received.size(), passes ? 2u : 0u);
  EXPECT_TRUE(pair_.server->TakeDescriptors().empty()) << "once";
  if (passes) {
    EXPECT_EQ(::fcntl(received[0].get(), F_GETFD), FD_CLOEXEC);
    ASSERT_EQ(::write(received[0].get(), "x", 1), 1);
    char byte = 0;
    ASSERT_EQ(::read(reading.get(), &byte, 1), 1) << "it is the same pipe";
  }
  // A later one is closed by the system: nobody has the pipe's end any more.
  ASSERT_TRUE(pair_.client->WriteWithDescriptors(parts, sent));
  EXPECT_EQ(ReadUpTo(*pair_.server, 5), hello);
  EXPECT_TRUE(pair_.server->TakeDescriptors().empty());
}

TEST_P(StreamTest, EchoesLargeVectoredWrites) {
  const Bytes sent = RandomBytes(8 << 20, 7);
  std::thread echo([&] {
    Bytes buffer(70000);
    while (const size_t count = pair_.server->ReadSome(buffer)) {
      ASSERT_TRUE(WriteAll(*pair_.server, std::span(buffer).first(count)));
    }
    EXPECT_EQ(pair_.server->Error(), "");
  });
  std::thread writer([&] {
    // More parts than one system call takes, of all sizes, empty ones among them.
    std::vector<std::span<const std::byte>> parts;
    std::mt19937 random(8);
    for (size_t offset = 0; offset < sent.size();) {
      const size_t size =
          std::min<size_t>(random() % 5 == 0 ? 0 : random() % 100000, sent.size() - offset);
      parts.push_back(std::span(sent).subspan(offset, size));
      offset += size;
    }
    parts.push_back({});
    EXPECT_GT(parts.size(), 150u);
    EXPECT_TRUE(pair_.client->Write(parts));
  });
  EXPECT_EQ(ReadUpTo(*pair_.client, sent.size()), sent);
  writer.join();
  pair_.client.reset();
  echo.join();
}

TEST_P(StreamTest, WritesThousandsOfTinyPartsAndNone) {
  EXPECT_TRUE(pair_.client->Write({}));
  const Bytes sent = RandomBytes(5000, 9);
  std::vector<std::span<const std::byte>> parts;
  for (size_t i = 0; i < sent.size(); ++i) {
    parts.push_back(std::span(sent).subspan(i, 1));
  }
  ASSERT_TRUE(pair_.client->Write(parts));
  EXPECT_EQ(ReadUpTo(*pair_.server, sent.size()), sent);
}

TEST_P(StreamTest, ReadsAndWritesFromTwoThreadsAtEachEnd) {
  const Bytes to_server = RandomBytes(3 << 20, 10);
  const Bytes to_client = RandomBytes(3 << 20, 11);
  std::thread writer_a([&] { EXPECT_TRUE(WriteAll(*pair_.client, to_server)); });
  std::thread writer_b([&] { EXPECT_TRUE(WriteAll(*pair_.server, to_client)); });
  std::thread reader_a([&] { EXPECT_EQ(ReadUpTo(*pair_.client, to_client.size()), to_client); });
  EXPECT_EQ(ReadUpTo(*pair_.server, to_server.size()), to_server);
  writer_a.join();
  writer_b.join();
  reader_a.join();
}

TEST_P(StreamTest, EndOfStreamInOrderLeavesNoError) {
  ASSERT_TRUE(WriteAll(*pair_.client, ToBytes("bye")));
  pair_.client.reset();
  EXPECT_EQ(ReadUpTo(*pair_.server, 10), ToBytes("bye"));
  EXPECT_EQ(pair_.server->Error(), "");
  Bytes buffer(1);
  EXPECT_EQ(pair_.server->ReadSome(buffer), 0u);
}

TEST_P(StreamTest, WhatThePeerSaidBeforeItLeftIsStillRead) {
  ASSERT_TRUE(WriteAll(*pair_.server, ToBytes("no room")));
  pair_.server.reset();
  // Writing fails sooner or later, and must neither raise SIGPIPE nor take the words away.
  while (WriteAll(*pair_.client, Bytes(1000))) {
  }
  EXPECT_FALSE(WriteAll(*pair_.client, Bytes(1)));
  EXPECT_THAT(pair_.client->Error(), HasSubstr("the peer"));
  EXPECT_EQ(ReadUpTo(*pair_.client, 100), ToBytes("no room"));
}

TEST_P(StreamTest, ShutdownWakesABlockedReader) {
  std::thread reader([&] { EXPECT_EQ(ReadUpTo(*pair_.client, 1), Bytes()); });
  std::this_thread::sleep_for(milliseconds(20));  // most likely it sleeps by now
  pair_.client->Shutdown();
  reader.join();
  EXPECT_THAT(pair_.client->Error(), HasSubstr("shut down on this side"));
  EXPECT_EQ(ReadUpTo(*pair_.server, 1), Bytes());
  EXPECT_EQ(pair_.server->Error(), "");
}

TEST_P(StreamTest, ShutdownWakesABlockedWriter) {
  std::atomic<size_t> written = 0;
  std::thread writer([&] {
    const Bytes block(1 << 20);
    while (WriteAll(*pair_.client, block)) {
      written += block.size();
    }
  });
  // Nobody reads, so the writer is stuck as soon as its count stands still.
  size_t before = 0;
  do {
    before = written;
    std::this_thread::sleep_for(milliseconds(50));
  } while (written != before);
  pair_.client->Shutdown();
  writer.join();
  EXPECT_THAT(pair_.client->Error(), HasSubstr("shut down on this side"));
}

TEST_P(StreamTest, EverythingFailsAfterShutdown) {
  ASSERT_TRUE(WriteAll(*pair_.server, ToBytes("too late")));
  pair_.client->Shutdown();
  pair_.client->Shutdown();
  EXPECT_EQ(ReadUpTo(*pair_.client, 1), Bytes());
  EXPECT_FALSE(WriteAll(*pair_.client, ToBytes("x")));
  EXPECT_FALSE(pair_.client->Write({}));
}

TEST_P(StreamTest, PeerThatLeavesWakesABlockedWriter) {
  std::thread writer([&] {
    while (WriteAll(*pair_.client, Bytes(1 << 20))) {
    }
  });
  pair_.server.reset();
  writer.join();
  EXPECT_THAT(pair_.client->Error(), HasSubstr("the peer"));
}

TEST_P(StreamTest, PeerIsGoneBeforeItsBytesWereRead) {
  EXPECT_FALSE(pair_.server->PeerIsGone());
  ASSERT_TRUE(WriteAll(*pair_.client, Bytes(100)));
  EXPECT_FALSE(pair_.server->PeerIsGone());
  pair_.client.reset();
  while (!pair_.server->PeerIsGone()) {  // Over TCP the news takes its time.
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(ReadUpTo(*pair_.server, 200), Bytes(100));
}

TEST_P(StreamTest, ShutDownOnThisSideIsGoneToo) {
  pair_.server->Shutdown();
  EXPECT_TRUE(pair_.server->PeerIsGone());
}

TEST_P(StreamTest, SignalsDoNotDisturbBlockedCalls) {
  struct sigaction action{};
  action.sa_handler = [](int) {};  // and no SA_RESTART
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const Bytes sent = RandomBytes(4 << 20, 12);
  std::thread writer([&] { EXPECT_TRUE(WriteAll(*pair_.client, sent)); });
  std::atomic<bool> done = false;
  Bytes received;
  std::thread reader([&] {
    received = ReadUpTo(*pair_.server, sent.size());
    done = true;
  });
  while (!done) {
    ::pthread_kill(writer.native_handle(), SIGUSR1);
    ::pthread_kill(reader.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(milliseconds(1));
  }
  reader.join();
  writer.join();
  EXPECT_EQ(received, sent);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_P(StreamTest, KnowsItsPeer) {
  if (GetParam() == Endpoint::Kind::kVsock) {
    EXPECT_THAT(pair_.server->Peer(), MatchesRegex("vsock cid 1 port [0-9]+"));
    EXPECT_EQ(pair_.client->Peer(), "vsock cid 1 port 4243");
  } else if (GetParam() == Endpoint::Kind::kUnix) {
    const std::string self =
        "unix pid " + std::to_string(::getpid()) + " uid " + std::to_string(::getuid());
    EXPECT_EQ(pair_.server->Peer(), self);
    EXPECT_EQ(pair_.client->Peer(), self);
  } else {
    EXPECT_THAT(pair_.server->Peer(), MatchesRegex("tcp 127\\.0\\.0\\.1:[0-9]+"));
    EXPECT_EQ(pair_.client->Peer(),
              "tcp 127.0.0.1:" + std::to_string(pair_.listener->endpoint().port));
  }
  EXPECT_TRUE(pair_.server->IsLocal());
  EXPECT_TRUE(pair_.client->IsLocal());
}

TEST_P(StreamTest, DescriptorsAreClosedOnExec) {
  int checked = 0;
  for (int fd = 3; fd < 256; ++fd) {
    int type = 0;
    socklen_t size = sizeof(type);
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0) {
      EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << "descriptor " << fd;
      ++checked;
    }
  }
  EXPECT_GE(checked, 3);
}

TEST(ConnectTest, RefusedTcpPort) {
  std::string error;
  std::unique_ptr<Listener> listener =
      Listener::Open(*Endpoint::Parse("tcp:127.0.0.1:0", &error), &error);
  ASSERT_TRUE(listener) << error;
  const Endpoint endpoint = listener->endpoint();
  listener.reset();
  EXPECT_FALSE(Connect(endpoint, seconds(10), &error));
  EXPECT_THAT(error, HasSubstr("no server listens at " + endpoint.ToString()));
}

TEST(ConnectTest, MissingSocketFile) {
  TemporaryFolder folder;
  std::string error;
  EXPECT_FALSE(
      Connect(*Endpoint::Parse("unix:" + folder.Path("none"), &error), seconds(10), &error));
  EXPECT_THAT(error, HasSubstr("no server listens at unix:"));
}

TEST(ConnectTest, PortZeroIsNoPlaceToConnectTo) {
  std::string error;
  EXPECT_FALSE(Connect(*Endpoint::Parse("tcp:127.0.0.1:0", &error), seconds(10), &error));
  EXPECT_THAT(error, HasSubstr("names no port"));
}

TEST(ConnectTest, UnknownHost) {
  std::string error;
  // The top-level domain .invalid never exists.
  EXPECT_FALSE(Connect(*Endpoint::Parse("tcp:nowhere.invalid:1", &error), seconds(10), &error));
  EXPECT_THAT(error, AnyOf(HasSubstr("nowhere.invalid")));
}

// A listening socket that accepts nothing and whose queue is full leaves the next one waiting.
void ExpectTimeout(const sockaddr* address, socklen_t size, const Endpoint& endpoint,
                   int listener) {
  ASSERT_EQ(::listen(listener, 0), 0);
  std::vector<UniqueFd> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.emplace_back(::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    (void)::connect(fillers.back().get(), address, size);
  }
  std::string error;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(Connect(endpoint, milliseconds(200), &error));
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(200));
  EXPECT_THAT(error, HasSubstr("no server answered at " + endpoint.ToString() + " within 200 ms"));
}

TEST(ConnectTest, UnixTimeout) {
  TemporaryFolder folder;
  std::string error;
  const auto listener =
      Listener::Open(*Endpoint::Parse("unix:" + folder.Path("full"), &error), &error);
  ASSERT_TRUE(listener) << error;
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  ASSERT_EQ(::getsockname(listener->Descriptor(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  ExpectTimeout(reinterpret_cast<sockaddr*>(&address), size, listener->endpoint(),
                listener->Descriptor());
}

TEST(ConnectTest, TcpTimeout) {
  std::string error;
  const auto listener = Listener::Open(*Endpoint::Parse("tcp:127.0.0.1:0", &error), &error);
  ASSERT_TRUE(listener) << error;
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  ASSERT_EQ(::getsockname(listener->Descriptor(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  ExpectTimeout(reinterpret_cast<sockaddr*>(&address), size, listener->endpoint(),
                listener->Descriptor());
}

TEST(AdoptSocketTest, TakesASocketPairFromAnEventLoop) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  std::string error;
  const auto a = AdoptSocket(ends[0], &error);
  ASSERT_TRUE(a) << error;
  const auto b = AdoptSocket(ends[1], &error);
  ASSERT_TRUE(b) << error;
  EXPECT_NE(::fcntl(ends[0], F_GETFD) & FD_CLOEXEC, 0);
  std::thread reader([&] { EXPECT_EQ(ReadUpTo(*b, 5), ToBytes("hello")); });
  ASSERT_TRUE(WriteAll(*a, ToBytes("hello")));
  reader.join();
}

TEST(AdoptSocketTest, RefusesWhatIsNoConnectedStreamSocket) {
  std::string error;
  EXPECT_FALSE(AdoptSocket(-1, &error));
  EXPECT_THAT(error, HasSubstr("is not a socket"));

  const int file = ::open("/dev/null", O_RDWR);
  EXPECT_FALSE(AdoptSocket(file, &error));
  EXPECT_THAT(error, HasSubstr("is not a socket"));
  EXPECT_EQ(::fcntl(file, F_GETFD), -1) << "it was to be closed";

  EXPECT_FALSE(AdoptSocket(::socket(AF_UNIX, SOCK_STREAM, 0), &error));
  EXPECT_THAT(error, HasSubstr("not a connected stream socket"));

  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
  const UniqueFd other(ends[1]);
  EXPECT_FALSE(AdoptSocket(ends[0], &error));
  EXPECT_THAT(error, HasSubstr("not a connected stream socket"));
}

TEST(AdoptSocketTest, TcpSocketsSendAtOnceAndNoticeDeadPeers) {
  std::string error;
  const auto listener = Listener::Open(*Endpoint::Parse("tcp:[::1]:0", &error), &error);
  ASSERT_TRUE(listener) << error;
  const auto client = Connect(listener->endpoint(), seconds(10), &error);
  ASSERT_TRUE(client) << error;
  const int fd = listener->TryAccept(&error).Release();
  ASSERT_GE(fd, 0) << error;
  const auto server = AdoptSocket(fd, &error);
  ASSERT_TRUE(server) << error;
  EXPECT_THAT(server->Peer(), MatchesRegex("tcp \\[::1\\]:[0-9]+"));
  const auto option = [fd](int level, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    ::getsockopt(fd, level, name, &value, &size);
    return value;
  };
  EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE) +
                option(IPPROTO_TCP, TCP_KEEPCNT) * option(IPPROTO_TCP, TCP_KEEPINTVL),
            20);
}

}  // namespace
}  // namespace vesper::transport
