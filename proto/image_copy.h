// SPDX-License-Identifier: Apache-2.0
//
// How many bytes a host image copy (Vulkan 1.4, "Copying Data Between Images and Host Memory")
// touches. The guest needs it to know what to send, the host to check what it was told.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <optional>

namespace vesper::proto {

/// A format's texel block: bytes, and texels in each direction.
struct FormatBlock {
  uint32_t bytes;
  uint32_t width;
  uint32_t height;
  uint32_t depth;
};

/// Zero bytes for a format that is not known. (formats_gen.cpp)
FormatBlock BlockOfFormat(VkFormat format);
/// The format of one plane of a multi-planar format, or VK_FORMAT_UNDEFINED.
VkFormat PlaneFormat(VkFormat format, uint32_t plane);

/// The block as it lies in memory when one aspect of an image is copied.
FormatBlock BlockOfAspect(VkFormat format, VkImageAspectFlags aspect);

/// A region in host memory: rows of `row_bytes` meaningful bytes, `row_pitch` bytes apart.
struct RegionShape {
  uint64_t row_bytes;
  uint64_t row_pitch;
  uint64_t rows_per_slice;
  uint64_t slice_pitch;
  uint64_t slices;  // depth times layers

  /// From the first byte to the last that is touched.
  uint64_t Bytes() const {
    return rows_per_slice == 0 || slices == 0
               ? 0
               : (slices - 1) * slice_pitch + (rows_per_slice - 1) * row_pitch + row_bytes;
  }
};

/// The shape of a region, or nothing if the format is unknown or a size is beyond all reason.
/// `layers` is the resolved layer count. Row length and image height are in texels, 0 for tight.
std::optional<RegionShape> ShapeOfRegion(const FormatBlock& block, const VkExtent3D& extent,
                                         uint32_t layers, uint32_t row_length,
                                         uint32_t image_height);

}  // namespace vesper::proto
