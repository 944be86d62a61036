// SPDX-License-Identifier: Apache-2.0
// Pictures that come as JPEG, since the user asks for that: near to those that were drawn, and of
// fewer bytes.
#include <turbojpeg.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "tests/framework/random.h"
#include "tests/framework/scoped_variable.h"
#include "tests/framework/session_statistics.h"
#include "tests/framework/vulkan_test.h"
#include "tests/framework/window_gpu.h"

namespace vesper::tests {
namespace {

constexpr VkExtent2D kExtent{320, 240};
constexpr int kQuality = 85;

// Like a photograph: colors that change slowly, and a little noise.
std::vector<uint32_t> Photograph(uint64_t number) {
  Random random(number);
  std::vector<uint32_t> pixels;
  for (uint32_t y = 0; y < kExtent.height; ++y) {
    for (uint32_t x = 0; x < kExtent.width; ++x) {
      uint32_t pixel = 0;
      for (int channel = 0; channel < 3; ++channel) {
        const double wave = std::sin(x * 0.021 + channel + static_cast<double>(number) * 0.3) +
                            std::cos(y * 0.017 - 2 * channel);
        pixel = pixel << 8 | static_cast<uint32_t>(120 + 50 * wave + random.Below(9));
      }
      pixels.push_back(pixel);
    }
  }
  return pixels;
}

// Decibels.
double Psnr(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (int shift = 0; shift < 24; shift += 8) {
      const double difference =
          static_cast<double>(a[i] >> shift & 0xff) - static_cast<double>(b[i] >> shift & 0xff);
      squares += difference * difference;
    }
  }
  return 10 * std::log10(255.0 * 255.0 * 3 * static_cast<double>(a.size()) / (squares + 1e-9));
}

// What JPEG of that quality makes of a picture, encoded here.
std::vector<uint32_t> ThroughJpeg(const std::vector<uint32_t>& picture) {
  const int width = kExtent.width;
  const int height = kExtent.height;
  const tjhandle encoder = tjInitCompress();
  const tjhandle decoder = tjInitDecompress();
  unsigned char* jpeg = nullptr;
  unsigned long size = 0;
  std::vector<uint32_t> pixels(picture.size());
  EXPECT_EQ(0, tjCompress2(encoder, reinterpret_cast<const unsigned char*>(picture.data()), width,
                           0, height, TJPF_BGRX, &jpeg, &size, TJSAMP_420, kQuality, 0));
  EXPECT_EQ(0, tjDecompress2(decoder, jpeg, size, reinterpret_cast<unsigned char*>(pixels.data()),
                             width, 0, height, TJPF_BGRX, 0));
  tjFree(jpeg);
  tjDestroy(encoder);
  tjDestroy(decoder);
  return pixels;
}

class WindowLossyTest : public VesperOnlyTest {
 protected:
  using Check = std::function<void(const std::vector<uint32_t>& drawn,
                                   const std::vector<uint32_t>& shown, uint64_t number)>;

  // Presents photographs, of which each is on the screen when it is checked.
  static void Show(uint64_t count, const Check& check) {
    // Within one machine, too, the pixels travel.
    const ScopedVariable memory("VESPER_MEMORY", "shadow");
    XServer server;
    XWindow window(server.display(), kExtent.width, kExtent.height);
    WindowGpu gpu;
    gpu.OpenForWindows();
    const Owned<VkSurfaceKHR> surface = gpu.MakeSurface(window);
    {
      Frames frames(gpu, surface, {.extent = kExtent, .mode = VK_PRESENT_MODE_IMMEDIATE_KHR});
      const Buffer photograph =
          MakeHostBuffer(gpu, kExtent.width * kExtent.height * 4, VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
      for (uint64_t number = 1; number <= count; ++number) {
        const std::vector<uint32_t> drawn = Photograph(number);
        std::memcpy(photograph.data, drawn.data(), drawn.size() * 4);
        uint32_t image = 0;
        ASSERT_EQ(VK_SUCCESS, frames.Acquire(kWaitLimitNs, &image));
        const VkPresentIdKHR id{VK_STRUCTURE_TYPE_PRESENT_ID_KHR, nullptr, 1, &number};
        ASSERT_EQ(
            VK_SUCCESS, frames.PresentImage(image, number, &id, [&](VkCommandBuffer commands) {
              gpu.Transition(commands, frames.images()[image], VK_IMAGE_LAYOUT_PRESENT_SRC_KHR,
                             VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
              const VkBufferImageCopy copy{0,         0,
                                           0,         {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
                                           {0, 0, 0}, {kExtent.width, kExtent.height, 1}};
              gpu.vk.CmdCopyBufferToImage(commands, photograph.handle, frames.images()[image],
                                          VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
              gpu.Transition(commands, frames.images()[image], VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                             VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
            }));
        ASSERT_EQ(VK_SUCCESS,
                  gpu.WaitForPresentKHR(gpu.device, frames.handle(), number, kWaitLimitNs));
        check(drawn, window.Screenshot(), number);
      }
    }
  }
};

TEST_F(WindowLossyTest, PicturesAreAsGoodAsTheirQuality) {
  const ScopedVariable present("VESPER_PRESENT", "jpeg:85");
  Show(12, [](const auto& drawn, const auto& shown, uint64_t number) {
    const double quality = Psnr(shown, drawn);
    EXPECT_GT(quality, Psnr(ThroughJpeg(drawn), drawn) - 0.5) << number;
    EXPECT_GT(quality, 30) << number;
    EXPECT_LT(quality, 90) << number << " came without loss";
    EXPECT_LT(Psnr(shown, Photograph(number - 1)), 30) << number;
  });
}

TEST_F(WindowLossyTest, TheyAreFewerBytes) {
  const auto bytes_with = [&](const char* option) {
    const ScopedVariable present("VESPER_PRESENT", option);
    const ScopedVariable compress("VESPER_COMPRESS", "zstd");
    return SessionOf([] { Show(9, [](const auto&, const auto&, uint64_t) {}); })
        .bytes.at("wire_in");
  };
  const uint64_t without_loss = bytes_with("copy");
  const uint64_t with_loss = bytes_with("jpeg:85");
  EXPECT_LT(with_loss * 3, without_loss);
}

// The best quality there is has each pixel's own color.
TEST_F(WindowLossyTest, BestQuality) {
  const ScopedVariable present("VESPER_PRESENT", "copy,jpeg:100");
  Show(3, [](const auto& drawn, const auto& shown, uint64_t number) {
    EXPECT_GT(Psnr(shown, drawn), 45) << number;
  });
}

TEST_F(WindowLossyTest, QualityThatIsNoneIsToldOnceAndIgnored) {
  const ScopedVariable present("VESPER_PRESENT", "jpeg:101");
  testing::internal::CaptureStderr();
  Show(2, [](const auto& drawn, const auto& shown, uint64_t) { EXPECT_EQ(drawn, shown); });
  EXPECT_EQ(
      "vesper: expected VESPER_PRESENT to be copy or jpeg:N with N from 1 to 100, got 'jpeg:101', "
      "which is ignored\n",
      testing::internal::GetCapturedStderr());
}

}  // namespace
}  // namespace vesper::tests
