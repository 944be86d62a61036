// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_DOOR_H_
#define VESPER_TESTS_FRAMEWORK_DOOR_H_

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace vesper::tests {

// A door for threads of the driver: they say that they are there, and wait until it is opened.
class Door {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    most_ = std::max(most_, waiting_);
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  // Waits until so many threads stand before it at the same time; false if that takes too long.
  bool WaitFor(int threads) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return waiting_ >= threads; });
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  int most() {
    const std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
  int most_ = 0;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_DOOR_H_
