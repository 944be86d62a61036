// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/window_gpu.h"

#include <algorithm>
#include <stdexcept>

namespace vesper::tests {
namespace {

constexpr uint32_t kStamp = 16;  // pixels of each side

/// 0xRRGGBB.
uint32_t Background(uint64_t number) {
  return static_cast<uint32_t>(number * 0x9e37'79b1u >> 3) & 0xff'ffff;
}
uint32_t StampPixel(uint32_t index) { return (index * 0x85eb'ca6bu >> 5) & 0xff'ffff; }
VkOffset3D StampOffset(uint64_t number, VkExtent2D extent) {
  return {static_cast<int32_t>(number * 7 % (extent.width - kStamp)),
          static_cast<int32_t>(number * 5 % (extent.height - kStamp)), 0};
}

}  // namespace

void WindowGpu::OpenForWindows() {
  vk.LoadGlobal();
  uint32_t count = 0;
  VESPER_CHECK(vk.EnumerateInstanceExtensionProperties(nullptr, &count, nullptr));
  std::vector<VkExtensionProperties> found(count);
  VESPER_CHECK(vk.EnumerateInstanceExtensionProperties(nullptr, &count, found.data()));
  for (const VkExtensionProperties& extension : found) {
    instance_extensions_.insert(extension.extensionName);
  }
  GpuOptions options;
  for (const char* name : {"VK_KHR_surface", "VK_KHR_xcb_surface", "VK_KHR_xlib_surface",
                           "VK_KHR_wayland_surface", "VK_EXT_headless_surface",
                           "VK_KHR_get_surface_capabilities2", "VK_EXT_surface_maintenance1"}) {
    if (HasInstanceExtension(name)) {
      options.instance_extensions.push_back(name);
    }
  }
  OpenInstance(options);
  VkPhysicalDevicePresentIdFeaturesKHR ids{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_ID_FEATURES_KHR, nullptr, VK_TRUE};
  VkPhysicalDevicePresentWaitFeaturesKHR waits{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_WAIT_FEATURES_KHR, nullptr, VK_TRUE};
  VkPhysicalDeviceSwapchainMaintenance1FeaturesEXT maintenance{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SWAPCHAIN_MAINTENANCE_1_FEATURES_EXT, nullptr, VK_TRUE};
  options.device_extensions = {"VK_KHR_swapchain"};
  const auto enable = [&](const char* name, auto* feature) {
    if (HasDeviceExtension(name)) {
      options.device_extensions.push_back(name);
      if (feature != nullptr) {
        feature->pNext = options.device_features;
        options.device_features = feature;
      }
    }
  };
  if (HasDeviceExtension("VK_KHR_present_wait")) {
    enable("VK_KHR_present_id", &ids);
    enable("VK_KHR_present_wait", &waits);
  }
  if (HasInstanceExtension("VK_EXT_surface_maintenance1")) {
    enable("VK_EXT_swapchain_maintenance1", &maintenance);
  }
  enable("VK_KHR_incremental_present", static_cast<decltype(&ids)>(nullptr));
  enable("VK_KHR_swapchain_mutable_format", static_cast<decltype(&ids)>(nullptr));
  OpenDevice(options);
#define VESPER_TEST_FIND(name) \
  name = reinterpret_cast<PFN_vk##name>(vk.GetInstanceProcAddr(instance, "vk" #name));
  VESPER_TEST_WINDOW_INSTANCE_COMMANDS(VESPER_TEST_FIND)
#undef VESPER_TEST_FIND
#define VESPER_TEST_FIND(name) name = vk.Find<PFN_vk##name>(device, "vk" #name);
  VESPER_TEST_WINDOW_DEVICE_COMMANDS(VESPER_TEST_FIND)
#undef VESPER_TEST_FIND
}

bool WindowGpu::OffersMode(VkSurfaceKHR surface, VkPresentModeKHR mode) {
  VkPresentModeKHR modes[16] = {};
  uint32_t count = 16;
  VESPER_CHECK(GetPhysicalDeviceSurfacePresentModesKHR(physical_device, surface, &count, modes));
  return std::find(modes, modes + count, mode) != modes + count;
}

Owned<VkSurfaceKHR> WindowGpu::MakeSurface(XWindow& window) {
  const VkXcbSurfaceCreateInfoKHR info{VK_STRUCTURE_TYPE_XCB_SURFACE_CREATE_INFO_KHR, nullptr, 0,
                                       window.connection(), window.id()};
  VkSurfaceKHR surface = VK_NULL_HANDLE;
  VESPER_CHECK(CreateXcbSurfaceKHR(instance, &info, nullptr, &surface));
  return {surface, [this](VkSurfaceKHR object) { DestroySurfaceKHR(instance, object, nullptr); }};
}

Owned<VkSurfaceKHR> WindowGpu::MakeHeadlessSurface() {
  const VkHeadlessSurfaceCreateInfoEXT info{VK_STRUCTURE_TYPE_HEADLESS_SURFACE_CREATE_INFO_EXT};
  VkSurfaceKHR surface = VK_NULL_HANDLE;
  VESPER_CHECK(CreateHeadlessSurfaceEXT(instance, &info, nullptr, &surface));
  return {surface, [this](VkSurfaceKHR object) { DestroySurfaceKHR(instance, object, nullptr); }};
}

Frames::Frames(WindowGpu& gpu, VkSurfaceKHR surface, const Options& options, VkResult* result)
    : gpu_(gpu), options_(options) {
  VkSwapchainCreateInfoKHR info{VK_STRUCTURE_TYPE_SWAPCHAIN_CREATE_INFO_KHR};
  info.pNext = options.next;
  info.flags = options.flags;
  info.surface = surface;
  info.minImageCount = options.images;
  info.imageFormat = VK_FORMAT_B8G8R8A8_UNORM;
  info.imageColorSpace = VK_COLOR_SPACE_SRGB_NONLINEAR_KHR;
  info.imageExtent = options.extent;
  info.imageArrayLayers = 1;
  info.imageUsage = VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
  info.imageSharingMode = VK_SHARING_MODE_EXCLUSIVE;
  info.preTransform = VK_SURFACE_TRANSFORM_IDENTITY_BIT_KHR;
  info.compositeAlpha = VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR;
  info.presentMode = options.mode;
  info.clipped = VK_TRUE;
  info.oldSwapchain = options.old;
  const VkResult made = gpu_.CreateSwapchainKHR(gpu_.device, &info, nullptr, &swapchain_);
  if (result != nullptr) {
    *result = made;
  } else {
    VESPER_CHECK(made);
  }
  if (made != VK_SUCCESS) {
    swapchain_ = VK_NULL_HANDLE;
    return;
  }
  uint32_t count = 0;
  VESPER_CHECK(gpu_.GetSwapchainImagesKHR(gpu_.device, swapchain_, &count, nullptr));
  images_.resize(count);
  VESPER_CHECK(gpu_.GetSwapchainImagesKHR(gpu_.device, swapchain_, &count, images_.data()));
  stamp_ = MakeHostBuffer(gpu_, kStamp * kStamp * 4, kTransferUsage);
  for (uint32_t i = 0; i < kStamp * kStamp; ++i) {
    stamp_.As<uint32_t>()[i] = StampPixel(i);
  }
  VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = gpu_.queue_family;
  pool_ = gpu_.Make(gpu_.vk.CreateCommandPool, gpu_.vk.DestroyCommandPool, pool);
  slots_.resize(count);
  for (Slot& slot : slots_) {
    const VkCommandBufferAllocateInfo allocate{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                               nullptr, pool_, VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    VESPER_CHECK(gpu_.vk.AllocateCommandBuffers(gpu_.device, &allocate, &slot.commands));
    slot.acquired = gpu_.MakeSemaphore();
    slot.done = gpu_.MakeFence(true);
  }
  for (uint32_t i = 0; i < count; ++i) {
    drawn_.push_back(gpu_.MakeSemaphore());
  }
}

Frames::~Frames() {
  gpu_.vk.QueueWaitIdle(gpu_.queue);
  gpu_.DestroySwapchainKHR(gpu_.device, swapchain_, nullptr);
}

VkResult Frames::Acquire(uint64_t timeout, uint32_t* image) {
  Slot& slot = slots_[next_slot_];
  const VkResult waited =
      gpu_.vk.WaitForFences(gpu_.device, 1, slot.done.address(), VK_TRUE, kWaitLimitNs);
  return waited != VK_SUCCESS ? waited
                              : gpu_.AcquireNextImageKHR(gpu_.device, swapchain_, timeout,
                                                         slot.acquired, VK_NULL_HANDLE, image);
}

VkResult Frames::PresentImage(uint32_t image, uint64_t number, const void* next,
                              const Gpu::Recorder& then) {
  Slot& slot = slots_[next_slot_];
  next_slot_ = (next_slot_ + 1) % slots_.size();
  VESPER_CHECK(gpu_.vk.ResetFences(gpu_.device, 1, slot.done.address()));
  gpu_.RecordInto(slot.commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
                  [&](VkCommandBuffer commands) {
                    Draw(commands, images_[image], number);
                    if (then != nullptr) {
                      then(commands);
                    }
                  });
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_TRANSFER_BIT;
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.waitSemaphoreCount = 1;
  submit.pWaitSemaphores = slot.acquired.address();
  submit.pWaitDstStageMask = &stage;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &slot.commands;
  submit.signalSemaphoreCount = 1;
  submit.pSignalSemaphores = drawn_[image].address();
  if (const VkResult result = gpu_.vk.QueueSubmit(gpu_.queue, 1, &submit, slot.done);
      result != VK_SUCCESS) {
    return result;
  }
  VkPresentInfoKHR info{VK_STRUCTURE_TYPE_PRESENT_INFO_KHR};
  info.pNext = next;
  info.waitSemaphoreCount = 1;
  info.pWaitSemaphores = drawn_[image].address();
  info.swapchainCount = 1;
  info.pSwapchains = &swapchain_;
  info.pImageIndices = &image;
  return gpu_.QueuePresentKHR(gpu_.queue, &info);
}

VkResult Frames::Present(uint64_t number, const void* next) {
  uint32_t image = 0;
  const VkResult acquired = Acquire(kWaitLimitNs, &image);
  return acquired == VK_SUCCESS || acquired == VK_SUBOPTIMAL_KHR ? PresentImage(image, number, next)
                                                                 : acquired;
}

VkResult Frames::PresentAndWait(uint64_t number) {
  const VkPresentIdKHR id{VK_STRUCTURE_TYPE_PRESENT_ID_KHR, nullptr, 1, &number};
  const VkResult result = Present(number, &id);
  return result == VK_SUCCESS
             ? gpu_.WaitForPresentKHR(gpu_.device, swapchain_, number, kWaitLimitNs)
             : result;
}

void Frames::Draw(VkCommandBuffer commands, VkImage image, uint64_t number) {
  gpu_.Transition(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
  const uint32_t color = Background(number);
  const auto part = [color](int shift) {
    return static_cast<float>(color >> shift & 0xff) / 255.0f;
  };
  const VkClearColorValue clear{{part(16), part(8), part(0), 1.0f}};
  const VkImageSubresourceRange range{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  gpu_.vk.CmdClearColorImage(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &clear, 1,
                             &range);
  gpu_.FullBarrier(commands);
  VkBufferImageCopy copy{};
  copy.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  copy.imageOffset = StampOffset(number, options_.extent);
  copy.imageExtent = {kStamp, kStamp, 1};
  gpu_.vk.CmdCopyBufferToImage(commands, stamp_.handle, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                               1, &copy);
  gpu_.Transition(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                  VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
}

std::vector<uint32_t> Frames::Expected(uint64_t number) const {
  const VkExtent2D extent = options_.extent;
  std::vector<uint32_t> pixels(size_t{extent.width} * extent.height, Background(number));
  const VkOffset3D offset = StampOffset(number, extent);
  for (uint32_t y = 0; y < kStamp; ++y) {
    for (uint32_t x = 0; x < kStamp; ++x) {
      pixels[(y + static_cast<uint32_t>(offset.y)) * extent.width +
             static_cast<uint32_t>(offset.x) + x] = StampPixel(y * kStamp + x);
    }
  }
  return pixels;
}

}  // namespace vesper::tests
