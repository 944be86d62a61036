// SPDX-License-Identifier: Apache-2.0
#include "client_icd/flusher.h"

#include <algorithm>
#include <system_error>

#include "transport/quiet_thread.h"

namespace vesper::client {
namespace {

/// How often the thread looks by itself, and how many times in vain before it sleeps for good.
constexpr std::chrono::milliseconds kLook{4};
constexpr int kLooks = 8;

}  // namespace

Flusher::~Flusher() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

bool Flusher::By(Clock::time_point time) {
  const int64_t at = time.time_since_epoch().count();
  int64_t due = due_.load();
  while (at < due && !due_.compare_exchange_weak(due, at)) {
  }
  // Either the thread has seen the time that was just set before it goes to sleep, or it has said
  // before that until when it sleeps.
  if (at >= wakes_at_.load()) {
    return true;
  }
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable() && !has_failed_) {
    try {
      thread_ = transport::StartQuietThread([this] { Run(); });
    } catch (const std::system_error&) {
      has_failed_ = true;
    }
  }
  changed_.notify_all();
  return !has_failed_;
}

void Flusher::Run() {
  std::unique_lock lock(mutex_);
  int looks = 0;
  while (!is_stopping_) {
    const Clock::time_point now = Clock::now();
    if (due_.load() <= now.time_since_epoch().count()) {
      due_.store(kNever);
      looks = kLooks;
      lock.unlock();
      flush_();
      lock.lock();
      continue;
    }
    const int64_t look = looks == 0 ? kNever : (now + kLook).time_since_epoch().count();
    const int64_t until = std::min(due_.load(), look);
    wakes_at_.store(until);
    if (due_.load() < until) {
      continue;  // set meanwhile
    }
    looks -= looks == 0 ? 0 : 1;
    if (until == kNever) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, Clock::time_point(Clock::duration(until)));
    }
    wakes_at_.store(0);  // awake: it will look at what is due
  }
}

}  // namespace vesper::client
