// SPDX-License-Identifier: Apache-2.0
#include "transport/background_writer.h"

#include <system_error>

#include "transport/quiet_thread.h"

namespace vesper::transport {

BackgroundWriter::~BackgroundWriter() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void BackgroundWriter::Begin(Parts parts) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !is_writing_; });
  if (!thread_.joinable()) {
    try {
      thread_ = StartQuietThread([this] { Run(); });
    } catch (const std::system_error&) {
      lock.unlock();
      write_(parts);
      return;
    }
  }
  parts_ = parts;
  is_writing_ = true;
  lock.unlock();
  changed_.notify_all();
}

void BackgroundWriter::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !is_writing_; });
}

void BackgroundWriter::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return is_writing_ || is_stopping_; });
    if (!is_writing_) {
      return;
    }
    lock.unlock();
    write_(parts_);
    lock.lock();
    is_writing_ = false;
    changed_.notify_all();
  }
}

}  // namespace vesper::transport
