// SPDX-License-Identifier: Apache-2.0
#include "proto/frame.h"

#include <algorithm>
#include <cstring>

#include "proto/reader.h"

namespace vesper::proto {
namespace {

constexpr size_t kReceiveBytes = 64u << 10;

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

std::span<std::byte> FrameSplitter::BeginReceive() {
  if (Failed()) {
    return {};
  }
  if (consumed_ > 0) {
    std::memmove(buffer_.At(0), buffer_.At(consumed_), received_ - consumed_);
    received_ -= consumed_;
    consumed_ = 0;
    if (received_ == 0) {
      buffer_.Shrink(4u << 20);
    }
  }
  // At least one read's worth, and for a large frame as much again as has come: the buffer at most
  // doubles what the peer really sent.
  const size_t want = received_ + std::max(kReceiveBytes, received_);
  if (buffer_.size() < want) {
    buffer_.Append(want - buffer_.size());
    if (buffer_.Failed()) {
      error_ = "out of memory for a frame";
      return {};
    }
  }
  return {buffer_.At(received_), buffer_.size() - received_};
}

void FrameSplitter::EndReceive(size_t bytes) { received_ += bytes; }

std::optional<Frame> FrameSplitter::Next() {
  if (Failed() || received_ - consumed_ < kFrameHeaderBytes) {
    return std::nullopt;
  }
  FrameHeader header;
  std::memcpy(&header, buffer_.At(consumed_), sizeof(header));
  if (header.bytes > max_payload_ || header.bytes % 8 != 0 || header.zero != 0 ||
      header.type < static_cast<uint16_t>(FrameType::kHello) ||
      header.type > static_cast<uint16_t>(FrameType::kCommands)) {
    error_ = "expected a frame header of protocol Vesper, got type " + std::to_string(header.type) +
             " with " + std::to_string(header.bytes) +
             " bytes; the peer is not Vesper or is broken";
    return std::nullopt;
  }
  if (received_ - consumed_ - kFrameHeaderBytes < header.bytes) {
    return std::nullopt;
  }
  const Frame frame{static_cast<FrameType>(header.type),
                    {buffer_.At(consumed_ + kFrameHeaderBytes), header.bytes}};
  consumed_ += kFrameHeaderBytes + header.bytes;
  return frame;
}

size_t BeginFrame(Buffer& buffer, FrameType type) {
  const size_t header = buffer.Append(kFrameHeaderBytes);
  buffer.Patch(header, FrameHeader{0, static_cast<uint16_t>(type), 0});
  return header;
}

void FinishFrame(Buffer& buffer, size_t header) {
  buffer.Patch(header, static_cast<uint32_t>(buffer.size() - header - kFrameHeaderBytes));
}

size_t BeginCommand(Buffer& buffer, uint16_t number, uint16_t flags, uint64_t serial) {
  const size_t header = buffer.Append(kCommandHeaderBytes);
  buffer.Patch(header, CommandHeader{0, number, flags});
  if (flags != 0) {
    buffer.PutValue(serial);
  }
  return header;
}

bool FinishCommand(Buffer& buffer, size_t header) {
  if (buffer.Failed()) {
    return false;
  }
  const size_t size = buffer.size() - header;
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
      (header.flags != 0 && header.flags != kWantsReply && header.flags != kIsReply)) {
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
