// SPDX-License-Identifier: Apache-2.0
// Windows that change, are hidden, or go away together with their server: what the specification
// says each call returns, and that none of them hangs.
#include <gmock/gmock.h>

#include <atomic>
#include <barrier>
#include <future>
#include <mutex>
#include <thread>

#include "tests/framework/vulkan_test.h"
#include "tests/framework/window_gpu.h"

namespace vesper::tests {
namespace {

constexpr VkExtent2D kExtent{96, 64};
constexpr std::chrono::seconds kPatience{60};

class WindowLossTest : public ::testing::Test, public WindowGpu {
 protected:
  void SetUp() override {
    OpenForWindows();
    window_ = MakeWindow();
    surface_ = MakeSurface(*window_);
  }
  void TearDown() override {
    surface_.Reset();
    Close();
  }

  std::unique_ptr<XWindow> MakeWindow(int place = 0) {
    return std::make_unique<XWindow>(server_.display(), kExtent.width, kExtent.height,
                                     static_cast<int16_t>(place * 120));
  }

  // Presents until that is refused; the reason.
  static VkResult PresentUntilRefused(Frames& frames, uint64_t number = 1) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < end) {
      const VkResult result = frames.Present(number++);
      if (result != VK_SUCCESS && result != VK_SUBOPTIMAL_KHR) {
        return result;
      }
    }
    return VK_SUCCESS;
  }

  XServer server_;
  std::unique_ptr<XWindow> window_;
  Owned<VkSurfaceKHR> surface_;
};

TEST_F(WindowLossTest, ResizedWindowIsOutOfDate) {
  auto frames = std::make_unique<Frames>(*this, surface_, Frames::Options{.extent = kExtent});
  ASSERT_EQ(VK_SUCCESS, frames->Present(1));
  window_->Resize(128, 80);
  ASSERT_EQ(VK_ERROR_OUT_OF_DATE_KHR, PresentUntilRefused(*frames, 2));
  VkSurfaceCapabilitiesKHR capabilities{};
  ASSERT_EQ(VK_SUCCESS,
            GetPhysicalDeviceSurfaceCapabilitiesKHR(physical_device, surface_, &capabilities));
  EXPECT_EQ(128u, capabilities.currentExtent.width);
  EXPECT_EQ(80u, capabilities.currentExtent.height);
  Frames next(*this, surface_, {.extent = capabilities.currentExtent, .old = frames->handle()});
  frames.reset();
  for (uint64_t number = 1; number <= 5; ++number) {
    ASSERT_EQ(VK_SUCCESS, next.Present(number));
  }
  EXPECT_TRUE(Eventually([&] { return window_->Screenshot() == next.Expected(5); }, kPatience));
}

TEST_F(WindowLossTest, HiddenWindowHoldsUpNobody) {
  Frames frames(*this, surface_, {.extent = kExtent});
  window_->Show(false);
  for (uint64_t number = 1; number <= 20; ++number) {
    ASSERT_EQ(VK_SUCCESS, frames.Present(number));
  }
  window_->Show(true);
  ASSERT_EQ(VK_SUCCESS, frames.Present(21));
  EXPECT_TRUE(Eventually([&] { return window_->Screenshot() == frames.Expected(21); }, kPatience));
}

// All that changes between two pictures is told.
TEST_F(WindowLossTest, OnlyWhatChangedIsNamed) {
  VESPER_REQUIRE(HasDeviceExtension("VK_KHR_incremental_present"));
  Frames frames(*this, surface_, {.extent = kExtent});
  ASSERT_EQ(VK_SUCCESS, frames.Present(1));
  for (uint64_t number = 2; number <= 40; ++number) {
    // The two halves of the window, the lower one first.
    const VkRectLayerKHR halves[] = {{{0, 32}, {96, 32}, 0}, {{0, 0}, {96, 32}, 0}};
    const VkPresentRegionKHR region{2, halves};
    const VkPresentRegionsKHR regions{VK_STRUCTURE_TYPE_PRESENT_REGIONS_KHR, nullptr, 1, &region};
    ASSERT_EQ(VK_SUCCESS, frames.Present(number, &regions));
  }
  EXPECT_TRUE(Eventually([&] { return window_->Screenshot() == frames.Expected(40); }, kPatience));
}

TEST_F(WindowLossTest, DestroyedWindowIsLost) {
  auto frames = std::make_unique<Frames>(*this, surface_, Frames::Options{.extent = kExtent});
  ASSERT_EQ(VK_SUCCESS, frames->Present(1));
  window_->Destroy();
  EXPECT_EQ(VK_ERROR_SURFACE_LOST_KHR, PresentUntilRefused(*frames, 2));
  uint32_t image = 0;
  EXPECT_EQ(VK_ERROR_SURFACE_LOST_KHR, frames->Acquire(kWaitLimitNs, &image));
  VkSurfaceCapabilitiesKHR capabilities{};
  EXPECT_EQ(VK_ERROR_SURFACE_LOST_KHR,
            GetPhysicalDeviceSurfaceCapabilitiesKHR(physical_device, surface_, &capabilities));
  frames.reset();
  // The device has nothing to do with it.
  window_ = MakeWindow();
  const Owned<VkSurfaceKHR> other = MakeSurface(*window_);
  Frames again(*this, other, {.extent = kExtent});
  ASSERT_EQ(VK_SUCCESS, again.Present(1));
  EXPECT_TRUE(Eventually([&] { return window_->Screenshot() == again.Expected(1); }, kPatience));
}

