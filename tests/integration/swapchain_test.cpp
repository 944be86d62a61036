// SPDX-License-Identifier: Apache-2.0
// What the specification says of swapchains, case by case. Headless surfaces do for most: nothing
// here needs a screen.
#include <gmock/gmock.h>

#include <chrono>
#include <map>

#include "tests/framework/vulkan_test.h"
#include "tests/framework/window_gpu.h"

namespace vesper::tests {
namespace {

using std::chrono::steady_clock;

class SwapchainTest : public ::testing::Test, public WindowGpu {
 protected:
  void SetUp() override {
    OpenForWindows();
    VESPER_REQUIRE(HasInstanceExtension("VK_EXT_headless_surface"));
    surface_ = MakeHeadlessSurface();
  }
  void TearDown() override {
    surface_.Reset();
    Close();
  }

  std::vector<uint32_t> AcquireAll(Frames& frames) {
    std::vector<uint32_t> images;
    std::vector<Owned<VkFence>> fences;
    for (size_t i = 0; i < frames.images().size(); ++i) {
      fences.push_back(MakeFence());
      images.push_back(0);
      EXPECT_EQ(VK_SUCCESS, AcquireNextImageKHR(device, frames.handle(), kWaitLimitNs,
                                                VK_NULL_HANDLE, fences.back(), &images.back()));
      Wait(fences.back());
    }
    return images;
  }

