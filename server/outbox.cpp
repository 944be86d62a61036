// SPDX-License-Identifier: Apache-2.0
#include "server/outbox.h"

#include <chrono>

#include "proto/frame.h"
#include "proto/records_gen.h"

namespace vesper::server {
namespace {

/// Replies hold ids where the native arguments held handles.
uint64_t Unchanged(proto::HandleType, uint64_t handle) { return handle; }

constexpr size_t kKeptBytes = 8u << 20;

}  // namespace

void Outbox::Reply(uint16_t number, uint64_t serial, const void* args, bool was_skipped) {
  const uint16_t skipped = was_skipped ? proto::kWasSkipped : 0;
  Write(number, proto::kIsReply | skipped, serial, args);
}

void Outbox::Push(uint16_t number, const void* args) {
  statistics_.NotePush();
  Write(number, 0, 0, args);
}

void Outbox::TellProgress(proto::ObjectId queue, std::optional<size_t> slot, uint64_t value) {
  if (slot) {
    progress_slots_.Set(*slot, value, frames_.load());
    return;
  }
  const proto::Args_vesperProgress args{queue, value};
  Push(proto::command_number::vesperProgress, &args);
}

void Outbox::Write(uint16_t number, uint16_t flags, uint64_t serial, const void* args) {
  const proto::Record& record = *proto::CommandRecord(number);
  const std::lock_guard lock(mutex_);
  background_.Wait();
  buffer_.Clear();
  const size_t frame = proto::BeginFrame(buffer_, proto::FrameType::kCommands);
  const size_t header = proto::BeginCommand(buffer_, number, flags, serial);
  proto::Encoder encoder(buffer_, known_, Unchanged);
  if ((flags & proto::kIsReply) != 0) {
    encoder.Reply(record, args);
  } else {
    encoder.Request(record, args);
  }
  if (!proto::FinishCommand(buffer_, header)) {
    connection_->Shutdown();  // a guest that waits for this reply must not wait for ever
    return;
  }
  proto::FinishFrame(buffer_, frame);
  const std::span<const std::byte> parts[] = {buffer_.Bytes()};
  frames_.fetch_add(1);
  WriteFrame(parts);  // a broken connection is the reading side's to notice
  buffer_.Shrink(kKeptBytes);
}

void Outbox::PushPatch(proto::ObjectId memory, proto::PatchParts& patch, bool others_follow) {
  const transport::TurnMutex::Piece lock(mutex_);
  const auto parts = patch.Frame(known_, Unchanged, proto::command_number::vesperPushMemory,
                                 proto::Args_vesperPushMemory{memory, 0, nullptr});
  if (parts.empty()) {
    connection_->Shutdown();  // a guest that goes on without these bytes would compute with others
    return;
  }
  statistics_.NotePush();
  frames_.fetch_add(1);
  if (others_follow) {
    background_.Begin(parts);
  } else {
    background_.Wait();
    WriteFrame(parts);
  }
}

void Outbox::FinishPatches() {
  const transport::TurnMutex::Piece lock(mutex_);
  background_.Wait();
}

bool Outbox::Send(const proto::Buffer& frame) {
  const std::lock_guard lock(mutex_);
  background_.Wait();
  const std::span<const std::byte> parts[] = {frame.Bytes()};
  return WriteFrame(parts);
}

void Outbox::EnableCompression(uint32_t algorithms, bool always) {
  const std::lock_guard lock(mutex_);
  compressor_.Enable(algorithms, always, connection_->IsLocal());
  piece_bytes_.store(compressor_.PieceBytes());
}

bool Outbox::WriteFrame(std::span<const std::span<const std::byte>> frame) {
  const auto parts = compressor_.Prepare(frame);
  for (const std::span<const std::byte> part : parts) {
    statistics_.NoteSent(part.size());
  }
  const auto begin = std::chrono::steady_clock::now();
  const bool written = connection_->Write(parts);
  compressor_.NoteWrite(parts, std::chrono::steady_clock::now() - begin);
  piece_bytes_.store(compressor_.PieceBytes(), std::memory_order_relaxed);
  return written;
}

}  // namespace vesper::server
