// SPDX-License-Identifier: Apache-2.0
// Small things that the tests of transport/ share.
#ifndef VESPER_TESTS_TRANSPORT_STREAM_HELPERS_H_
#define VESPER_TESTS_TRANSPORT_STREAM_HELPERS_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/framework/process.h"
#include "transport/stream.h"

namespace vesper::transport {

using Bytes = std::vector<std::byte>;

inline Bytes ToBytes(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(data, data + text.size());
}

inline Bytes RandomBytes(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  return bytes;
}

inline bool WriteAll(Connection& connection, std::span<const std::byte> bytes) {
  const std::span<const std::byte> parts[] = {bytes};
  return connection.Write(parts);
}

/// Reads until `size` bytes came or the stream ended.
inline Bytes ReadUpTo(Connection& connection, size_t size) {
  Bytes bytes(size);
  size_t count = 0;
  while (count < size) {
    const size_t step = connection.ReadSome(std::span(bytes).subspan(count));
    if (step == 0) {
      break;
    }
    count += step;
  }
  bytes.resize(count);
  return bytes;
}

using tests::TemporaryFolder;

/// A listener and both ends of one connection that it accepted.
struct ConnectedPair {
  TemporaryFolder folder;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Connection> client;
  std::unique_ptr<Connection> server;

  explicit ConnectedPair(Endpoint::Kind kind) {
    std::string error;
    const std::string text = kind == Endpoint::Kind::kUnix  ? "unix:" + folder.Path("socket")
                             : kind == Endpoint::Kind::kTcp ? "tcp:127.0.0.1:0"
                                                            : "vsock:local:4243";
    listener = Listener::Open(*Endpoint::Parse(text, &error), &error);
    if (listener) {
      client = Connect(listener->endpoint(), std::chrono::seconds(10), &error);
    }
    if (client) {
      server = listener->Accept(std::chrono::seconds(10), &error);
    }
    EXPECT_TRUE(server) << error;
  }
};

}  // namespace vesper::transport

#endif  // VESPER_TESTS_TRANSPORT_STREAM_HELPERS_H_
