// SPDX-License-Identifier: Apache-2.0
//
// VkPhysicalDevice. What never changes is answered from the snapshot; formats and images are asked
// for. Handle types of the host's kernel mean nothing to the guest's, so everything "external" is
// reported as unsupported, but for the program's own memory (imported_memory.h).
#include "client_icd/physical_device.h"

#include <cstring>

#include "client_icd/chain.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/imported_memory.h"
#include "client_icd/instance.h"
#include "client_icd/shadows.h"
#include "proto/records_gen.h"
#include "proto/reply_decoder.h"

namespace vesper::client {
namespace {

template <typename T>
void CopyFromSnapshot(uint16_t record_index, const T* source, T* target) {
  proto::CopyStruct(proto::Records()[record_index], source, target);
}

/// A member of one of the properties in a chain, or 0.
template <typename T>
uint64_t Property(const void* chain, VkStructureType type, VkDeviceSize T::* member) {
  const T* found = FindInChain<T>(chain, type);
  return found == nullptr ? 0 : found->*member;
}

/// Every device makes buffers and allocations of this size (Vulkan 1.4, "Required Limits").
constexpr uint64_t kLeastMaxSize = uint64_t{1} << 30;

}  // namespace

PhysicalDevice::PhysicalDevice(Instance& instance, const proto::PhysicalDeviceSnapshot& snapshot)
    : Dispatchable(snapshot.id),
      instance_(instance),
      snapshot_(snapshot),
      answer_scope_(proto::Hash128{snapshot.id, 0}),
      memory_budget_(instance.session(), reinterpret_cast<VkPhysicalDevice>(this)) {
  const void* chain = snapshot.properties->pNext;
  max_buffer_size_ = std::max({
      kLeastMaxSize,
      Property(chain, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES,
               &VkPhysicalDeviceMaintenance4Properties::maxBufferSize),
      Property(chain, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES,
               &VkPhysicalDeviceVulkan13Properties::maxBufferSize),
  });
  max_allocation_size_ = std::max({
      kLeastMaxSize,
      Property(chain, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES,
               &VkPhysicalDeviceMaintenance3Properties::maxMemoryAllocationSize),
      Property(chain, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES,
               &VkPhysicalDeviceVulkan11Properties::maxMemoryAllocationSize),
  });
}

Session& PhysicalDevice::session() { return instance_.session(); }
bool PhysicalDevice::IsLost() { return instance_.IsLost(); }

bool PhysicalDevice::Offers(const char* extension) const {
  return std::any_of(snapshot_.extensions.begin(), snapshot_.extensions.end(),
                     [extension](const VkExtensionProperties& offered) {
                       return std::strcmp(offered.extensionName, extension) == 0;
                     });
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL
vkEnumerateDeviceExtensionProperties(VkPhysicalDevice physicalDevice, const char* pLayerName,
                                     uint32_t* pPropertyCount, VkExtensionProperties* pProperties) {
  if (pLayerName != nullptr) {
    *pPropertyCount = 0;
    return VK_ERROR_LAYER_NOT_PRESENT;
  }
  return CopyOut(PhysicalDevice::From(physicalDevice).snapshot().extensions, pPropertyCount,
                 pProperties);
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateDeviceLayerProperties(VkPhysicalDevice,
                                                                uint32_t* pPropertyCount,
                                                                VkLayerProperties*) {
  *pPropertyCount = 0;
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceFeatures(VkPhysicalDevice physicalDevice,
                                                       VkPhysicalDeviceFeatures* pFeatures) {
  *pFeatures = PhysicalDevice::From(physicalDevice).snapshot().features->features;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceFeatures2(VkPhysicalDevice physicalDevice,
                                                        VkPhysicalDeviceFeatures2* pFeatures) {
  CopyFromSnapshot(proto::record_index::VkPhysicalDeviceFeatures2,
                   PhysicalDevice::From(physicalDevice).snapshot().features, pFeatures);
  if (auto* placed = FindInChain<VkPhysicalDeviceMapMemoryPlacedFeaturesEXT>(
          pFeatures->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAP_MEMORY_PLACED_FEATURES_EXT)) {
    const VkBool32 can_place = PhysicalDevice::From(physicalDevice).session().shadows().CanPlace();
    placed->memoryMapPlaced = can_place;
    placed->memoryMapRangePlaced = can_place;
    placed->memoryUnmapReserve = can_place;
  }
  if (auto* ids = FindInChain<VkPhysicalDevicePresentIdFeaturesKHR>(
          pFeatures->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_ID_FEATURES_KHR)) {
    ids->presentId = VK_TRUE;
  }
  if (auto* waits = FindInChain<VkPhysicalDevicePresentWaitFeaturesKHR>(
          pFeatures->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_WAIT_FEATURES_KHR)) {
    waits->presentWait = VK_TRUE;
  }
  if (auto* maintenance = FindInChain<VkPhysicalDeviceSwapchainMaintenance1FeaturesEXT>(
          pFeatures->pNext,
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SWAPCHAIN_MAINTENANCE_1_FEATURES_EXT)) {
    maintenance->swapchainMaintenance1 = VK_TRUE;
  }
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceProperties(VkPhysicalDevice physicalDevice,
                                                         VkPhysicalDeviceProperties* pProperties) {
  *pProperties = PhysicalDevice::From(physicalDevice).snapshot().properties->properties;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceProperties2(
    VkPhysicalDevice physicalDevice, VkPhysicalDeviceProperties2* pProperties) {
  CopyFromSnapshot(proto::record_index::VkPhysicalDeviceProperties2,
                   PhysicalDevice::From(physicalDevice).snapshot().properties, pProperties);
  if (auto* placed = FindInChain<VkPhysicalDeviceMapMemoryPlacedPropertiesEXT>(
          pProperties->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAP_MEMORY_PLACED_PROPERTIES_EXT)) {
    placed->minPlacedMemoryMapAlignment = PageSize();
  }
  if (auto* imported = FindInChain<VkPhysicalDeviceExternalMemoryHostPropertiesEXT>(
          pProperties->pNext,
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT)) {
    imported->minImportedHostPointerAlignment = PageSize();
  }
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceQueueFamilyProperties(
    VkPhysicalDevice physicalDevice, uint32_t* pQueueFamilyPropertyCount,
    VkQueueFamilyProperties* pQueueFamilyProperties) {
  std::vector<VkQueueFamilyProperties> families;
  for (const VkQueueFamilyProperties2* family :
       PhysicalDevice::From(physicalDevice).snapshot().queue_families) {
    families.push_back(family->queueFamilyProperties);
  }
  CopyOut(families, pQueueFamilyPropertyCount, pQueueFamilyProperties);
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceQueueFamilyProperties2(
    VkPhysicalDevice physicalDevice, uint32_t* pQueueFamilyPropertyCount,
    VkQueueFamilyProperties2* pQueueFamilyProperties) {
  const auto& families = PhysicalDevice::From(physicalDevice).snapshot().queue_families;
  const uint32_t available = static_cast<uint32_t>(families.size());
  if (pQueueFamilyProperties == nullptr) {
    *pQueueFamilyPropertyCount = available;
    return;
  }
  *pQueueFamilyPropertyCount = std::min(*pQueueFamilyPropertyCount, available);
  for (uint32_t i = 0; i < *pQueueFamilyPropertyCount; ++i) {
    CopyFromSnapshot(proto::record_index::VkQueueFamilyProperties2,
                     static_cast<const VkQueueFamilyProperties2*>(families[i]),
                     &pQueueFamilyProperties[i]);
  }
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceMemoryProperties(
    VkPhysicalDevice physicalDevice, VkPhysicalDeviceMemoryProperties* pMemoryProperties) {
  *pMemoryProperties = PhysicalDevice::From(physicalDevice).snapshot().memory->memoryProperties;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceMemoryProperties2(
    VkPhysicalDevice physicalDevice, VkPhysicalDeviceMemoryProperties2* pMemoryProperties) {
  PhysicalDevice& device = PhysicalDevice::From(physicalDevice);
  // Types and heaps never change; what is chained (the budget) does.
  auto* chain = static_cast<VkBaseOutStructure*>(pMemoryProperties->pNext);
  if (chain != nullptr && chain->pNext == nullptr &&
      chain->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) {
    device.memory_budget().Get(reinterpret_cast<VkPhysicalDeviceMemoryBudgetPropertiesEXT*>(chain));
    pMemoryProperties->memoryProperties = device.snapshot().memory->memoryProperties;
    return;
  }
  proto::Args_vkGetPhysicalDeviceMemoryProperties2 args{physicalDevice, pMemoryProperties};
  if (chain == nullptr ||
      !device.session().Call(proto::command_number::vkGetPhysicalDeviceMemoryProperties2, &args)) {
    pMemoryProperties->memoryProperties = device.snapshot().memory->memoryProperties;
  }
}

// -- formats and images -----------------------------------------------------------------------

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceFormatProperties(
    VkPhysicalDevice physicalDevice, VkFormat format, VkFormatProperties* pFormatProperties) {
  VkFormatProperties2 properties{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2, nullptr, {}};
  vkGetPhysicalDeviceFormatProperties2(physicalDevice, format, &properties);
  *pFormatProperties = properties.formatProperties;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceImageFormatProperties(
    VkPhysicalDevice physicalDevice, VkFormat format, VkImageType type, VkImageTiling tiling,
    VkImageUsageFlags usage, VkImageCreateFlags flags,
    VkImageFormatProperties* pImageFormatProperties) {
  const VkPhysicalDeviceImageFormatInfo2 info{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2,
                                              nullptr,
                                              format,
                                              type,
                                              tiling,
                                              usage,
                                              flags};
  VkImageFormatProperties2 properties{VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2, nullptr, {}};
  const VkResult result =
      vkGetPhysicalDeviceImageFormatProperties2(physicalDevice, &info, &properties);
  *pImageFormatProperties = properties.imageFormatProperties;
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceImageFormatProperties2(
    VkPhysicalDevice physicalDevice, const VkPhysicalDeviceImageFormatInfo2* pImageFormatInfo,
    VkImageFormatProperties2* pImageFormatProperties) {
  const auto* external = FindInChain<VkPhysicalDeviceExternalImageFormatInfo>(
      pImageFormatInfo->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO);
  const VkExternalMemoryHandleTypeFlagBits handle_type =
      external == nullptr ? VkExternalMemoryHandleTypeFlagBits{} : external->handleType;
  if (handle_type != 0 && handle_type != kHostPointer) {
    pImageFormatProperties->imageFormatProperties = {};
    return VK_ERROR_FORMAT_NOT_SUPPORTED;
  }
  if (auto* properties = FindInChain<VkExternalImageFormatProperties>(
          pImageFormatProperties->pNext, VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES)) {
    DescribeExternalMemory(handle_type, &properties->externalMemoryProperties);
  }
  proto::Args_vkGetPhysicalDeviceImageFormatProperties2 args{physicalDevice, pImageFormatInfo,
                                                             pImageFormatProperties};
  return AskResult(PhysicalDevice::From(physicalDevice),
                   proto::command_number::vkGetPhysicalDeviceImageFormatProperties2, &args,
                   &args.ret, kHostMemory | kDeviceMemory);
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceSparseImageFormatProperties(
    VkPhysicalDevice physicalDevice, VkFormat format, VkImageType type,
    VkSampleCountFlagBits samples, VkImageUsageFlags usage, VkImageTiling tiling,
    uint32_t* pPropertyCount, VkSparseImageFormatProperties* pProperties) {
  const VkPhysicalDeviceSparseImageFormatInfo2 info{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SPARSE_IMAGE_FORMAT_INFO_2,
      nullptr,
      format,
      type,
      samples,
      usage,
      tiling};
  if (pProperties == nullptr) {
    vkGetPhysicalDeviceSparseImageFormatProperties2(physicalDevice, &info, pPropertyCount, nullptr);
    return;
  }
  std::vector<VkSparseImageFormatProperties2> properties(
      *pPropertyCount, {VK_STRUCTURE_TYPE_SPARSE_IMAGE_FORMAT_PROPERTIES_2, nullptr, {}});
  vkGetPhysicalDeviceSparseImageFormatProperties2(physicalDevice, &info, pPropertyCount,
                                                  properties.data());
  for (uint32_t i = 0; i < *pPropertyCount && i < properties.size(); ++i) {
    pProperties[i] = properties[i].properties;
  }
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceExternalBufferProperties(
    VkPhysicalDevice, const VkPhysicalDeviceExternalBufferInfo* pExternalBufferInfo,
    VkExternalBufferProperties* pExternalBufferProperties) {
  DescribeExternalMemory(pExternalBufferInfo->handleType,
                         &pExternalBufferProperties->externalMemoryProperties);
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceExternalFenceProperties(
    VkPhysicalDevice, const VkPhysicalDeviceExternalFenceInfo*,
    VkExternalFenceProperties* pExternalFenceProperties) {
  pExternalFenceProperties->exportFromImportedHandleTypes = 0;
  pExternalFenceProperties->compatibleHandleTypes = 0;
  pExternalFenceProperties->externalFenceFeatures = 0;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceExternalSemaphoreProperties(
    VkPhysicalDevice, const VkPhysicalDeviceExternalSemaphoreInfo*,
    VkExternalSemaphoreProperties* pExternalSemaphoreProperties) {
  pExternalSemaphoreProperties->exportFromImportedHandleTypes = 0;
  pExternalSemaphoreProperties->compatibleHandleTypes = 0;
  pExternalSemaphoreProperties->externalSemaphoreFeatures = 0;
}

}  // namespace entry
}  // namespace vesper::client
