// SPDX-License-Identifier: Apache-2.0
#include "proto/image_copy.h"

namespace vesper::proto {
namespace {

uint64_t Blocks(uint32_t texels, uint32_t per_block) {
  return (uint64_t{texels} + per_block - 1) / per_block;
}

/// No image has more texels in a direction (the largest limits of today's drivers are 2^15).
constexpr uint32_t kMaxTexels = 1u << 20;

}  // namespace

FormatBlock BlockOfAspect(VkFormat format, VkImageAspectFlags aspect) {
  switch (aspect) {
    case VK_IMAGE_ASPECT_STENCIL_BIT:
      return {1, 1, 1, 1};
    case VK_IMAGE_ASPECT_DEPTH_BIT: {
      const bool is_16_bit = format == VK_FORMAT_D16_UNORM || format == VK_FORMAT_D16_UNORM_S8_UINT;
      return {is_16_bit ? 2u : 4u, 1, 1, 1};
    }
    case VK_IMAGE_ASPECT_PLANE_0_BIT:
      return BlockOfFormat(PlaneFormat(format, 0));
    case VK_IMAGE_ASPECT_PLANE_1_BIT:
      return BlockOfFormat(PlaneFormat(format, 1));
    case VK_IMAGE_ASPECT_PLANE_2_BIT:
      return BlockOfFormat(PlaneFormat(format, 2));
    default:
      return BlockOfFormat(format);
  }
}

std::optional<RegionShape> ShapeOfRegion(const FormatBlock& block, const VkExtent3D& extent,
                                         uint32_t layers, uint32_t row_length,
                                         uint32_t image_height) {
  for (const uint32_t texels :
       {extent.width, extent.height, extent.depth, layers, row_length, image_height}) {
    if (texels > kMaxTexels) {
      return std::nullopt;
    }
  }
  if (block.bytes == 0) {
    return std::nullopt;
  }
  const uint64_t columns = Blocks(extent.width, block.width);
  const uint64_t rows = Blocks(extent.height, block.height);
  const uint64_t pitch_columns = row_length == 0 ? columns : Blocks(row_length, block.width);
  const uint64_t pitch_rows = image_height == 0 ? rows : Blocks(image_height, block.height);
  if (pitch_columns < columns || pitch_rows < rows || columns == 0) {
    return std::nullopt;
  }
  RegionShape shape{};
  shape.row_bytes = columns * block.bytes;
  shape.row_pitch = pitch_columns * block.bytes;
  shape.rows_per_slice = rows;
  shape.slice_pitch = pitch_rows * shape.row_pitch;
  shape.slices = Blocks(extent.depth, block.depth) * layers;
  // Bytes() must not wrap: it is what stands between a region and the memory around its data.
  uint64_t all_slices = 0;
  if (__builtin_mul_overflow(shape.slices, shape.slice_pitch, &all_slices)) {
    return std::nullopt;
  }
  return shape;
}

}  // namespace vesper::proto
