// SPDX-License-Identifier: Apache-2.0
#include "proto/compression.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "proto/frame.h"
#include "proto/limits.h"

namespace vesper::proto {
namespace {

constexpr int kZstdLevel = 1;
/// A write says something about the link only if it is at least this large: less goes into buffers.
constexpr size_t kMeasuredBytes = 64u << 10;
/// How much a new measurement counts.
constexpr double kWeight = 0.25;
/// Frames that don't shrink by this much are sent as they are …
constexpr double kWorthwhile = 1.1;
/// … and after some of them only every so many are tried.
constexpr uint32_t kRetry = 16;

struct PackedHeader {
  uint32_t bytes;
  uint8_t algorithm;
  uint8_t padding;
  uint16_t type;  // 0: commands
};
static_assert(sizeof(PackedHeader) == 8);

size_t CompressedBound(uint32_t algorithm, size_t bytes) {
  return algorithm == kLz4 ? static_cast<size_t>(LZ4_compressBound(static_cast<int>(bytes)))
                           : ZSTD_compressBound(bytes);
}

size_t TotalSize(FrameCompressor::Parts parts) {
  size_t bytes = 0;
  for (const std::span<const std::byte> part : parts) {
    bytes += part.size();
  }
  return bytes;
}

}  // namespace

struct FrameCompressor::Contexts {
  std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> zstd{ZSTD_createCCtx(), ZSTD_freeCCtx};
};

FrameCompressor::FrameCompressor() = default;
FrameCompressor::~FrameCompressor() = default;

void FrameCompressor::Enable(uint32_t algorithms, bool always, bool is_local) {
  algorithms_ = algorithms & kAllCompression;
  always_ = always;
  is_local_ = is_local;
  if (algorithms_ != 0 && (always || !is_local)) {
    contexts_ = std::make_unique<Contexts>();
  }
}

uint32_t FrameCompressor::algorithm() const {
  if (contexts_ == nullptr) {
    return 0;
  }
  const uint32_t zstd = contexts_->zstd != nullptr ? algorithms_ & kZstd : 0;
  const uint32_t lz4 = algorithms_ & kLz4;
  if (always_) {
    return zstd != 0 ? zstd : lz4;
  }
  if (bytes_per_second_ == 0 || bytes_per_second_ > kFastLink) {
    return 0;
  }
  if (bytes_per_second_ > kZstdLink) {
    return lz4;
  }
  return zstd != 0 ? zstd : lz4;
}

size_t FrameCompressor::PieceBytes() const {
  if (bytes_per_second_ == 0) {
    return is_local_ ? kMaxPatchBytes : kFirstPieceBytes;
  }
  const double bytes = bytes_per_second_ * std::chrono::duration<double>(kPieceTime).count();
  const double most = kMaxPatchBytes;
  return std::max(kMinPieceBytes, static_cast<size_t>(std::min(bytes, most)) / 4096 * 4096);
}

void FrameCompressor::NoteWrite(Parts written, std::chrono::nanoseconds took) {
  const size_t bytes = TotalSize(written);
  if (bytes < kMeasuredBytes) {
    return;
  }
  const double seconds = std::chrono::duration<double>(took).count();
  const double rate = static_cast<double>(bytes) / (seconds > 1e-9 ? seconds : 1e-9);
  if (bytes_per_second_ == 0) {
    bytes_per_second_ = rate;
    return;
  }
  // Times add up and not rates: of two writes of the same size, one into an empty buffer and one
  // into a full one, the second says more.
  bytes_per_second_ = 1 / ((1 - kWeight) / bytes_per_second_ + kWeight / rate);
}

bool FrameCompressor::Append(std::span<const std::byte> payload, uint16_t type,
                             uint32_t algorithm) {
  const size_t start = out_.size();
  const size_t header = BeginFrame(out_, FrameType::kCompressed);
  const size_t packed = out_.Append(sizeof(PackedHeader));
  const size_t bound = CompressedBound(algorithm, payload.size());
  const size_t data = out_.Append(bound);
  if (out_.Failed()) {
    return false;
  }
  size_t size = 0;
  if (algorithm == kLz4) {
    size = static_cast<size_t>(LZ4_compress_default(
        reinterpret_cast<const char*>(payload.data()), reinterpret_cast<char*>(out_.At(data)),
        static_cast<int>(payload.size()), static_cast<int>(bound)));
  } else {
    size = ZSTD_compressCCtx(contexts_->zstd.get(), out_.At(data), bound, payload.data(),
                             payload.size(), kZstdLevel);
    size = ZSTD_isError(size) != 0 ? 0 : size;
  }
  const double ratio =
      size == 0 ? 1 : static_cast<double>(payload.size()) / static_cast<double>(size);
  ratio_ += (ratio - ratio_) * kWeight;
  if (ratio < kWorthwhile) {
    out_.Truncate(start);
    return false;
  }
  const size_t padded = Align8(size);
  std::memset(out_.At(data) + size, 0, padded - size);
  out_.Truncate(data + padded);
  out_.Patch(packed, PackedHeader{
                         static_cast<uint32_t>(payload.size()), static_cast<uint8_t>(algorithm),
                         static_cast<uint8_t>(padded - size),
                         type == static_cast<uint16_t>(FrameType::kCommands) ? uint16_t{0} : type});
  FinishFrame(out_, header);
  return true;
}

FrameCompressor::Parts FrameCompressor::Prepare(Parts parts) {
  const uint32_t with = algorithm();
  const size_t bytes_in = TotalSize(parts);
  if (with == 0 || bytes_in < kMinCompressedBytes) {
    return parts;
  }
  in_.Clear();
  in_.Shrink(kMaxUnpackedBytes);
  size_t used = in_.Append(bytes_in);
  if (in_.Failed()) {
    return parts;
  }
  for (const std::span<const std::byte> part : parts) {
    if (!part.empty()) {
      std::memcpy(in_.At(used), part.data(), part.size());
    }
    used += part.size();
  }
  out_.Clear();
  out_.Shrink(kMaxUnpackedBytes);
  bool changed = false;
  for (std::span<const std::byte> rest = in_.Bytes(); rest.size() >= kFrameHeaderBytes;) {
    uint32_t bytes = 0;
    uint16_t type = 0;
    std::memcpy(&bytes, rest.data(), sizeof(bytes));
    std::memcpy(&type, rest.data() + 4, sizeof(type));
    const std::span<const std::byte> frame = rest.first(kFrameHeaderBytes + bytes);
    rest = rest.subspan(frame.size());
    const bool may_be_packed = (type == static_cast<uint16_t>(FrameType::kCommands) ||
                                type == static_cast<uint16_t>(FrameType::kChunk) ||
                                type == static_cast<uint16_t>(FrameType::kReferring)) &&
                               bytes >= kMinCompressedBytes && bytes <= kMaxUnpackedBytes;
    // What has not shrunk of late is tried now and then only.
    const bool tries = may_be_packed && (ratio_ >= kWorthwhile || ++skipped_ % kRetry == 0);
    if (tries && Append(frame.subspan(kFrameHeaderBytes), type, with)) {
      changed = true;
    } else {
      out_.Put(frame.data(), frame.size());
    }
  }
  if (out_.Failed() || !changed) {
    return parts;
  }
  out_part_ = out_.Bytes();
  return {&out_part_, 1};
}

bool Unpack(std::span<const std::byte> payload, uint32_t algorithms, FrameType* type, Buffer& out) {
  PackedHeader header{};
  if (payload.size() < sizeof(header)) {
    return false;
  }
  std::memcpy(&header, payload.data(), sizeof(header));
  const std::span<const std::byte> padded = payload.subspan(sizeof(header));
  if (header.bytes == 0 || header.bytes > kMaxUnpackedBytes || header.bytes % 8 != 0 ||
      (header.type != 0 && header.type != static_cast<uint16_t>(FrameType::kChunk) &&
       header.type != static_cast<uint16_t>(FrameType::kReferring)) ||
      header.padding > 7 || header.padding >= padded.size() ||
      (header.algorithm != kLz4 && header.algorithm != kZstd) ||
      (header.algorithm & algorithms) == 0) {
    return false;
  }
  *type = header.type == 0 ? FrameType::kCommands : static_cast<FrameType>(header.type);
  const std::span<const std::byte> packed = padded.first(padded.size() - header.padding);
  out.Clear();
  const size_t data = out.Append(header.bytes);
  if (out.Failed()) {
    return false;
  }
  if (header.algorithm == kLz4) {
    return LZ4_decompress_safe(reinterpret_cast<const char*>(packed.data()),
                               reinterpret_cast<char*>(out.At(data)),
                               static_cast<int>(packed.size()),
                               static_cast<int>(header.bytes)) == static_cast<int>(header.bytes);
  }
  return ZSTD_decompress(out.At(data), header.bytes, packed.data(), packed.size()) == header.bytes;
}

}  // namespace vesper::proto
