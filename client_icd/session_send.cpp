// SPDX-License-Identifier: Apache-2.0
//
// The sending half of a session.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include "client_icd/object.h"
#include "client_icd/session.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

using proto::FrameType;

/// Commands that nobody waits for are written once there are this many bytes of them: the host can
/// begin, and the queue does not grow without end.
constexpr size_t kFlushBytes = 256u << 10;

/// The same, if the link is fast and nothing was written of late: the host may be waiting.
constexpr size_t kEarlyFlushBytes = 16u << 10;

/// What is posted and not followed by anything that writes it is written after this time.
constexpr std::chrono::milliseconds kPostTime{4};
/// Submissions that follow each other more closely than this share a write, which takes about as
/// long: each wakes up the other side.
constexpr std::chrono::microseconds kSubmissionTime{50};

/// Frames that are smaller are copied into the queue.
constexpr size_t kMinBulkBytes = 32u << 10;

/// A queue that was written keeps this much memory for the next.
constexpr size_t kKeptBytes = 8u << 20;

}  // namespace

void Session::BeginBatch() { batch_frame_ = proto::BeginFrame(batch_, FrameType::kCommands); }

void Session::CutBatch() {
  if (batch_.size() - batch_frame_ >= proto::kBatchBytes) {
    proto::FinishFrame(batch_, batch_frame_);
    BeginBatch();
  }
}

void Session::Post(uint16_t number, const void* args) {
  if (IsLost()) {
    return;
  }
  if (environment_.debug_sync) {
    alignas(16) std::byte copy[512];
    const proto::Record* record = proto::CommandRecord(number);
    std::memcpy(copy, args, std::min<size_t>(sizeof(copy), record->size));
    Call(number, copy);
    return;
  }
  Enqueue(number, args);
  FlushIfLarge();
}

void Session::Enqueue(uint16_t number, const void* args) {
  if (IsLost() || !KnowsCommand(number)) {
    return;
  }
  statistics_->NotePost(number);
  if (!Append(number, args, nullptr)) {
    Lose("a command is larger than a frame, or memory is out");
  }
}

bool Session::Append(uint16_t number, const void* args, PendingCall* wants_reply,
                     const std::shared_ptr<Question>& question) {
  const uint16_t flags = question != nullptr      ? proto::kWantsReply | proto::kIsAhead
                         : wants_reply != nullptr ? proto::kWantsReply
                                                  : 0;
  uint64_t serial = 0;
  const auto encode = [&](proto::Buffer& buffer) {
    const size_t header = proto::BeginCommand(buffer, number, flags, serial);
    proto::Encoder(buffer, known_structs_, IdOfHandle).Request(*proto::CommandRecord(number), args);
    statistics_->NoteBytes(Statistics::kCommandsOut, buffer.size() - header);
    return proto::FinishCommand(buffer, header);
  };
  std::unique_lock lock(stream_mutex_);
  if (wants_reply != nullptr) {
    serial = wants_reply->serial = next_serial_++;
    const std::lock_guard calls_lock(calls_mutex_);
    wants_reply->next = std::exchange(calls_, wants_reply);
  } else if (question != nullptr) {
    serial = next_serial_++;
    questions_.Expect(serial, question);
  }
  bool ok = true;
  if (may_stop_) {
    lock.unlock();
    proto::Buffer apart;
    ok = encode(apart);
    lock.lock();
    CutBatch();
    if (ok) {
      batch_.Put(apart.Bytes().data(), apart.size());
      ok = !batch_.Failed();
    }
  } else {
    CutBatch();
    ok = encode(batch_);
  }
  NoteQueued(wants_reply != nullptr);
  if (!ok && question != nullptr) {
    questions_.Forget(serial);
  }
  return ok;
}

void Session::LoseIfBroken() {
  std::unique_lock lock(stream_mutex_);
  const bool is_broken = batch_.Failed();
  lock.unlock();
  if (is_broken) {
    Lose("memory is out");
  }
}

