// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wait.h"

#include "client_icd/device.h"

namespace vesper::client {

std::chrono::steady_clock::time_point Deadline(uint64_t timeout) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point now = Clock::now();
  const uint64_t room = static_cast<uint64_t>((Clock::time_point::max() - now).count());
  return timeout >= room ? Clock::time_point::max() : now + std::chrono::nanoseconds(timeout);
}

VkResult WaitOnDevice(Device& device, uint64_t timeout, const std::function<bool()>& done) {
  Session& session = device.session();
  if (device.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  session.Flush();
  std::unique_lock lock(session.progress_mutex());
  bool satisfied = false;
  const auto ready = [&] {
    satisfied = done();
    return satisfied || device.IsLost();
  };
  session.WaitForProgress(lock, Deadline(timeout), ready);
  if (satisfied) {
    return VK_SUCCESS;
  }
  return device.IsLost() ? VK_ERROR_DEVICE_LOST : VK_TIMEOUT;
}

}  // namespace vesper::client
