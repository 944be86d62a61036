// SPDX-License-Identifier: Apache-2.0
// VK_KHR_incremental_present: programs that say what has changed since the last picture. What is on
// the screen is the same as if they had not, with the pixels shared with the X server or sent to
// it.
#include <algorithm>
#include <cstring>

#include "tests/framework/random.h"
#include "tests/framework/scoped_variable.h"
#include "tests/framework/vulkan_test.h"
#include "tests/framework/window_gpu.h"

namespace vesper::tests {
namespace {

constexpr VkExtent2D kExtent{96, 64};

struct Case {
  const char* name;
  const char* present;  // VESPER_PRESENT
  const char* memory;   // VESPER_MEMORY
  VkPresentModeKHR mode;
};

class WindowDamageTest : public VesperOnlyTest, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    gpu_.OpenForWindows();
    ASSERT_TRUE(gpu_.HasDeviceExtension("VK_KHR_incremental_present"));
    surface_ = gpu_.MakeSurface(window_);
    pixels_ =
        MakeHostBuffer(gpu_, kExtent.width * kExtent.height * 4, VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
    frames_ = std::make_unique<Frames>(gpu_, surface_,
                                       Frames::Options{.extent = kExtent, .mode = GetParam().mode});
    picture_.resize(kExtent.width * kExtent.height);
  }
  void TearDown() override {
    frames_.reset();
    pixels_ = {};
    surface_.Reset();
    gpu_.Close();
  }

  // Changes the picture within a rectangle.
  void Fill(const VkRect2D& part, uint32_t color) {
    for (uint32_t y = 0; y < part.extent.height; ++y) {
      std::fill_n(picture_.begin() + (part.offset.y + y) * kExtent.width + part.offset.x,
                  part.extent.width, color);
    }
  }

  // Presents the picture and waits until it has been shown. Without `damage` all of it may have
  // changed.
  void Present(uint64_t number, const std::vector<VkRect2D>& damage) {
    std::memcpy(pixels_.data, picture_.data(), picture_.size() * 4);
    std::vector<VkRectLayerKHR> layers;
    for (const VkRect2D& part : damage) {
      layers.push_back({part.offset, part.extent, 0});
    }
    const VkPresentRegionKHR region{static_cast<uint32_t>(layers.size()),
                                    layers.empty() ? nullptr : layers.data()};
    const VkPresentRegionsKHR regions{VK_STRUCTURE_TYPE_PRESENT_REGIONS_KHR, nullptr, 1, &region};
    const VkPresentIdKHR id{VK_STRUCTURE_TYPE_PRESENT_ID_KHR, &regions, 1, &number};
    uint32_t image = 0;
    ASSERT_EQ(VK_SUCCESS, frames_->Acquire(kWaitLimitNs, &image));
    ASSERT_EQ(VK_SUCCESS, frames_->PresentImage(image, number, &id, [&](VkCommandBuffer commands) {
      const VkImage target = frames_->images()[image];
      gpu_.Transition(commands, target, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR,
                      VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
      const VkBufferImageCopy copy{0,         0,
                                   0,         {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
                                   {0, 0, 0}, {kExtent.width, kExtent.height, 1}};
      gpu_.vk.CmdCopyBufferToImage(commands, pixels_.handle, target,
                                   VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
      gpu_.Transition(commands, target, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                      VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
    }));
    ASSERT_EQ(VK_SUCCESS,
              gpu_.WaitForPresentKHR(gpu_.device, frames_->handle(), number, kWaitLimitNs));
  }

  const ScopedVariable present_{"VESPER_PRESENT", GetParam().present};
  const ScopedVariable memory_{"VESPER_MEMORY", GetParam().memory};
  XServer server_;
  XWindow window_{server_.display(), kExtent.width, kExtent.height};
  WindowGpu gpu_;
  Owned<VkSurfaceKHR> surface_;
  Buffer pixels_;
  std::unique_ptr<Frames> frames_;
  std::vector<uint32_t> picture_;
};

// Rectangles anywhere, several at a time and over each other; now and then all of it.
TEST_P(WindowDamageTest, ScreenshotsOfEachFrame) {
  Random random(1);
  for (uint64_t number = 1; number <= 100; ++number) {
    std::vector<VkRect2D> damage;
    for (uint64_t i = random.OneIn(10) ? 0 : 1 + random.Below(4); i > 0; --i) {
      const auto x = static_cast<uint32_t>(random.Below(kExtent.width));
      const auto y = static_cast<uint32_t>(random.Below(kExtent.height));
      damage.push_back({{static_cast<int32_t>(x), static_cast<int32_t>(y)},
                        {1 + static_cast<uint32_t>(random.Below(kExtent.width - x)),
                         1 + static_cast<uint32_t>(random.Below(kExtent.height - y))}});
      Fill(damage.back(), static_cast<uint32_t>(random.Below(1u << 24)));
    }
    if (damage.empty()) {
      Fill({{0, 0}, kExtent}, static_cast<uint32_t>(random.Below(1u << 24)));
    }
    Present(number, damage);
    if (HasFatalFailure()) {
      return;
    }
    ASSERT_EQ(picture_, window_.Screenshot()) << "frame " << number;
  }
}

// No more than what the program has named is copied: a change that it keeps to itself is not seen,
// until it presents all of it.
TEST_P(WindowDamageTest, OnlyWhatIsNamedIsCopied) {
  constexpr VkRect2D kNamed{{10, 20}, {30, 8}};
  Present(1, {});
  for (uint64_t number = 2; number <= 4; ++number) {  // each image has been shown since
    Present(number, {kNamed});
  }
  Fill(kNamed, 0x123456);
  const std::vector<uint32_t> expected = picture_;
  Fill({{60, 40}, {8, 8}}, 0xabcdef);
  Present(5, {kNamed});
  EXPECT_EQ(expected, window_.Screenshot());
  Present(6, {});
  EXPECT_EQ(picture_, window_.Screenshot());
}

INSTANTIATE_TEST_SUITE_P(
    Pictures, WindowDamageTest,
    ::testing::Values(Case{"shared", "", "", VK_PRESENT_MODE_IMMEDIATE_KHR},
                      Case{"sent_to_the_window_system", "copy", "", VK_PRESENT_MODE_IMMEDIATE_KHR},
                      Case{"sent_by_the_host", "", "shadow", VK_PRESENT_MODE_MAILBOX_KHR},
                      Case{"sent_twice", "copy", "shadow", VK_PRESENT_MODE_FIFO_KHR}),
    [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace vesper::tests