void Session::PostEncoded(std::span<const std::byte> commands) {
  if (IsLost()) {
    return;
  }
  statistics_->NoteBytes(Statistics::kRecordingsOut, commands.size());
  std::unique_lock lock(stream_mutex_);
  // Cut at command boundaries, so that no frame grows without end.
  while (!commands.empty()) {
    CutBatch();
    size_t piece = 0;
    while (piece < commands.size() && piece < proto::kBatchBytes) {
      uint32_t size = 0;
      std::memcpy(&size, commands.data() + piece, sizeof(size));
      piece += size;
    }
    batch_.Put(commands.data(), piece);
    commands = commands.subspan(piece);
  }
  if (batch_.Failed()) {
    Lose("memory is out");
  }
  NoteQueued();
  lock.unlock();
  FlushIfLarge();
}

void Session::NoteQueued(bool is_written_next) {
  const size_t bytes = batch_.size() == proto::kFrameHeaderBytes ? 0 : batch_.size();
  const size_t before = queued_.exchange(bytes, std::memory_order_relaxed);
  if (before == 0 && bytes != 0 && !is_written_next) {
    flusher_->By(Flusher::Clock::now() + kPostTime);
  }
}

void Session::FlushIfLarge() {
  const size_t queued = Queued();
  if (queued >= kFlushBytes || !environment_.batches) {
    FlushNow();
  } else if (queued >= kEarlyFlushBytes && IsLinkFast()) {
    FlushSoon();
  }
}

void Session::FlushSoon() {
  const Flusher::Clock::time_point now = Flusher::Clock::now();
  const Flusher::Clock::time_point last(Flusher::Clock::duration(last_taken_.load()));
  // Who submits once and waits has nothing to join.
  const bool may_join = submissions_in_a_row_.fetch_add(1, std::memory_order_relaxed) >= 2;
  if (may_join && environment_.batches && now < last + kSubmissionTime &&
      flusher_->By(now + kSubmissionTime)) {
    return;
  }
  FlushNow();
}

void Session::Flush() {
  submissions_in_a_row_.store(0, std::memory_order_relaxed);
  FlushNow();
}

void Session::FlushNow() {
  // What others have taken from the queue is on its way, and they see to it.
  if (IsLost() || Queued() == 0) {
    return;
  }
  const std::lock_guard write_lock(write_mutex_);
  background_->Wait();
  if (TakeBatch()) {
    WriteQueued();
    sending_.Shrink(kKeptBytes);
  }
}

bool Session::WriteQueued() {
  std::span<const std::byte> rest = sending_.Bytes();
  if (rest.size() < proto::kMinChunkedBytes || !UsesChunks()) {
    return WriteParts({&rest, 1});
  }
  while (!rest.empty()) {
    uint32_t bytes = 0;
    std::memcpy(&bytes, rest.data(), sizeof(bytes));
    const std::span<const std::byte> frame = rest.first(proto::kFrameHeaderBytes + bytes);
    rest = rest.subspan(frame.size());
    proto::ChunkedFrame chunked;
    const bool is_cut = bytes >= proto::kMinChunkedBytes && bytes <= chunks_->capacity() / 2 &&
                        chunked.Cut({&frame, 1}, chunks_->key());
    if (!(is_cut ? WriteChunked(chunked) : WriteParts({&frame, 1}))) {
      return false;
    }
  }
  return true;
}

bool Session::WriteChunked(const proto::ChunkedFrame& frame) {
  try {
    for (const proto::ChunkedFrame::Run& run : frame.runs()) {
      const auto told = chunks_->Tell(run);
      if (!told.empty() && !WriteParts(told)) {
        return false;
      }
    }
    if (const auto referring = chunks_->Refer(frame); !referring.empty()) {
      return WriteParts(referring);
    }
  } catch (const std::bad_alloc&) {
    // The host may know of a chunk, or not.
  }
  Lose("memory is out");
  return false;
}

