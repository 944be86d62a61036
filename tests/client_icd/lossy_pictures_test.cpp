// SPDX-License-Identifier: Apache-2.0
// Pictures that the host sends as JPEG, and bytes that are none.
#include "client_icd/wsi/lossy_pictures.h"

#include <gtest/gtest.h>
#include <turbojpeg.h>

#include <algorithm>
#include <vector>

#include "tests/framework/random.h"

namespace vesper::client {
namespace {

constexpr uint32_t kWidth = 40;
constexpr uint32_t kHeight = 24;
constexpr uint64_t kStride = 4096;
constexpr uint32_t kCount = 3;
constexpr proto::ObjectId kMemory = 77;
constexpr std::byte kOld{0xa5};

std::vector<std::byte> Encode(int width, int height, const std::vector<unsigned char>& pixels) {
  const tjhandle encoder = tjInitCompress();
  unsigned char* jpeg = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(0, tjCompress2(encoder, pixels.data(), width, 0, height, TJPF_BGRX, &jpeg, &size,
                           TJSAMP_444, 100, 0));
  const auto* begin = reinterpret_cast<const std::byte*>(jpeg);
  std::vector<std::byte> bytes(begin, begin + size);
  tjFree(jpeg);
  tjDestroy(encoder);
  return bytes;
}

// Blue, green, red, and an alpha that JPEG loses.
std::vector<unsigned char> Flat(int width, int height) {
  std::vector<unsigned char> pixels;
  for (int i = 0; i < width * height; ++i) {
    pixels.insert(pixels.end(), {200, 100, 50, 0});
  }
  return pixels;
}

class LossyPicturesTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(pictures_.IsReady());
    Add(VK_FORMAT_B8G8R8A8_UNORM);
  }
  void Add(VkFormat format) {
    Pictures pictures;
    pictures.stride = kStride;
    pictures.count = kCount;
    pictures.extent = {kWidth, kHeight};
    pictures.format = format;
    pictures_.Add(kMemory, pictures, memory_.data());
  }
  bool Apply(uint32_t picture, VkRect2D part, std::span<const std::byte> data,
             proto::ObjectId memory = kMemory) {
    return pictures_.Apply({memory, picture, static_cast<uint32_t>(part.offset.x),
                            static_cast<uint32_t>(part.offset.y), part.extent.width,
                            part.extent.height, data.size(), data.data()});
  }
  bool IsUntouched() const {
    return std::ranges::all_of(memory_, [](std::byte byte) { return byte == kOld; });
  }

  PresentOptions options_ = ReadPresentOptions("jpeg:85");
  LossyPictures pictures_{options_};
  std::vector<std::byte> memory_ = std::vector<std::byte>(kStride * kCount, kOld);
};

TEST_F(LossyPicturesTest, PartIsUnpackedToItsPlaceAndNowhereElse) {
  ASSERT_TRUE(Apply(1, {{8, 4}, {16, 10}}, Encode(16, 10, Flat(16, 10))));
  for (uint64_t i = 0; i < memory_.size(); ++i) {
    const uint64_t in_picture = i - kStride;
    const uint64_t x = in_picture % (kWidth * 4) / 4;
    const uint64_t y = in_picture / (kWidth * 4);
    const bool is_inside = i >= kStride && x >= 8 && x < 24 && y >= 4 && y < 14;
    if (!is_inside) {
      ASSERT_EQ(kOld, memory_[i]) << "at " << i;
      continue;
    }
    constexpr int kExpected[] = {200, 100, 50, 255};
    ASSERT_NEAR(kExpected[i % 4], static_cast<int>(memory_[i]), 2) << "at " << i;
  }
}

TEST_F(LossyPicturesTest, ColorsFollowTheFormat) {
  Add(VK_FORMAT_R8G8B8A8_SRGB);
  ASSERT_TRUE(Apply(0, {{0, 0}, {8, 8}}, Encode(8, 8, Flat(8, 8))));
  EXPECT_NEAR(50, static_cast<int>(memory_[0]), 2);
  EXPECT_NEAR(200, static_cast<int>(memory_[2]), 2);
}

