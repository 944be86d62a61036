// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/damage.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/framework/random.h"

namespace vesper::client {
namespace {

constexpr VkExtent2D kExtent{40, 30};

// How often each pixel is in one of the rectangles.
std::vector<int> Count(std::span<const VkRect2D> rectangles) {
  std::vector<int> counts(kExtent.width * kExtent.height);
  for (const VkRect2D& rectangle : rectangles) {
    EXPECT_NE(0u, rectangle.extent.width);
    EXPECT_NE(0u, rectangle.extent.height);
    for (uint32_t y = 0; y < rectangle.extent.height; ++y) {
      for (uint32_t x = 0; x < rectangle.extent.width; ++x) {
        ++counts.at((y + rectangle.offset.y) * kExtent.width + x + rectangle.offset.x);
      }
    }
  }
  return counts;
}

TEST(Damage, CoversEachPixelOnceAndNoOther) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    tests::Random random(seed);
    Damage damage(kExtent);
    std::vector<int> expected(kExtent.width * kExtent.height);
    for (uint64_t i = random.Below(6); i > 0 && !damage.IsWhole(); --i) {
      const VkRect2D rectangle{
          {static_cast<int32_t>(random.Below(50)) - 5, static_cast<int32_t>(random.Below(40)) - 5},
          {static_cast<uint32_t>(random.Below(30)), static_cast<uint32_t>(random.Below(30))}};
      damage.Add({&rectangle, 1});
      for (uint32_t pixel = 0; pixel < expected.size(); ++pixel) {
        const int64_t x = pixel % kExtent.width - int64_t{rectangle.offset.x};
        const int64_t y = pixel / kExtent.width - int64_t{rectangle.offset.y};
        if (x >= 0 && x < rectangle.extent.width && y >= 0 && y < rectangle.extent.height) {
          expected[pixel] = 1;
        }
      }
    }
    if (!damage.IsWhole()) {
      ASSERT_EQ(expected, Count(damage.rectangles()));
    }
  }
}

TEST(Damage, RectanglesThatReachTooFarAreCut) {
  Damage damage(kExtent);
  const VkRect2D rectangle{{INT32_MAX, -7}, {UINT32_MAX, UINT32_MAX}};
  damage.Add({&rectangle, 1});
  EXPECT_TRUE(damage.rectangles().empty());
  const VkRect2D all{{-1, -1}, {UINT32_MAX, UINT32_MAX}};
  damage.Add({&all, 1});
  ASSERT_EQ(1u, damage.rectangles().size());
  EXPECT_EQ(kExtent.width, damage.rectangles()[0].extent.width);
  EXPECT_EQ(kExtent.height, damage.rectangles()[0].extent.height);
}

TEST(Damage, VeryManyAreEverything) {
  Damage damage(kExtent);
  for (int32_t i = 0; i < 100; ++i) {
    const VkRect2D pixel{{i % 20 * 2, i / 20 * 2}, {1, 1}};
    damage.Add({&pixel, 1});
  }
  EXPECT_TRUE(damage.IsWhole());
  damage.Clear();
  EXPECT_FALSE(damage.IsWhole());
  EXPECT_TRUE(damage.rectangles().empty());
}

}  // namespace
}  // namespace vesper::client
