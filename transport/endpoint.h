// SPDX-License-Identifier: Apache-2.0
// The place where a server listens, as people write it:
//
//   unix:/run/vesper/vesper.sock   a Unix stream socket; the path may be relative
//   tcp:127.0.0.1:4242             an address or a host name, and a port
//   tcp:[::1]:4242                 IPv6 addresses stand in brackets
//   vsock:host:4242                a virtual machine's own socket: a context id, and a port. Ids
//   may
//                                  be words: host (2, the machine that runs the guests), local (1,
//                                  this machine), any (a listener hears them all)
//
//   serial:/dev/virtio-ports/vesper.*  ports of a virtual machine, for its guest alone: a path in
//                                  which * and ? stand for anything; the first that is free is
//                                  taken
//
// TCP's port 0 lets a listener pick one; nobody can connect to it.
#ifndef VESPER_TRANSPORT_ENDPOINT_H_
#define VESPER_TRANSPORT_ENDPOINT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vesper::transport {

struct Endpoint {
  enum class Kind { kUnix, kTcp, kVsock, kSerial };

  Kind kind = Kind::kUnix;
  std::string path;   ///< kUnix: file name of the socket. kSerial: pattern of the ports.
  std::string host;   ///< kTcp: address or host name, without brackets.
  uint32_t port = 0;  ///< kTcp: 16 bits, and 0 only for a listener. kVsock: any.
  uint32_t cid = 0;   ///< kVsock: the context id.

  static constexpr uint32_t kVsockLocal = 1;
  static constexpr uint32_t kVsockHost = 2;
  static constexpr uint32_t kVsockAny = UINT32_MAX;

  /// Reads the written form. On failure returns nothing and stores one sentence in `*error`.
  static std::optional<Endpoint> Parse(std::string_view text, std::string* error);

  /// The written form; Parse() of it gives an equal endpoint.
  std::string ToString() const;

  /// True for TCP to an address of the loopback interface or to the name "localhost", and for the
  /// local vsock.
  bool IsLoopback() const;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

}  // namespace vesper::transport

#endif  // VESPER_TRANSPORT_ENDPOINT_H_
