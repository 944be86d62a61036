// SPDX-License-Identifier: Apache-2.0
#include "server/inbox.h"

#include <cstring>

namespace vesper::server {
namespace {

/// How often a reader that waits for room looks whether the peer is still there.
constexpr std::chrono::milliseconds kLookInterval{100};

}  // namespace

bool Inbox::Put(const proto::Frame& frame, const transport::Connection& connection) {
  ReceivedFrame received{frame.type, std::vector<uint64_t>(frame.payload.size() / 8)};
  if (!frame.payload.empty()) {
    std::memcpy(received.words.data(), frame.payload.data(), frame.payload.size());
  }
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
  bytes_ += frame.payload.size();
  frames_.push_back(std::move(received));
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
  bytes_ -= frame.words.size() * 8;
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
