// SPDX-License-Identifier: Apache-2.0
// Connections over stream sockets of the operating system, and the listener that accepts them.
#ifndef VESPER_TRANSPORT_STREAM_H_
#define VESPER_TRANSPORT_STREAM_H_

#include <chrono>
#include <memory>
#include <string>

#include "transport/connection.h"
#include "transport/endpoint.h"
#include "transport/unique_fd.h"

namespace vesper::transport {

/// Connects to a server, on the caller's thread. Null with one sentence in `*error` if there was no
/// connection after `timeout`, which covers name resolution too as far as the resolver allows: a
/// look-up cannot be interrupted, so only an endpoint given as an address has a strict limit.
std::unique_ptr<Connection> Connect(const Endpoint& endpoint, std::chrono::milliseconds timeout,
                                    std::string* error);

/// Makes a connection of a connected stream socket, for example one inherited from another process.
/// Takes the descriptor over in any case. Null with one sentence in `*error` if it is not a
/// connected Unix or TCP stream socket.
std::unique_ptr<Connection> AdoptSocket(int fd, std::string* error);

struct ListenOptions {
  /// Unix sockets: permission bits of the socket file, whatever the umask. Whoever may write to the
  /// file may connect.
  unsigned mode = 0600;
};

/// A listening socket. Accepting never blocks, so that an event loop can wait for Descriptor() to
/// become readable. Threads: none; use it from one thread at a time.
class Listener {
 public:
  /// Starts listening. A Unix socket file that nobody listens on any more is replaced; one with a
  /// live server behind it is left alone and reported. A host name is listened on at its first
  /// address that works, IPv4 before IPv6. Null with one sentence in `*error` on failure.
  static std::unique_ptr<Listener> Open(const Endpoint& endpoint, const ListenOptions& options,
                                        std::string* error);
  static std::unique_ptr<Listener> Open(const Endpoint& endpoint, std::string* error) {
    return Open(endpoint, ListenOptions(), error);
  }

  /// Takes over a listening socket that a service manager opened. It owns the descriptor in any
  /// case; the socket file, if any, stays the manager's.
  static std::unique_ptr<Listener> Adopt(int fd, std::string* error);

  /// Stops listening and removes the socket file, unless somebody else has put another one there.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// What is listened on, with the port that was really given.
  const Endpoint& endpoint() const { return endpoint_; }

  /// Readable when TryAccept() has something to return. Stays owned by the listener.
  int Descriptor() const { return socket_.get(); }

  /// Takes one waiting connection: a close-on-exec descriptor for AdoptSocket(). Empty with an
  /// empty
  /// `*error` if none waits, or with one sentence if accepting failed (for example because this
  /// process is out of descriptors: the connection still waits then, so pause before trying again).
  UniqueFd TryAccept(std::string* error);

  /// Waits for one connection at most `timeout` and adopts it. For servers without an event loop.
  std::unique_ptr<Connection> Accept(std::chrono::milliseconds timeout, std::string* error);

 private:
  Listener(UniqueFd socket, Endpoint endpoint);

  UniqueFd socket_;
  Endpoint endpoint_;
  // Identity of the socket file while it is ours to remove; inode 0 when there is none.
  unsigned long file_device_ = 0;
  unsigned long file_inode_ = 0;
};

/// Describes the peer of a connected stream socket as Connection::Peer() does.
std::string DescribePeer(int fd);

}  // namespace vesper::transport

#endif  // VESPER_TRANSPORT_STREAM_H_