void Session::PostChunked(std::span<const std::span<const std::byte>> parts) {
  try {
    proto::ChunkedFrame frame;
    if (!frame.Cut(parts, chunks_->key())) {
      Lose("memory is out");
      return;
    }
    // What the host doesn't have goes ahead. It means nothing yet, so that others may pass; and
    // should they make the host forget it, it is sent once more with the frame.
    for (const proto::ChunkedFrame::Run& run : frame.runs()) {
      const transport::TurnMutex::Piece write_lock(write_mutex_);
      background_->Wait();
      const auto told = chunks_->Tell(run);
      if (!told.empty() && !WriteParts(told)) {
        return;
      }
    }
    const transport::TurnMutex::Piece write_lock(write_mutex_);
    background_->Wait();
    if (!TakeBatch() || WriteQueued()) {
      WriteChunked(frame);
    }
  } catch (const std::bad_alloc&) {
    Lose("memory is out");
  }
}

void Session::FinishFrames() {
  const transport::TurnMutex::Piece write_lock(write_mutex_);
  background_->Wait();
}

void Session::PostFrame(std::span<const std::span<const std::byte>> parts, bool others_follow) {
  size_t bytes = 0;
  for (const std::span<const std::byte> part : parts) {
    bytes += part.size();
  }
  if (bytes == 0) {
    Lose("memory is out");  // it could not be encoded, and what it holds must not be missing
  }
  if (IsLost()) {
    return;
  }
  statistics_->NoteBytes(Statistics::kMemoryOut, bytes);
  if (bytes < kMinBulkBytes) {
    // Its commands join the batch. The first part begins with the frame's header.
    const std::lock_guard lock(stream_mutex_);
    CutBatch();
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto part = i == 0 ? parts[i].subspan(proto::kFrameHeaderBytes) : parts[i];
      batch_.Put(part.data(), part.size());
    }
    if (batch_.Failed()) {
      Lose("memory is out");
    }
    NoteQueued();
    return;
  }
  if (UsesChunks()) {
    PostChunked(parts);
    return;
  }
  const transport::TurnMutex::Piece write_lock(write_mutex_);
  background_->Wait();
  if (TakeBatch() && !WriteQueued()) {
    return;
  }
  if (others_follow) {
    background_->Begin(parts);
  } else {
    WriteParts(parts);
  }
}

bool Session::TakeBatch() {
  const std::lock_guard lock(stream_mutex_);
  sending_.Clear();
  if (batch_.size() == proto::kFrameHeaderBytes) {
    return false;
  }
  proto::FinishFrame(batch_, batch_frame_);
  std::swap(batch_, sending_);
  BeginBatch();
  queued_.store(0, std::memory_order_relaxed);
  last_taken_.store(Flusher::Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
  return true;
}

bool Session::WriteParts(std::span<const std::span<const std::byte>> parts) {
  try {
    const auto prepared = compressor_.Prepare(parts);
    for (const std::span<const std::byte> part : prepared) {
      statistics_->NoteBytes(Statistics::kWireOut, part.size());
    }
    const auto begin = std::chrono::steady_clock::now();
    if (connection_->Write(prepared)) {
      compressor_.NoteWrite(prepared, std::chrono::steady_clock::now() - begin);
      is_link_fast_.store(compressor_.IsLinkFast(), std::memory_order_relaxed);
      is_link_slow_.store(compressor_.IsLinkSlow(), std::memory_order_relaxed);
      piece_bytes_.store(compressor_.PieceBytes(), std::memory_order_relaxed);
      return true;
    }
    Lose("the connection broke: " + connection_->Error());
  } catch (const std::bad_alloc&) {
    Lose("memory is out");  // nobody knows how much was written
  }
  return false;
}

}  // namespace vesper::client
