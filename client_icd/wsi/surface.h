// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <array>
#include <memory>
#include <vector>

#include "client_icd/object.h"
#include "client_icd/wsi/native_window.h"

namespace vesper::client {

class PhysicalDevice;
class Session;

/// A VkSurfaceKHR. The host never hears of it.
struct Surface {
  explicit Surface(std::unique_ptr<NativeWindow> native) : window(std::move(native)) {}

  std::unique_ptr<NativeWindow> window;
  /// The swapchain that has the window; the program synchronises its creation.
  VkSwapchainKHR swapchain = VK_NULL_HANDLE;
  Allocator allocator;
};

Surface* FindSurface(Session& session, VkSurfaceKHR surface);

/// All modes, for any window: how pictures wait is decided in the guest (presenter.h).
inline constexpr std::array kPresentModes = {
    VK_PRESENT_MODE_FIFO_KHR, VK_PRESENT_MODE_FIFO_RELAXED_KHR, VK_PRESENT_MODE_MAILBOX_KHR,
    VK_PRESENT_MODE_IMMEDIATE_KHR};
/// One that is shown or waits for it, one that is copied, one to draw on.
inline constexpr uint32_t kMinImages = 3;

/// What the images of any swapchain may be used for.
inline constexpr VkImageUsageFlags kSwapchainUsage =
    VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_SAMPLED_BIT |
    VK_IMAGE_USAGE_STORAGE_BIT | VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT |
    VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT;

}  // namespace vesper::client
