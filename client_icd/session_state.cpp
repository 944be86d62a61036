// SPDX-License-Identifier: Apache-2.0
//
// What the threads of a session share beside the stream: whom progress is told, and whom failures.
#include <algorithm>

#include "client_icd/progress.h"
#include "client_icd/session.h"

namespace vesper::client {
namespace {

/// What a host says about more devices than this is not remembered before they are there.
constexpr size_t kMaxDevices = 256;

/// Who waits looks around after this time at the latest: a host that writes to the bell's words
/// what it likes must not keep anybody who has been told by nobody else that the session is over.
constexpr std::chrono::seconds kLongestSleep{1};

}  // namespace

bool Session::WaitForProgress(std::unique_lock<std::mutex>& lock,
                              std::chrono::steady_clock::time_point deadline,
                              const std::function<bool()>& done) {
  WaitNote note(*statistics_);
  for (;;) {
    const uint32_t seen = progress_bell_.Count();
    LookAtProgress();
    if (done()) {
      return true;
    }
    const auto now = std::chrono::steady_clock::now();
    if (IsLost() || now >= deadline) {
      return false;
    }
    note.Sleeps();
    lock.unlock();
    if (!progress_spin_.Until([&] { return progress_bell_.Count() != seen; })) {
      progress_bell_.SleepSince(seen, std::min(deadline, now + kLongestSleep));
    }
    lock.lock();
  }
}

void Session::LookAtProgress() {
  if (progress_page_ == nullptr) {
    return;
  }
  for (const auto& [id, queue] : queues_) {
    if (queue->slot == nullptr) {
      const auto slot = std::ranges::find_if(
          progress_page_->slots, [id = id](const auto& place) { return place.key.load() == id; });
      if (slot == progress_page_->slots.end()) {
        continue;  // it is not there yet, or pushed
      }
      queue->slot = &*slot;
    }
    if (queue->slot->key.load(std::memory_order_acquire) != id) {
      continue;
    }
    const uint64_t value = queue->slot->value.load(std::memory_order_acquire);
    if (value <= queue->reached.load(std::memory_order_relaxed)) {
      continue;
    }
    const uint64_t after = queue->slot->after.load(std::memory_order_relaxed);
    if (after <= handled_frames_) {
      Reach(*queue, value);
    } else {
      awaited_frames_ = std::min(awaited_frames_, after);
    }
  }
}

void Session::NoteHandledFrame() {
  if (progress_page_ == nullptr) {
    return;
  }
  const std::lock_guard lock(progress_mutex_);
  ++handled_frames_;
  if (handled_frames_ >= awaited_frames_) {
    awaited_frames_ = UINT64_MAX;
    NotifyProgress();
  }
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
