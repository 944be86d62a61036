// SPDX-License-Identifier: Apache-2.0
#include "proto/chunks.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "proto/limits.h"
#include "proto/reader.h"

namespace vesper::proto {
namespace {

/// A chunk ends where these bits of the rolling hash are 0: after 64 KiB beyond the least, on
/// average. They are the highest, which 64 bytes have gone into.
constexpr uint64_t kEndMask = 0xffffULL << 48;

/// A number for each value of a byte, with no pattern in them; the same in all builds.
constexpr std::array<uint64_t, 256> MakeGears() {
  std::array<uint64_t, 256> gears{};
  uint64_t state = 0;
  for (uint64_t& gear : gears) {
    state += 0x9e3779b97f4a7c15;
    uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    gear = mixed ^ (mixed >> 31);
  }
  return gears;
}
constexpr std::array<uint64_t, 256> kGears = MakeGears();

size_t ChunkEnd(std::span<const std::byte> bytes) {
  if (bytes.size() <= kMinChunkBytes) {
    return bytes.size();
  }
  const size_t end = std::min(bytes.size(), kMaxChunkBytes);
  uint64_t hash = 0;
  for (size_t at = kMinChunkBytes; at < end; ++at) {
    hash = (hash << 1) + kGears[static_cast<uint8_t>(bytes[at])];
    if ((hash & kEndMask) == 0) {
      return at + 1;
    }
  }
  return end;
}

struct RunHeader {
  uint32_t literal;
  uint32_t chunk;
};

}  // namespace

void CutChunks(std::span<const std::byte> bytes,
               const std::function<void(std::span<const std::byte>)>& take) {
  while (!bytes.empty()) {
    const size_t end = ChunkEnd(bytes);
    take(bytes.first(end));
    bytes = bytes.subspan(end);
  }
}

bool ChunkedFrame::Cut(std::span<const std::span<const std::byte>> parts,
                       const std::optional<HashKey>& key) {
  copy_.Clear();
  runs_.clear();
  size_t bytes = 0;
  for (const std::span<const std::byte> part : parts) {
    bytes += part.size();
  }
  if (bytes < kFrameHeaderBytes || bytes - kFrameHeaderBytes > kMaxUnpackedBytes) {
    return false;
  }
  size_t at = copy_.Append(bytes);
  if (copy_.Failed()) {
    return false;
  }
  const auto add_literal = [this](std::span<const std::byte> run) {
    if (!run.empty()) {
      runs_.push_back({run, false, {}});
    }
  };
  for (const std::span<const std::byte> part : parts) {
    if (!part.empty()) {
      std::memcpy(copy_.At(at), part.data(), part.size());
    }
    std::span<const std::byte> copied = copy_.Bytes().subspan(at, part.size());
    if (at < kFrameHeaderBytes) {
      copied = copied.subspan(std::min(copied.size(), kFrameHeaderBytes - at));
    }
    at += part.size();
    if (copied.size() < kMinChunkedBytes) {
      add_literal(copied);
      continue;
    }
    CutChunks(copied, [&](std::span<const std::byte> chunk) {
      if (chunk.size() < kMinChunkBytes) {
        add_literal(chunk);  // the end
      } else {
        runs_.push_back({chunk, true, key ? HashOf(chunk, *key) : HashOf(chunk)});
      }
    });
  }
  return true;
}

bool ChunkSender::Learn(std::span<const uint64_t> low, std::span<const uint64_t> high) {
  if (!key_ || low.size() != high.size()) {
    return false;
  }
  const std::lock_guard lock(archived_mutex_);
  try {
    for (size_t i = 0; i < low.size(); ++i) {
      archived_.insert({low[i], high[i]});
    }
  } catch (const std::bad_alloc&) {
    // What is not known is sent.
  }
  return true;
}

bool ChunkSender::IsArchived(const Hash128& hash) const {
  const std::lock_guard lock(archived_mutex_);
  return archived_.contains(hash);
}

std::span<const std::span<const std::byte>> ChunkSender::Tell(const ChunkedFrame::Run& run) {
  if (!run.is_chunk || run.bytes.size() > capacity() || known_.Has(run.hash) ||
      IsArchived(run.hash)) {
    return {};
  }
  known_.Add(run.hash, run.bytes.size(), {});
  head_.Clear();
  const size_t frame = BeginFrame(head_, FrameType::kChunk);
  head_.PutValue<uint64_t>(run.bytes.size());
  static constexpr std::array<std::byte, 8> kPadding{};
  const size_t padding = Align8(run.bytes.size()) - run.bytes.size();
  FinishFrame(head_, frame, run.bytes.size() + padding);
  parts_.assign({head_.Bytes(), run.bytes, std::span(kPadding).first(padding)});
  return parts_;
}

std::span<const std::span<const std::byte>> ChunkSender::Refer(const ChunkedFrame& frame) {
  head_.Clear();
  const size_t header = BeginFrame(head_, FrameType::kReferring);
  const size_t counts = head_.Append(sizeof(RunHeader));
  uint32_t count = 0;
  const std::vector<ChunkedFrame::Run>& runs = frame.runs();
  for (size_t i = 0; i < runs.size();) {
    size_t literal = 0;
    size_t end = i;
    // What lies in the copy behind each other is one run. A chunk that was forgotten meanwhile is
    // literal.
    const auto is_there = [this](const ChunkedFrame::Run& run) {
      return run.is_chunk && (known_.Name(run.hash) != nullptr || IsArchived(run.hash));
    };
    while (end < runs.size() && !is_there(runs[end])) {
      literal += runs[end++].bytes.size();
    }
    const bool has_chunk = end < runs.size();
    head_.PutValue(RunHeader{static_cast<uint32_t>(literal),
                             has_chunk ? static_cast<uint32_t>(runs[end].bytes.size()) : 0});
    if (has_chunk) {
      head_.PutValue(runs[end].hash.low);
      head_.PutValue(runs[end].hash.high);
    }
    if (literal != 0) {
      head_.Put(runs[i].bytes.data(), literal);
    }
    ++count;
    i = end + (has_chunk ? 1 : 0);
  }
  head_.Patch(counts, RunHeader{static_cast<uint32_t>(frame.payload_bytes()), count});
  FinishFrame(head_, header);
  parts_.assign({head_.Bytes()});
  return head_.Failed() ? std::span<const std::span<const std::byte>>() : parts_;
}

bool ChunkStore::Take(std::span<const std::byte> payload) {
  Reader reader(payload);
  const auto bytes = reader.Value<uint64_t>();
  if (reader.Failed() || bytes == 0 || bytes > kMaxChunkBytes || bytes > chunks_.capacity() ||
      payload.size() != sizeof(bytes) + Align8(bytes)) {
    return false;
  }
  const std::span<const std::byte> chunk = payload.subspan(sizeof(bytes), bytes);
  ChunkArchive* archive = archive_.load(std::memory_order_acquire);
  const Hash128 hash = archive == nullptr ? HashOf(chunk) : HashOf(chunk, archive->key());
  chunks_.Add(hash, bytes, {chunk.begin(), chunk.end()});
  if (archive != nullptr) {
    archive->Keep(hash, chunk);
  }
  return true;
}

bool ChunkStore::Copy(const Hash128& hash, std::span<std::byte> out) {
  if (const std::vector<std::byte>* chunk = chunks_.Name(hash); chunk != nullptr) {
    if (chunk->size() != out.size()) {
      return false;
    }
    std::memcpy(out.data(), chunk->data(), chunk->size());
    return true;
  }
  ChunkArchive* archive = archive_.load(std::memory_order_acquire);
  return archive != nullptr && archive->Read(hash, out);
}

bool ChunkStore::Resolve(std::span<const std::byte> payload, Buffer& out) {
  Reader reader(payload);
  const auto counts = reader.Value<RunHeader>();
  const uint32_t bytes = counts.literal;
  if (reader.Failed() || bytes > kMaxUnpackedBytes || bytes % 8 != 0) {
    return false;
  }
  out.Clear();
  const size_t begin = out.Append(bytes);
  if (out.Failed()) {
    return false;
  }
  size_t used = 0;
  for (uint32_t i = 0; i < counts.chunk; ++i) {
    const auto run = reader.Value<RunHeader>();
    Hash128 hash;
    if (run.chunk != 0) {
      hash.low = reader.Value<uint64_t>();
      hash.high = reader.Value<uint64_t>();
    }
    const std::span<const std::byte> literal = reader.Take(run.literal);
    if (reader.Failed() || literal.size() > bytes - used ||
        run.chunk > bytes - used - literal.size() || (run.literal == 0 && run.chunk == 0)) {
      return false;
    }
    if (!literal.empty()) {
      std::memcpy(out.At(begin + used), literal.data(), literal.size());
    }
    used += literal.size();
    if (run.chunk != 0) {
      if (!Copy(hash, {out.At(begin + used), run.chunk})) {
        return false;
      }
      used += run.chunk;
    }
  }
  return used == bytes && reader.AtEnd();
}

}  // namespace vesper::proto
