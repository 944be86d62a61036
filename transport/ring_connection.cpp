// SPDX-License-Identifier: Apache-2.0
#include "transport/ring_connection.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <utility>

#include "transport/quiet_thread.h"

namespace vesper::transport {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kWords = 0;
constexpr size_t kProgress = kPage;
constexpr size_t kBytes = 2 * kPage;
static_assert(2 * sizeof(RingWords) <= kPage && sizeof(ProgressPage) <= kPage);

/// What is written is shown in pieces of so many bytes, so that both sides copy at the same time.
constexpr size_t kPieceBytes = 64u << 10;

size_t FileBytes(size_t ring_bytes) { return kBytes + 2 * ring_bytes; }

}  // namespace

std::unique_ptr<RingMemory> RingMemory::Create(size_t ring_bytes, std::string* why_not) {
  auto mapping = SharedFileMapping::Create("vesper-rings", FileBytes(ring_bytes), why_not);
  return mapping == nullptr
             ? nullptr
             : std::unique_ptr<RingMemory>(new RingMemory(std::move(mapping), ring_bytes));
}

std::unique_ptr<RingMemory> RingMemory::Accept(UniqueFd file, uint64_t ring_bytes,
                                               std::string* why_not) {
  if (!std::has_single_bit(ring_bytes) || ring_bytes < kMinBytes || ring_bytes > kMaxBytes) {
    *why_not = "the guest wants rings of " + std::to_string(ring_bytes) +
               " bytes; they can have a power of two from " + std::to_string(kMinBytes) + " to " +
               std::to_string(kMaxBytes);
    return nullptr;
  }
  const auto bytes = static_cast<size_t>(ring_bytes);
  auto mapping = SharedFileMapping::Accept(std::move(file), FileBytes(bytes), why_not);
  return mapping == nullptr
             ? nullptr
             : std::unique_ptr<RingMemory>(new RingMemory(std::move(mapping), bytes));
}

RingWords& RingMemory::words(bool from_guest) const {
  auto* words = reinterpret_cast<RingWords*>(mapping_->bytes().data() + kWords);
  return words[from_guest ? 0 : 1];
}

std::span<std::byte> RingMemory::bytes(bool from_guest) const {
  return mapping_->bytes().subspan(kBytes + (from_guest ? 0 : ring_bytes_), ring_bytes_);
}

ProgressPage& RingMemory::progress() const {
  return *reinterpret_cast<ProgressPage*>(mapping_->bytes().data() + kProgress);
}

RingConnection::RingConnection(Connection& socket, std::unique_ptr<RingMemory> memory, Side side,
                               Spinning spinning)
    : socket_(socket),
      memory_(std::move(memory)),
      writer_(memory_->words(side == Side::kGuest), memory_->bytes(side == Side::kGuest)),
      reader_(memory_->words(side == Side::kHost), memory_->bytes(side == Side::kHost)),
      read_spin_(spinning),
      write_spin_(spinning),
      watcher_(StartQuietThread([this] { Watch(); })) {}

RingConnection::~RingConnection() {
  Shutdown();
  watcher_.join();
}

template <typename IsReady>
bool RingConnection::WaitFor(Doorbell bell, AdaptiveSpin& spin, const IsReady& is_ready) {
  const auto is_over = [&] { return is_ready() || has_ended_.load(std::memory_order_acquire); };
  if (!spin.Until(is_over)) {
    // Watch() wakes those who are noted here until none is.
    sleeping_.fetch_add(1);
    bell.WaitUntil(is_over);
    sleeping_.fetch_sub(1);
  }
  // Once more: what came before the end is there now.
  return is_ready();
}

bool RingConnection::Write(std::span<const std::span<const std::byte>> parts) {
  order_.fetch_add(1, std::memory_order_release);
  size_t put = 0;  // and not published
  for (std::span<const std::byte> rest : parts) {
    while (!rest.empty()) {
      if (HasEnded()) {
        return false;
      }
      const size_t count = writer_.Put(rest.first(std::min(rest.size(), kPieceBytes - put)));
      rest = rest.subspan(count);
      put += count;
      if (put == kPieceBytes || (count == 0 && put != 0)) {
        writer_.Publish();
        put = 0;
      } else if (count == 0) {
        WaitFor(writer_.RoomBell(), write_spin_, [this] { return writer_.HasRoom(); });
        if (writer_.IsBroken()) {
          Break();
        }
      }
    }
  }
  writer_.Publish();
  return !HasEnded();
}

size_t RingConnection::ReadSome(std::span<std::byte> buffer) {
  while (!is_shut_down_.load(std::memory_order_acquire)) {
    const size_t count = reader_.Take(buffer);
    if (count != 0) {
      order_.load(std::memory_order_acquire);
      return is_shut_down_.load(std::memory_order_acquire) ? 0 : count;
    }
    if (!WaitFor(reader_.BytesBell(), read_spin_, [this] { return reader_.HasBytes(); })) {
      break;
    }
    if (reader_.IsBroken()) {
      Break();
    }
  }
  return 0;
}

void RingConnection::Break() {
  is_broken_.store(true);
  Shutdown();
}

void RingConnection::Shutdown() {
  is_shut_down_.store(true, std::memory_order_release);
  socket_.Shutdown();
}

std::string RingConnection::Error() const {
  return is_broken_.load() ? "the peer has written nonsense into the shared rings; it is broken"
                           : socket_.Error();
}

void RingConnection::Watch() {
  socket_.WaitForEnd();
  has_ended_.store(true);
  // Again until they have heard it: a hostile peer may turn the count back.
  do {
    writer_.RoomBell().RingAlways();
    reader_.BytesBell().RingAlways();
    memory_->progress().Bell().RingAlways();
    if (sleeping_.load() == 0) {
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } while (true);
}

}  // namespace vesper::transport
