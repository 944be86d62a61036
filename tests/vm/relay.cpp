// SPDX-License-Identifier: Apache-2.0
// A guest's own way from one endpoint to another: what connects to the first is passed on to the
// second. It lets a guest without a vsock device use vsock to itself.
//
//   vm_relay LISTEN CONNECT
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "transport/stream.h"

namespace {

using vesper::transport::Connection;
using vesper::transport::Endpoint;

constexpr std::chrono::seconds kLimit{10};

void Pass(Connection& from, Connection& to) {
  std::vector<std::byte> bytes(64u << 10);
  while (const size_t count = from.ReadSome(bytes)) {
    const std::span<const std::byte> parts[] = {std::span(bytes).first(count)};
    if (!to.Write(parts)) {
      break;
    }
  }
  from.Shutdown();
  to.Shutdown();
}

}  // namespace

int main(int argc, char** argv) {
  std::string error = "usage: vm_relay LISTEN CONNECT";
  const auto here = argc == 3 ? Endpoint::Parse(argv[1], &error) : std::nullopt;
  const auto there = here ? Endpoint::Parse(argv[2], &error) : std::nullopt;
  const auto listener = there ? vesper::transport::Listener::Open(*here, &error) : nullptr;
  if (listener) {
    std::puts("listening");
    std::fflush(stdout);
  }
  while (listener) {
    const std::unique_ptr<Connection> guest = listener->Accept(std::chrono::hours(1), &error);
    const std::unique_ptr<Connection> host =
        guest ? vesper::transport::Connect(*there, kLimit, &error) : nullptr;
    if (!host) {
      break;
    }
    std::thread back([&] { Pass(*host, *guest); });
    Pass(*guest, *host);
    back.join();
  }
  std::fprintf(stderr, "vm_relay: %s\n", error.c_str());
  return 1;
}