  // Makes an image that was acquired fit for presenting.
  void Prepare(VkImage image) {
    Execute([&](VkCommandBuffer commands) {
      Transition(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
    });
  }

  VkResult PresentOf(VkSwapchainKHR swapchain, uint32_t image, const void* next = nullptr,
                     VkSemaphore wait = VK_NULL_HANDLE) {
    VkPresentInfoKHR info{VK_STRUCTURE_TYPE_PRESENT_INFO_KHR};
    info.pNext = next;
    info.waitSemaphoreCount = wait == VK_NULL_HANDLE ? 0 : 1;
    info.pWaitSemaphores = &wait;
    info.swapchainCount = 1;
    info.pSwapchains = &swapchain;
    info.pImageIndices = &image;
    return QueuePresentKHR(queue, &info);
  }

  Owned<VkSurfaceKHR> surface_;
};

// -- acquiring ------------------------------------------------------------------------------------

TEST_F(SwapchainTest, AcquiringTakesNoLongerThanAsked) {
  Frames frames(*this, surface_, {});
  const std::vector<uint32_t> images = AcquireAll(frames);
  EXPECT_EQ(frames.images().size(), std::set<uint32_t>(images.begin(), images.end()).size());
  uint32_t image = 0;
  const auto fence = MakeFence();
  EXPECT_EQ(VK_NOT_READY,
            AcquireNextImageKHR(device, frames.handle(), 0, VK_NULL_HANDLE, fence, &image));
  const auto begin = steady_clock::now();
  EXPECT_EQ(VK_TIMEOUT,
            AcquireNextImageKHR(device, frames.handle(), 2'000'000, VK_NULL_HANDLE, fence, &image));
  EXPECT_GE(steady_clock::now() - begin, std::chrono::milliseconds(2));
  EXPECT_EQ(VK_NOT_READY, vk.GetFenceStatus(device, fence)) << "nothing was acquired";
  // One that is presented comes back.
  Prepare(frames.images()[images[1]]);
  ASSERT_EQ(VK_SUCCESS, PresentOf(frames.handle(), images[1]));
  ASSERT_EQ(VK_SUCCESS, AcquireNextImageKHR(device, frames.handle(), kWaitLimitNs, VK_NULL_HANDLE,
                                            fence, &image));
  EXPECT_EQ(images[1], image);
  EXPECT_EQ(VK_SUCCESS, vk.WaitForFences(device, 1, fence.address(), VK_TRUE, kWaitLimitNs));
}

TEST_F(SwapchainTest, FenceOfAcquiringIsAFence) {
  Frames frames(*this, surface_, {});
  const auto fence = MakeFence();
  for (int i = 0; i < 10; ++i) {
    uint32_t image = 0;
    ASSERT_EQ(VK_SUCCESS, AcquireNextImageKHR(device, frames.handle(), kWaitLimitNs, VK_NULL_HANDLE,
                                              fence, &image));
    ASSERT_EQ(VK_SUCCESS, vk.WaitForFences(device, 1, fence.address(), VK_TRUE, kWaitLimitNs));
    ASSERT_EQ(VK_SUCCESS, vk.GetFenceStatus(device, fence));
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
    ASSERT_EQ(VK_NOT_READY, vk.GetFenceStatus(device, fence));
    // The fence is good for work, too.
    Submit(Record([&](VkCommandBuffer commands) {
             Transition(commands, frames.images()[image], VK_IMAGE_LAYOUT_UNDEFINED,
                        VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
           }),
           fence);
    Wait(fence);
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
    ASSERT_EQ(VK_SUCCESS, PresentOf(frames.handle(), image));
  }
}

// Each kind of submission can wait for it, presenting too; then it is an ordinary semaphore, which
// the next submission signals and another waits for.
TEST_F(SwapchainTest, SemaphoreOfAcquiringIsASemaphore) {
  Frames frames(*this, surface_, {});
  const auto semaphore = MakeSemaphore();
  const auto fence = MakeFence();
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  for (int i = 0; i < 12; ++i) {
    uint32_t image = 0;
    ASSERT_EQ(VK_SUCCESS,
              AcquireNextImageKHR(device, frames.handle(), kWaitLimitNs, semaphore, fence, &image));
    Wait(fence);
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
    if (i % 3 == 0) {
      Prepare(frames.images()[image]);
      ASSERT_EQ(VK_SUCCESS, PresentOf(frames.handle(), image, nullptr, semaphore));
      ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    } else if (i % 3 == 1) {
      // In one call: waits, signals it anew, and waits for that.
      VkSubmitInfo batches[3] = {};
      for (VkSubmitInfo& batch : batches) {
        batch.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
        batch.pWaitDstStageMask = &stage;
        batch.pWaitSemaphores = batch.pSignalSemaphores = semaphore.address();
      }
      batches[0].waitSemaphoreCount = 1;
      batches[1].signalSemaphoreCount = 1;
      batches[2].waitSemaphoreCount = 1;
      ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 3, batches, fence));
      Wait(fence);
      Prepare(frames.images()[image]);
      ASSERT_EQ(VK_SUCCESS, PresentOf(frames.handle(), image));
    } else {
      VkSemaphoreSubmitInfo wait{VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO};
      wait.semaphore = semaphore;
      wait.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
      VkSubmitInfo2 batch{VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
      batch.waitSemaphoreInfoCount = 1;
      batch.pWaitSemaphoreInfos = &wait;
      batch.signalSemaphoreInfoCount = 1;
      batch.pSignalSemaphoreInfos = &wait;
      ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit2(queue, 1, &batch, fence));
      Wait(fence);
      Prepare(frames.images()[image]);
      ASSERT_EQ(VK_SUCCESS, PresentOf(frames.handle(), image, nullptr, semaphore));
    }
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
  }
}

TEST_F(SwapchainTest, SemaphoreThatNobodyWaitedForMayGo) {
  Frames frames(*this, surface_, {});
  for (int i = 0; i < 5; ++i) {
    const auto semaphore = MakeSemaphore();
    uint32_t image = 0;
    ASSERT_EQ(VK_SUCCESS, AcquireNextImageKHR(device, frames.handle(), kWaitLimitNs, semaphore,
                                              VK_NULL_HANDLE, &image));
    Prepare(frames.images()[image]);
    ASSERT_EQ(VK_SUCCESS, PresentOf(frames.handle(), image));
  }
  // Another one is not taken for signalled.
  const auto one = MakeSemaphore();
  const auto fence = MakeFence();
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo batch{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  batch.signalSemaphoreCount = 1;
  batch.pSignalSemaphores = one.address();
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &batch, VK_NULL_HANDLE));
  batch.signalSemaphoreCount = 0;
  batch.waitSemaphoreCount = 1;
  batch.pWaitSemaphores = one.address();
  batch.pWaitDstStageMask = &stage;
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &batch, fence));
  Wait(fence);
}

