// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_WINDOW_GPU_H_
#define VESPER_TESTS_FRAMEWORK_WINDOW_GPU_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client_icd/wsi/platforms.h"
#include "tests/framework/resources.h"
#include "tests/framework/x_server.h"

namespace vesper::tests {

#define VESPER_TEST_WINDOW_INSTANCE_COMMANDS(X) \
  X(CreateXcbSurfaceKHR)                        \
  X(CreateHeadlessSurfaceEXT)                   \
  X(DestroySurfaceKHR)                          \
  X(GetPhysicalDeviceSurfaceSupportKHR)         \
  X(GetPhysicalDeviceSurfaceCapabilitiesKHR)    \
  X(GetPhysicalDeviceSurfaceCapabilities2KHR)   \
  X(GetPhysicalDeviceSurfaceFormatsKHR)         \
  X(GetPhysicalDeviceSurfacePresentModesKHR)

#define VESPER_TEST_WINDOW_DEVICE_COMMANDS(X) \
  X(CreateSwapchainKHR)                       \
  X(DestroySwapchainKHR)                      \
  X(GetSwapchainImagesKHR)                    \
  X(AcquireNextImageKHR)                      \
  X(AcquireNextImage2KHR)                     \
  X(QueuePresentKHR)                          \
  X(WaitForPresentKHR)                        \
  X(ReleaseSwapchainImagesEXT)

// A device that can present, with every extension for that which it has.
class WindowGpu : public Gpu {
 public:
  void OpenForWindows();
  bool HasInstanceExtension(const std::string& name) const {
    return instance_extensions_.contains(name);
  }

  bool OffersMode(VkSurfaceKHR surface, VkPresentModeKHR mode);
  Owned<VkSurfaceKHR> MakeSurface(XWindow& window);
  Owned<VkSurfaceKHR> MakeHeadlessSurface();

#define VESPER_TEST_DECLARE(name) PFN_vk##name name = nullptr;
  VESPER_TEST_WINDOW_INSTANCE_COMMANDS(VESPER_TEST_DECLARE)
  VESPER_TEST_WINDOW_DEVICE_COMMANDS(VESPER_TEST_DECLARE)
#undef VESPER_TEST_DECLARE

 private:
  std::set<std::string> instance_extensions_;
};

// A swapchain and what it takes to draw on it: pictures that follow from a number alone.
class Frames {
 public:
  struct Options {
    VkExtent2D extent{96, 64};
    VkPresentModeKHR mode = VK_PRESENT_MODE_FIFO_KHR;
    VkSwapchainKHR old = VK_NULL_HANDLE;
    uint32_t images = 3;
    VkSwapchainCreateFlagsKHR flags = 0;
    const void* next = nullptr;
  };

  // VkResult of vkCreateSwapchainKHR in `result`; without that, it throws.
  Frames(WindowGpu& gpu, VkSurfaceKHR surface, const Options& options, VkResult* result = nullptr);
  ~Frames();
  Frames(const Frames&) = delete;
  Frames& operator=(const Frames&) = delete;

  VkSwapchainKHR handle() const { return swapchain_; }
  VkExtent2D extent() const { return options_.extent; }
  const std::vector<VkImage>& images() const { return images_; }

  // Acquires, draws and presents the picture of that number; `next` for VkPresentInfoKHR. What
  // acquiring said, if that was an error, else what presenting did.
  VkResult Present(uint64_t number, const void* next = nullptr);
  // The same in two steps; `then` records more, on the image as it is presented.
  VkResult Acquire(uint64_t timeout, uint32_t* image);
  VkResult PresentImage(uint32_t image, uint64_t number, const void* next = nullptr,
                        const Gpu::Recorder& then = nullptr);
  // With VK_KHR_present_id: the id is `number`, which is not 0; then waits until it is shown.
  VkResult PresentAndWait(uint64_t number);

  // Pixel by pixel, as XWindow::Screenshot has it.
  std::vector<uint32_t> Expected(uint64_t number) const;

 private:
  struct Slot {
    VkCommandBuffer commands = VK_NULL_HANDLE;
    Owned<VkSemaphore> acquired;
    Owned<VkFence> done;
  };

  void Draw(VkCommandBuffer commands, VkImage image, uint64_t number);

  WindowGpu& gpu_;
  const Options options_;
  VkSwapchainKHR swapchain_ = VK_NULL_HANDLE;
  std::vector<VkImage> images_;
  Owned<VkCommandPool> pool_;
  Buffer stamp_;
  std::vector<Slot> slots_;
  std::vector<Owned<VkSemaphore>> drawn_;  // by image: presented with, and so acquired again after
  size_t next_slot_ = 0;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_WINDOW_GPU_H_
