// SPDX-License-Identifier: Apache-2.0
// A peer that vanishes without a word: the cable is pulled, and no packet says so. The cable here
// is the loopback interface of a network namespace of the test's own, which it may switch off. Each
// case runs in a child process, since a namespace belongs to a process; where the system lets
// nobody make a namespace the child says so and the case fails with that sentence.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <thread>

#include "tests/transport/stream_helpers.h"
#include "transport/socket_connection.h"

namespace vesper::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr SocketLimits kShort{milliseconds(500), milliseconds(2000)};

bool SwitchLoopback(bool on) {
  const UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = static_cast<short>(on ? IFF_UP | IFF_LOOPBACK : IFF_LOOPBACK);
  return ::ioctl(control.get(), SIOCSIFFLAGS, &request) == 0;
}

struct Pair {
  std::unique_ptr<SocketConnection> client;
  std::unique_ptr<SocketConnection> server;
};

// Both ends of a TCP connection in a fresh network, or a death of this process with a reason.
Pair ConnectInOwnNetwork() {
  if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    std::fprintf(stderr, "this system lets nobody make a network namespace\n");
    std::_Exit(2);
  }
  std::string error;
  Pair pair;
  std::unique_ptr<Listener> listener;
  if (SwitchLoopback(true)) {
    listener = Listener::Open(*Endpoint::Parse("tcp:127.0.0.1:0", &error), &error);
  }
  if (listener) {
    UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    ::getsockname(listener->Descriptor(), reinterpret_cast<sockaddr*>(&address), &size);
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), size) == 0) {
      pair.client = SocketConnection::Make(std::move(socket), kShort, &error);
      pair.server = SocketConnection::Make(listener->TryAccept(&error), kShort, &error);
    }
  }
  if (!pair.client || !pair.server) {
    std::fprintf(stderr, "no connection: %s\n", error.c_str());
    std::_Exit(3);
  }
  return pair;
}

[[noreturn]] void Finish(bool is_right, const Connection& connection) {
  std::fprintf(stderr, "end: %s\n", connection.Error().c_str());
  std::_Exit(is_right ? 0 : 1);
}

TEST(SilentPeerTest, IdleReaderNotices) {
  EXPECT_EXIT(
      {
        Pair pair = ConnectInOwnNetwork();
        SwitchLoopback(false);
        Bytes buffer(1);
        Finish(pair.client->ReadSome(buffer) == 0, *pair.client);
      },
      testing::ExitedWithCode(0), "end: the peer .*down");
}

TEST(SilentPeerTest, ReaderNoticesWhileDataIsUnderWay) {
  EXPECT_EXIT(
      {
        Pair pair = ConnectInOwnNetwork();
        SwitchLoopback(false);
        const bool written = WriteAll(*pair.client, ToBytes("anybody there?"));
        Bytes buffer(1);
        Finish(written && pair.client->ReadSome(buffer) == 0, *pair.client);
      },
      testing::ExitedWithCode(0), "end: the peer has not answered for 2 s");
}

TEST(SilentPeerTest, BlockedWriterNotices) {
  EXPECT_EXIT(
      {
        Pair pair = ConnectInOwnNetwork();
        SwitchLoopback(false);
        while (WriteAll(*pair.client, Bytes(1 << 20))) {
        }
        Finish(true, *pair.client);
      },
      testing::ExitedWithCode(0), "end: the peer has not answered for 2 s");
}

TEST(SilentPeerTest, PeerThatIsOnlyBusyIsLeftAlone) {
  EXPECT_EXIT(
      {
        Pair pair = ConnectInOwnNetwork();
        const Bytes sent = RandomBytes(32 << 20, 1);
        std::thread writer([&] { WriteAll(*pair.client, sent); });
        // Much longer than a dead peer would be given; the window is closed all the while.
        std::this_thread::sleep_for(seconds(6));
        const Bytes received = ReadUpTo(*pair.server, sent.size());
        writer.join();
        Finish(received == sent, *pair.client);
      },
      testing::ExitedWithCode(0), "end: \n");
}

}  // namespace
}  // namespace vesper::transport
