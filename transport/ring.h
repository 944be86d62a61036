// SPDX-License-Identifier: Apache-2.0
//
// A ring of bytes in memory that two processes share: one writes, the other reads.
//
// The words. `written` and `read` count bytes from the beginning and never go back; byte n lies at
// n modulo the capacity. The writer alone stores `written`, after the bytes are there; the reader
// alone stores `read`, after it has copied them out. So whoever is killed in the middle of a copy
// leaves a ring that says nothing of it. Each of them is a cache line apart from what the other
// side writes. Two bells (doorbell.h): the writer rings when there are bytes, the reader when there
// is room.
//
// Trust. The other side may write anything at any time, to the words and to the bytes. Therefore
// each side keeps its own count to itself and never reads it back; loads the other's once and
// checks it: between what was read and what was written lie 0 to `capacity` bytes, or the ring is
// broken for good. The reader copies bytes out before anybody looks at them, and they are not read
// twice.
//
// Back-pressure. A full ring makes the writer wait, which is the reader's business as with a
// socket: the guest's reader thread never writes, and so always reads; so the host can always write
// and then read on, and the guest's writers get room. Neither ring waits for the other.
//
// Order of the counts: what is stored with release before `written` is seen by who loads `written`
// with acquire; the same for `read`, after which the writer may overwrite.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "transport/doorbell.h"

namespace vesper::transport {

/// What lies in shared memory beside the bytes. All zero to begin with.
struct RingWords {
  alignas(128) std::atomic<uint64_t> written;
  std::atomic<uint32_t> bytes_count;  // of the writer's bell
  alignas(128) std::atomic<uint64_t> read;
  std::atomic<uint32_t> room_count;  // of the reader's
  alignas(128) std::atomic<uint32_t> reader_sleeps;
  alignas(128) std::atomic<uint32_t> writer_sleeps;
};
static_assert(sizeof(RingWords) == 512);
static_assert(std::atomic<uint64_t>::is_always_lock_free &&
              std::atomic<uint32_t>::is_always_lock_free);

/// The side that writes. One thread at a time.
class RingWriter {
 public:
  /// `bytes`: a power of two of them.
  RingWriter(RingWords& words, std::span<std::byte> bytes)
      : words_(words), bytes_(bytes), bell_(words.bytes_count, words.reader_sleeps) {}

  /// Copies as many of these bytes as there is room for; how many that were. The reader may not see
  /// them before Publish().
  size_t Put(std::span<const std::byte> bytes);
  /// Shows the reader what was put, and wakes it.
  void Publish();
  /// True if there is room, or the ring is broken.
  bool HasRoom() { return Room() != 0 || is_broken_; }
  /// True once the other side has stored nonsense.
  bool IsBroken() const { return is_broken_; }
  /// Rung when there is room.
  Doorbell RoomBell() const { return {words_.room_count, words_.writer_sleeps}; }

 private:
  size_t Room();

  RingWords& words_;
  const std::span<std::byte> bytes_;
  Doorbell bell_;
  uint64_t put_ = 0;        // ours
  uint64_t published_ = 0;  // of those
  uint64_t seen_read_ = 0;  // theirs, when it was last looked at
  bool is_broken_ = false;
};

/// The side that reads. One thread at a time.
class RingReader {
 public:
  RingReader(RingWords& words, std::span<const std::byte> bytes)
      : words_(words), bytes_(bytes), bell_(words.room_count, words.writer_sleeps) {}

  /// Copies as many bytes as there are and fit; how many that were.
  size_t Take(std::span<std::byte> bytes);
  /// True if there are bytes, or the ring is broken.
  bool HasBytes() { return Available() != 0 || is_broken_; }
  bool IsBroken() const { return is_broken_; }
  /// Rung when there are bytes.
  Doorbell BytesBell() const { return {words_.bytes_count, words_.reader_sleeps}; }

 private:
  size_t Available();

  RingWords& words_;
  const std::span<const std::byte> bytes_;
  Doorbell bell_;
  uint64_t taken_ = 0;         // ours
  uint64_t seen_written_ = 0;  // theirs, when it was last looked at
  bool is_broken_ = false;
};

}  // namespace vesper::transport
