// SPDX-License-Identifier: Apache-2.0
// Windows of an X server, and what is seen in them: pictures that follow from their number alone.
#include <gmock/gmock.h>

#include <set>

#include "tests/framework/relay.h"
#include "tests/framework/vulkan_test.h"
#include "tests/framework/window_gpu.h"

namespace vesper::tests {
namespace {

constexpr VkExtent2D kExtent{96, 64};
constexpr VkPresentModeKHR kModesWithEveryPicture[] = {
    VK_PRESENT_MODE_FIFO_KHR, VK_PRESENT_MODE_FIFO_RELAXED_KHR, VK_PRESENT_MODE_IMMEDIATE_KHR};

class WindowTest : public ::testing::Test, public WindowGpu {
 protected:
  void SetUp() override {
    OpenForWindows();
    window_ = std::make_unique<XWindow>(server_.display(), kExtent.width, kExtent.height);
    surface_ = MakeSurface(*window_);
  }
  void TearDown() override {
    surface_.Reset();
    Close();
  }

  XServer server_;
  std::unique_ptr<XWindow> window_;
  Owned<VkSurfaceKHR> surface_;
};

// Each picture is on the screen once its presentation is over.
class WindowModeTest : public WindowTest, public ::testing::WithParamInterface<VkPresentModeKHR> {};

TEST_P(WindowModeTest, ScreenshotsOfEachFrame) {
  Frames frames(*this, surface_, {.extent = kExtent, .mode = GetParam()});
  for (uint64_t number = 1; number <= 100; ++number) {
    const std::vector<uint32_t> expected = frames.Expected(number);
    if (HasDeviceExtension("VK_KHR_present_wait")) {
      ASSERT_EQ(VK_SUCCESS, frames.PresentAndWait(number));
      ASSERT_EQ(expected, window_->Screenshot()) << "frame " << number;
    } else {
      ASSERT_EQ(VK_SUCCESS, frames.Present(number));
      ASSERT_TRUE(
          Eventually([&] { return window_->Screenshot() == expected; }, std::chrono::seconds(60)))
          << "frame " << number;
    }
  }
}

// Nobody waits between the frames, and none is left out.
TEST_P(WindowModeTest, EveryPictureIsDrawn) {
  window_->TakeDrawings();
  constexpr uint32_t kFrames = 60;
  std::vector<uint32_t> expected;
  {
    Frames frames(*this, surface_, {.extent = kExtent, .mode = GetParam()});
    for (uint64_t number = 1; number <= kFrames; ++number) {
      ASSERT_EQ(VK_SUCCESS, frames.Present(number));
    }
    expected = frames.Expected(kFrames);
    // What is shown may be told by the window alone.
    EXPECT_TRUE(
        Eventually([&] { return window_->Screenshot() == expected; }, std::chrono::seconds(60)));
  }
  EXPECT_EQ(kFrames, window_->TakeDrawings());
}

INSTANTIATE_TEST_SUITE_P(EveryFrame, WindowModeTest, ::testing::ValuesIn(kModesWithEveryPicture));

TEST_F(WindowTest, MailboxShowsTheLastPicture) {
  window_->TakeDrawings();
  constexpr uint32_t kFrames = 200;
  Frames frames(*this, surface_, {.extent = kExtent, .mode = VK_PRESENT_MODE_MAILBOX_KHR});
  for (uint64_t number = 1; number <= kFrames; ++number) {
    ASSERT_EQ(VK_SUCCESS, frames.Present(number));
  }
  const std::vector<uint32_t> last = frames.Expected(kFrames);
  EXPECT_TRUE(Eventually([&] { return window_->Screenshot() == last; }, std::chrono::seconds(60)));
  const uint32_t drawings = window_->TakeDrawings();
  EXPECT_GE(drawings, 1u);
  EXPECT_LE(drawings, kFrames);
}

TEST_F(WindowTest, SurfaceIsDescribed) {
  VkBool32 is_supported = VK_FALSE;
  ASSERT_EQ(VK_SUCCESS, GetPhysicalDeviceSurfaceSupportKHR(physical_device, queue_family, surface_,
                                                           &is_supported));
  EXPECT_EQ(VK_TRUE, is_supported);
  VkSurfaceCapabilitiesKHR capabilities{};
  ASSERT_EQ(VK_SUCCESS,
            GetPhysicalDeviceSurfaceCapabilitiesKHR(physical_device, surface_, &capabilities));
  EXPECT_EQ(kExtent.width, capabilities.currentExtent.width);
  EXPECT_EQ(kExtent.height, capabilities.currentExtent.height);
  EXPECT_NE(0u, capabilities.supportedUsageFlags & VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT);
  uint32_t count = 0;
  ASSERT_EQ(VK_SUCCESS,
            GetPhysicalDeviceSurfaceFormatsKHR(physical_device, surface_, &count, nullptr));
  std::vector<VkSurfaceFormatKHR> formats(count);
  ASSERT_EQ(VK_SUCCESS,
            GetPhysicalDeviceSurfaceFormatsKHR(physical_device, surface_, &count, formats.data()));
  std::set<VkFormat> found;
  for (const VkSurfaceFormatKHR& format : formats) {
    found.insert(format.format);
  }
  EXPECT_TRUE(found.contains(VK_FORMAT_B8G8R8A8_UNORM));
  EXPECT_TRUE(found.contains(VK_FORMAT_B8G8R8A8_SRGB));
  std::vector<VkPresentModeKHR> modes(8);
  count = static_cast<uint32_t>(modes.size());
  ASSERT_EQ(VK_SUCCESS, GetPhysicalDeviceSurfacePresentModesKHR(physical_device, surface_, &count,
                                                                modes.data()));
  modes.resize(count);
  EXPECT_THAT(modes, ::testing::IsSupersetOf({VK_PRESENT_MODE_FIFO_KHR, VK_PRESENT_MODE_MAILBOX_KHR,
                                              VK_PRESENT_MODE_IMMEDIATE_KHR}));
}

// A render pass ends in the layout that images are presented in, and one begins in it.
TEST_F(WindowTest, RenderPassesFromAndToPresenting) {
  Frames frames(*this, surface_, {.extent = kExtent});
  VkAttachmentDescription attachment{};
  attachment.format = VK_FORMAT_B8G8R8A8_UNORM;
  attachment.samples = VK_SAMPLE_COUNT_1_BIT;
  attachment.loadOp = VK_ATTACHMENT_LOAD_OP_LOAD;
  attachment.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
  attachment.stencilLoadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE;
  attachment.stencilStoreOp = VK_ATTACHMENT_STORE_OP_DONT_CARE;
  attachment.initialLayout = VK_IMAGE_LAYOUT_PRESENT_SRC_KHR;
  attachment.finalLayout = VK_IMAGE_LAYOUT_PRESENT_SRC_KHR;
  const VkAttachmentReference reference{0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
  VkSubpassDescription subpass{};
  subpass.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS;
  subpass.colorAttachmentCount = 1;
  subpass.pColorAttachments = &reference;
  VkRenderPassCreateInfo pass_info{VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO};
  pass_info.attachmentCount = 1;
  pass_info.pAttachments = &attachment;
  pass_info.subpassCount = 1;
  pass_info.pSubpasses = &subpass;
  const auto pass = Make(vk.CreateRenderPass, vk.DestroyRenderPass, pass_info);
  for (uint64_t number = 1; number <= 6; ++number) {
    // The usual picture, to begin with, and waited for: the image is idle, and what it was
    // presented with stays in it.
    uint32_t image = 0;
    ASSERT_EQ(VK_SUCCESS, frames.Acquire(kWaitLimitNs, &image));
    VkImageViewCreateInfo view_info{VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO};
    view_info.image = frames.images()[image];
    view_info.viewType = VK_IMAGE_VIEW_TYPE_2D;
    view_info.format = VK_FORMAT_B8G8R8A8_UNORM;
    view_info.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    const auto view = Make(vk.CreateImageView, vk.DestroyImageView, view_info);
    VkFramebufferCreateInfo buffer_info{VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO};
    buffer_info.renderPass = pass;
    buffer_info.attachmentCount = 1;
    buffer_info.pAttachments = view.address();
    buffer_info.width = kExtent.width;
    buffer_info.height = kExtent.height;
    buffer_info.layers = 1;
    const auto framebuffer = Make(vk.CreateFramebuffer, vk.DestroyFramebuffer, buffer_info);
    std::vector<uint32_t> expected = frames.Expected(number);
    ASSERT_EQ(
        VK_SUCCESS, frames.PresentImage(image, number, nullptr, [&](VkCommandBuffer commands) {
          VkRenderPassBeginInfo begin{VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
          begin.renderPass = pass;
          begin.framebuffer = framebuffer;
          begin.renderArea.extent = kExtent;
          vk.CmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_INLINE);
          const VkClearAttachment clear{VK_IMAGE_ASPECT_COLOR_BIT, 0, {{{1.0f, 0.0f, 1.0f, 1.0f}}}};
          const VkClearRect corner{{{0, 0}, {8, 8}}, 0, 1};
          vk.CmdClearAttachments(commands, 1, &clear, 1, &corner);
          vk.CmdEndRenderPass(commands);
        }));
    for (uint32_t y = 0; y < 8; ++y) {
      std::fill_n(expected.begin() + y * kExtent.width, 8, 0xff00ffu);
    }
    EXPECT_TRUE(
        Eventually([&] { return window_->Screenshot() == expected; }, std::chrono::seconds(60)))
        << "frame " << number;
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  }
}

// The same over a long way. Each frame takes a round trip at least, so a window for each mode waits
// for its own at the same time.
class WindowAfarTest : public VesperOnlyTest {
 protected:
  struct Screen {
    Screen(const XServer& server, WindowGpu& gpu, VkPresentModeKHR mode, int place)
        : window(server.display(), kExtent.width, kExtent.height,
                 static_cast<int16_t>(place * 120)),
          surface(gpu.MakeSurface(window)),
          frames(gpu, surface, {.extent = kExtent, .mode = mode}) {}

    XWindow window;
    const Owned<VkSurfaceKHR> surface;
    Frames frames;
  };

  void RunOver(std::chrono::milliseconds round_trip) {
    const std::string near = getenv("VESPER_SERVER");
    Relay relay(near);
    UseDriver(target_, relay.endpoint());
    {
      XServer server;
      WindowGpu gpu;
      gpu.OpenForWindows();
      std::vector<std::unique_ptr<Screen>> screens;
      for (const VkPresentModeKHR mode : kModesWithEveryPicture) {
        screens.push_back(
            std::make_unique<Screen>(server, gpu, mode, static_cast<int>(screens.size())));
      }
      relay.SetRoundTrip(round_trip);
      for (uint64_t number = 1; number <= 100; ++number) {
        const VkPresentIdKHR id{VK_STRUCTURE_TYPE_PRESENT_ID_KHR, nullptr, 1, &number};
        for (const auto& screen : screens) {
          ASSERT_EQ(VK_SUCCESS, screen->frames.Present(number, &id));
        }
        for (const auto& screen : screens) {
          ASSERT_EQ(VK_SUCCESS, gpu.WaitForPresentKHR(gpu.device, screen->frames.handle(), number,
                                                      kWaitLimitNs));
          ASSERT_EQ(screen->frames.Expected(number), screen->window.Screenshot())
              << "frame " << number;
        }
      }
      relay.SetRoundTrip(std::chrono::milliseconds(0));
    }
    UseDriver(target_, near);
  }
};

TEST_F(WindowAfarTest, TwentyMilliseconds) { RunOver(std::chrono::milliseconds(20)); }

TEST_F(WindowAfarTest, HundredMilliseconds) { RunOver(std::chrono::milliseconds(100)); }

}  // namespace
}  // namespace vesper::tests
