// SPDX-License-Identifier: Apache-2.0
//
// VkSurfaceKHR and what a device can do with one: nearly all of it follows from the window, for to
// the host the images are like any others.
#include "client_icd/wsi/surface.h"

#include <algorithm>
#include <utility>

#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/instance.h"
#include "client_icd/physical_device.h"
#include "client_icd/wsi/headless_window.h"
#include "client_icd/wsi/wayland_window.h"
#include "client_icd/wsi/xcb_window.h"

namespace vesper::client {
namespace {

/// What a window that takes anything is offered.
constexpr VkFormat kAnyFormats[] = {VK_FORMAT_B8G8R8A8_SRGB, VK_FORMAT_B8G8R8A8_UNORM,
                                    VK_FORMAT_R8G8B8A8_SRGB, VK_FORMAT_R8G8B8A8_UNORM};

VkResult Create(VkInstance instance, std::unique_ptr<NativeWindow> window,
                const VkAllocationCallbacks* callbacks, VkSurfaceKHR* handle) {
  Instance& owner = Instance::From(instance);
  const Allocator allocator(callbacks, owner.allocator());
  *handle = VK_NULL_HANDLE;
  if (window == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  auto* surface = allocator.New<Surface>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, std::move(window));
  if (surface == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  surface->allocator = allocator;
  const proto::ObjectId id =
      owner.session().store().Allocate(proto::HandleType::kSurfaceKHR, surface);
  if (id == 0) {
    allocator.Delete(surface);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  *handle = FromId<VkSurfaceKHR>(id);
  return VK_SUCCESS;
}

/// The formats of images that the device can draw and the window can show.
std::vector<VkSurfaceFormatKHR> FormatsOf(VkPhysicalDevice device, const Surface* surface) {
  constexpr VkFormatFeatureFlags kNeeded =
      VK_FORMAT_FEATURE_COLOR_ATTACHMENT_BIT | VK_FORMAT_FEATURE_TRANSFER_SRC_BIT;
  std::span<const VkFormat> formats = kAnyFormats;
  if (surface != nullptr && !surface->window->formats().empty()) {
    formats = surface->window->formats();
  }
  std::vector<VkSurfaceFormatKHR> offered;
  for (const VkFormat format : formats) {
    VkFormatProperties properties{};
    entry::vkGetPhysicalDeviceFormatProperties(device, format, &properties);
    if ((properties.optimalTilingFeatures & kNeeded) == kNeeded) {
      offered.push_back({format, VK_COLOR_SPACE_SRGB_NONLINEAR_KHR});
    }
  }
  return offered;
}

VkResult Describe(PhysicalDevice& device, Surface& surface, VkSurfaceCapabilitiesKHR* out) {
  NativeWindow::Sizes sizes;
  if (const VkResult result = surface.window->GetSizes(&sizes); result != VK_SUCCESS) {
    return result;
  }
  const uint32_t limit = device.snapshot().properties->properties.limits.maxImageDimension2D;
  *out = {};
  out->minImageCount = kMinImages;
  out->maxImageCount = 0;  // as many as there is memory for
  out->currentExtent = sizes.current;
  out->minImageExtent = sizes.least;
  out->maxImageExtent = {std::max(std::min(sizes.most.width, limit), sizes.least.width),
                         std::max(std::min(sizes.most.height, limit), sizes.least.height)};
  out->maxImageArrayLayers = 1;
  out->supportedTransforms = VK_SURFACE_TRANSFORM_IDENTITY_BIT_KHR;
  out->currentTransform = VK_SURFACE_TRANSFORM_IDENTITY_BIT_KHR;
  out->supportedCompositeAlpha = surface.window->composite_alpha();
  out->supportedUsageFlags = kSwapchainUsage;
  return VK_SUCCESS;
}

}  // namespace

Surface* FindSurface(Session& session, VkSurfaceKHR surface) {
  return static_cast<Surface*>(session.store().State(ToId(surface)));
}

namespace entry {

// -- surfaces -------------------------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL vkCreateHeadlessSurfaceEXT(VkInstance instance,
                                                          const VkHeadlessSurfaceCreateInfoEXT*,
                                                          const VkAllocationCallbacks* pAllocator,
                                                          VkSurfaceKHR* pSurface) {
  return Create(instance, MakeHeadlessWindow(), pAllocator, pSurface);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateXcbSurfaceKHR(VkInstance instance,
                                                     const VkXcbSurfaceCreateInfoKHR* pCreateInfo,
                                                     const VkAllocationCallbacks* pAllocator,
                                                     VkSurfaceKHR* pSurface) {
  return Create(instance, MakeXcbWindow(pCreateInfo->connection, pCreateInfo->window), pAllocator,
                pSurface);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateXlibSurfaceKHR(VkInstance instance,
                                                      const VkXlibSurfaceCreateInfoKHR* pCreateInfo,
                                                      const VkAllocationCallbacks* pAllocator,
                                                      VkSurfaceKHR* pSurface) {
  return Create(instance,
                MakeXcbWindow(XcbConnectionOf(pCreateInfo->dpy),
                              static_cast<xcb_window_t>(pCreateInfo->window)),
                pAllocator, pSurface);
}

VKAPI_ATTR VkResult VKAPI_CALL
vkCreateWaylandSurfaceKHR(VkInstance instance, const VkWaylandSurfaceCreateInfoKHR* pCreateInfo,
                          const VkAllocationCallbacks* pAllocator, VkSurfaceKHR* pSurface) {
  return Create(instance, MakeWaylandWindow(pCreateInfo->display, pCreateInfo->surface), pAllocator,
                pSurface);
}

VKAPI_ATTR VkBool32 VKAPI_CALL vkGetPhysicalDeviceWaylandPresentationSupportKHR(VkPhysicalDevice,
                                                                                uint32_t,
                                                                                wl_display*) {
  return VK_TRUE;  // every compositor has wl_shm
}

VKAPI_ATTR void VKAPI_CALL vkDestroySurfaceKHR(VkInstance instance, VkSurfaceKHR surface,
                                               const VkAllocationCallbacks*) {
  auto* object =
      static_cast<Surface*>(Instance::From(instance).session().store().Free(ToId(surface)));
  if (object != nullptr) {
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

VKAPI_ATTR VkBool32 VKAPI_CALL vkGetPhysicalDeviceXcbPresentationSupportKHR(
    VkPhysicalDevice, uint32_t, xcb_connection_t* connection, xcb_visualid_t visual_id) {
  return IsVisualShown(connection, visual_id) ? VK_TRUE : VK_FALSE;
}

VKAPI_ATTR VkBool32 VKAPI_CALL vkGetPhysicalDeviceXlibPresentationSupportKHR(VkPhysicalDevice,
                                                                             uint32_t, Display* dpy,
                                                                             VisualID visualID) {
  return IsVisualShown(XcbConnectionOf(dpy), static_cast<xcb_visualid_t>(visualID)) ? VK_TRUE
                                                                                    : VK_FALSE;
}

// -- what a device can do with them ---------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceSurfaceSupportKHR(VkPhysicalDevice physicalDevice,
                                                                    uint32_t queueFamilyIndex,
                                                                    VkSurfaceKHR,
                                                                    VkBool32* pSupported) {
  // To present is to copy, which these can do.
  constexpr VkQueueFlags kCopying =
      VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT;
  const auto& families = PhysicalDevice::From(physicalDevice).snapshot().queue_families;
  *pSupported =
      queueFamilyIndex < families.size() &&
              (families[queueFamilyIndex]->queueFamilyProperties.queueFlags & kCopying) != 0
          ? VK_TRUE
          : VK_FALSE;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL
vkGetPhysicalDeviceSurfaceCapabilitiesKHR(VkPhysicalDevice physicalDevice, VkSurfaceKHR surface,
                                          VkSurfaceCapabilitiesKHR* pSurfaceCapabilities) {
  PhysicalDevice& device = PhysicalDevice::From(physicalDevice);
  Surface* object = FindSurface(device.session(), surface);
  return object == nullptr ? VK_ERROR_SURFACE_LOST_KHR
                           : Describe(device, *object, pSurfaceCapabilities);
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceSurfaceCapabilities2KHR(
    VkPhysicalDevice physicalDevice, const VkPhysicalDeviceSurfaceInfo2KHR* pSurfaceInfo,
    VkSurfaceCapabilities2KHR* pSurfaceCapabilities) {
  const VkResult result = vkGetPhysicalDeviceSurfaceCapabilitiesKHR(
      physicalDevice, pSurfaceInfo->surface, &pSurfaceCapabilities->surfaceCapabilities);
  if (result != VK_SUCCESS) {
    return result;
  }
  void* chain = pSurfaceCapabilities->pNext;
  if (auto* of_protected = FindInChain<VkSurfaceProtectedCapabilitiesKHR>(
          chain, VK_STRUCTURE_TYPE_SURFACE_PROTECTED_CAPABILITIES_KHR)) {
    of_protected->supportsProtected = VK_FALSE;  // pictures come to memory that all can read
  }
  if (auto* scaling = FindInChain<VkSurfacePresentScalingCapabilitiesEXT>(
          chain, VK_STRUCTURE_TYPE_SURFACE_PRESENT_SCALING_CAPABILITIES_EXT)) {
    scaling->supportedPresentScaling = 0;
    scaling->supportedPresentGravityX = 0;
    scaling->supportedPresentGravityY = 0;
    scaling->minScaledImageExtent = pSurfaceCapabilities->surfaceCapabilities.minImageExtent;
    scaling->maxScaledImageExtent = pSurfaceCapabilities->surfaceCapabilities.maxImageExtent;
  }
  if (auto* compatible = FindInChain<VkSurfacePresentModeCompatibilityEXT>(
          chain, VK_STRUCTURE_TYPE_SURFACE_PRESENT_MODE_COMPATIBILITY_EXT)) {
    // Each presentation waits in its own way, so a swapchain may change between all of them.
    CopyOut(std::vector<VkPresentModeKHR>(kPresentModes.begin(), kPresentModes.end()),
            &compatible->presentModeCount, compatible->pPresentModes);
  }
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceSurfaceFormatsKHR(
    VkPhysicalDevice physicalDevice, VkSurfaceKHR surface, uint32_t* pSurfaceFormatCount,
    VkSurfaceFormatKHR* pSurfaceFormats) {
  Session& session = PhysicalDevice::From(physicalDevice).session();
  return CopyOut(FormatsOf(physicalDevice, FindSurface(session, surface)), pSurfaceFormatCount,
                 pSurfaceFormats);
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceSurfaceFormats2KHR(
    VkPhysicalDevice physicalDevice, const VkPhysicalDeviceSurfaceInfo2KHR* pSurfaceInfo,
    uint32_t* pSurfaceFormatCount, VkSurfaceFormat2KHR* pSurfaceFormats) {
  Session& session = PhysicalDevice::From(physicalDevice).session();
  const std::vector<VkSurfaceFormatKHR> formats =
      FormatsOf(physicalDevice, FindSurface(session, pSurfaceInfo->surface));
  if (pSurfaceFormats == nullptr) {
    *pSurfaceFormatCount = static_cast<uint32_t>(formats.size());
    return VK_SUCCESS;
  }
  *pSurfaceFormatCount = std::min(*pSurfaceFormatCount, static_cast<uint32_t>(formats.size()));
  for (uint32_t i = 0; i < *pSurfaceFormatCount; ++i) {
    pSurfaceFormats[i].surfaceFormat = formats[i];
  }
  return *pSurfaceFormatCount < formats.size() ? VK_INCOMPLETE : VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceSurfacePresentModesKHR(
    VkPhysicalDevice, VkSurfaceKHR, uint32_t* pPresentModeCount, VkPresentModeKHR* pPresentModes) {
  return CopyOut(std::vector<VkPresentModeKHR>(kPresentModes.begin(), kPresentModes.end()),
                 pPresentModeCount, pPresentModes);
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDevicePresentRectanglesKHR(
    VkPhysicalDevice physicalDevice, VkSurfaceKHR surface, uint32_t* pRectCount, VkRect2D* pRects) {
  VkSurfaceCapabilitiesKHR capabilities{};
  const VkResult result =
      vkGetPhysicalDeviceSurfaceCapabilitiesKHR(physicalDevice, surface, &capabilities);
  // A window without a size of its own is as large as the swapchain.
  return result != VK_SUCCESS ? result
                              : CopyOut(std::vector<VkRect2D>{{{0, 0}, capabilities.currentExtent}},
                                        pRectCount, pRects);
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetDeviceGroupPresentCapabilitiesKHR(
    VkDevice, VkDeviceGroupPresentCapabilitiesKHR* pDeviceGroupPresentCapabilities) {
  std::fill_n(pDeviceGroupPresentCapabilities->presentMask, VK_MAX_DEVICE_GROUP_SIZE, 0u);
  pDeviceGroupPresentCapabilities->presentMask[0] = 1;
  pDeviceGroupPresentCapabilities->modes = VK_DEVICE_GROUP_PRESENT_MODE_LOCAL_BIT_KHR;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetDeviceGroupSurfacePresentModesKHR(
    VkDevice, VkSurfaceKHR, VkDeviceGroupPresentModeFlagsKHR* pModes) {
  *pModes = VK_DEVICE_GROUP_PRESENT_MODE_LOCAL_BIT_KHR;
  return VK_SUCCESS;
}

}  // namespace entry
}  // namespace vesper::client
