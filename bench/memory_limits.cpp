// SPDX-License-Identifier: Apache-2.0
//
// What this machine could do at best: the bytes of the memory figures through a plain socket, and
// the raw costs of finding out what was written. The names are those of the figures that each
// limit stands beside.
//
// The socket's other end is another process, which receives straight into its memory and
// acknowledges: no protocol, no comparison, no GPU.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "bench/figures.h"
#include "bench/run_program.h"
#include "client_icd/shadow_arena.h"
#include "client_icd/write_tracker.h"

namespace vesper::bench {
namespace {

constexpr size_t kDenseBytes = 64 * kMiB;
constexpr size_t kSparseBytes = 256 * kMiB;
constexpr size_t kSparsePages = kSparseBytes / kPageBytes;
constexpr size_t kManyBytes = 64u << 10;
constexpr int kUnixSendBuffer = 1 << 20;
constexpr size_t kVectors = 1024;  // parts of one system call

[[noreturn]] void Throw(const char* call) {
  throw std::system_error(errno, std::generic_category(), call);
}

/// Anonymous memory that is there already when the clock starts.
class Pages {
 public:
  explicit Pages(size_t bytes) : bytes_(bytes) {
    void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (pages == MAP_FAILED) {
      Throw("mmap");
    }
    data_ = static_cast<std::byte*>(pages);
  }
  ~Pages() { ::munmap(data_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  std::span<std::byte> bytes() const { return {data_, bytes_}; }

 private:
  std::byte* data_;
  size_t bytes_;
};

// -- a plain stream ------------------------------------------------------------------------------

void SendAll(int socket, std::vector<iovec> parts) {
  for (size_t first = 0; first < parts.size();) {
    msghdr message{};
    message.msg_iov = &parts[first];
    message.msg_iovlen = std::min(kVectors, parts.size() - first);
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      Throw("sendmsg");
    }
    size_t left = static_cast<size_t>(sent);
    while (first < parts.size() && left >= parts[first].iov_len) {
      left -= parts[first++].iov_len;
    }
    if (left > 0) {
      parts[first].iov_base = static_cast<std::byte*>(parts[first].iov_base) + left;
      parts[first].iov_len -= left;
    }
  }
}

void SendAll(int socket, std::span<const std::byte> bytes) {
  SendAll(socket, std::vector<iovec>{{const_cast<std::byte*>(bytes.data()), bytes.size()}});
}

/// False at the end of the stream.
bool ReceiveAll(int socket, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (count < 0) {
      Throw("recv");
    }
    if (count == 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return true;
}

struct Request {
  uint64_t bytes_to_peer;
  uint64_t bytes_from_peer;
};

/// The other process: takes what it is promised into its memory, gives what it is asked for.
void Serve(int socket) {
  const Pages memory(kSparseBytes);
  Request request;
  while (ReceiveAll(socket, std::as_writable_bytes(std::span(&request, 1)))) {
    ReceiveAll(socket, memory.bytes().first(request.bytes_to_peer));
    SendAll(socket, memory.bytes().first(request.bytes_from_peer));
  }
}

/// Connected sockets of the kind that Vesper uses, with the options that it sets.
void Connect(bool tcp, int sockets[2]) {
  if (!tcp) {
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
      Throw("socketpair");
    }
    for (int i = 0; i < 2; ++i) {
      ::setsockopt(sockets[i], SOL_SOCKET, SO_SNDBUF, &kUnixSendBuffer, sizeof(kUnixSendBuffer));
    }
    return;
  }
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || ::bind(listener, raw, size) != 0 || ::listen(listener, 1) != 0 ||
      ::getsockname(listener, raw, &size) != 0) {
    Throw("listen");
  }
  sockets[0] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (sockets[0] < 0 || ::connect(sockets[0], raw, size) != 0) {
    Throw("connect");
  }
  sockets[1] = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (sockets[1] < 0) {
    Throw("accept");
  }
  ::close(listener);
  const int on = 1;
  for (int i = 0; i < 2; ++i) {
    ::setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
}

class Peer {
 public:
  explicit Peer(bool tcp) {
    int sockets[2];
    Connect(tcp, sockets);
    process_ = ::fork();
    if (process_ < 0) {
      Throw("fork");
    }
    if (process_ == 0) {
      ::close(sockets[0]);
      int status = 0;
      try {
        Serve(sockets[1]);
      } catch (const std::exception& failure) {
        std::fprintf(stderr, "memory_limits: the peer: %s\n", failure.what());
        status = 1;
      }
      ::_exit(status);
    }
    ::close(sockets[1]);
    socket_ = sockets[0];
  }
  ~Peer() {
    ::close(socket_);
    ::waitpid(process_, nullptr, 0);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// Sends parts of `bytes` bytes together, and returns when the peer has them all.
  void Send(std::vector<iovec> parts, size_t bytes) {
    Request request{bytes, sizeof(uint64_t)};
    parts.insert(parts.begin(), {&request, sizeof(request)});
    SendAll(socket_, std::move(parts));
    uint64_t acknowledged;
    Receive(std::as_writable_bytes(std::span(&acknowledged, 1)));
  }
  void Send(std::span<std::byte> bytes) { Send({{bytes.data(), bytes.size()}}, bytes.size()); }

  void Ask(std::span<std::byte> bytes) {
    const Request request{0, bytes.size()};
    SendAll(socket_, std::as_bytes(std::span(&request, 1)));
    Receive(bytes);
  }

 private:
  void Receive(std::span<std::byte> bytes) {
    if (!ReceiveAll(socket_, bytes)) {
      throw std::runtime_error("the peer is gone");
    }
  }

  int socket_ = -1;
  pid_t process_ = -1;
};

void StreamLimits(bool tcp, const Effort& effort, bool every_count) {
  Peer peer(tcp);
  const Pages memory(kSparseBytes);
  uint64_t seed = 0;
  const auto send = [&](size_t bytes) {
    return Measure(effort, [&](Repetition& repetition) {
      const std::span<std::byte> some = memory.bytes().first(bytes);
      Fill(some, Content::kNoise, ++seed);
      repetition.EndPhase("write");
      peer.Send(some);
      repetition.EndPhase("stream");
    });
  };
  const Measured dense = send(kDenseBytes);
  for (const char* name :
       {"dense: map, write 64 MiB, unmap, copy", "dense: write 64 MiB mapped, copy",
        "dense: write 64 MiB mapped, device may write it, copy",
        "dense: write 64 MiB mapped on the device, copy"}) {
    PrintFigure(name, Unit::kGigabytesPerSecond, dense, kDenseBytes);
  }
  for (size_t pages = 1; pages <= kSparsePages; pages *= every_count ? 4 : 256) {
    const size_t stride = kSparsePages / pages * kPageBytes;
    const Measured sparse = Measure(effort, [&](Repetition& repetition) {
      ++seed;
      std::vector<iovec> parts;
      for (size_t page = 0; page < pages; ++page) {
        const std::span<std::byte> bytes = memory.bytes().subspan(page * stride, kPageBytes);
        Fill(bytes, Content::kNoise, seed);
        parts.push_back({bytes.data(), bytes.size()});
      }
      repetition.EndPhase("write");
      peer.Send(std::move(parts), pages * kPageBytes);
      repetition.EndPhase("stream");
    });
    PrintFigure("sparse: " + Grouped(pages) + " of 65,536 pages written", Unit::kMilliseconds,
                sparse);
  }
  const Measured readback = Measure(effort, [&](Repetition& repetition) {
    peer.Ask(memory.bytes().first(kDenseBytes));
    repetition.EndPhase("stream");
    uint64_t sum = 0;
    for (size_t offset = 0; offset < kDenseBytes; offset += sizeof(uint64_t)) {
      uint64_t word;
      std::memcpy(&word, memory.bytes().data() + offset, sizeof(word));
      sum += word;
    }
    const volatile uint64_t keep = sum;
    static_cast<void>(keep);
    repetition.EndPhase("read");
  });
  PrintFigure("readback: device writes 64 MiB, program reads it", Unit::kGigabytesPerSecond,
              readback, kDenseBytes);
  const Measured round_trip = Measure(effort, [&](Repetition& repetition) {
    peer.Ask(memory.bytes().first(sizeof(uint64_t)));
    repetition.EndPhase("round trip");
  });
  for (const char* name :
       {"submit and wait, nothing to do", "idle: empty submission, nothing mapped",
        "idle: empty submission, 1 GiB mapped",
        "idle: empty submission, 1 GiB mapped that the device may write",
        "idle: small dispatch, nothing mapped", "idle: small dispatch, 1 GiB mapped",
        "idle: small dispatch, 1 GiB mapped that the device may write",
        "readback: counter after a dispatch, 256 MiB mapped"}) {
    PrintFigure(name, Unit::kMicroseconds, round_trip);
  }
  PrintFigure("many: 1 of 1,000 mappings of 64 KiB written", Unit::kMicroseconds, send(kManyBytes));
}

/// What a link of that rate can carry.
void LinkLimits(double megabits_per_second) {
  for (const char* name :
       {"link: write 8 MiB mapped, noise", "link: write 8 MiB mapped, records",
        "link: 256 of 2,048 pages written, noise", "link: 256 of 2,048 pages written, records"}) {
    PrintValue(name, "MB/s", megabits_per_second / 8);
  }
}

// -- memory --------------------------------------------------------------------------------------

void MemoryLimits(const Effort& effort) {
  const Pages live(kSparseBytes);
  const Pages twin(kSparseBytes);
  Fill(live.bytes(), Content::kNoise, 1);
  const Measured copy = Measure(effort, [&](Repetition& repetition) {
    std::memcpy(twin.bytes().data(), live.bytes().data(), kSparseBytes);
    repetition.EndPhase("copy");
  });
  PrintFigure("machine: memcpy of 256 MiB", Unit::kGigabytesPerSecond, copy, kSparseBytes);
  const Measured comparison = Measure(effort, [&](Repetition& repetition) {
    const volatile int order = std::memcmp(twin.bytes().data(), live.bytes().data(), kSparseBytes);
    static_cast<void>(order);
    repetition.EndPhase("compare");
  });
  PrintFigure("machine: comparison of 256 MiB with a twin", Unit::kGigabytesPerSecond, comparison,
              kSparseBytes);
}

/// Says so if the kernel has no such tracking, or this process may not use it.
void TrackerLimits(const Effort& effort) {
  std::string error;
  const std::unique_ptr<client::WriteTracker> tracker =
      client::MakeWriteTracker(client::MemoryTier::kAsync, &error);
  if (tracker == nullptr) {
    std::fprintf(stderr, "memory_limits: no asynchronous write protection: %s\n", error.c_str());
    return;
  }
  client::ShadowArena arena;
  client::ShadowArena::Piece piece;
  if (!arena.Allocate(kSparseBytes, &piece)) {
    throw std::runtime_error("expected 256 MiB of shared memory, got none");
  }
  std::memset(piece.program, 1, kSparseBytes);
  const client::PageRange all{piece.program, piece.program + kSparseBytes};
  if (!tracker->Watch(all)) {
    throw std::runtime_error("the kernel does not watch 256 MiB of shared memory");
  }
  std::vector<client::PageRange> written;
  const auto collect = [&] {
    written.clear();
    if (!tracker->Take(all, written)) {
      throw std::runtime_error("the kernel does not tell which pages were written");
    }
    size_t bytes = 0;
    for (const client::PageRange& range : written) {
      bytes += range.bytes();
    }
    return bytes / kPageBytes;
  };
  const auto measure = [&](size_t pages) {
    collect();
    const size_t stride = pages == 0 ? 0 : kSparsePages / pages * kPageBytes;
    return Measure(effort, [&](Repetition& repetition) {
      for (size_t page = 0; page < pages; ++page) {
        piece.program[page * stride] ^= std::byte{1};
      }
      repetition.EndPhase("write");
      const size_t found = collect();
      repetition.EndPhase("collect");
      if (found != pages) {
        throw std::runtime_error("the kernel reported " + std::to_string(found) + " of " +
                                 std::to_string(pages) + " written pages");
      }
    });
  };
  PrintFigure("machine: scan of 256 MiB, nothing written", Unit::kMicroseconds, measure(0));
  for (const size_t pages : {size_t{256}, kSparsePages}) {
    PrintFigure("machine: " + Grouped(pages) + " of 65,536 pages touched and found",
                Unit::kMilliseconds, measure(pages));
  }
}

int Run(int argc, char** argv) {
  CLI::App app("Measures the limits that the memory figures are held against.", "memory_limits");
  bool quick = false;
  bool machine = false;
  std::string transport;
  double link = 0;
  app.add_flag("--quick", quick, "few repetitions, and fewer figures");
  app.add_option("--transport", transport, "a plain stream over this kind of socket")
      ->check(CLI::IsMember({"unix", "tcp"}));
  app.add_option("--link", link, "a link of that many megabits in a second");
  app.add_flag("--machine", machine, "memory, and finding out what was written to it");
  CLI11_PARSE(app, argc, argv);
  const Effort effort = quick ? Effort::Quick() : Effort();
  if (!transport.empty()) {
    StreamLimits(transport == "tcp", effort, !quick);
  }
  if (link > 0) {
    LinkLimits(link);
  }
  if (machine) {
    MemoryLimits(effort);
    TrackerLimits(effort);
  }
  return 0;
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) {
  return vesper::bench::RunProgram("memory_limits", vesper::bench::Run, argc, argv);
}
