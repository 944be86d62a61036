// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <chrono>
#include <cstdint>
#include <functional>

namespace vesper::client {

class Device;

/// The point in time `timeout` nanoseconds from now; max() for one that is too far to tell.
std::chrono::steady_clock::time_point Deadline(uint64_t timeout);

/// Sleeps until `done()` (called under Session::progress_mutex()), the device is lost or `timeout`
/// nanoseconds have passed: VK_SUCCESS, VK_ERROR_DEVICE_LOST or VK_TIMEOUT. What is queued is
/// written first. Any number of threads.
VkResult WaitOnDevice(Device& device, uint64_t timeout, const std::function<bool()>& done);

}  // namespace vesper::client
