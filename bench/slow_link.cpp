// SPDX-License-Identifier: Apache-2.0
//
// A relay that makes the loopback interface behave like a slow link: each direction carries a given
// number of bits in a second, and each byte arrives a given time later. It needs no privilege and
// nothing of the kernel's traffic control.
//
// Each direction has two threads and a queue of pieces between them. The first reads a piece, works
// out when its last bit would have left a link of that rate, and when it would arrive; the second
// waits until then and writes it. The queue holds what such a link holds on its way, and no more,
// so that a sender feels the link and not the relay's memory.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace vesper::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// What lies in socket buffers is not on the link: they are kept small.
constexpr int kSocketBuffer = 64 << 10;
/// A piece is what the link carries in this time: a whole large buffer would arrive at once.
constexpr double kPieceSeconds = 0.5e-3;
constexpr size_t kMinPiece = 1500;
constexpr size_t kMaxPiece = 64u << 10;

struct Link {
  double bytes_per_second;
  std::chrono::duration<double> delay;
};

void Configure(int socket) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof(kSocketBuffer));
}

class Direction {
 public:
  Direction(int from, int to, const Link& link)
      : from_(from),
        to_(to),
        link_(link),
        piece_(std::clamp(static_cast<size_t>(link.bytes_per_second * kPieceSeconds), kMinPiece,
                          kMaxPiece)),
        capacity_(static_cast<size_t>(link.bytes_per_second * link.delay.count()) + 2 * piece_),
        writer_([this] { Write(); }) {}

  /// Reads until the stream ends, and returns when everything was written.
  void Run() {
    std::vector<std::byte> buffer(piece_);
    auto free_at = Clock::now();
    for (;;) {
      const ssize_t count = ::recv(from_, buffer.data(), buffer.size(), 0);
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count <= 0) {
        break;
      }
      const std::chrono::duration<double> on_link(static_cast<double>(count) /
                                                  link_.bytes_per_second);
      free_at =
          std::max(free_at, Clock::now()) + std::chrono::duration_cast<Clock::duration>(on_link);
      Piece piece{{buffer.begin(), buffer.begin() + count},
                  free_at + std::chrono::duration_cast<Clock::duration>(link_.delay)};
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return queued_ < capacity_ || broken_; });
      if (broken_) {
        break;
      }
      queued_ += piece.bytes.size();
      pieces_.push_back(std::move(piece));
      changed_.notify_all();
    }
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    writer_.join();
    ::shutdown(to_, SHUT_WR);
  }

 private:
  struct Piece {
    std::vector<std::byte> bytes;
    Clock::time_point due;
  };

  void Write() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return over_ || !pieces_.empty(); });
      if (pieces_.empty()) {
        return;
      }
      const Piece piece = std::move(pieces_.front());
      pieces_.pop_front();
      lock.unlock();
      std::this_thread::sleep_until(piece.due);
      const bool sent = Send(piece.bytes);
      lock.lock();
      queued_ -= piece.bytes.size();
      broken_ = broken_ || !sent;
      changed_.notify_all();
      if (broken_) {
        ::shutdown(from_, SHUT_RD);
        return;
      }
    }
  }

  bool Send(const std::vector<std::byte>& bytes) const {
    for (size_t sent = 0; sent < bytes.size();) {
      const ssize_t count = ::send(to_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (count < 0 && errno != EINTR) {
        return false;
      }
      sent += static_cast<size_t>(std::max<ssize_t>(count, 0));
    }
    return true;
  }

  const int from_;
  const int to_;
  const Link link_;
  const size_t piece_;
  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> pieces_;
  size_t queued_ = 0;
  bool over_ = false;
  bool broken_ = false;
  std::thread writer_;  // keep last: it uses everything above
};

void Relay(int guest, uint16_t server_port, const Link& link) {
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(server_port);
  Configure(guest);
  if (server >= 0) {
    Configure(server);
  }
  if (server < 0 ||
      ::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    std::fprintf(stderr, "slow_link: the server does not answer: %s\n", std::strerror(errno));
  } else {
    Direction up(guest, server, link);
    Direction down(server, guest, link);
    std::thread other([&down] { down.Run(); });
    up.Run();
    other.join();
  }
  ::close(guest);
  if (server >= 0) {
    ::close(server);
  }
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Relays TCP connections of this machine over a slow link. Prints the port that it listens "
      "on.",
      "slow_link");
  uint16_t server_port = 0;
  double megabits = 0;
  double delay = 0;
  app.add_option("--server-port", server_port, "the server's port on 127.0.0.1")->required();
  app.add_option("--megabits", megabits, "megabits in a second, in each direction")
      ->required()
      ->check(CLI::PositiveNumber);
  app.add_option("--delay", delay, "milliseconds that each byte takes, in each direction")
      ->check(CLI::NonNegativeNumber);
  CLI11_PARSE(app, argc, argv);
  const Link link{megabits * 1e6 / 8, std::chrono::duration<double>(delay / 1e3)};

  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || ::bind(listener, raw, size) != 0 || ::listen(listener, 16) != 0 ||
      ::getsockname(listener, raw, &size) != 0) {
    std::fprintf(stderr, "slow_link: cannot listen: %s\n", std::strerror(errno));
    return 1;
  }
  std::printf("%u\n", static_cast<unsigned>(ntohs(address.sin_port)));
  std::fflush(stdout);
  for (;;) {
    const int guest = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (guest >= 0) {
      std::thread([guest, server_port, link] { Relay(guest, server_port, link); }).detach();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      std::fprintf(stderr, "slow_link: cannot accept: %s\n", std::strerror(errno));
      return 1;
    }
  }
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) { return vesper::bench::Main(argc, argv); }
