// SPDX-License-Identifier: Apache-2.0
// What of a swapchain the host's driver sees: images, submissions, and a layout that it knows.
#include <utility>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

class Swapchains : public WireTest {
 protected:
  void SetUp() override {
    Open();
    const VkHeadlessSurfaceCreateInfoEXT surface{
        VK_STRUCTURE_TYPE_HEADLESS_SURFACE_CREATE_INFO_EXT};
    ASSERT_EQ(vk::vkCreateHeadlessSurfaceEXT(instance_, &surface, nullptr, &surface_), VK_SUCCESS);
    VkSwapchainCreateInfoKHR info{VK_STRUCTURE_TYPE_SWAPCHAIN_CREATE_INFO_KHR};
    info.surface = surface_;
    info.minImageCount = 3;
    info.imageFormat = VK_FORMAT_B8G8R8A8_UNORM;
    info.imageExtent = {64, 64};
    info.imageArrayLayers = 1;
    info.imageUsage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
    info.preTransform = VK_SURFACE_TRANSFORM_IDENTITY_BIT_KHR;
    info.compositeAlpha = VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR;
    info.presentMode = VK_PRESENT_MODE_FIFO_KHR;
    ASSERT_EQ(vk::vkCreateSwapchainKHR(device_, &info, nullptr, &swapchain_), VK_SUCCESS);
    const VkSemaphoreCreateInfo binary{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
    ASSERT_EQ(vk::vkCreateSemaphore(device_, &binary, nullptr, &semaphore_), VK_SUCCESS);
    Calls();
  }
  void TearDown() override {
    vk::vkDestroySemaphore(device_, semaphore_, nullptr);
    vk::vkDestroySwapchainKHR(device_, swapchain_, nullptr);
    vk::vkDestroySurfaceKHR(instance_, surface_, nullptr);
  }

  uint32_t Acquire() {
    uint32_t image = 0;
    EXPECT_EQ(vk::vkAcquireNextImageKHR(device_, swapchain_, 60'000'000'000, semaphore_,
                                        VK_NULL_HANDLE, &image),
              VK_SUCCESS);
    return image;
  }

  VkResult SubmitWith(uint32_t waits, uint32_t signals) {
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    const VkSubmitInfo batch{VK_STRUCTURE_TYPE_SUBMIT_INFO,
                             nullptr,
                             waits,
                             &semaphore_,
                             &stage,
                             0,
                             nullptr,
                             signals,
                             &semaphore_};
    return vk::vkQueueSubmit(queue_, 1, &batch, VK_NULL_HANDLE);
  }
  // How many semaphores the driver was told to wait for in each submission since the last time.
  std::vector<uint32_t> Waits() {
    Sync();
    std::vector<uint32_t> waits;
    for (size_t i = 0; i < mock_.Count("vkQueueSubmit"); ++i) {
      const auto& args = Arguments<proto::Args_vkQueueSubmit>("vkQueueSubmit", i);
      waits.push_back(args.pSubmits[0].waitSemaphoreCount);
    }
    mock_.Clear();
    return waits;
  }

  VkSurfaceKHR surface_ = VK_NULL_HANDLE;
  VkSwapchainKHR swapchain_ = VK_NULL_HANDLE;
  VkSemaphore semaphore_ = VK_NULL_HANDLE;
};

TEST_F(Swapchains, OnlyTheWaitForAnAcquiredImageIsLeftOut) {
  // Another one stays signalled all the time.
  VkSemaphore other = VK_NULL_HANDLE;
  const VkSemaphoreCreateInfo binary{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  ASSERT_EQ(vk::vkCreateSemaphore(device_, &binary, nullptr, &other), VK_SUCCESS);
  std::swap(other, semaphore_);
  Acquire();
  std::swap(other, semaphore_);
  for (int i = 0; i < 2; ++i) {
    const uint32_t image = Acquire();
    EXPECT_EQ(SubmitWith(1, 0), VK_SUCCESS);  // for the image
    EXPECT_EQ(SubmitWith(0, 1), VK_SUCCESS);
    EXPECT_EQ(SubmitWith(1, 0), VK_SUCCESS);  // for the submission
    EXPECT_THAT(Waits(), testing::ElementsAre(0, 0, 1));
    const VkReleaseSwapchainImagesInfoEXT back{VK_STRUCTURE_TYPE_RELEASE_SWAPCHAIN_IMAGES_INFO_EXT,
                                               nullptr, swapchain_, 1, &image};
    EXPECT_EQ(vk::vkReleaseSwapchainImagesEXT(device_, &back), VK_SUCCESS);
  }
  vk::vkDestroySemaphore(device_, other, nullptr);
}

TEST_F(Swapchains, PresentingWaitsForTheProgramsSemaphore) {
  const uint32_t image = Acquire();
  EXPECT_EQ(SubmitWith(1, 1), VK_SUCCESS);
  const VkPresentInfoKHR info{
      VK_STRUCTURE_TYPE_PRESENT_INFO_KHR, nullptr, 1, &semaphore_, 1, &swapchain_, &image, nullptr};
  EXPECT_EQ(vk::vkQueuePresentKHR(queue_, &info), VK_SUCCESS);
  EXPECT_THAT(Waits(), testing::ElementsAre(0, 1));
}

// The submission that would have waited was refused, for what had failed before.
TEST_F(Swapchains, RefusedSubmissionHasNotWaited) {
  Acquire();
  mock_.FailNext(number::vkCreateSampler, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkSamplerCreateInfo info{VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
  VkSampler sampler = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateSampler(device_, &info, nullptr, &sampler), VK_SUCCESS);
  Sync();
  mock_.Clear();
  EXPECT_EQ(SubmitWith(1, 0), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(SubmitWith(1, 0), VK_SUCCESS);
  EXPECT_THAT(Waits(), testing::ElementsAre(0));
  vk::vkDestroySampler(device_, sampler, nullptr);
}

TEST_F(Swapchains, LayoutForPresentingIsTheOneToCopyFrom) {
  VkAttachmentDescription attachment{};
  attachment.format = VK_FORMAT_B8G8R8A8_UNORM;
  attachment.samples = VK_SAMPLE_COUNT_1_BIT;
  attachment.initialLayout = VK_IMAGE_LAYOUT_GENERAL;
  attachment.finalLayout = VK_IMAGE_LAYOUT_PRESENT_SRC_KHR;
  const VkSubpassDescription subpass{};
  const VkRenderPassCreateInfo info{VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO,
                                    nullptr,
                                    0,
                                    1,
                                    &attachment,
                                    1,
                                    &subpass,
                                    0,
                                    nullptr};
  VkRenderPass pass = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateRenderPass(device_, &info, nullptr, &pass), VK_SUCCESS);
  Sync();
  const auto& made = Arguments<proto::Args_vkCreateRenderPass>("vkCreateRenderPass");
  EXPECT_EQ(made.pCreateInfo->pAttachments[0].initialLayout, VK_IMAGE_LAYOUT_GENERAL);
  EXPECT_EQ(made.pCreateInfo->pAttachments[0].finalLayout, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  vk::vkDestroyRenderPass(device_, pass, nullptr);
}

}  // namespace
}  // namespace vesper::tests
