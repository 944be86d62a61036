// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_GATE_CONNECTION_H_
#define VESPER_TESTS_FRAMEWORK_GATE_CONNECTION_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "transport/connection.h"

namespace vesper::tests {

// A link that takes what is large only when it is told to: a slow one, without a clock.
class Gate {
 public:
  // Writes of at least as many bytes wait for a permit from now on.
  void Close(size_t bytes = 32u << 10) {
    const std::lock_guard lock(mutex_);
    min_bytes_ = bytes;
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    min_bytes_ = SIZE_MAX;
    changed_.notify_all();
  }
  // One of them may pass.
  void Permit() {
    const std::lock_guard lock(mutex_);
    ++permits_;
    changed_.notify_all();
  }
  // Waits until one waits.
  void WaitForWriter() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ != 0 && permits_ == 0; });
  }
  // How many permits it takes until `done`, which some thread sets; `limit` if that is not enough.
  // For each it waits long: only if nothing comes of it the next is given.
  size_t PermitsUntil(const std::atomic<bool>& done, size_t limit) {
    for (size_t given = 0; given < limit; ++given) {
      Permit();
      for (int i = 0; i < 500; ++i) {
        if (done.load()) {
          return given + 1;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    return limit;
  }

  void Pass(size_t bytes) {
    std::unique_lock lock(mutex_);
    if (bytes < min_bytes_) {
      return;
    }
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return permits_ != 0 || bytes < min_bytes_; });
    permits_ -= permits_ != 0 ? 1 : 0;
    --waiting_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t min_bytes_ = SIZE_MAX;
  size_t permits_ = 0;
  size_t waiting_ = 0;
};

// A connection behind a gate.
class GateConnection final : public transport::Connection {
 public:
  GateConnection(std::unique_ptr<transport::Connection> inner, Gate& gate)
      : inner_(std::move(inner)), gate_(gate) {}
  bool Write(std::span<const std::span<const std::byte>> parts) override {
    size_t bytes = 0;
    for (const auto part : parts) {
      bytes += part.size();
    }
    gate_.Pass(bytes);
    return inner_->Write(parts);
  }
  size_t ReadSome(std::span<std::byte> buffer) override { return inner_->ReadSome(buffer); }
  void Shutdown() override { inner_->Shutdown(); }
  bool PeerIsGone() const override { return inner_->PeerIsGone(); }
  std::string Error() const override { return inner_->Error(); }
  std::string Peer() const override { return inner_->Peer(); }
  bool IsLocal() const override { return inner_->IsLocal(); }

 private:
  std::unique_ptr<transport::Connection> inner_;
  Gate& gate_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_GATE_CONNECTION_H_
