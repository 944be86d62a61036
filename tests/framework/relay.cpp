// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/relay.h"

#include <array>
#include <condition_variable>
#include <deque>
#include <iostream>
#include <stdexcept>
#include <utility>

namespace vesper::tests {

// One direction of one connection: a thread that reads and notes when each piece is due, and one
// that writes it then.
class Relay::Direction {
 public:
  Direction(transport::Connection& from, transport::Connection& to,
            const std::atomic<int64_t>& delay_us, std::atomic<uint64_t>& bytes)
      : from_(from),
        to_(to),
        delay_us_(delay_us),
        bytes_(bytes),
        reader_([this] { Read(); }),
        writer_([this] { Write(); }) {}
  ~Direction() {
    reader_.join();
    writer_.join();
  }
  Direction(const Direction&) = delete;
  Direction& operator=(const Direction&) = delete;

 private:
  struct Piece {
    std::chrono::steady_clock::time_point due;
    std::vector<std::byte> bytes;  // none: the stream is over
  };

  void Read() {
    std::vector<std::byte> buffer(1 << 20);
    for (;;) {
      const size_t size = from_.ReadSome(buffer);
      bytes_ += size;
      const auto due =
          std::chrono::steady_clock::now() + std::chrono::microseconds(delay_us_.load());
      const std::lock_guard lock(mutex_);
      pieces_.push_back(
          {due, {buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size)}});
      changed_.notify_all();
      if (size == 0) {
        return;
      }
    }
  }

  void Write() {
    for (;;) {
      Piece piece;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !pieces_.empty(); });
        piece = std::move(pieces_.front());
        pieces_.pop_front();
      }
      std::this_thread::sleep_until(piece.due);
      const std::span<const std::byte> part = piece.bytes;
      if (part.empty() || !to_.Write({&part, 1})) {
        to_.Shutdown();
        from_.Shutdown();
        return;
      }
    }
  }

  transport::Connection& from_;
  transport::Connection& to_;
  const std::atomic<int64_t>& delay_us_;
  std::atomic<uint64_t>& bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> pieces_;
  std::thread reader_;
  std::thread writer_;
};

struct Relay::Link {
  Link(std::unique_ptr<transport::Connection> near, std::unique_ptr<transport::Connection> far,
       const std::atomic<int64_t>& delay_us, std::atomic<uint64_t>& bytes_there,
       std::atomic<uint64_t>& bytes_back)
      : guest(std::move(near)),
        server(std::move(far)),
        there(*guest, *server, delay_us, bytes_there),
        back(*server, *guest, delay_us, bytes_back) {}
  ~Link() {
    guest->Shutdown();
    server->Shutdown();
  }

  std::unique_ptr<transport::Connection> guest;
  std::unique_ptr<transport::Connection> server;
  Direction there;
  Direction back;
};

Relay::Relay(const std::string& server) : server_(server) {
  std::string error;
  const bool tcp = server.starts_with("tcp:");
  const auto wanted =
      transport::Endpoint::Parse(tcp ? "tcp:127.0.0.1:0" : "unix:" + folder_.Path("relay"), &error);
  if (wanted.has_value()) {
    listener_ = transport::Listener::Open(*wanted, &error);
  }
  if (listener_ == nullptr) {
    throw std::runtime_error("Could not listen for the relay: " + error);
  }
  endpoint_ = listener_->endpoint().ToString();
  acceptor_ = std::thread([this] { Accept(); });
}

Relay::~Relay() {
  stop_ = true;
  acceptor_.join();
}

void Relay::Accept() {
  while (!stop_) {
    std::string error;
    std::unique_ptr<transport::Connection> guest =
        listener_->Accept(std::chrono::milliseconds(20), &error);
    if (guest == nullptr) {
      continue;
    }
    const auto there = transport::Endpoint::Parse(server_, &error);
    std::unique_ptr<transport::Connection> server =
        there.has_value() ? transport::Connect(*there, std::chrono::seconds(10), &error) : nullptr;
    if (server == nullptr) {
      std::cerr << "relay: " << error << "\n";  // The guest sees that nobody answers.
      continue;
    }
    links_.push_back(std::make_unique<Link>(std::move(guest), std::move(server), delay_us_,
                                            bytes_there_, bytes_back_));
  }
  links_.clear();
}

}  // namespace vesper::tests