TEST_F(SwapchainTest, ThousandFramesAndNobodyWaits) {
  for (const VkPresentModeKHR mode : {VK_PRESENT_MODE_FIFO_KHR, VK_PRESENT_MODE_MAILBOX_KHR}) {
    Frames frames(*this, surface_, {.mode = mode});
    for (uint64_t number = 1; number <= 500; ++number) {
      ASSERT_EQ(VK_SUCCESS, frames.Present(number));
    }
  }
}

// -- swapchains of one surface --------------------------------------------------------------------

TEST_F(SwapchainTest, OldSwapchainIsRetired) {
  auto old = std::make_unique<Frames>(*this, surface_, Frames::Options{});
  uint32_t image = 0;
  const auto fence = MakeFence();
  ASSERT_EQ(VK_SUCCESS, AcquireNextImageKHR(device, old->handle(), kWaitLimitNs, VK_NULL_HANDLE,
                                            fence, &image));
  Wait(fence);
  Frames frames(*this, surface_, {.old = old->handle()});
  uint32_t other = 0;
  ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
  EXPECT_EQ(VK_ERROR_OUT_OF_DATE_KHR, AcquireNextImageKHR(device, old->handle(), kWaitLimitNs,
                                                          VK_NULL_HANDLE, fence, &other));
  // What was acquired can still be presented.
  Prepare(old->images()[image]);
  EXPECT_EQ(VK_SUCCESS, PresentOf(old->handle(), image));
  old.reset();
  for (uint64_t number = 1; number <= 10; ++number) {
    ASSERT_EQ(VK_SUCCESS, frames.Present(number));
  }
}

TEST_F(SwapchainTest, OneSwapchainForEachSurface) {
  {
    Frames frames(*this, surface_, {});
    VkResult result = VK_SUCCESS;
    const Frames refused(*this, surface_, {}, &result);
    EXPECT_EQ(VK_ERROR_NATIVE_WINDOW_IN_USE_KHR, result);
    EXPECT_EQ(VK_SUCCESS, frames.Present(1));
  }
  const Frames next(*this, surface_, {});
}

// Three at once, with a result for each.
TEST_F(SwapchainTest, SeveralSwapchainsInOnePresentation) {
  std::vector<Owned<VkSurfaceKHR>> surfaces;
  std::vector<std::unique_ptr<Frames>> all;
  for (int i = 0; i < 3; ++i) {
    surfaces.push_back(MakeHeadlessSurface());
    all.push_back(std::make_unique<Frames>(*this, surfaces.back(), Frames::Options{}));
  }
  for (int round = 0; round < 10; ++round) {
    std::vector<VkSwapchainKHR> swapchains;
    std::vector<uint32_t> images;
    for (const auto& frames : all) {
      const auto fence = MakeFence();
      swapchains.push_back(frames->handle());
      images.push_back(0);
      ASSERT_EQ(VK_SUCCESS, AcquireNextImageKHR(device, frames->handle(), kWaitLimitNs,
                                                VK_NULL_HANDLE, fence, &images.back()));
      Wait(fence);
      Prepare(frames->images()[images.back()]);
    }
    std::vector<VkResult> results(all.size(), VK_NOT_READY);
    VkPresentInfoKHR info{VK_STRUCTURE_TYPE_PRESENT_INFO_KHR};
    info.swapchainCount = static_cast<uint32_t>(all.size());
    info.pSwapchains = swapchains.data();
    info.pImageIndices = images.data();
    info.pResults = results.data();
    ASSERT_EQ(VK_SUCCESS, QueuePresentKHR(queue, &info));
    EXPECT_THAT(results, ::testing::Each(VK_SUCCESS));
  }
  all.clear();
}

