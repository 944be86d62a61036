// SPDX-License-Identifier: Apache-2.0
// The system's socket addresses, and how endpoints become such. Internal to transport/.
#ifndef VESPER_TRANSPORT_SOCKET_ADDRESS_H_
#define VESPER_TRANSPORT_SOCKET_ADDRESS_H_

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "transport/endpoint.h"

namespace vesper::transport {

class SocketAddress {
 public:
  /// The address of a Unix socket; `path` must be one that Endpoint::Parse() takes.
  static SocketAddress FromPath(const std::string& path);
  static SocketAddress FromVsock(uint32_t cid, uint32_t port);
  /// `size` bytes as the system gives them.
  static SocketAddress FromSystem(const void* address, size_t size);

  /// The address of the other end, or of this end, of a socket. False if there is none.
  bool ReadPeer(int fd);
  bool ReadLocal(int fd);

  int Family() const { return storage_.ss_family; }
  bool IsUnix() const { return Family() == AF_UNIX; }
  bool IsInet() const { return Family() == AF_INET || Family() == AF_INET6; }
  bool IsVsock() const { return Family() == AF_VSOCK; }
  /// True for an address at which only this machine answers, Unix sockets apart.
  bool IsLoopback() const;
  /// As an endpoint. Only for Unix, internet and vsock addresses.
  Endpoint ToEndpoint() const;

  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

/// The addresses that an endpoint stands for, in the order in which to try them. Empty with one
/// sentence in `*error` if there are none. Blocks while a name is looked up.
std::vector<SocketAddress> Resolve(const Endpoint& endpoint, std::string* error);

}  // namespace vesper::transport

#endif  // VESPER_TRANSPORT_SOCKET_ADDRESS_H_
