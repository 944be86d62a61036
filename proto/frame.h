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
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "proto/buffer.h"
#include "proto/limits.h"

namespace vesper::proto {

enum class FrameType : uint16_t {
  kHello = 1,
  kWelcome = 2,
  kRefusal = 3,
  kCommands = 4,
  kCompressed = 5,  // stands for a frame of another type (compression.h)
  kChunk = 6,       // bytes that later frames name (chunks.h)
  kReferring = 7,   // stands for a kCommands frame, and names chunks
};

inline constexpr size_t kFrameHeaderBytes = 8;
inline constexpr size_t kCommandHeaderBytes = 8;

enum CommandFlags : uint16_t {
  kWantsReply = 1,
  kIsReply = 2,
  kWasSkipped =
      4,         // with kIsReply: to a command that named what is not there, and was not executed
  kIsAhead = 8,  // with kWantsReply: nobody waits for the reply yet
};

class ChunkStore;

struct Frame {
  FrameType type;
  std::span<const std::byte> payload;
};

/// Receive buffers that wait for their next use: memory that was just received into is in the cache
/// and needs no page faults. Thread-safe.
class FramePool {
 public:
  /// The largest there is, with nothing in it; empty if there is none.
  Buffer Take();
  /// Keeps the memory for later, or frees it if enough is kept.
  void Give(Buffer buffer);

 private:
  std::mutex mutex_;
  std::vector<Buffer> buffers_;
  size_t bytes_ = 0;
};

/// The payload of a frame that outlives the splitter's next receive. Movable, and on any thread.
class FrameMemory {
 public:
  FrameMemory() = default;
  ~FrameMemory();
  FrameMemory(FrameMemory&& other) noexcept { *this = std::move(other); }
  FrameMemory& operator=(FrameMemory&& other) noexcept;

  /// A copy; nothing if memory is out.
  static std::optional<FrameMemory> Copy(std::span<const std::byte> payload);

  std::span<const std::byte> payload() const { return payload_; }

 private:
  friend class FrameSplitter;

  Buffer buffer_;
  std::span<const std::byte> payload_;
  std::shared_ptr<FramePool> pool_;
};

/// Cuts a received byte stream into frames.
///
/// Problem: a read returns any number of bytes: half a header, or two frames and a half. Usage:
///   std::span<std::byte> space = splitter.BeginReceive();
///   splitter.EndReceive(read(fd, space.data(), space.size()));
///   while (std::optional<Frame> frame = splitter.Next()) …
/// Goals: no I/O inside (so it is tested and fuzzed without sockets); payloads are contiguous and
/// 8-byte aligned; memory grows only as bytes really arrive, whatever a header claims; the bytes of
/// a large frame are received where they stay: its end is the end of the space that is offered, so
/// that nothing of the next frame has to move, and the memory is used again.
/// Compressed frames come out unpacked, those that name chunks whole, and chunks not at all. A
/// frame is valid until the next BeginReceive, Next or TakeOver, or, taken over, as long as wanted.
/// Not thread-safe.
class FrameSplitter {
 public:
  explicit FrameSplitter(uint32_t max_payload)
      : max_payload_(max_payload), pool_(std::make_shared<FramePool>()) {}

  /// Space to receive into; never empty unless Failed() or out of memory.
  std::span<std::byte> BeginReceive();
  void EndReceive(size_t bytes);
  /// The next whole frame, if there is one.
  std::optional<Frame> Next();
  /// Takes over what Next() has just returned. A large frame keeps its memory, of a small one a
  /// copy is made. Nothing if memory is out.
  std::optional<FrameMemory> TakeOver(const Frame& frame);

  /// Later frames may have up to this many payload bytes.
  void SetMaxPayload(uint32_t max_payload) { max_payload_ = max_payload; }
  /// Later frames may be compressed with these algorithms (compression.h); before, none may.
  void AllowCompression(uint32_t algorithms) { compression_ = algorithms; }
  /// Later frames may be chunks, which are kept there, and name them.
  void SetChunks(ChunkStore* chunks) { chunks_ = chunks; }
  bool Failed() const { return !error_.empty(); }
  /// What was wrong with the stream.
  const std::string& Error() const { return error_; }

 private:
  /// Bytes of the frame that begins at consumed_, with its header; 0 if that is not known yet.
  size_t PendingFrame() const;
  bool MayCome(FrameType type) const;
  /// The next frame, of which a chunk has been taken.
  std::optional<Frame> NextOpened();
  /// The frame's type and payload, unpacked if need be; false if it is malformed.
  bool Open(Frame& frame);
  /// Room for `bytes` after consumed_, if there is memory.
  bool Reserve(size_t bytes);

  uint32_t max_payload_;
  uint32_t compression_ = 0;
  Buffer buffer_;
  Buffer unpacked_;
  Buffer resolved_;
  ChunkStore* chunks_ = nullptr;
  size_t received_ = 0;  // bytes of buffer_ that hold data
  size_t consumed_ = 0;  // bytes of those that were handed out
  size_t ready_ = 0;     // capacity of buffer_ when the frame at consumed_ began
  std::string error_;
  std::shared_ptr<FramePool> pool_;
};

/// Appends a frame header; FinishFrame sets its size once the payload is appended. `following`:
/// bytes of the payload that will be written after the buffer.
size_t BeginFrame(Buffer& buffer, FrameType type);
void FinishFrame(Buffer& buffer, size_t header, size_t following = 0);

/// Appends a command's header (and serial, unless 0); FinishCommand sets its size, with `following`
/// bytes that will be written after the buffer. False if the command is too large for a frame; it
/// is then removed again.
size_t BeginCommand(Buffer& buffer, uint16_t number, uint16_t flags, uint64_t serial);
[[nodiscard]] bool FinishCommand(Buffer& buffer, size_t header, size_t following = 0);

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
