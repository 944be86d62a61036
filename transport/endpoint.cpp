// SPDX-License-Identifier: Apache-2.0
#include "transport/endpoint.h"

#include <sys/un.h>

#include <algorithm>
#include <array>
#include <asio/ip/address.hpp>
#include <charconv>

namespace vesper::transport {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kTcpPrefix = "tcp:";
constexpr std::string_view kVsockPrefix = "vsock:";
constexpr std::string_view kSerialPrefix = "serial:";

// The longest path that the system takes.
constexpr size_t kMaxPathLength = 4095;

// Context ids that have a name.
struct CidName {
  std::string_view name;
  uint32_t cid;
};
constexpr std::array<CidName, 3> kCidNames = {{{"host", Endpoint::kVsockHost},
                                               {"local", Endpoint::kVsockLocal},
                                               {"any", Endpoint::kVsockAny}}};

// The longest host name that DNS allows; an address is shorter.
constexpr size_t kMaxHostLength = 253;

constexpr std::string_view kLocalhost = "localhost";

// How much of a text that makes no sense is repeated in the message about it.
constexpr size_t kMaxQuotedLength = 80;

// The text in quotes, short and printable: it may come from anywhere and goes to a terminal.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text.substr(0, kMaxQuotedLength)) {
    quoted += c >= ' ' && c <= '~' ? c : '?';
  }
  quoted += text.size() > kMaxQuotedLength ? "...\"" : "\"";
  return quoted;
}

std::optional<Endpoint> Fail(std::string* error, std::string sentence) {
  *error = std::move(sentence);
  return std::nullopt;
}

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

std::optional<uint32_t> ParseCid(std::string_view text) {
  for (const CidName& entry : kCidNames) {
    if (text == entry.name) {
      return entry.cid;
    }
  }
  return ParseNumber<uint32_t>(text);
}

bool IsHostName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxHostLength &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.' || c == '_';
         });
}

bool IsAddressV6(std::string_view text) {
  asio::error_code code;
  asio::ip::make_address_v6(std::string(text), code);
  return !code && text.find('\0') == std::string_view::npos;
}

std::optional<Endpoint> ParseUnix(std::string_view text, std::string* error) {
  const std::string_view path = text.substr(kUnixPrefix.size());
  if (path.empty()) {
    return Fail(error, "the endpoint \"unix:\" names no socket; write unix:/path/to/socket");
  }
  if (path.find('\0') != std::string_view::npos) {
    return Fail(error, "the socket path " + Quoted(path) + " has a zero byte in it");
  }
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Fail(error, "the socket path " + Quoted(path) + " has " + std::to_string(path.size()) +
                           " bytes, and the system allows at most " +
                           std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                           "; choose a shorter one");
  }
  Endpoint endpoint;
  endpoint.kind = Endpoint::Kind::kUnix;
  endpoint.path = path;
  return endpoint;
}

std::optional<Endpoint> ParseTcp(std::string_view text, std::string* error) {
  const std::string_view rest = text.substr(kTcpPrefix.size());
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || rest.ends_with(']')) {
    return Fail(error, "the endpoint " + Quoted(text) + " has no port; write tcp:HOST:PORT");
  }
  std::string_view host = rest.substr(0, colon);
  const std::string_view port_text = rest.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']') && host.size() > 2) {
    host = host.substr(1, host.size() - 2);
    if (!IsAddressV6(host)) {
      return Fail(error, Quoted(host) + " in the endpoint " + Quoted(text) +
                             " is no IPv6 address; brackets are for those only");
    }
  } else if (host.find(':') != std::string_view::npos) {
    return Fail(error, "the endpoint " + Quoted(text) +
                           " has more colons than tcp:HOST:PORT; write an IPv6 address in "
                           "brackets, as in tcp:[::1]:4242");
  } else if (!IsHostName(host)) {
    return Fail(error, Quoted(host) + " in the endpoint " + Quoted(text) +
                           " is neither an address nor a host name");
  }
  const std::optional<uint16_t> port = ParseNumber<uint16_t>(port_text);
  if (!port) {
    return Fail(error, Quoted(port_text) + " in the endpoint " + Quoted(text) +
                           " is no port; a port is a number from 1 to 65535");
  }
  Endpoint endpoint;
  endpoint.kind = Endpoint::Kind::kTcp;
  endpoint.host = host;
  endpoint.port = *port;
  return endpoint;
}

