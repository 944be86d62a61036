// SPDX-License-Identifier: Apache-2.0
#include "server/pictures.h"

#include <gtest/gtest.h>

namespace vesper::server {
namespace {

constexpr PictureLayout kLayout{3, 65536, {100, 50}, false, 85};

TEST(PictureLayout, FitsWhatItSays) {
  EXPECT_TRUE(kLayout.Fits(3 * 65536));
  EXPECT_FALSE(kLayout.Fits(3 * 65536 - 1));
  const auto fits = [](auto change) {
    PictureLayout layout = kLayout;
    change(layout);
    return layout.Fits(3 * 65536);
  };
  EXPECT_FALSE(fits([](PictureLayout& layout) { layout.count = 0; }));
  EXPECT_FALSE(fits([](PictureLayout& layout) { layout.count = 0xffff'ffff; }));
  EXPECT_FALSE(fits([](PictureLayout& layout) { layout.stride = 0; }));
  EXPECT_FALSE(fits([](PictureLayout& layout) { layout.stride = UINT64_MAX; }));
  EXPECT_FALSE(fits([](PictureLayout& layout) { layout.stride = 100 * 4 * 50 - 1; }));
  EXPECT_FALSE(fits([](PictureLayout& layout) { layout.extent.width = 0; }));
  EXPECT_FALSE(fits([](PictureLayout& layout) { layout.extent.height = 0; }));
  EXPECT_FALSE(fits([](PictureLayout& layout) { layout.extent = {0xffff'ffff, 0xffff'ffff}; }));
  EXPECT_FALSE(fits([](PictureLayout& layout) { layout.quality = 101; }));
  EXPECT_TRUE(fits([](PictureLayout& layout) { layout.quality = 0; }));
}

TEST(LossyPictures, RangesGrowToWholeRows) {
  const LossyPictures pictures(kLayout);
  constexpr uint64_t kRow = 400;
  constexpr uint64_t kEnd = 50 * kRow;
  const auto rows = [&](uint64_t begin, uint64_t end) { return pictures.WholeRows({begin, end}); };
  EXPECT_EQ((ByteRange{0, kRow}), rows(0, 1));
  EXPECT_EQ((ByteRange{kRow, 3 * kRow}), rows(kRow + 399, 2 * kRow + 1));
  EXPECT_EQ((ByteRange{kRow, 2 * kRow}), rows(kRow, 2 * kRow));
  EXPECT_EQ((ByteRange{65536, 65536 + kEnd}), rows(65536 + 7, 65536 + kEnd - 1));
  // Between two pictures, and behind the last.
  EXPECT_EQ((ByteRange{49 * kRow, 65536}), rows(kEnd - 1, 65536));
  EXPECT_EQ((ByteRange{3 * 65536 + 3, 3 * 65536 + 5}), rows(3 * 65536 + 3, 3 * 65536 + 5));
}

}  // namespace
}  // namespace vesper::server
