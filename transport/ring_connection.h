// SPDX-License-Identifier: Apache-2.0
//
// A connection through two rings (ring.h) in a file in memory that guest and host share. It carries
// the same stream of bytes as the Unix socket over which the file was passed, and takes its place
// after the set-up.
//
// The file: 4 KiB with the words of the ring from guest to host and of the ring from host to guest,
// 4 KiB with the progress page, the bytes of the first ring, the bytes of the second.
//
// The end. Memory doesn't say that a process died; the socket does, whatever it died of and
// wherever it was. A thread watches the socket, and when it ends everybody who sleeps here wakes
// up. What had been written by then is still read. So nobody sleeps with a limit, nothing looks
// around now and then, and an idle session costs nothing. No bytes pass over the socket any more: a
// byte for each wake-up would have the reader wake up in poll() without any thread of its own, but
// takes two system calls to send and to receive, each longer than a futex takes to wake somebody.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "transport/connection.h"
#include "transport/progress_page.h"
#include "transport/ring.h"
#include "transport/shared_file.h"
#include "transport/spin.h"

namespace vesper::transport {

/// The file, as either side maps it.
class RingMemory {
 public:
  /// Bytes of each ring, unless a test wants others. More are not faster: they pass through the
  /// processor's caches (docs/adr/0032-commands-go-through-rings.md).
  static constexpr size_t kDefaultBytes = 1u << 20;
  static constexpr size_t kMinBytes = 4u << 10;
  static constexpr size_t kMaxBytes = 64u << 20;

  /// The guest makes it. Null, and one sentence in `why_not`, if the system refuses.
  static std::unique_ptr<RingMemory> Create(size_t ring_bytes, std::string* why_not);
  /// The host takes it. Null, and one sentence in `why_not`, if it is not what it should be.
  static std::unique_ptr<RingMemory> Accept(UniqueFd file, uint64_t ring_bytes,
                                            std::string* why_not);

  int file() const { return mapping_->file(); }
  size_t ring_bytes() const { return ring_bytes_; }
  RingWords& words(bool from_guest) const;
  std::span<std::byte> bytes(bool from_guest) const;
  ProgressPage& progress() const;

 private:
  RingMemory(std::unique_ptr<SharedFileMapping> mapping, size_t ring_bytes)
      : mapping_(std::move(mapping)), ring_bytes_(ring_bytes) {}

  std::unique_ptr<SharedFileMapping> mapping_;
  size_t ring_bytes_;
};

class RingConnection final : public Connection {
 public:
  enum class Side : uint8_t { kGuest, kHost };

  /// The socket must outlive this, and nobody may write to it any more. Throws std::system_error if
  /// there can be no thread.
  RingConnection(Connection& socket, std::unique_ptr<RingMemory> memory, Side side,
                 Spinning spinning);
  /// Shuts it down.
  ~RingConnection() override;

  bool Write(std::span<const std::span<const std::byte>> parts) override;
  size_t ReadSome(std::span<std::byte> buffer) override;
  void Shutdown() override;
  void WaitForEnd() override { socket_.WaitForEnd(); }
  bool PeerIsGone() const override { return socket_.PeerIsGone(); }
  std::string Error() const override;
  std::string Peer() const override { return socket_.Peer(); }
  bool IsLocal() const override { return true; }

  /// True once the other side has stored nonsense. Any thread.
  bool IsBroken() const { return is_broken_.load(); }
  ProgressPage& progress() { return memory_->progress(); }

 private:
  /// Waits for the bell until `is_ready()` or the end; true if it is ready.
  template <typename IsReady>
  bool WaitFor(Doorbell bell, AdaptiveSpin& spin, const IsReady& is_ready);
  /// The other side has stored nonsense.
  void Break();
  void Watch();
  /// True if nothing is written any more.
  bool HasEnded() const {
    return has_ended_.load(std::memory_order_acquire) ||
           is_shut_down_.load(std::memory_order_acquire);
  }

  Connection& socket_;
  const std::unique_ptr<RingMemory> memory_;
  RingWriter writer_;
  RingReader reader_;
  AdaptiveSpin read_spin_;
  AdaptiveSpin write_spin_;
  // Raised by who writes and loaded by who reads, so that what was done before a question was
  // written is done for whoever reads the answer: the order through the other process is none that
  // the language knows.
  std::atomic<uint64_t> order_{0};
  std::atomic<bool> is_shut_down_{false};  // on this side
  std::atomic<bool> has_ended_{false};
  std::atomic<int> sleeping_{0};  // threads of this process
  std::atomic<bool> is_broken_{false};
  std::thread watcher_;  // keep last
};

}  // namespace vesper::transport
