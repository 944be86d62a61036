// SPDX-License-Identifier: Apache-2.0
#include "proto/frame.h"

#include <algorithm>
#include <cstring>

#include "proto/chunks.h"
#include "proto/compression.h"
#include "proto/reader.h"

namespace vesper::proto {
namespace {

/// What is read while the size of the next frame is not known.
constexpr size_t kReceiveBytes = 64u << 10;
/// Frames from here on are large: copying them costs more than giving their memory away.
constexpr size_t kLargeFrameBytes = 64u << 10;
/// A receive buffer that has grown beyond this is not kept. Frames of memory contents are smaller.
constexpr size_t kKeptBufferBytes = 16u << 20;
/// Receive buffers that wait for their next use hold this much together.
constexpr size_t kKeptPoolBytes = 32u << 20;

struct FrameHeader {
  uint32_t bytes;
  uint16_t type;
  uint16_t zero;
};
static_assert(sizeof(FrameHeader) == kFrameHeaderBytes);

struct CommandHeader {
  uint32_t size;
  uint16_t number;
  uint16_t flags;
};
static_assert(sizeof(CommandHeader) == kCommandHeaderBytes);

}  // namespace

// -- receiving ---------------------------------------------------------------------------------

Buffer FramePool::Take() {
  const std::lock_guard lock(mutex_);
  const auto largest = std::max_element(
      buffers_.begin(), buffers_.end(),
      [](const Buffer& a, const Buffer& b) { return a.capacity() < b.capacity(); });
  if (largest == buffers_.end()) {
    return Buffer();
  }
  Buffer taken = std::move(*largest);
  bytes_ -= taken.capacity();
  buffers_.erase(largest);
  return taken;
}

void FramePool::Give(Buffer buffer) {
  buffer.Clear();
  const std::lock_guard lock(mutex_);
  if (buffer.capacity() == 0 || buffer.capacity() > kKeptBufferBytes ||
      bytes_ + buffer.capacity() > kKeptPoolBytes) {
    return;
  }
  bytes_ += buffer.capacity();
  buffers_.push_back(std::move(buffer));
}

FrameMemory::~FrameMemory() {
  if (pool_ != nullptr) {
    pool_->Give(std::move(buffer_));
  }
}

FrameMemory& FrameMemory::operator=(FrameMemory&& other) noexcept {
  std::swap(buffer_, other.buffer_);
  std::swap(payload_, other.payload_);
  std::swap(pool_, other.pool_);
  return *this;
}

std::optional<FrameMemory> FrameMemory::Copy(std::span<const std::byte> payload) {
  FrameMemory memory;
  memory.buffer_.Put(payload.data(), payload.size());
  if (memory.buffer_.Failed()) {
    return std::nullopt;
  }
  memory.payload_ = memory.buffer_.Bytes().first(payload.size());
  return memory;
}

size_t FrameSplitter::PendingFrame() const {
  if (received_ - consumed_ < kFrameHeaderBytes) {
    return 0;
  }
  FrameHeader header;
  std::memcpy(&header, buffer_.Bytes().data() + consumed_, sizeof(header));
  return kFrameHeaderBytes + header.bytes;
}

bool FrameSplitter::Reserve(size_t bytes) {
  if (consumed_ > 0 && consumed_ + bytes > buffer_.capacity()) {
    std::memmove(buffer_.At(0), buffer_.At(consumed_), received_ - consumed_);
    received_ -= consumed_;
    consumed_ = 0;
  }
  if (buffer_.size() < consumed_ + bytes) {
    buffer_.Append(consumed_ + bytes - buffer_.size());
    if (buffer_.Failed()) {
      error_ = "out of memory for a frame";
      return false;
    }
  }
  return true;
}

std::span<std::byte> FrameSplitter::BeginReceive() {
  if (Failed()) {
    return {};
  }
  if (consumed_ == received_) {
    consumed_ = received_ = 0;
    buffer_.Shrink(kKeptBufferBytes);
    unpacked_.Shrink(kKeptBufferBytes);
    resolved_.Shrink(kKeptBufferBytes);
    ready_ = buffer_.capacity();
  }
  const size_t here = received_ - consumed_;
  const size_t frame = PendingFrame();
  size_t wanted = here + kReceiveBytes;
  if (frame > here && frame > kLargeFrameBytes) {
    // To its end if there was room from the start, else as much again as has come: the buffer at
    // most doubles what the peer really sent.
    wanted = std::min(frame, std::max({wanted, 2 * here, ready_}));
  }
  if (!Reserve(wanted)) {
    return {};
  }
  return {buffer_.At(received_), consumed_ + wanted - received_};
}

void FrameSplitter::EndReceive(size_t bytes) { received_ += bytes; }

std::optional<FrameMemory> FrameSplitter::TakeOver(const Frame& frame) {
  if (frame.payload.size() < kLargeFrameBytes) {
    return FrameMemory::Copy(frame.payload);
  }
  if (frame.payload.data() == unpacked_.Bytes().data()) {
    FrameMemory taken;
    taken.payload_ = frame.payload;
    taken.buffer_ = std::move(unpacked_);
    taken.pool_ = pool_;
    unpacked_ = pool_->Take();
    return taken;
  }
  // What has come of the next frames moves instead; there is seldom any.
  Buffer next = pool_->Take();
  next.Put(buffer_.Bytes().data() + consumed_, received_ - consumed_);
  if (next.Failed()) {
    return std::nullopt;
  }
  received_ -= consumed_;
  consumed_ = 0;
  FrameMemory taken;
  taken.payload_ = frame.payload;
  taken.buffer_ = std::move(buffer_);
  taken.pool_ = pool_;
  buffer_ = std::move(next);
  ready_ = buffer_.capacity();
  return taken;
}

std::optional<Frame> FrameSplitter::Next() {
  std::optional<Frame> frame;
  do {
    frame = NextOpened();
  } while (frame && frame->type == FrameType::kChunk);
  return frame;
}

bool FrameSplitter::MayCome(FrameType type) const {
  return type <= FrameType::kCommands || (type == FrameType::kCompressed && compression_ != 0) ||
         ((type == FrameType::kChunk || type == FrameType::kReferring) && chunks_ != nullptr);
}

bool FrameSplitter::Open(Frame& frame) {
  if (frame.type == FrameType::kCompressed) {
    if (!Unpack(frame.payload, compression_, &frame.type, unpacked_)) {
      error_ = "expected a compressed frame that can be unpacked, got " +
               std::to_string(frame.payload.size()) + " bytes that can not; the peer is broken";
      return false;
    }
    frame.payload = unpacked_.Bytes();
  }
  if (!MayCome(frame.type)) {
    error_ = "expected no chunks, since none were agreed on, got one; the peer is broken";
    return false;
  }
  if (frame.type == FrameType::kChunk) {
    if (!chunks_->Take(frame.payload)) {
      error_ = "expected a chunk of the agreed size, got " + std::to_string(frame.payload.size()) +
               " bytes; the peer is broken";
      return false;
    }
    return true;
  }
  if (frame.type != FrameType::kReferring) {
    return true;
  }
  if (!chunks_->Resolve(frame.payload, resolved_)) {
    error_ = "expected a frame that names chunks which are here, got another; the peer is broken";
    return false;
  }
  std::swap(unpacked_, resolved_);  // TakeOver knows that one
  frame = {FrameType::kCommands, unpacked_.Bytes()};
  return true;
}

std::optional<Frame> FrameSplitter::NextOpened() {
  if (Failed() || received_ - consumed_ < kFrameHeaderBytes) {
    return std::nullopt;
  }
  FrameHeader header;
  std::memcpy(&header, buffer_.At(consumed_), sizeof(header));
  if (header.bytes > max_payload_ || header.bytes % 8 != 0 || header.zero != 0 ||
      header.type < static_cast<uint16_t>(FrameType::kHello) ||
      !MayCome(static_cast<FrameType>(header.type))) {
    error_ = "expected a frame header of protocol Vesper, got type " + std::to_string(header.type) +
             " with " + std::to_string(header.bytes) +
             " bytes; the peer is not Vesper or is broken";
    return std::nullopt;
  }
  if (received_ - consumed_ - kFrameHeaderBytes < header.bytes) {
    return std::nullopt;
  }
  Frame frame{static_cast<FrameType>(header.type),
              {buffer_.At(consumed_ + kFrameHeaderBytes), header.bytes}};
  consumed_ += kFrameHeaderBytes + header.bytes;
  ready_ = buffer_.capacity();
  return Open(frame) ? std::optional(frame) : std::nullopt;
}

size_t BeginFrame(Buffer& buffer, FrameType type) {
  const size_t header = buffer.Append(kFrameHeaderBytes);
  buffer.Patch(header, FrameHeader{0, static_cast<uint16_t>(type), 0});
  return header;
}

void FinishFrame(Buffer& buffer, size_t header, size_t following) {
  buffer.Patch(header,
               static_cast<uint32_t>(buffer.size() - header - kFrameHeaderBytes + following));
}

size_t BeginCommand(Buffer& buffer, uint16_t number, uint16_t flags, uint64_t serial) {
  const size_t header = buffer.Append(kCommandHeaderBytes);
  buffer.Patch(header, CommandHeader{0, number, flags});
  if (flags != 0) {
    buffer.PutValue(serial);
  }
  return header;
}

bool FinishCommand(Buffer& buffer, size_t header, size_t following) {
  if (buffer.Failed()) {
    return false;
  }
  const size_t size = buffer.size() - header + following;
  if (size > kMaxFrameBytes) {
    buffer.Truncate(header);
    return false;
  }
  buffer.Patch(header, static_cast<uint32_t>(size));
  return true;
}

std::optional<Command> CommandWalker::Next() {
  if (failed_ || payload_.empty()) {
    return std::nullopt;
  }
  CommandHeader header{};
  if (payload_.size() >= sizeof(header)) {
    std::memcpy(&header, payload_.data(), sizeof(header));
  }
  const bool has_serial = header.flags != 0;
  const size_t body = kCommandHeaderBytes + (has_serial ? 8 : 0);
  if (header.size > payload_.size() || header.size < body || header.size % 8 != 0 ||
      (header.flags != 0 && (header.flags & ~kIsAhead) != kWantsReply &&
       (header.flags & ~kWasSkipped) != kIsReply)) {
    failed_ = true;
    return std::nullopt;
  }
  Command command{header.number, header.flags, 0, payload_.subspan(body, header.size - body)};
  if (has_serial) {
    std::memcpy(&command.serial, payload_.data() + kCommandHeaderBytes, 8);
  }
  payload_ = payload_.subspan(header.size);
  return command;
}

}  // namespace vesper::proto
