// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <optional>
#include <span>

#include "proto/buffer.h"
#include "proto/compression.h"
#include "proto/encoder.h"
#include "proto/object_id.h"
#include "proto/patch_parts.h"
#include "server/progress_slots.h"
#include "server/statistics.h"
#include "transport/background_writer.h"
#include "transport/connection.h"
#include "transport/turn_mutex.h"

namespace vesper::server {

/// What the worker says to its guest: replies and pushes, in the order of the calls here. Threads
/// that push data and then progress rely on that order. A thread that pushes much memory lets what
/// others have to say pass between its pieces. Thread-safe.
class Outbox {
 public:
  Outbox(transport::Connection& connection, Statistics& statistics)
      : connection_(&connection),
        statistics_(statistics),
        background_([this](proto::FrameCompressor::Parts frame) { WriteFrame(frame); }) {}

  /// What the guest knows; before the first reply.
  void SetKnownStructs(proto::KnownStructs known) { known_ = std::move(known); }

  /// What follows goes through this connection.
  void Use(transport::Connection& connection) {
    const std::lock_guard lock(mutex_);
    connection_ = &connection;
  }
  /// Frames may be compressed from now on.
  void EnableCompression(uint32_t algorithms, bool always);

  /// `was_skipped`: the command was not executed.
  void Reply(uint16_t number, uint64_t serial, const void* args, bool was_skipped = false);
  void Push(uint16_t number, const void* args);
  /// Queues that have a place on the page that the guest looks at (transport/progress_page.h).
  ProgressSlots& progress_slots() { return progress_slots_; }
  /// Says how far a queue has come: there, or in a push. After what was pushed before.
  void TellProgress(proto::ObjectId queue, std::optional<size_t> slot, uint64_t value);
  /// Pushes what the device wrote to `memory`, from where the patch names it. With `others_follow`
  /// that may still be read until the next push or FinishPatches.
  void PushPatch(proto::ObjectId memory, proto::PatchParts& patch, bool others_follow);
  /// Bytes of a patch beyond which others would wait too long behind it.
  size_t PieceBytes() const { return piece_bytes_.load(std::memory_order_relaxed); }
  /// Waits until the patches that were pushed have been read.
  void FinishPatches();
  /// A whole frame of the set-up.
  bool Send(const proto::Buffer& frame);

 private:
  void Write(uint16_t number, uint16_t flags, uint64_t serial, const void* args);
  /// In the background, or with mutex_ held and nothing under way there.
  bool WriteFrame(std::span<const std::span<const std::byte>> frame);

  transport::Connection* connection_;
  Statistics& statistics_;
  proto::KnownStructs known_;
  ProgressSlots progress_slots_;
  std::atomic<uint64_t> frames_{0};  // that were given out, since the set-up
  transport::TurnMutex mutex_;
  std::atomic<size_t> piece_bytes_{proto::kMaxPatchBytes};
  proto::Buffer buffer_;
  proto::FrameCompressor compressor_;
  transport::BackgroundWriter background_;  // keep last: it uses what is above
};

}  // namespace vesper::server
