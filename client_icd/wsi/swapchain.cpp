// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/swapchain.h"

#include <algorithm>
#include <utility>

#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/fence.h"
#include "client_icd/instance.h"
#include "client_icd/physical_device.h"
#include "client_icd/wsi/acquired_semaphores.h"

namespace vesper::client {
namespace {

/// What the device itself prefers for images: its own memory.
uint32_t ChooseType(Device& device, uint32_t types) {
  const VkPhysicalDeviceMemoryProperties& memory =
      device.physical_device().snapshot().memory->memoryProperties;
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    if ((types & (1u << i)) != 0 &&
        (memory.memoryTypes[i].propertyFlags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0) {
      return i;
    }
  }
  return static_cast<uint32_t>(__builtin_ctz(types | 1u << 31));
}

}  // namespace

Swapchain* Swapchain::Find(Device& device, VkSwapchainKHR swapchain) {
  return static_cast<Swapchain*>(device.session().store().State(ToId(swapchain)));
}

void MakeLikeSwapchainImage(VkImageCreateInfo& info) {
  info.usage |= VK_IMAGE_USAGE_TRANSFER_SRC_BIT;
  info.flags |= VK_IMAGE_CREATE_ALIAS_BIT;
}

Swapchain::Swapchain(Device& device, const Allocator& callbacks)
    : allocator(callbacks), device_(device) {}

Swapchain::~Swapchain() {
  presenter_.reset();
  for (const VkImage image : images_) {
    entry::vkDestroyImage(device_.handle(), image, nullptr);
  }
  for (const VkDeviceMemory memory : memories_) {
    entry::vkFreeMemory(device_.handle(), memory, nullptr);
  }
}

VkResult Swapchain::Make(const VkSwapchainCreateInfoKHR& info, Surface& on) {
  surface = info.surface;
  mode_ = info.presentMode;
  if (const VkResult result = MakeImages(info); result != VK_SUCCESS) {
    return result;
  }
  const uint32_t count = static_cast<uint32_t>(images_.size());
  if (on.window->IsSeen()) {
    pictures_ = std::make_unique<PictureMemory>(device_);
    const bool is_opaque = info.compositeAlpha == VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR;
    if (const VkResult result =
            pictures_->Make(info.imageExtent, info.imageFormat, count, is_opaque);
        result != VK_SUCCESS) {
      return result;
    }
  }
  const Pictures pictures = pictures_ == nullptr ? Pictures() : pictures_->pictures();
  std::unique_ptr<Canvas> canvas = on.window->Open(pictures);
  if (canvas == nullptr) {
    return VK_ERROR_SURFACE_LOST_KHR;
  }
  presenter_ = std::make_unique<Presenter>(device_, std::move(canvas), count, on.window->IsSeen());
  return VK_SUCCESS;
}

VkResult Swapchain::MakeImages(const VkSwapchainCreateInfoKHR& info) {
  const bool is_mutable = (info.flags & VK_SWAPCHAIN_CREATE_MUTABLE_FORMAT_BIT_KHR) != 0;
  VkImageFormatListCreateInfo formats{VK_STRUCTURE_TYPE_IMAGE_FORMAT_LIST_CREATE_INFO};
  VkImageCreateInfo image{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
  if (const auto* given = FindInChain<VkImageFormatListCreateInfo>(
          info.pNext, VK_STRUCTURE_TYPE_IMAGE_FORMAT_LIST_CREATE_INFO)) {
    formats.viewFormatCount = given->viewFormatCount;
    formats.pViewFormats = given->pViewFormats;
    image.pNext = &formats;
  }
  if (is_mutable) {
    image.flags |= VK_IMAGE_CREATE_MUTABLE_FORMAT_BIT | VK_IMAGE_CREATE_EXTENDED_USAGE_BIT;
  }
  image.imageType = VK_IMAGE_TYPE_2D;
  image.format = info.imageFormat;
  image.extent = {info.imageExtent.width, info.imageExtent.height, 1};
  image.mipLevels = 1;
  image.arrayLayers = info.imageArrayLayers;
  image.samples = VK_SAMPLE_COUNT_1_BIT;
  image.tiling = VK_IMAGE_TILING_OPTIMAL;
  image.usage = info.imageUsage;
  image.sharingMode = info.imageSharingMode;
  image.queueFamilyIndexCount = info.queueFamilyIndexCount;
  image.pQueueFamilyIndices = info.pQueueFamilyIndices;
  image.initialLayout = VK_IMAGE_LAYOUT_UNDEFINED;
  MakeLikeSwapchainImage(image);
  const VkDevice device = device_.handle();
  const uint32_t count = std::max(info.minImageCount, kMinImages);
  images_.reserve(count);
  memories_.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    VkImage made = VK_NULL_HANDLE;
    if (const VkResult result = entry::vkCreateImage(device, &image, nullptr, &made);
        result != VK_SUCCESS) {
      return result;
    }
    images_.push_back(made);
    VkMemoryRequirements requirements{};
    entry::vkGetImageMemoryRequirements(device, made, &requirements);
    const VkMemoryAllocateInfo allocation{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr,
                                          requirements.size,
                                          ChooseType(device_, requirements.memoryTypeBits)};
    VkDeviceMemory memory = VK_NULL_HANDLE;
    if (const VkResult result = entry::vkAllocateMemory(device, &allocation, nullptr, &memory);
        result != VK_SUCCESS) {
      return result;
    }
    memories_.push_back(memory);
    if (const VkResult result = entry::vkBindImageMemory(device, made, memory, 0);
        result != VK_SUCCESS) {
      return result;
    }
  }
  return VK_SUCCESS;
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateSwapchainKHR(VkDevice device,
                                                    const VkSwapchainCreateInfoKHR* pCreateInfo,
                                                    const VkAllocationCallbacks* pAllocator,
                                                    VkSwapchainKHR* pSwapchain) {
  Device& owner = Device::From(device);
  *pSwapchain = VK_NULL_HANDLE;
  Session& session = owner.session();
  if (owner.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  Surface* surface = FindSurface(session, pCreateInfo->surface);
  if (surface == nullptr) {
    return VK_ERROR_SURFACE_LOST_KHR;
  }
  // The old one is retired whatever comes of the new one.
  if (Swapchain* old = Swapchain::Find(owner, pCreateInfo->oldSwapchain)) {
    old->presenter().Retire();
    if (surface->swapchain == pCreateInfo->oldSwapchain) {
      surface->swapchain = VK_NULL_HANDLE;
    }
  }
  if (surface->swapchain != VK_NULL_HANDLE) {
    return VK_ERROR_NATIVE_WINDOW_IN_USE_KHR;
  }
  const Allocator allocator(pAllocator, owner.allocator());
  auto* swapchain = allocator.New<Swapchain>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, owner, allocator);
  if (swapchain == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  VkResult result = swapchain->Make(*pCreateInfo, *surface);
  const proto::ObjectId id =
      result == VK_SUCCESS ? session.store().Allocate(proto::HandleType::kSwapchainKHR, swapchain)
                           : 0;
  if (id == 0) {
    allocator.Delete(swapchain);
    return result == VK_SUCCESS ? VK_ERROR_OUT_OF_HOST_MEMORY : result;
  }
  *pSwapchain = FromId<VkSwapchainKHR>(id);
  surface->swapchain = *pSwapchain;
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroySwapchainKHR(VkDevice device, VkSwapchainKHR swapchain,
                                                 const VkAllocationCallbacks*) {
  Session& session = Device::From(device).session();
  auto* object = static_cast<Swapchain*>(session.store().Free(ToId(swapchain)));
  if (object == nullptr) {
    return;
  }
  Surface* surface = FindSurface(session, object->surface);
  if (surface != nullptr && surface->swapchain == swapchain) {
    surface->swapchain = VK_NULL_HANDLE;
  }
  const Allocator allocator = object->allocator;
  allocator.Delete(object);
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetSwapchainImagesKHR(VkDevice device, VkSwapchainKHR swapchain,
                                                       uint32_t* pSwapchainImageCount,
                                                       VkImage* pSwapchainImages) {
  return CopyOut(Swapchain::Find(Device::From(device), swapchain)->images(), pSwapchainImageCount,
                 pSwapchainImages);
}

VKAPI_ATTR VkResult VKAPI_CALL vkAcquireNextImage2KHR(VkDevice device,
                                                      const VkAcquireNextImageInfoKHR* pAcquireInfo,
                                                      uint32_t* pImageIndex) {
  Device& owner = Device::From(device);
  Swapchain* swapchain = Swapchain::Find(owner, pAcquireInfo->swapchain);
  uint32_t index = 0;
  const VkResult result = swapchain->presenter().Acquire(pAcquireInfo->timeout, &index);
  if (result != VK_SUCCESS && result != VK_SUBOPTIMAL_KHR) {
    return result;
  }
  *pImageIndex = index;
  if (pAcquireInfo->semaphore != VK_NULL_HANDLE) {
    SignalByAcquiring(owner, pAcquireInfo->semaphore);
  }
  if (pAcquireInfo->fence != VK_NULL_HANDLE) {
    SignalFence(owner, pAcquireInfo->fence);
  }
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL vkAcquireNextImageKHR(VkDevice device, VkSwapchainKHR swapchain,
                                                     uint64_t timeout, VkSemaphore semaphore,
                                                     VkFence fence, uint32_t* pImageIndex) {
  const VkAcquireNextImageInfoKHR info{VK_STRUCTURE_TYPE_ACQUIRE_NEXT_IMAGE_INFO_KHR,
                                       nullptr,
                                       swapchain,
                                       timeout,
                                       semaphore,
                                       fence,
                                       1};
  return vkAcquireNextImage2KHR(device, &info, pImageIndex);
}

VKAPI_ATTR VkResult VKAPI_CALL
vkReleaseSwapchainImagesEXT(VkDevice device, const VkReleaseSwapchainImagesInfoEXT* pReleaseInfo) {
  Presenter& presenter =
      Swapchain::Find(Device::From(device), pReleaseInfo->swapchain)->presenter();
  presenter.Release({pReleaseInfo->pImageIndices, pReleaseInfo->imageIndexCount});
  const VkResult status = presenter.Status();
  return status == VK_ERROR_SURFACE_LOST_KHR ? status : VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkWaitForPresentKHR(VkDevice device, VkSwapchainKHR swapchain,
                                                   uint64_t presentId, uint64_t timeout) {
  return Swapchain::Find(Device::From(device), swapchain)->presenter().WaitFor(presentId, timeout);
}

}  // namespace entry
}  // namespace vesper::client
