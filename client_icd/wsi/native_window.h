// SPDX-License-Identifier: Apache-2.0
//
// What a surface is made for: a window of one of the window systems, or none. The driver's other
// files know windows by this alone.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "client_icd/wsi/refresh_rate.h"

namespace vesper::client {

/// The pictures of a swapchain as the device leaves them in memory that the guest reads: rows
/// without gaps, four bytes for each pixel, one picture every `stride` bytes.
struct Pictures {
  const std::byte* begin = nullptr;
  uint64_t stride = 0;
  uint32_t count = 0;
  VkExtent2D extent{};
  VkFormat format = VK_FORMAT_UNDEFINED;
  bool is_opaque = true;  ///< whatever their alpha says
  /// The file whose pages these are, from this offset on, or -1.
  int file = -1;
  uint64_t file_offset = 0;

  const std::byte* At(uint32_t index) const { return begin + index * stride; }
  uint64_t row_bytes() const { return uint64_t{extent.width} * 4; }
};

/// Where the pictures of one swapchain are shown. One thread at a time.
class Canvas {
 public:
  virtual ~Canvas() = default;
  /// Shows a picture, of which only `damage` differs from the one shown before (everything, if that
  /// is empty). Has been read when this returns. VK_SUCCESS; VK_SUBOPTIMAL_KHR or
  /// VK_ERROR_OUT_OF_DATE_KHR if the window has another size by now, VK_ERROR_SURFACE_LOST_KHR if
  /// it is gone.
  virtual VkResult Show(uint32_t index, std::span<const VkRect2D> damage) = 0;
  /// How long a refresh of the screen takes, as far as that is known by now.
  virtual RefreshRate::Period RefreshPeriod() const { return RefreshRate::kUsual; }
};

/// Any thread.
class NativeWindow {
 public:
  virtual ~NativeWindow() = default;

  /// What VkSurfaceCapabilitiesKHR says of sizes; `current` is 0xFFFFFFFF if the swapchain decides.
  struct Sizes {
    VkExtent2D current{};
    VkExtent2D least{};
    VkExtent2D most{};
  };
  /// VK_ERROR_SURFACE_LOST_KHR if the window is gone.
  virtual VkResult GetSizes(Sizes* sizes) = 0;
  /// The formats of pictures that can be shown, best first. Empty: any.
  virtual std::span<const VkFormat> formats() const = 0;
  /// What happens to the alpha of pictures.
  virtual VkCompositeAlphaFlagsKHR composite_alpha() const {
    return VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR | VK_COMPOSITE_ALPHA_INHERIT_BIT_KHR;
  }
  /// Somebody looks at it: pictures are needed here, and shown at the pace of a screen.
  virtual bool IsSeen() const = 0;
  /// A place for these pictures, which outlive it; null if there is no memory, or no window.
  virtual std::unique_ptr<Canvas> Open(const Pictures& pictures) = 0;
};

}  // namespace vesper::client