std::optional<Endpoint> ParseVsock(std::string_view text, std::string* error) {
  const std::string_view rest = text.substr(kVsockPrefix.size());
  const size_t colon = rest.find(':');
  if (colon == std::string_view::npos) {
    return Fail(error, "the endpoint " + Quoted(text) +
                           " has no port; write vsock:CID:PORT, and in a guest vsock:host:PORT");
  }
  const std::string_view cid_text = rest.substr(0, colon);
  const std::string_view port_text = rest.substr(colon + 1);
  const std::optional<uint32_t> cid = ParseCid(cid_text);
  if (!cid) {
    return Fail(error, Quoted(cid_text) + " in the endpoint " + Quoted(text) +
                           " is no context id; write a number, host, local or any");
  }
  const std::optional<uint32_t> port = ParseNumber<uint32_t>(port_text);
  if (!port || *port == UINT32_MAX) {
    return Fail(error, Quoted(port_text) + " in the endpoint " + Quoted(text) +
                           " is no port; a port of vsock is a number below 4294967295");
  }
  Endpoint endpoint;
  endpoint.kind = Endpoint::Kind::kVsock;
  endpoint.cid = *cid;
  endpoint.port = *port;
  return endpoint;
}

std::optional<Endpoint> ParseSerial(std::string_view text, std::string* error) {
  const std::string_view path = text.substr(kSerialPrefix.size());
  if (!path.starts_with('/') || path.size() > kMaxPathLength ||
      path.find('\0') != std::string_view::npos) {
    return Fail(error, "the endpoint " + Quoted(text) +
                           " names no port; write serial:/dev/virtio-ports/NAME");
  }
  Endpoint endpoint;
  endpoint.kind = Endpoint::Kind::kSerial;
  endpoint.path = path;
  return endpoint;
}

}  // namespace

std::optional<Endpoint> Endpoint::Parse(std::string_view text, std::string* error) {
  if (text.starts_with(kUnixPrefix)) {
    return ParseUnix(text, error);
  }
  if (text.starts_with(kTcpPrefix)) {
    return ParseTcp(text, error);
  }
  if (text.starts_with(kVsockPrefix)) {
    return ParseVsock(text, error);
  }
  if (text.starts_with(kSerialPrefix)) {
    return ParseSerial(text, error);
  }
  return Fail(error, Quoted(text) +
                         " is no endpoint; write unix:/path/to/socket, tcp:HOST:PORT, "
                         "vsock:CID:PORT or serial:/dev/virtio-ports/NAME");
}

std::string Endpoint::ToString() const {
  if (kind == Kind::kUnix) {
    return std::string(kUnixPrefix) + path;
  }
  if (kind == Kind::kSerial) {
    return std::string(kSerialPrefix) + path;
  }
  if (kind == Kind::kVsock) {
    const auto* const entry = std::find_if(kCidNames.begin(), kCidNames.end(),
                                           [this](const CidName& each) { return each.cid == cid; });
    return std::string(kVsockPrefix) +
           (entry != kCidNames.end() ? std::string(entry->name) : std::to_string(cid)) + ":" +
           std::to_string(port);
  }
  const bool is_v6 = host.find(':') != std::string::npos;
  return std::string(kTcpPrefix) + (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

bool Endpoint::IsLoopback() const {
  if (kind != Kind::kTcp) {
    return kind == Kind::kVsock && cid == kVsockLocal;
  }
  asio::error_code code;
  const asio::ip::address address = asio::ip::make_address(host, code);
  if (code) {
    return std::equal(host.begin(), host.end(), kLocalhost.begin(), kLocalhost.end(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
  }
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
  }
  return address.is_loopback();
}

}  // namespace vesper::transport
