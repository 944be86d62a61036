// SPDX-License-Identifier: Apache-2.0
//
// The device's clock as its program asks for it: from what is known (device_clock.h), else by a
// call. What is told of one device never runs backwards.
#pragma once

#include <vulkan/vulkan_core.h>

#include <memory>
#include <mutex>
#include <optional>

#include "client_icd/device_clock.h"
#include "client_icd/questions.h"

namespace vesper::client {

class Device;

/// One device's. Thread-safe.
class Calibration {
 public:
  explicit Calibration(Device& device);

  /// What the device's clock shows. The call's reading is of some moment between its beginning and
  /// its end, the estimate's of the moment when it was made.
  VkResult Get(DeviceClock::Estimate* estimate);

 private:
  /// `reading` has been taken from the host.
  VkResult Call(DeviceClock::Reading* reading);
  void Ask(uint64_t now);
  void TakeNews();

  Device& device_;
  const bool is_possible_;  // the clock counts in 64 bits: it can be told what it shows later
  std::mutex mutex_;        // what follows
  DeviceClock clock_;
  std::shared_ptr<Question> question_;  // that is under way
  uint64_t asked_at_ = 0;               // it was
  DeviceClock::Estimate last_;          // that was told
};

}  // namespace vesper::client