// -- extensions -----------------------------------------------------------------------------------

TEST_F(SwapchainTest, WaitingForAPresentation) {
  VESPER_REQUIRE(HasDeviceExtension("VK_KHR_present_wait"));
  Frames frames(*this, surface_, {});
  EXPECT_EQ(VK_TIMEOUT, WaitForPresentKHR(device, frames.handle(), 1, 0));
  ASSERT_EQ(VK_SUCCESS, frames.PresentAndWait(5));
  EXPECT_EQ(VK_SUCCESS, WaitForPresentKHR(device, frames.handle(), 3, 0));
  const auto begin = steady_clock::now();
  EXPECT_EQ(VK_TIMEOUT, WaitForPresentKHR(device, frames.handle(), 6, 2'000'000));
  EXPECT_GE(steady_clock::now() - begin, std::chrono::milliseconds(2));
  ASSERT_EQ(VK_SUCCESS, frames.PresentAndWait(9));
}

TEST_F(SwapchainTest, ImagesGoBackWithoutBeingPresented) {
  VESPER_REQUIRE(HasDeviceExtension("VK_EXT_swapchain_maintenance1"));
  Frames frames(*this, surface_, {});
  const std::vector<uint32_t> images = AcquireAll(frames);
  const VkReleaseSwapchainImagesInfoEXT info{VK_STRUCTURE_TYPE_RELEASE_SWAPCHAIN_IMAGES_INFO_EXT,
                                             nullptr, frames.handle(),
                                             static_cast<uint32_t>(images.size()), images.data()};
  ASSERT_EQ(VK_SUCCESS, ReleaseSwapchainImagesEXT(device, &info));
  EXPECT_EQ(images.size(), AcquireAll(frames).size());
}

TEST_F(SwapchainTest, PresentationHasAFence) {
  VESPER_REQUIRE(HasDeviceExtension("VK_EXT_swapchain_maintenance1"));
  Frames frames(*this, surface_, {});
  for (uint64_t number = 1; number <= 20; ++number) {
    const auto fence = MakeFence();
    const VkSwapchainPresentFenceInfoEXT fences{VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_FENCE_INFO_EXT,
                                                nullptr, 1, fence.address()};
    ASSERT_EQ(VK_SUCCESS, frames.Present(number, &fences));
    ASSERT_EQ(VK_SUCCESS, vk.WaitForFences(device, 1, fence.address(), VK_TRUE, kWaitLimitNs));
  }
}

TEST_F(SwapchainTest, ModesChangeFromFrameToFrame) {
  VESPER_REQUIRE(HasDeviceExtension("VK_EXT_swapchain_maintenance1"));
  const VkPresentModeKHR modes[] = {VK_PRESENT_MODE_FIFO_KHR, VK_PRESENT_MODE_MAILBOX_KHR,
                                    VK_PRESENT_MODE_IMMEDIATE_KHR};
  const VkSwapchainPresentModesCreateInfoEXT all{
      VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_MODES_CREATE_INFO_EXT, nullptr, 3, modes};
  Frames frames(*this, surface_, {.next = &all});
  for (uint64_t number = 1; number <= 30; ++number) {
    const VkSwapchainPresentModeInfoEXT mode{VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_MODE_INFO_EXT,
                                             nullptr, 1, &modes[number % 3]};
    ASSERT_EQ(VK_SUCCESS, frames.Present(number, &mode));
  }
}