TEST_F(LossyPicturesTest, PartsThatLieElsewhereAreRefused) {
  const std::vector<std::byte> jpeg = Encode(8, 8, Flat(8, 8));
  EXPECT_FALSE(Apply(kCount, {{0, 0}, {8, 8}}, jpeg));
  EXPECT_FALSE(Apply(0, {{kWidth - 7, 0}, {8, 8}}, jpeg));
  EXPECT_FALSE(Apply(0, {{0, kHeight - 7}, {8, 8}}, jpeg));
  EXPECT_FALSE(Apply(0, {{-8, 0}, {8, 8}}, jpeg));
  EXPECT_FALSE(Apply(0, {{kWidth + 1, 0}, {0, 8}}, jpeg));
  EXPECT_FALSE(Apply(0, {{0, 0}, {8, 0xffff'ffff}}, jpeg));
  EXPECT_TRUE(IsUntouched());
}

TEST_F(LossyPicturesTest, AnotherSizeThanItSaysIsRefused) {
  EXPECT_FALSE(Apply(0, {{0, 0}, {8, 8}}, Encode(16, 8, Flat(16, 8))));
  EXPECT_FALSE(Apply(0, {{0, 0}, {8, 8}}, Encode(8, 9, Flat(8, 9))));
  EXPECT_FALSE(Apply(0, {{0, 0}, {0, 0}}, {}));
  EXPECT_TRUE(IsUntouched());
}

TEST_F(LossyPicturesTest, DamagedBytesStayWhereTheyBelong) {
  const std::vector<std::byte> jpeg = Encode(16, 16, Flat(16, 16));
  for (size_t size = 0; size + 2 < jpeg.size(); ++size) {
    EXPECT_FALSE(Apply(1, {{0, 0}, {16, 16}}, std::span(jpeg).first(size))) << size;
  }
  tests::Random random(1);
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::byte> damaged = jpeg;
    for (uint64_t flips = 1 + random.Below(8); flips > 0; --flips) {
      damaged[random.Below(damaged.size())] = static_cast<std::byte>(random.Next());
    }
    (void)Apply(1, {{0, 0}, {16, 16}}, damaged);  // it may still be a picture
  }
  for (uint64_t i = 0; i < memory_.size(); ++i) {
    const uint64_t in_picture = i - kStride;
    if (i < kStride || in_picture % (kWidth * 4) >= 64 || in_picture / (kWidth * 4) >= 16) {
      ASSERT_EQ(kOld, memory_[i]) << "at " << i;
    }
  }
}

TEST_F(LossyPicturesTest, MemoryThatIsGoneIsIgnored) {
  const std::vector<std::byte> jpeg = Encode(8, 8, Flat(8, 8));
  EXPECT_TRUE(Apply(0, {{0, 0}, {8, 8}}, jpeg, kMemory + 1));
  pictures_.Remove(kMemory);
  EXPECT_TRUE(Apply(0, {{0, 0}, {8, 8}}, jpeg));
  EXPECT_TRUE(IsUntouched());
}

TEST(LossyPicturesUnasked, AreRefused) {
  const PresentOptions options;
  LossyPictures pictures(options);
  EXPECT_FALSE(pictures.IsReady());
  EXPECT_FALSE(pictures.Apply({kMemory, 0, 0, 0, 8, 8, 0, nullptr}));
}

TEST(JpegLibrary, SaysWhatIsMissing) {
  std::string why;
  EXPECT_EQ(nullptr, JpegLibrary::Load(&why, "libthere_is_none.so.0"));
  EXPECT_NE(std::string::npos, why.find("libthere_is_none.so.0"));
  EXPECT_EQ(nullptr, JpegLibrary::Load(&why, "libm.so.6"));
  EXPECT_EQ("libm.so.6 lacks a function", why);
}

}  // namespace
}  // namespace vesper::client
