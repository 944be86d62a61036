// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TRANSPORT_CONNECTION_H_
#define VESPER_TRANSPORT_CONNECTION_H_

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "transport/unique_fd.h"

namespace vesper::transport {

/// One ordered, reliable stream of bytes in both directions.
///
/// Threads: one thread may write while another reads; Shutdown(), PeerIsGone(), Error(), Peer()
/// and IsLocal() may be called from any thread at any time. Nobody may be inside a call when it is
/// destroyed.
class Connection {
 public:
  virtual ~Connection() = default;

  /// Writes all bytes of all parts in order and returns when the last one was handed over.
  /// False once the stream is broken or shut down; it then stays false.
  virtual bool Write(std::span<const std::span<const std::byte>> parts) = 0;

  /// True if descriptors of files can travel beside the bytes.
  virtual bool PassesDescriptors() const { return false; }

  /// Write, with descriptors that travel beside the first of the bytes where descriptors can, and
  /// are left out elsewhere: kMaxDescriptors at most. They stay the caller's.
  virtual bool WriteWithDescriptors(std::span<const std::span<const std::byte>> parts,
                                    std::span<const int> descriptors) {
    (void)descriptors;
    return Write(parts);
  }

  /// The descriptors that came beside the first bytes of the stream, once, in order, close-on-exec.
  /// More than kMaxDescriptors, and those that come later, are dropped by the system. Any thread,
  /// once something was read.
  virtual std::vector<UniqueFd> TakeDescriptors() { return {}; }
  static constexpr size_t kMaxDescriptors = 4;

  /// Blocks until at least one byte came and returns how many were stored. 0 means that the stream
  /// is over, in order or not: Error() says which. `buffer` must not be empty.
  virtual size_t ReadSome(std::span<std::byte> buffer) = 0;

  /// Ends the stream in both directions. Wakes a blocked reader and a blocked writer and fails
  /// every later call. Calling it again changes nothing.
  virtual void Shutdown() = 0;

  /// Returns when the peer is gone or this side was shut down. Any thread, also while another
  /// reads. Only for connections that pass descriptors.
  virtual void WaitForEnd() {}

  /// True once the peer has closed its end, the link is broken or this side was shut down, even if
  /// bytes that came before have not been read. Never blocks. A silent peer is not gone.
  virtual bool PeerIsGone() const = 0;

  /// One sentence on why the stream ended: what happened first, from this side's point of view.
  /// Empty while it lives, and after the peer closed it in order.
  virtual std::string Error() const = 0;

  /// Who is at the other end, for logs: "unix pid 123 uid 1000", "tcp 127.0.0.1:4242", "loopback".
  virtual std::string Peer() const = 0;

  /// True if the other end is known to be on this machine: a Unix socket, TCP over the loopback
  /// interface, or the in-process loopback.
  virtual bool IsLocal() const = 0;
};

}  // namespace vesper::transport

#endif  // VESPER_TRANSPORT_CONNECTION_H_
