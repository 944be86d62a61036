// SPDX-License-Identifier: Apache-2.0
//
// Bytes that the other side has seen travel as a hash.
//
// Large runs of bytes are cut into *chunks*, at places that the bytes themselves decide: a hash
// rolls over them, and where it has a certain value a chunk ends. So the same texture is cut in the
// same places wherever it lies. A chunk is sent once, in a frame of its own (kChunk), and a frame
// of commands names it from then on (kReferring) and holds only what is not in chunks. Since a
// chunk means nothing until it is named, other frames may come before and after it.
//
// The receiver keeps chunks up to a number of bytes that the set-up tells, and forgets what was
// named longest ago. The sender counts along, with the same class: each chunk and each name is
// noted at its place in the stream, so both forget the same and nothing that is named is missing. A
// sender that names what is not there breaks the protocol.
//
//   kChunk       {u64 bytes} and the bytes
//   kReferring   {u32 bytes of the commands frame's payload, u32 runs}, and runs of
//                {u32 literal bytes, u32 bytes of a chunk}, the chunk's hash (two u64) unless it
//                has no bytes, and the literal bytes, which come before the chunk's
// Everything is padded to 8.
//
// An *archive* keeps chunks for later sessions of the same tenant, who is whoever knows a key
// (client_icd/archive_key.h). Then all hashes are made with that key, for what is on disk may have
// come from anywhere. The host tells which chunks are there; they may be named as well, and stay
// for as long as the session. They are not counted among those above.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "proto/buffer.h"
#include "proto/frame.h"
#include "proto/hash.h"

namespace vesper::proto {

/// Runs of fewer bytes are not cut.
inline constexpr size_t kMinChunkedBytes = 64u << 10;
inline constexpr size_t kMinChunkBytes = 16u << 10;
inline constexpr size_t kMaxChunkBytes = 128u << 10;

/// Calls `take` for the chunks of `bytes`, in order.
void CutChunks(std::span<const std::byte> bytes,
               const std::function<void(std::span<const std::byte>)>& take);

/// Chunks, or what there is to know of them; those that were named longest ago go first. Not
/// thread-safe.
template <typename Value>
class ChunkTable {
 public:
  explicit ChunkTable(size_t capacity) : capacity_(capacity) {}

  size_t capacity() const { return capacity_; }
  size_t bytes() const { return bytes_; }
  bool Has(const Hash128& hash) const { return index_.contains(hash); }
  /// Null if it is not there; else it was named just now.
  Value* Name(const Hash128& hash) {
    const auto found = index_.find(hash);
    if (found == index_.end()) {
      return nullptr;
    }
    chunks_.splice(chunks_.end(), chunks_, found->second);
    return &found->second->value;
  }
  /// At most the capacity; the oldest make room. One that is there is named.
  void Add(const Hash128& hash, size_t bytes, Value value) {
    if (Name(hash) != nullptr) {
      return;
    }
    while (bytes_ + bytes > capacity_) {
      bytes_ -= chunks_.front().bytes;
      index_.erase(chunks_.front().hash);
      chunks_.pop_front();
    }
    chunks_.push_back({hash, bytes, std::move(value)});
    index_[hash] = std::prev(chunks_.end());
    bytes_ += bytes;
  }

 private:
  struct Chunk {
    Hash128 hash;
    size_t bytes;
    Value value;
  };

  size_t capacity_;
  size_t bytes_ = 0;
  std::list<Chunk> chunks_;  // the oldest first
  std::map<Hash128, typename std::list<Chunk>::iterator> index_;
};

/// Chunks that outlast a session, as their receiver sees them. Thread-safe.
class ChunkArchive {
 public:
  virtual ~ChunkArchive() = default;
  /// What its chunks are named by.
  virtual const HashKey& key() const = 0;
  /// Copies the chunk; false if there is none of this name and size that is whole.
  virtual bool Read(const Hash128& hash, std::span<std::byte> out) = 0;
  /// Keeps the chunk, if there is room and it is not there.
  virtual void Keep(const Hash128& hash, std::span<const std::byte> chunk) = 0;
};

/// A frame of commands, cut. It is a copy, so others may write to the original.
class ChunkedFrame {
 public:
  struct Run {
    std::span<const std::byte> bytes;
    bool is_chunk;
    Hash128 hash;
  };

  /// Takes one whole frame in parts, of which the large ones are cut. False if memory is out, or
  /// the frame is too large to be sent so.
  bool Cut(std::span<const std::span<const std::byte>> parts,
           const std::optional<HashKey>& key = std::nullopt);

  const std::vector<Run>& runs() const { return runs_; }
  size_t payload_bytes() const { return copy_.size() - kFrameHeaderBytes; }
  /// Also if nothing in it is a chunk.
  std::span<const std::byte> Whole() const { return copy_.Bytes(); }

 private:
  Buffer copy_;
  std::vector<Run> runs_;
};

/// What a sender knows of the receiver's chunks. Not thread-safe.
class ChunkSender {
 public:
  /// `key`: that of the receiver's archive, if it has one.
  explicit ChunkSender(size_t capacity, std::optional<HashKey> key = std::nullopt)
      : known_(capacity), key_(key) {}

  size_t capacity() const { return known_.capacity(); }
  const std::optional<HashKey>& key() const { return key_; }
  /// The halves of the hashes of chunks in the archive. False if there should be none. Any thread.
  bool Learn(std::span<const uint64_t> low, std::span<const uint64_t> high);
  /// The frame that tells the receiver of the chunk, in parts, if it doesn't know it; else nothing.
  /// To be written next. May throw std::bad_alloc.
  std::span<const std::span<const std::byte>> Tell(const ChunkedFrame::Run& run);
  /// The frame that stands for another. To be written next.
  std::span<const std::span<const std::byte>> Refer(const ChunkedFrame& frame);

 private:
  struct Nothing {};

  bool IsArchived(const Hash128& hash) const;

  ChunkTable<Nothing> known_;
  const std::optional<HashKey> key_;
  mutable std::mutex archived_mutex_;  // archived_
  std::set<Hash128> archived_;
  Buffer head_;
  std::vector<std::span<const std::byte>> parts_;
};

/// What a receiver keeps. Not thread-safe.
class ChunkStore {
 public:
  explicit ChunkStore(size_t capacity) : chunks_(capacity) {}

  /// Uses an archive, which outlives this; before the sender hears of it. Any thread.
  void SetArchive(ChunkArchive* archive) { archive_.store(archive, std::memory_order_release); }
  /// Takes the payload of a chunk's frame; false if it is malformed, or memory is out.
  [[nodiscard]] bool Take(std::span<const std::byte> payload);
  /// The payload that a referring frame stands for; false if that is malformed, stands for more
  /// than kMaxUnpackedBytes or names a chunk that is not there.
  [[nodiscard]] bool Resolve(std::span<const std::byte> payload, Buffer& out);

 private:
  /// False if there is no such chunk of this size.
  bool Copy(const Hash128& hash, std::span<std::byte> out);

  ChunkTable<std::vector<std::byte>> chunks_;
  std::atomic<ChunkArchive*> archive_{nullptr};
};

}  // namespace vesper::proto
