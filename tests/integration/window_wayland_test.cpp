// SPDX-License-Identifier: Apache-2.0
// Windows of a Wayland compositor: every picture that it is given.
#include <wayland-client.h>

#include "tests/framework/vulkan_test.h"
#include "tests/framework/wayland_compositor.h"
#include "tests/framework/window_gpu.h"

namespace vesper::tests {
namespace {

constexpr VkExtent2D kExtent{96, 64};

class WindowWaylandTest : public ::testing::Test, public WindowGpu {
 protected:
  void SetUp() override {
    OpenForWindows();
    VESPER_REQUIRE(HasInstanceExtension("VK_KHR_wayland_surface"));
    const auto create = reinterpret_cast<PFN_vkCreateWaylandSurfaceKHR>(
        vk.GetInstanceProcAddr(instance, "vkCreateWaylandSurfaceKHR"));
    const VkWaylandSurfaceCreateInfoKHR info{VK_STRUCTURE_TYPE_WAYLAND_SURFACE_CREATE_INFO_KHR,
                                             nullptr, 0, compositor_.client(),
                                             compositor_.surface()};
    VkSurfaceKHR surface = VK_NULL_HANDLE;
    VESPER_CHECK(create(instance, &info, nullptr, &surface));
    surface_ = {surface,
                [this](VkSurfaceKHR object) { DestroySurfaceKHR(instance, object, nullptr); }};
  }
  void TearDown() override {
    surface_.Reset();
    Close();
  }

  WaylandCompositor compositor_;
  Owned<VkSurfaceKHR> surface_;
};

class WindowWaylandModeTest : public WindowWaylandTest,
                              public ::testing::WithParamInterface<VkPresentModeKHR> {};

// In order, none left out, each as it was drawn.
TEST_P(WindowWaylandModeTest, EveryPicture) {
  VESPER_REQUIRE(OffersMode(surface_, GetParam()));
  constexpr uint64_t kFrames = 100;
  Frames frames(*this, surface_, {.extent = kExtent, .mode = GetParam()});
  for (uint64_t number = 1; number <= kFrames; ++number) {
    ASSERT_EQ(VK_SUCCESS, frames.Present(number));
  }
  EXPECT_TRUE(Eventually([&] { return compositor_.Pictures().size() == kFrames; },
                         std::chrono::seconds(60)));
  const std::vector<std::vector<uint32_t>> pictures = compositor_.Pictures();
  ASSERT_EQ(kFrames, pictures.size());
  for (uint64_t number = 1; number <= kFrames; ++number) {
    ASSERT_EQ(frames.Expected(number), pictures[number - 1]) << "frame " << number;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryFrame, WindowWaylandModeTest,
                         ::testing::Values(VK_PRESENT_MODE_FIFO_KHR,
                                           VK_PRESENT_MODE_FIFO_RELAXED_KHR,
                                           VK_PRESENT_MODE_IMMEDIATE_KHR));

TEST_F(WindowWaylandTest, MailboxShowsTheLastPicture) {
  constexpr uint64_t kFrames = 200;
  Frames frames(*this, surface_, {.extent = kExtent, .mode = VK_PRESENT_MODE_MAILBOX_KHR});
  for (uint64_t number = 1; number <= kFrames; ++number) {
    ASSERT_EQ(VK_SUCCESS, frames.Present(number));
  }
  EXPECT_TRUE(Eventually(
      [&] {
        const auto pictures = compositor_.Pictures();
        return !pictures.empty() && pictures.back() == frames.Expected(kFrames);
      },
      std::chrono::seconds(60)));
  EXPECT_LE(compositor_.Pictures().size(), kFrames);
}

TEST_F(WindowWaylandTest, CompositorGoes) {
  Frames frames(*this, surface_, {.extent = kExtent});
  ASSERT_EQ(VK_SUCCESS, frames.Present(1));
  compositor_.Stop();
  VkResult result = VK_SUCCESS;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (uint64_t number = 2; result == VK_SUCCESS && std::chrono::steady_clock::now() < end;
       ++number) {
    result = frames.Present(number);
  }
  // The driver itself says that the swapchain is out of date.
  EXPECT_EQ(
      TestTarget::FromEnvironment().native ? VK_ERROR_OUT_OF_DATE_KHR : VK_ERROR_SURFACE_LOST_KHR,
      result);
}

}  // namespace
}  // namespace vesper::tests
