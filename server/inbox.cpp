// SPDX-License-Identifier: Apache-2.0
#include "server/inbox.h"

namespace vesper::server {
namespace {

/// How often a reader that waits for room looks whether the peer is still there.
constexpr std::chrono::milliseconds kLookInterval{100};

}  // namespace

bool Inbox::Put(ReceivedFrame frame, const transport::Connection& connection) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return bytes_ < max_bytes_ || closed_; };
  while (!changed_.wait_for(lock, kLookInterval, ready)) {
    if (connection.PeerIsGone()) {
      return false;
    }
  }
  if (closed_) {
    return false;
  }
  bytes_ += frame.payload().size();
  frames_.push_back(std::move(frame));
  changed_.notify_all();
  return true;
}

std::optional<ReceivedFrame> Inbox::Take(std::optional<std::chrono::seconds> timeout) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return closed_ || !frames_.empty(); };
  if (timeout) {
    changed_.wait_for(lock, *timeout, ready);
  } else {
    changed_.wait(lock, ready);
  }
  if (closed_ || frames_.empty()) {
    return std::nullopt;
  }
  ReceivedFrame frame = std::move(frames_.front());
  frames_.pop_front();
  bytes_ -= frame.payload().size();
  changed_.notify_all();
  return frame;
}

bool Inbox::IsClosed() {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void Inbox::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

}  // namespace vesper::server
