// SPDX-License-Identifier: Apache-2.0
// One Link joins the two ends; each direction of it is a Pipe. A single mutex guards all of it:
// what happens to one direction (a cut, a closed end) is felt by the other, and a test harness has
// no hurry. Each pipe has its own condition, on which its reader and its writer wait.
#include "transport/loopback.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

namespace vesper::transport {
namespace {

using Clock = std::chrono::steady_clock;

struct Chunk {
  std::vector<std::byte> bytes;
  size_t taken = 0;
  Clock::time_point due;
};

struct Pipe {
  Faults faults;
  std::deque<Chunk> chunks;
  size_t under_way = 0;
  uint64_t written = 0;
  uint64_t read = 0;
  std::vector<UniqueFd> descriptors;  // that came with the first bytes
  std::condition_variable changed;
};

// Why an end no longer works; the first reason stays.
struct End {
  bool is_open = true;
  bool has_ended = false;
  std::string reason;

  void Finish(const char* why) {
    if (!has_ended) {
      has_ended = true;
      reason = why;
    }
  }
};

struct Link {
  std::mutex mutex;
  std::array<Pipe, 2> pipes;  // pipes[i] carries what end i writes
  std::array<End, 2> ends;
  bool is_cut = false;

  void Cut() {
    is_cut = true;
    for (End& end : ends) {
      end.Finish("the loopback link was cut");
    }
    WakeAll();
  }

  void WakeAll() {
    for (Pipe& pipe : pipes) {
      pipe.changed.notify_all();
    }
  }
};

class LoopbackConnection final : public Connection {
 public:
  LoopbackConnection(std::shared_ptr<Link> link, size_t side)
      : link_(std::move(link)),
        mine_(link_->ends[side]),
        other_(link_->ends[1 - side]),
        out_(link_->pipes[side]),
        in_(link_->pipes[1 - side]) {}

  ~LoopbackConnection() override { Shutdown(); }

  bool Write(std::span<const std::span<const std::byte>> parts) override {
    std::unique_lock lock(link_->mutex);
    for (std::span<const std::byte> part : parts) {
      while (!part.empty()) {
        out_.changed.wait(lock,
                          [this] { return !CanWrite() || out_.under_way < out_.faults.capacity; });
        if (!CanWrite()) {
          break;
        }
        const size_t count = std::min(part.size(), out_.faults.capacity - out_.under_way);
        Append(part.first(count));
        part = part.subspan(count);
      }
    }
    if (!CanWrite()) {
      mine_.Finish("the peer closed the connection before it had taken everything");
      return false;
    }
    return true;
  }

  bool PassesDescriptors() const override { return true; }

  bool WriteWithDescriptors(std::span<const std::span<const std::byte>> parts,
                            std::span<const int> descriptors) override {
    {
      const std::lock_guard lock(link_->mutex);
      if (out_.written == 0) {
        for (const int descriptor : descriptors) {
          out_.descriptors.emplace_back(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
        }
      }
    }
    return Write(parts);
  }

  std::vector<UniqueFd> TakeDescriptors() override {
    const std::lock_guard lock(link_->mutex);
    return std::move(in_.descriptors);
  }

  void WaitForEnd() override {
    std::unique_lock lock(link_->mutex);
    in_.changed.wait(lock, [this] { return !CanWrite(); });
  }

  size_t ReadSome(std::span<std::byte> buffer) override {
    std::unique_lock lock(link_->mutex);
    while (mine_.is_open && !link_->is_cut) {
      if (in_.chunks.empty()) {
        if (!other_.is_open) {
          mine_.Finish("");
          return 0;
        }
        in_.changed.wait(lock);
      } else if (const Clock::time_point due = in_.chunks.front().due; due > Clock::now()) {
        in_.changed.wait_until(lock, due);
      } else {
        return Take(buffer);
      }
    }
    return 0;
  }

  void Shutdown() override {
    const std::lock_guard lock(link_->mutex);
    mine_.Finish("the connection was shut down on this side");
    mine_.is_open = false;
    link_->WakeAll();
  }

  bool PeerIsGone() const override {
    const std::lock_guard lock(link_->mutex);
    return !CanWrite();
  }

  std::string Error() const override {
    const std::lock_guard lock(link_->mutex);
    return mine_.reason;
  }

  std::string Peer() const override { return "loopback"; }
  bool IsLocal() const override { return true; }

 private:
  // All of these need the link's mutex.

  bool CanWrite() const { return mine_.is_open && other_.is_open && !link_->is_cut; }

  void Append(std::span<const std::byte> bytes) {
    Chunk chunk;
    chunk.bytes.assign(bytes.begin(), bytes.end());
    chunk.due = Clock::now() + out_.faults.delay;
    const std::optional<uint64_t>& corrupt_at = out_.faults.corrupt_at;
    if (corrupt_at && *corrupt_at >= out_.written && *corrupt_at - out_.written < bytes.size()) {
      chunk.bytes[*corrupt_at - out_.written] ^= out_.faults.corrupt_mask;
    }
    out_.written += bytes.size();
    out_.under_way += bytes.size();
    out_.chunks.push_back(std::move(chunk));
    out_.changed.notify_all();
  }

  size_t Take(std::span<std::byte> buffer) {
    Chunk& chunk = in_.chunks.front();
    size_t count = std::min({buffer.size(), in_.faults.max_read, chunk.bytes.size() - chunk.taken});
    const std::optional<uint64_t>& cut_after = in_.faults.cut_after;
    if (cut_after) {
      count = static_cast<size_t>(std::min<uint64_t>(count, *cut_after - in_.read));
    }
    std::copy_n(chunk.bytes.begin() + static_cast<ptrdiff_t>(chunk.taken), count, buffer.begin());
    chunk.taken += count;
    if (chunk.taken == chunk.bytes.size()) {
      in_.chunks.pop_front();
    }
    in_.read += count;
    in_.under_way -= count;
    in_.changed.notify_all();
    if (cut_after && in_.read == *cut_after) {
      link_->Cut();
    }
    return count;
  }

  const std::shared_ptr<Link> link_;
  End& mine_;
  End& other_;
  Pipe& out_;
  Pipe& in_;
};

}  // namespace

std::pair<std::unique_ptr<Connection>, std::unique_ptr<Connection>> MakeLoopback(
    const Faults& a_to_b, const Faults& b_to_a) {
  auto link = std::make_shared<Link>();
  link->pipes[0].faults = a_to_b;
  link->pipes[1].faults = b_to_a;
  for (Pipe& pipe : link->pipes) {
    pipe.faults.capacity = std::max<size_t>(pipe.faults.capacity, 1);
    pipe.faults.max_read = std::max<size_t>(pipe.faults.max_read, 1);
  }
  if (a_to_b.cut_after == 0 || b_to_a.cut_after == 0) {
    link->Cut();
  }
  auto a = std::make_unique<LoopbackConnection>(link, 0);
  auto b = std::make_unique<LoopbackConnection>(link, 1);
  return {std::move(a), std::move(b)};
}

}  // namespace vesper::transport
