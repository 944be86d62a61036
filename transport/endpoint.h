// SPDX-License-Identifier: Apache-2.0
// The place where a server listens, as people write it:
//
//   unix:/run/vesper/vesper.sock   a Unix stream socket; the path may be relative
//   tcp:127.0.0.1:4242             an address or a host name, and a port
//   tcp:[::1]:4242                 IPv6 addresses stand in brackets
//
// Port 0 lets a listener pick one; nobody can connect to it.
#ifndef VESPER_TRANSPORT_ENDPOINT_H_
#define VESPER_TRANSPORT_ENDPOINT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vesper::transport {

struct Endpoint {
  enum class Kind { kUnix, kTcp };

  Kind kind = Kind::kUnix;
  std::string path;   ///< kUnix: file name of the socket.
  std::string host;   ///< kTcp: address or host name, without brackets.
  uint16_t port = 0;  ///< kTcp: 0 only for a listener.

  /// Reads the written form. On failure returns nothing and stores one sentence in `*error`.
  static std::optional<Endpoint> Parse(std::string_view text, std::string* error);

  /// The written form; Parse() of it gives an equal endpoint.
  std::string ToString() const;

  /// True for TCP to an address of the loopback interface, or to the name "localhost".
  bool IsLoopback() const;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

}  // namespace vesper::transport

#endif  // VESPER_TRANSPORT_ENDPOINT_H_
