// SPDX-License-Identifier: Apache-2.0
//
// What passing bytes between two threads costs: through a Unix socket, and through rings in shared
// memory of several sizes. A round trip of 64 bytes, by threads that sleep at once and by threads
// that look around first; and a stream of bytes in frames of 4 MiB.
#include <benchmark/benchmark.h>
#include <sys/socket.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "transport/ring_connection.h"
#include "transport/stream.h"

namespace vesper::transport {
namespace {

// Two ends, one of them through the other's memory if there are rings.
struct Ends {
  Ends(size_t ring_bytes, Spinning spinning) {
    int sockets[2] = {-1, -1};
    std::string error;
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
      std::abort();
    }
    a = AdoptSocket(sockets[0], &error);
    b = AdoptSocket(sockets[1], &error);
    if (ring_bytes != 0) {
      auto mine = RingMemory::Create(ring_bytes, &error);
      auto theirs = RingMemory::Accept(UniqueFd(::dup(mine->file())), ring_bytes, &error);
      under_a = std::move(a);
      under_b = std::move(b);
      a = std::make_unique<RingConnection>(*under_a, std::move(mine), RingConnection::Side::kGuest,
                                           spinning);
      b = std::make_unique<RingConnection>(*under_b, std::move(theirs), RingConnection::Side::kHost,
                                           spinning);
    }
  }

  std::unique_ptr<Connection> under_a;
  std::unique_ptr<Connection> under_b;
  std::unique_ptr<Connection> a;
  std::unique_ptr<Connection> b;
};

bool Write(Connection& connection, std::span<const std::byte> bytes) {
  const std::span<const std::byte> parts[] = {bytes};
  return connection.Write(parts);
}

void RoundTrip(benchmark::State& state) {
  Ends ends(static_cast<size_t>(state.range(0)),
            state.range(1) != 0 ? Spinning::kAuto : Spinning::kNever);
  std::thread echo([&] {
    std::vector<std::byte> bytes(64);
    while (ends.b->ReadSome(bytes) != 0 && Write(*ends.b, bytes)) {
    }
  });
  std::vector<std::byte> bytes(64);
  for (auto _ : state) {
    Write(*ends.a, bytes);
    ends.a->ReadSome(bytes);
  }
  ends.a->Shutdown();
  echo.join();
}
BENCHMARK(RoundTrip)
    ->ArgNames({"ring", "spin"})
    ->Args({0, 0})
    ->Args({1 << 20, 0})
    ->Args({1 << 20, 1})
    ->UseRealTime();

void Stream(benchmark::State& state) {
  Ends ends(static_cast<size_t>(state.range(0)), Spinning::kAuto);
  std::thread reader([&] {
    std::vector<std::byte> bytes(4u << 20);
    while (ends.b->ReadSome(bytes) != 0) {
    }
  });
  const std::vector<std::byte> bytes(4u << 20, std::byte{1});
  for (auto _ : state) {
    Write(*ends.a, bytes);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
  ends.a->Shutdown();
  reader.join();
}
BENCHMARK(Stream)
    ->ArgName("ring")
    ->Arg(0)
    ->Arg(64 << 10)
    ->Arg(256 << 10)
    ->Arg(1 << 20)
    ->Arg(4 << 20)
    ->Arg(16 << 20)
    ->UseRealTime();

}  // namespace
}  // namespace vesper::transport

BENCHMARK_MAIN();
