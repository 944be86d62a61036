// SPDX-License-Identifier: Apache-2.0
//
// Compression of frames, for links that are slower than compressing.
//
// A compressed frame stands for one of another type. Its payload is `{u32 bytes, u8 algorithm,
// u8 padding, u16 type}` (0: commands), the compressed bytes of the other's payload, which has
// `bytes` of them, and `padding` zeros up to a multiple of 8. Each frame is compressed by itself.
// The set-up agrees on the algorithms; the receiver (FrameSplitter) unpacks, and nobody behind it
// notices.
//
// Whether it pays depends on how fast the link takes bytes and on what they are, so the sender
// measures both. Compressing one byte after the other and then sending takes 1/C + 1/(rL) for each,
// with C the speed of compressing, r its ratio and L the speed of the link, which is less than 1/L
// for L < C (1 - 1/r). Geometry and pixels have r = 1.5 and C = 0.37 GB/s with zstd, r = 1.2 to 1.7
// and C = 0.8 GB/s with LZ4; that is where the thresholds below come from.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "proto/buffer.h"
#include "proto/frame.h"

namespace vesper::proto {

/// Bits of a set of algorithms, and the algorithm's number in a frame.
enum Compression : uint32_t {
  kLz4 = 1,
  kZstd = 2,  ///< level 1
};
inline constexpr uint32_t kAllCompression = kLz4 | kZstd;

/// Smaller frames are sent as they are: a packet's worth of bytes is not worth the time.
inline constexpr size_t kMinCompressedBytes = 2048;
/// Links that take more bytes each second than this are faster than compressing.
inline constexpr double kFastLink = 0.2e9;
/// Above this zstd takes longer than it saves, and LZ4 does not.
inline constexpr double kZstdLink = 0.12e9;

/// What is small waits this long for a piece of what is large, at most, on links that take
/// kMinPieceBytes in it.
inline constexpr std::chrono::milliseconds kPieceTime{10};
inline constexpr size_t kMinPieceBytes = 64u << 10;
/// As long as nobody knows how fast a link is that leaves this machine.
inline constexpr size_t kFirstPieceBytes = 256u << 10;

/// Decides for each frame whether to compress it, and does. Not thread-safe.
class FrameCompressor {
 public:
  FrameCompressor();
  ~FrameCompressor();
  FrameCompressor(const FrameCompressor&) = delete;
  FrameCompressor& operator=(const FrameCompressor&) = delete;

  /// What the other side can unpack (none to begin with). `always`: however fast the link is.
  /// `is_local`: the link doesn't leave this machine and so is fast, unmeasured.
  void Enable(uint32_t algorithms, bool always, bool is_local);

  using Parts = std::span<const std::span<const std::byte>>;

  /// What to write in place of these parts, which are whole frames together; good until the next
  /// call. Others may write to the parts meanwhile: what is compressed is a copy.
  Parts Prepare(Parts parts);
  /// How long the link took to take what was written.
  void NoteWrite(Parts written, std::chrono::nanoseconds took);

  /// True if the link leaves this machine and is known to be slow.
  bool IsLinkSlow() const {
    return !is_local_ && bytes_per_second_ != 0 && bytes_per_second_ <= kFastLink;
  }
  /// True if the link doesn't leave this machine, or is known to be faster than compressing.
  bool IsLinkFast() const { return is_local_ || bytes_per_second_ > kFastLink; }
  /// How much of a bulk of bytes may be sent at once, for others wait behind it: what the link
  /// takes in kPieceTime, between kMinPieceBytes and kMaxPatchBytes.
  size_t PieceBytes() const;
  /// What the next large frame is compressed with; 0: nothing.
  uint32_t algorithm() const;

 private:
  struct Contexts;

  /// Appends the compressed frame to out_; false if that would not make it smaller.
  bool Append(std::span<const std::byte> payload, uint16_t type, uint32_t algorithm);

  uint32_t algorithms_ = 0;
  bool always_ = false;
  bool is_local_ = false;
  double bytes_per_second_ = 0;  // 0: not known
  double ratio_ = 4;             // what came in for what went out, of late
  uint32_t skipped_ = 0;         // frames since it was last tried in vain
  std::unique_ptr<Contexts> contexts_;
  Buffer in_;
  Buffer out_;
  std::span<const std::byte> out_part_;
};

/// Unpacks the payload of a compressed frame. False if it is not of these algorithms, is malformed,
/// or stands for more than kMaxUnpackedBytes.
[[nodiscard]] bool Unpack(std::span<const std::byte> payload, uint32_t algorithms, FrameType* type,
                          Buffer& out);

}  // namespace vesper::proto
