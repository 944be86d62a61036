// SPDX-License-Identifier: Apache-2.0
// A connection over one connected stream socket of the operating system.
//
// The stream is read and written with blocking system calls on the descriptor itself, and not
// through an Asio socket: this code runs inside other people's programs, where an Asio socket would
// bring along a reactor (three more descriptors for each connection), and descriptors travel
// beside the first bytes of a Unix socket, which Asio has no call for. A blocked call ends because
// data came, because somebody called Shutdown(), or because the peer is found dead.
//
// When is a peer dead? A closed or reset socket says so at once. A machine that lost power, or a
// cable that was pulled, says nothing. While nothing is under way TCP's keep-alive finds that out;
// while sent data waits for its acknowledgement it does not probe, and the kernel's own patience
// then is a quarter of an hour. TCP_USER_TIMEOUT would shorten it, but that also kills a connection
// whose peer is alive and merely busy: one that does not read for a while (a debugger holds it, a
// pipeline takes a minute to compile) answers every probe with a closed window and would be dropped
// all the same. So a blocked call wakes up now and then and looks for what really means death: data
// or window probes under way, and not one acknowledgement during SocketLimits::silence.
//
// Unix sockets and vsock need none of that: both ends are kernels of one machine, and the one hears
// when the other's process, or its whole virtual machine, is gone.
#ifndef VESPER_TRANSPORT_SOCKET_CONNECTION_H_
#define VESPER_TRANSPORT_SOCKET_CONNECTION_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "transport/connection.h"
#include "transport/endpoint.h"
#include "transport/unique_fd.h"

namespace vesper::transport {

/// How long a TCP peer may be unreachable.
struct SocketLimits {
  /// A blocked call looks at the state of the peer this often.
  std::chrono::milliseconds check_interval{4000};
  /// A peer that acknowledges nothing for this long is dead. Whole seconds, at least 2.
  std::chrono::milliseconds silence{20000};
};

class SocketConnection final : public Connection {
 public:
  /// Null with one sentence in `*error` if `socket` is not a connected stream socket of a kind
  /// that endpoints have.
  static std::unique_ptr<SocketConnection> Make(UniqueFd socket, const SocketLimits& limits,
                                                std::string* error);

  bool Write(std::span<const std::span<const std::byte>> parts) override {
    return WriteWithDescriptors(parts, {});
  }
  bool PassesDescriptors() const override { return kind_ == Endpoint::Kind::kUnix; }
  bool WriteWithDescriptors(std::span<const std::span<const std::byte>> parts,
                            std::span<const int> descriptors) override;
  std::vector<UniqueFd> TakeDescriptors() override { return std::move(received_); }
  size_t ReadSome(std::span<std::byte> buffer) override;
  void Shutdown() override;
  void WaitForEnd() override;
  bool PeerIsGone() const override;
  std::string Error() const override;
  std::string Peer() const override { return peer_; }
  bool IsLocal() const override { return is_local_; }

 private:
  // Counts how long the peer has been silent, over the wake-ups of one blocked call.
  struct Silence {
    std::chrono::milliseconds lasted{0};
  };

  SocketConnection(UniqueFd socket, const SocketLimits& limits, Endpoint::Kind kind, bool is_local);

  void Configure();
  void ConfigureTcp();
  // recv(), which also takes the descriptors that come with the first bytes.
  ssize_t Receive(std::span<std::byte> buffer);
  // Called when a blocked call woke up for no other reason than time. True if the peer is dead, and
  // then the stream has ended.
  bool PeerIsDead(Silence* silence);
  // Notes why the stream ended (empty: in order), unless it has ended before.
  void End(std::string reason);

  const UniqueFd socket_;
  const SocketLimits limits_;
  const Endpoint::Kind kind_;
  const bool is_local_;
  const std::string peer_;
  std::vector<UniqueFd> received_;   // the reader's
  bool has_received_bytes_ = false;  // the reader's
  std::atomic<bool> unreadable_{false};
  std::atomic<bool> unwritable_{false};
  mutable std::mutex mutex_;
  bool ended_ = false;  // guarded by mutex_
  std::string reason_;  // guarded by mutex_
};

}  // namespace vesper::transport

#endif  // VESPER_TRANSPORT_SOCKET_CONNECTION_H_
