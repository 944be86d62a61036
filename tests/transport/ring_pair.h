// SPDX-License-Identifier: Apache-2.0
// Both ends of a connection through rings, in one process.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "tests/transport/stream_helpers.h"
#include "transport/ring_connection.h"

namespace vesper::transport {

/// The host's end of memory that came through the socket, as the set-up does it.
inline std::unique_ptr<RingConnection> AcceptRings(Connection& socket, size_t ring_bytes) {
  const Bytes first = ReadUpTo(socket, 1);
  EXPECT_EQ(first.size(), 1u);
  std::vector<UniqueFd> files = socket.TakeDescriptors();
  EXPECT_EQ(files.size(), 1u);
  std::string why_not;
  auto memory = RingMemory::Accept(files.empty() ? UniqueFd() : std::move(files.front()),
                                   ring_bytes, &why_not);
  EXPECT_TRUE(memory) << why_not;
  return memory == nullptr
             ? nullptr
             : std::make_unique<RingConnection>(socket, std::move(memory),
                                                RingConnection::Side::kHost, Spinning::kAuto);
}

/// The guest's.
inline std::unique_ptr<RingConnection> OfferRings(Connection& socket, size_t ring_bytes) {
  std::string why_not;
  auto memory = RingMemory::Create(ring_bytes, &why_not);
  EXPECT_TRUE(memory) << why_not;
  const Bytes first(1);
  const std::span<const std::byte> parts[] = {first};
  const int file = memory->file();
  EXPECT_TRUE(socket.WriteWithDescriptors(parts, {&file, 1}));
  return std::make_unique<RingConnection>(socket, std::move(memory), RingConnection::Side::kGuest,
                                          Spinning::kAuto);
}

struct RingPair {
  explicit RingPair(size_t ring_bytes)
      : guest(OfferRings(*sockets.client, ring_bytes)),
        host(AcceptRings(*sockets.server, ring_bytes)) {}

  ConnectedPair sockets{Endpoint::Kind::kUnix};
  std::unique_ptr<RingConnection> guest;
  std::unique_ptr<RingConnection> host;
};

}  // namespace vesper::transport
