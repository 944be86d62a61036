// SPDX-License-Identifier: Apache-2.0
#include "proto/image_copy.h"

#include <gtest/gtest.h>

namespace vesper::proto {
namespace {

uint64_t Bytes(VkFormat format, VkExtent3D extent, uint32_t layers, uint32_t row_length,
               uint32_t image_height, VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT) {
  const auto shape =
      ShapeOfRegion(BlockOfAspect(format, aspect), extent, layers, row_length, image_height);
  EXPECT_TRUE(shape.has_value());
  return shape ? shape->Bytes() : 0;
}

TEST(ImageCopy, TightRegions) {
  EXPECT_EQ(Bytes(VK_FORMAT_R8G8B8A8_UNORM, {16, 8, 1}, 1, 0, 0), 16u * 8 * 4);
  EXPECT_EQ(Bytes(VK_FORMAT_R8G8B8A8_UNORM, {16, 8, 3}, 1, 0, 0), 16u * 8 * 4 * 3);
  EXPECT_EQ(Bytes(VK_FORMAT_R8_UNORM, {5, 7, 1}, 6, 0, 0), 5u * 7 * 6);
  EXPECT_EQ(Bytes(VK_FORMAT_R64G64B64A64_SFLOAT, {1, 1, 1}, 1, 0, 0), 32u);
}

TEST(ImageCopy, TheLastRowNeedsNoPadding) {
  // Two rows of 4 texels, 10 texels apart: the second ends with its fourth texel.
  EXPECT_EQ(Bytes(VK_FORMAT_R8G8B8A8_UNORM, {4, 2, 1}, 1, 10, 0), (10u + 4) * 4);
  // Two layers of 2 rows, 5 rows apart.
  EXPECT_EQ(Bytes(VK_FORMAT_R8G8B8A8_UNORM, {4, 2, 1}, 2, 10, 5), (5u * 10 + 10 + 4) * 4);
}

TEST(ImageCopy, CompressedBlocks) {
  // 4x4 blocks of 8 bytes; sizes that are no multiple are rounded up.
  EXPECT_EQ(Bytes(VK_FORMAT_BC1_RGBA_UNORM_BLOCK, {9, 5, 1}, 1, 0, 0), 3u * 2 * 8);
  EXPECT_EQ(Bytes(VK_FORMAT_BC1_RGBA_UNORM_BLOCK, {8, 8, 1}, 1, 16, 0), (4u + 2) * 8);
  EXPECT_EQ(Bytes(VK_FORMAT_ASTC_5x4_UNORM_BLOCK, {10, 4, 1}, 1, 0, 0), 2u * 16);
}

TEST(ImageCopy, AspectsHaveSizesOfTheirOwn) {
  const VkExtent3D extent{8, 8, 1};
  EXPECT_EQ(Bytes(VK_FORMAT_D24_UNORM_S8_UINT, extent, 1, 0, 0, VK_IMAGE_ASPECT_STENCIL_BIT), 64u);
  EXPECT_EQ(Bytes(VK_FORMAT_D24_UNORM_S8_UINT, extent, 1, 0, 0, VK_IMAGE_ASPECT_DEPTH_BIT), 256u);
  EXPECT_EQ(Bytes(VK_FORMAT_D16_UNORM_S8_UINT, extent, 1, 0, 0, VK_IMAGE_ASPECT_DEPTH_BIT), 128u);
  EXPECT_EQ(Bytes(VK_FORMAT_D32_SFLOAT_S8_UINT, extent, 1, 0, 0, VK_IMAGE_ASPECT_DEPTH_BIT), 256u);
  EXPECT_EQ(Bytes(VK_FORMAT_G8_B8R8_2PLANE_420_UNORM, extent, 1, 0, 0, VK_IMAGE_ASPECT_PLANE_0_BIT),
            64u);
  EXPECT_EQ(Bytes(VK_FORMAT_G8_B8R8_2PLANE_420_UNORM, extent, 1, 0, 0, VK_IMAGE_ASPECT_PLANE_1_BIT),
            128u);
  EXPECT_EQ(
      Bytes(VK_FORMAT_G8_B8_R8_3PLANE_420_UNORM, extent, 1, 0, 0, VK_IMAGE_ASPECT_PLANE_2_BIT),
      64u);
}

TEST(ImageCopy, RefusesWhatIsBeyondReason) {
  const FormatBlock block = BlockOfAspect(VK_FORMAT_R8G8B8A8_UNORM, VK_IMAGE_ASPECT_COLOR_BIT);
  constexpr uint32_t kMax = UINT32_MAX;
  EXPECT_FALSE(ShapeOfRegion(block, {kMax, 1, 1}, 1, 0, 0));
  EXPECT_FALSE(ShapeOfRegion(block, {1, kMax, 1}, 1, 0, 0));
  EXPECT_FALSE(ShapeOfRegion(block, {1, 1, kMax}, 1, 0, 0));
  EXPECT_FALSE(ShapeOfRegion(block, {1, 1, 1}, kMax, 0, 0));
  EXPECT_FALSE(ShapeOfRegion(block, {1, 1, 1}, 1, kMax, 0));
  EXPECT_FALSE(ShapeOfRegion(block, {1, 1, 1}, 1, 0, kMax));
  // Rows that overlap are no valid use, and would make the extent too small.
  EXPECT_FALSE(ShapeOfRegion(block, {16, 1, 1}, 1, 8, 0));
  EXPECT_FALSE(ShapeOfRegion(block, {1, 16, 1}, 1, 0, 8));
  EXPECT_FALSE(ShapeOfRegion(BlockOfFormat(VK_FORMAT_UNDEFINED), {1, 1, 1}, 1, 0, 0));
  EXPECT_FALSE(
      ShapeOfRegion(BlockOfFormat(static_cast<VkFormat>(0x7fff'0000)), {1, 1, 1}, 1, 0, 0));
}

TEST(ImageCopy, TheLargestRegionsDoNotWrap) {
  // The largest of everything that is let through: the sum still fits 64 bits without a wrap, or is
  // refused. 2^20 texels a side, 16 bytes each, 2^20 slices of 2^20 layers.
  const FormatBlock block = BlockOfFormat(VK_FORMAT_R32G32B32A32_SFLOAT);
  constexpr uint32_t kMax = 1u << 20;
  const auto shape = ShapeOfRegion(block, {kMax, kMax, kMax}, kMax, kMax, kMax);
  if (shape) {
    const auto exact = static_cast<unsigned __int128>(kMax) * kMax * kMax * kMax * block.bytes;
    EXPECT_EQ(static_cast<unsigned __int128>(shape->Bytes()), exact)
        << "a wrapped size would let a copy reach past its data";
  }
}

TEST(ImageCopy, PlanesOfOtherFormatsAreUnknown) {
  EXPECT_EQ(PlaneFormat(VK_FORMAT_R8G8B8A8_UNORM, 0), VK_FORMAT_UNDEFINED);
  EXPECT_EQ(PlaneFormat(VK_FORMAT_G8_B8R8_2PLANE_420_UNORM, 2), VK_FORMAT_UNDEFINED);
  EXPECT_EQ(PlaneFormat(VK_FORMAT_G8_B8R8_2PLANE_420_UNORM, 1), VK_FORMAT_R8G8_UNORM);
}

}  // namespace
}  // namespace vesper::proto
