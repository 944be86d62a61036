// SPDX-License-Identifier: Apache-2.0
//
// Frames and commands on a byte stream.
//
// A frame is `{u32 bytes, u16 type, u16 zero}` and that many payload bytes, a multiple of 8. The
// payload of a kCommands frame is whole commands, each `{u32 size, u16 number, u16 flags}` (size
// includes this header and is a multiple of 8), a u64 serial if the flags ask for a reply or are
// one, and the record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "proto/buffer.h"
#include "proto/limits.h"

namespace vesper::proto {

enum class FrameType : uint16_t {
  kHello = 1,
  kWelcome = 2,
  kRefusal = 3,
  kCommands = 4,
};

inline constexpr size_t kFrameHeaderBytes = 8;
inline constexpr size_t kCommandHeaderBytes = 8;

enum CommandFlags : uint16_t {
  kWantsReply = 1,
  kIsReply = 2,
};

struct Frame {
  FrameType type;
  std::span<const std::byte> payload;
};

/// Cuts a received byte stream into frames.
///
/// Problem: a read returns any number of bytes: half a header, or two frames and a half. Usage:
///   std::span<std::byte> space = splitter.BeginReceive();
///   splitter.EndReceive(read(fd, space.data(), space.size()));
///   while (std::optional<Frame> frame = splitter.Next()) …
/// Goals: no I/O inside (so it is tested and fuzzed without sockets); payloads are contiguous and
/// 8-byte aligned; memory grows only as bytes really arrive, whatever a header claims.
/// A frame is valid until the next BeginReceive. Not thread-safe.
class FrameSplitter {
 public:
  explicit FrameSplitter(uint32_t max_payload) : max_payload_(max_payload) {}

  /// Space to receive into; never empty unless Failed() or out of memory.
  std::span<std::byte> BeginReceive();
  void EndReceive(size_t bytes);
  /// The next whole frame, if there is one.
  std::optional<Frame> Next();

  /// Later frames may have up to this many payload bytes.
  void SetMaxPayload(uint32_t max_payload) { max_payload_ = max_payload; }
  bool Failed() const { return !error_.empty(); }
  /// What was wrong with the stream.
  const std::string& Error() const { return error_; }

 private:
  uint32_t max_payload_;
  Buffer buffer_;
  size_t received_ = 0;  // bytes of buffer_ that hold data
  size_t consumed_ = 0;  // bytes of those that were handed out
  std::string error_;
};

/// Appends a frame header; FinishFrame sets its size once the payload is appended.
size_t BeginFrame(Buffer& buffer, FrameType type);
void FinishFrame(Buffer& buffer, size_t header);

/// Appends a command's header (and serial, unless 0); FinishCommand sets its size. False if the
/// command is too large for a frame; it is then removed again.
size_t BeginCommand(Buffer& buffer, uint16_t number, uint16_t flags, uint64_t serial);
[[nodiscard]] bool FinishCommand(Buffer& buffer, size_t header);

/// One command of a kCommands frame.
struct Command {
  uint16_t number;
  uint16_t flags;
  uint64_t serial;  // 0 if neither kWantsReply nor kIsReply
  std::span<const std::byte> body;
};

/// Walks the commands of a kCommands payload.
class CommandWalker {
 public:
  explicit CommandWalker(std::span<const std::byte> payload) : payload_(payload) {}
  /// The next command; nothing at the end or when the payload is malformed (then Failed()).
  std::optional<Command> Next();
  bool Failed() const { return failed_; }

 private:
  std::span<const std::byte> payload_;
  bool failed_ = false;
};

}  // namespace vesper::proto
