// SPDX-License-Identifier: Apache-2.0
//
// What a worker has received and not yet executed. The reader puts frames in, the session's thread
// takes them out. The inbox is bounded, so the reader may have to wait while the session's thread
// is inside a long driver call. A waiting reader doesn't receive and would not see the end of the
// stream, so it looks now and then whether the peer is still there.
#ifndef VESPER_SERVER_INBOX_H_
#define VESPER_SERVER_INBOX_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>

#include "proto/frame.h"
#include "transport/connection.h"

namespace vesper::server {

struct ReceivedFrame {
  proto::FrameType type;
  proto::FrameMemory memory;

  std::span<const std::byte> payload() const { return memory.payload(); }
};

/// Received frames, in order. Threads: any; one puts and one takes.
class Inbox {
 public:
  /// `max_bytes` of payload may wait, and one frame more.
  explicit Inbox(size_t max_bytes) : max_bytes_(max_bytes) {}

  /// Adds a frame, and waits for room before that. False without adding it if the inbox was closed,
  /// or if `connection`, which the frame came from, lost its peer while there was no room.
  bool Put(ReceivedFrame frame, const transport::Connection& connection);

  /// The next frame; nothing once the inbox is closed, even if some are left, or after `timeout`.
  std::optional<ReceivedFrame> Take(std::optional<std::chrono::seconds> timeout = std::nullopt);

  bool IsClosed();
  void Close();

 private:
  const size_t max_bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ReceivedFrame> frames_;
  size_t bytes_ = 0;
  bool closed_ = false;
};

}  // namespace vesper::server

#endif  // VESPER_SERVER_INBOX_H_
