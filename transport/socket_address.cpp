// SPDX-License-Identifier: Apache-2.0
#include "transport/socket_address.h"

#include <sys/un.h>
// Needs what sys/socket.h declares.
#include <linux/vm_sockets.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <cstddef>
#include <cstring>
#include <exception>

#include "transport/stream.h"

namespace vesper::transport {
namespace {

asio::ip::tcp::endpoint ToAsio(const SocketAddress& address) {
  asio::ip::tcp::endpoint endpoint(
      address.Family() == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(), 0);
  std::memcpy(endpoint.data(), address.data(), std::min<size_t>(address.size(), endpoint.size()));
  return endpoint;
}

SocketAddress FromAsio(const asio::ip::tcp::endpoint& endpoint) {
  return SocketAddress::FromSystem(endpoint.data(), endpoint.size());
}

}  // namespace

SocketAddress SocketAddress::FromPath(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = std::min(path.size(), sizeof(address.sun_path) - 1);
  std::memcpy(address.sun_path, path.data(), length);
  return FromSystem(&address, offsetof(sockaddr_un, sun_path) + length + 1);
}

SocketAddress SocketAddress::FromVsock(uint32_t cid, uint32_t port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return FromSystem(&address, sizeof(address));
}

SocketAddress SocketAddress::FromSystem(const void* address, size_t size) {
  SocketAddress result;
  result.size_ = static_cast<socklen_t>(std::min(size, sizeof(result.storage_)));
  std::memcpy(&result.storage_, address, result.size_);
  return result;
}

bool SocketAddress::ReadPeer(int fd) {
  size_ = sizeof(storage_);
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&storage_), &size_) == 0;
}

bool SocketAddress::ReadLocal(int fd) {
  size_ = sizeof(storage_);
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage_), &size_) == 0;
}

bool SocketAddress::IsLoopback() const {
  return (IsInet() || IsVsock()) && ToEndpoint().IsLoopback();
}

Endpoint SocketAddress::ToEndpoint() const {
  Endpoint endpoint;
  if (IsUnix()) {
    endpoint.kind = Endpoint::Kind::kUnix;
    const auto* address = reinterpret_cast<const sockaddr_un*>(&storage_);
    const size_t offset = offsetof(sockaddr_un, sun_path);
    const size_t length = size_ > offset ? size_ - offset : 0;
    endpoint.path.assign(address->sun_path, ::strnlen(address->sun_path, length));
    return endpoint;
  }
  if (IsVsock()) {
    const auto* address = reinterpret_cast<const sockaddr_vm*>(&storage_);
    endpoint.kind = Endpoint::Kind::kVsock;
    endpoint.cid = address->svm_cid;
    endpoint.port = address->svm_port;
    return endpoint;
  }
  const asio::ip::tcp::endpoint address = ToAsio(*this);
  endpoint.kind = Endpoint::Kind::kTcp;
  endpoint.host = address.address().to_string();
  endpoint.port = address.port();
  return endpoint;
}

std::vector<SocketAddress> Resolve(const Endpoint& endpoint, std::string* error) {
  if (endpoint.kind == Endpoint::Kind::kUnix) {
    return {SocketAddress::FromPath(endpoint.path)};
  }
  if (endpoint.kind == Endpoint::Kind::kVsock) {
    return {SocketAddress::FromVsock(endpoint.cid, endpoint.port)};
  }
  if (endpoint.kind == Endpoint::Kind::kSerial) {
    *error = endpoint.ToString() +
             " is a port in a guest; on the host, listen on the Unix socket that the virtual "
             "machine's emulator connects it to";
    return {};
  }
  asio::error_code code;
  const asio::ip::address literal = asio::ip::make_address(endpoint.host, code);
  if (!code) {
    return {FromAsio(asio::ip::tcp::endpoint(literal, static_cast<uint16_t>(endpoint.port)))};
  }
  std::vector<SocketAddress> addresses;
  try {
    // The synchronous resolver: the asynchronous one would start a thread that cannot be stopped.
    asio::io_context context(1);
    asio::ip::tcp::resolver resolver(context);
    for (const auto& entry : resolver.resolve(endpoint.host, std::to_string(endpoint.port),
                                              asio::ip::resolver_base::numeric_service, code)) {
      addresses.push_back(FromAsio(entry.endpoint()));
    }
  } catch (const std::exception& exception) {
    *error = "looking up the host \"" + endpoint.host + "\" failed: " + exception.what();
    return {};
  }
  if (code || addresses.empty()) {
    *error = "the host \"" + endpoint.host + "\" is not known: " + code.message();
  }
  return addresses;
}

std::string DescribePeer(int fd) {
  SocketAddress address;
  if (!address.ReadPeer(fd)) {
    return "unconnected";
  }
  if (address.IsInet()) {
    const std::string endpoint = address.ToEndpoint().ToString();
    return "tcp " + endpoint.substr(endpoint.find(':') + 1);
  }
  if (address.IsVsock()) {
    const Endpoint endpoint = address.ToEndpoint();
    return "vsock cid " + std::to_string(endpoint.cid) + " port " + std::to_string(endpoint.port);
  }
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (!address.IsUnix() || ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return "unknown";
  }
  return "unix pid " + std::to_string(credentials.pid) + " uid " + std::to_string(credentials.uid);
}

}  // namespace vesper::transport