TEST_F(SwapchainTest, AnImageOfTheProgramsOnMemoryOfASwapchain) {
  Frames frames(*this, surface_, {});
  const VkImageSwapchainCreateInfoKHR like{VK_STRUCTURE_TYPE_IMAGE_SWAPCHAIN_CREATE_INFO_KHR,
                                           nullptr, frames.handle()};
  VkImageCreateInfo info =
      ImageInfo(VK_FORMAT_B8G8R8A8_UNORM, frames.extent().width, frames.extent().height);
  info.pNext = &like;
  info.usage = VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
  for (uint32_t i = 0; i < frames.images().size(); ++i) {
    const auto image = Make(vk.CreateImage, vk.DestroyImage, info);
    const VkBindImageMemorySwapchainInfoKHR to{
        VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_SWAPCHAIN_INFO_KHR, nullptr, frames.handle(), i};
    const VkBindImageMemoryInfo bind{VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, &to, image,
                                     VK_NULL_HANDLE, 0};
    ASSERT_EQ(VK_SUCCESS, vk.BindImageMemory2(device, 1, &bind));
    // It is drawn on, and the swapchain's own has it.
    Execute([&](VkCommandBuffer commands) {
      Transition(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
      const VkClearColorValue color{{0.0f, 1.0f, 0.0f, 1.0f}};
      const VkImageSubresourceRange range{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
      vk.CmdClearColorImage(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &color, 1,
                            &range);
    });
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  }
  EXPECT_EQ(VK_SUCCESS, frames.Present(1));
}

TEST_F(SwapchainTest, GroupsOfOneDevice) {
  const auto capabilities_of = vk.Find<PFN_vkGetDeviceGroupPresentCapabilitiesKHR>(
      device, "vkGetDeviceGroupPresentCapabilitiesKHR");
  ASSERT_NE(nullptr, capabilities_of);
  VkDeviceGroupPresentCapabilitiesKHR capabilities{
      VK_STRUCTURE_TYPE_DEVICE_GROUP_PRESENT_CAPABILITIES_KHR};
  ASSERT_EQ(VK_SUCCESS, capabilities_of(device, &capabilities));
  EXPECT_EQ(1u, capabilities.presentMask[0]);
  EXPECT_NE(0u, capabilities.modes & VK_DEVICE_GROUP_PRESENT_MODE_LOCAL_BIT_KHR);
  Frames frames(*this, surface_, {});
  const auto fence = MakeFence();
  const VkAcquireNextImageInfoKHR info{VK_STRUCTURE_TYPE_ACQUIRE_NEXT_IMAGE_INFO_KHR,
                                       nullptr,
                                       frames.handle(),
                                       kWaitLimitNs,
                                       VK_NULL_HANDLE,
                                       fence,
                                       1};
  uint32_t image = 0;
  ASSERT_EQ(VK_SUCCESS, AcquireNextImage2KHR(device, &info, &image));
  Wait(fence);
  Prepare(frames.images()[image]);
  const uint32_t mask = 1;
  const VkDeviceGroupPresentInfoKHR group{VK_STRUCTURE_TYPE_DEVICE_GROUP_PRESENT_INFO_KHR, nullptr,
                                          1, &mask, VK_DEVICE_GROUP_PRESENT_MODE_LOCAL_BIT_KHR};
  EXPECT_EQ(VK_SUCCESS, PresentOf(frames.handle(), image, &group));
}

TEST_F(SwapchainTest, ViewsOfAnotherFormat) {
  VESPER_REQUIRE(HasDeviceExtension("VK_KHR_swapchain_mutable_format"));
  const VkFormat formats[] = {VK_FORMAT_B8G8R8A8_UNORM, VK_FORMAT_B8G8R8A8_SRGB};
  const VkImageFormatListCreateInfo list{VK_STRUCTURE_TYPE_IMAGE_FORMAT_LIST_CREATE_INFO, nullptr,
                                         2, formats};
  Frames frames(*this, surface_,
                {.flags = VK_SWAPCHAIN_CREATE_MUTABLE_FORMAT_BIT_KHR, .next = &list});
  VkImageViewCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO};
  info.viewType = VK_IMAGE_VIEW_TYPE_2D;
  info.format = VK_FORMAT_B8G8R8A8_SRGB;
  info.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  for (const VkImage image : frames.images()) {
    info.image = image;
    const auto view = Make(vk.CreateImageView, vk.DestroyImageView, info);
    EXPECT_NE(VK_NULL_HANDLE, view.get());
  }
  EXPECT_EQ(VK_SUCCESS, frames.Present(1));
}

}  // namespace
}  // namespace vesper::tests
