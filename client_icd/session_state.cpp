// SPDX-License-Identifier: Apache-2.0
//
// What the threads of a session share beside the stream: whom progress is told, and whom failures.
#include "client_icd/progress.h"
#include "client_icd/session.h"

namespace vesper::client {
namespace {

/// What a host says about more devices than this is not remembered before they are there.
constexpr size_t kMaxDevices = 256;

}  // namespace

bool Session::WaitForProgress(std::unique_lock<std::mutex>& lock,
                              std::chrono::steady_clock::time_point deadline,
                              const std::function<bool()>& done) {
  WaitNote note(*statistics_);
  while (!done()) {
    if (IsLost()) {
      return false;
    }
    note.Sleeps();
    if (deadline == std::chrono::steady_clock::time_point::max()) {
      progress_changed_.wait(lock);
    } else if (progress_changed_.wait_until(lock, deadline) == std::cv_status::timeout) {
      return done();
    }
  }
  return true;
}

void Session::AddQueue(proto::ObjectId id, std::shared_ptr<QueueProgress> queue) {
  const std::lock_guard lock(progress_mutex_);
  queues_.emplace(id, std::move(queue));
}

void Session::RemoveQueue(proto::ObjectId id) {
  const std::lock_guard lock(progress_mutex_);
  queues_.erase(id);
}

void Session::ExpectDevice() {
  const std::lock_guard lock(objects_mutex_);
  ++expected_devices_;
}

void Session::StopExpectingDevice() {
  const std::lock_guard lock(objects_mutex_);
  if (--expected_devices_ == 0) {
    std::erase_if(devices_, [](const auto& device) { return device.second.use_count() == 1; });
  }
}

std::shared_ptr<DeviceState> Session::AddDevice(proto::ObjectId id) {
  const std::lock_guard lock(objects_mutex_);
  std::shared_ptr<DeviceState>& device = devices_[id];
  if (device == nullptr) {
    device = std::make_shared<DeviceState>();
  }
  return device;
}

std::shared_ptr<DeviceState> Session::FindDevice(proto::ObjectId id) {
  const std::lock_guard lock(objects_mutex_);
  auto found = devices_.find(id);
  if (found == devices_.end() && expected_devices_ != 0 && devices_.size() < kMaxDevices) {
    // What the host says about a device first comes ahead of the reply that tells of the device.
    found = devices_.emplace(id, std::make_shared<DeviceState>()).first;
  }
  return found == devices_.end() ? nullptr : found->second;
}

void Session::RemoveDevice(proto::ObjectId id) {
  const std::lock_guard lock(objects_mutex_);
  devices_.erase(id);
}

}  // namespace vesper::client
