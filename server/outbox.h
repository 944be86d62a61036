// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

#include "proto/buffer.h"
#include "proto/compression.h"
#include "proto/encoder.h"
#include "transport/connection.h"

namespace vesper::server {

/// What the worker says to its guest: replies and pushes, in the order of the calls here. Threads
/// that push data and then progress rely on that order. Thread-safe.
class Outbox {
 public:
  explicit Outbox(transport::Connection& connection) : connection_(connection) {}

  /// What the guest knows; before the first reply.
  void SetKnownStructs(proto::KnownStructs known) { known_ = std::move(known); }

  /// Frames may be compressed from now on.
  void EnableCompression(uint32_t algorithms, bool always);

  void Reply(uint16_t number, uint64_t serial, const void* args);
  void Push(uint16_t number, const void* args);
  /// A whole frame of the set-up.
  bool Send(const proto::Buffer& frame);

 private:
  void Write(uint16_t number, uint16_t flags, uint64_t serial, const void* args);
  bool WriteFrame(const proto::Buffer& frame);

  transport::Connection& connection_;
  proto::KnownStructs known_;
  std::mutex mutex_;
  proto::Buffer buffer_;
  proto::FrameCompressor compressor_;
};

}  // namespace vesper::server
