// SPDX-License-Identifier: Apache-2.0
// Windows of a program that uses Xlib. It ends the process if a request fails and nobody handles
// that, so none of the driver's may reach it.
#include <gmock/gmock.h>

#include "client_icd/wsi/platforms.h"
#include "tests/framework/vulkan_test.h"
#include "tests/framework/window_gpu.h"
// Last: it defines words such as None and Success as macros.
#include <X11/Xlib.h>
#include <X11/Xutil.h>

namespace vesper::tests {
namespace {

constexpr VkExtent2D kExtent{96, 64};
constexpr std::chrono::seconds kPatience{60};
constexpr int kX = 7;  // where the window is on the screen

int failed_requests = 0;  // Xlib's handler has no place of its own

class WindowXlibTest : public ::testing::Test, public WindowGpu {
 protected:
  void SetUp() override {
    failed_requests = 0;
    XSetErrorHandler([](Display*, XErrorEvent*) { return ++failed_requests; });
    display_ = XOpenDisplay(server_.display().c_str());
    ASSERT_NE(nullptr, display_);
    XSetWindowAttributes attributes{};
    attributes.override_redirect = True;
    window_ =
        XCreateWindow(display_, DefaultRootWindow(display_), kX, 0, kExtent.width, kExtent.height,
                      0, CopyFromParent, InputOutput, nullptr, CWOverrideRedirect, &attributes);
    XMapWindow(display_, window_);
    XSync(display_, False);
    OpenForWindows();
    VESPER_REQUIRE(HasInstanceExtension("VK_KHR_xlib_surface"));
    const auto create = reinterpret_cast<PFN_vkCreateXlibSurfaceKHR>(
        vk.GetInstanceProcAddr(instance, "vkCreateXlibSurfaceKHR"));
    const VkXlibSurfaceCreateInfoKHR info{VK_STRUCTURE_TYPE_XLIB_SURFACE_CREATE_INFO_KHR, nullptr,
                                          0, display_, window_};
    VkSurfaceKHR surface = VK_NULL_HANDLE;
    VESPER_CHECK(create(instance, &info, nullptr, &surface));
    surface_ = {surface,
                [this](VkSurfaceKHR object) { DestroySurfaceKHR(instance, object, nullptr); }};
  }
  void TearDown() override {
    surface_.Reset();
    Close();
    if (display_ != nullptr) {
      XCloseDisplay(display_);
    }
    XSetErrorHandler(nullptr);
    EXPECT_EQ(0, failed_requests);
  }

  std::vector<uint32_t> Screenshot(VkExtent2D extent = kExtent) {
    XImage* image =
        XGetImage(display_, window_, 0, 0, extent.width, extent.height, AllPlanes, ZPixmap);
    std::vector<uint32_t> pixels;
    for (uint32_t i = 0; image != nullptr && i < extent.width * extent.height; ++i) {
      pixels.push_back(static_cast<uint32_t>(XGetPixel(image, static_cast<int>(i % extent.width),
                                                       static_cast<int>(i / extent.width))) &
                       0xff'ffff);
    }
    if (image != nullptr) {
      XDestroyImage(image);
    }
    return pixels;
  }

  XServer server_;
  Display* display_ = nullptr;
  Window window_ = 0;
  Owned<VkSurfaceKHR> surface_;
};

TEST_F(WindowXlibTest, ScreenshotsOfEachFrame) {
  Frames frames(*this, surface_, {.extent = kExtent});
  for (uint64_t number = 1; number <= 30; ++number) {
    const std::vector<uint32_t> expected = frames.Expected(number);
    ASSERT_EQ(VK_SUCCESS, frames.Present(number));
    ASSERT_TRUE(Eventually([&] { return Screenshot() == expected; }, kPatience))
        << "frame " << number;
  }
}

TEST_F(WindowXlibTest, VisualIsShown) {
  const auto is_supported = reinterpret_cast<PFN_vkGetPhysicalDeviceXlibPresentationSupportKHR>(
      vk.GetInstanceProcAddr(instance, "vkGetPhysicalDeviceXlibPresentationSupportKHR"));
  const VisualID visual = XVisualIDFromVisual(DefaultVisual(display_, DefaultScreen(display_)));
  EXPECT_EQ(VK_TRUE, is_supported(physical_device, queue_family, display_, visual));
  VkSurfaceCapabilitiesKHR capabilities{};
  ASSERT_EQ(VK_SUCCESS,
            GetPhysicalDeviceSurfaceCapabilitiesKHR(physical_device, surface_, &capabilities));
  EXPECT_EQ(kExtent.width, capabilities.currentExtent.width);
  EXPECT_EQ(kExtent.height, capabilities.currentExtent.height);
}

// The program goes on with its own requests while the driver makes some of its own.
TEST_F(WindowXlibTest, ProgramAndDriverShareTheConnection) {
  Frames frames(*this, surface_, {.extent = kExtent, .mode = VK_PRESENT_MODE_IMMEDIATE_KHR});
  for (uint64_t number = 1; number <= 60; ++number) {
    ASSERT_EQ(VK_SUCCESS, frames.Present(number));
    XWindowAttributes attributes{};
    ASSERT_NE(0, XGetWindowAttributes(display_, window_, &attributes));
    ASSERT_EQ(kX, attributes.x);
  }
  EXPECT_TRUE(Eventually([&] { return Screenshot() == frames.Expected(60); }, kPatience));
}

TEST_F(WindowXlibTest, ResizedWindowIsOutOfDate) {
  auto frames = std::make_unique<Frames>(*this, surface_, Frames::Options{.extent = kExtent});
  ASSERT_EQ(VK_SUCCESS, frames->Present(1));
  constexpr VkExtent2D kLarger{128, 80};
  XResizeWindow(display_, window_, kLarger.width, kLarger.height);
  XSync(display_, False);
  uint64_t number = 2;
  EXPECT_TRUE(Eventually(
      [&] {
        const VkResult result = frames->Present(number++);
        return result == VK_ERROR_OUT_OF_DATE_KHR || result == VK_SUBOPTIMAL_KHR;
      },
      kPatience));
  Frames next(*this, surface_, {.extent = kLarger, .old = frames->handle()});
  frames.reset();
  ASSERT_EQ(VK_SUCCESS, next.Present(3));
  EXPECT_TRUE(Eventually([&] { return Screenshot(kLarger) == next.Expected(3); }, kPatience));
}

TEST_F(WindowXlibTest, DestroyedWindowIsLost) {
  VESPER_REQUIRE(HasDeviceExtension("VK_KHR_present_wait"));  // others' requests fail here
  Frames frames(*this, surface_, {.extent = kExtent});
  ASSERT_EQ(VK_SUCCESS, frames.Present(1));
  XDestroyWindow(display_, window_);
  XSync(display_, False);
  uint64_t number = 2;
  EXPECT_TRUE(
      Eventually([&] { return frames.Present(number++) == VK_ERROR_SURFACE_LOST_KHR; }, kPatience));
}

}  // namespace
}  // namespace vesper::tests