TEST_F(WindowLossTest, ServerDies) {
  for (const VkPresentModeKHR mode : {VK_PRESENT_MODE_FIFO_KHR, VK_PRESENT_MODE_MAILBOX_KHR}) {
    XServer server;
    XWindow window(server.display(), kExtent.width, kExtent.height);
    const Owned<VkSurfaceKHR> surface = MakeSurface(window);
    Frames frames(*this, surface, {.extent = kExtent, .mode = mode});
    ASSERT_EQ(VK_SUCCESS, frames.Present(1));
    server.Kill();
    EXPECT_EQ(VK_ERROR_SURFACE_LOST_KHR, PresentUntilRefused(frames, 2));
    uint32_t image = 0;
    EXPECT_EQ(VK_ERROR_SURFACE_LOST_KHR, frames.Acquire(kWaitLimitNs, &image));
  }
}

// A thread waits for an image that never comes back, as the window has gone.
TEST_F(WindowLossTest, WaitsEndWithTheWindow) {
  VESPER_REQUIRE(HasDeviceExtension("VK_KHR_present_wait"));
  Frames frames(*this, surface_, {.extent = kExtent});
  ASSERT_EQ(VK_SUCCESS, frames.PresentAndWait(1));
  std::future<VkResult> waiter = std::async(std::launch::async, [&] {
    return WaitForPresentKHR(device, frames.handle(), 1'000'000, UINT64_MAX);
  });
  window_->Destroy();
  EXPECT_EQ(VK_ERROR_SURFACE_LOST_KHR, PresentUntilRefused(frames, 2));
  ASSERT_EQ(std::future_status::ready, waiter.wait_for(kPatience));
  EXPECT_EQ(VK_ERROR_SURFACE_LOST_KHR, waiter.get());
}

// Four threads, each with a window on a device of its own; one window goes in the middle of it.
TEST_F(WindowLossTest, StormOnFourWindows) {
  constexpr int kThreads = 4;
  constexpr uint64_t kFrames = 150;
  constexpr VkPresentModeKHR kModes[kThreads] = {
      VK_PRESENT_MODE_FIFO_KHR, VK_PRESENT_MODE_MAILBOX_KHR, VK_PRESENT_MODE_IMMEDIATE_KHR,
      VK_PRESENT_MODE_FIFO_RELAXED_KHR};
  std::barrier start(kThreads);
  std::vector<std::future<std::string>> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.push_back(std::async(std::launch::async, [&, i]() -> std::string {
      WindowGpu gpu;
      gpu.OpenForWindows();
      const std::unique_ptr<XWindow> window = MakeWindow(i);
      const Owned<VkSurfaceKHR> surface = gpu.MakeSurface(*window);
      Frames frames(gpu, surface, {.extent = kExtent, .mode = kModes[i]});
      start.arrive_and_wait();
      for (uint64_t number = 1; number <= kFrames; ++number) {
        if (i == 1 && number == kFrames / 2) {
          window->Destroy();
          const VkResult refused = PresentUntilRefused(frames, number);
          return refused == VK_ERROR_SURFACE_LOST_KHR ? "" : "lost: " + ResultName(refused);
        }
        if (const VkResult result = frames.Present(number); result != VK_SUCCESS) {
          return "frame " + std::to_string(number) + ": " + ResultName(result);
        }
      }
      return Eventually([&] { return window->Screenshot() == frames.Expected(kFrames); }, kPatience)
                 ? ""
                 : "the last picture is not shown";
    }));
  }
  for (auto& thread : threads) {
    EXPECT_EQ("", thread.get());
  }
}

// The same on one queue, which the threads share as Vulkan wants it.
TEST_F(WindowLossTest, FourWindowsOnOneQueue) {
  constexpr int kWindows = 4;
  std::vector<std::unique_ptr<XWindow>> windows;
  std::vector<Owned<VkSurfaceKHR>> surfaces;
  std::vector<std::unique_ptr<Frames>> all;
  for (int i = 0; i < kWindows; ++i) {
    windows.push_back(MakeWindow(i));
    surfaces.push_back(MakeSurface(*windows.back()));
    all.push_back(
        std::make_unique<Frames>(*this, surfaces.back(), Frames::Options{.extent = kExtent}));
  }
  std::mutex mutex;
  std::vector<std::future<VkResult>> threads;
  for (int i = 0; i < kWindows; ++i) {
    threads.push_back(std::async(std::launch::async, [&, i] {
      VkResult result = VK_SUCCESS;
      for (uint64_t number = 1; number <= 60 && result == VK_SUCCESS; ++number) {
        uint32_t image = 0;
        result = all[i]->Acquire(kWaitLimitNs, &image);
        if (result == VK_SUCCESS) {
          const std::lock_guard lock(mutex);
          result = all[i]->PresentImage(image, number);
        }
      }
      return result;
    }));
  }
  for (int i = 0; i < kWindows; ++i) {
    EXPECT_EQ(VK_SUCCESS, threads[i].get());
  }
  for (int i = 0; i < kWindows; ++i) {
    EXPECT_TRUE(
        Eventually([&] { return windows[i]->Screenshot() == all[i]->Expected(60); }, kPatience));
  }
  all.clear();
}

}  // namespace
}  // namespace vesper::tests
