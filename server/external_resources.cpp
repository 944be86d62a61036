// SPDX-License-Identifier: Apache-2.0
#include "server/external_resources.h"

#include "server/chain.h"
#include "server/shared_memory.h"

namespace vesper::server {
namespace {

/// True if memory that is imported as a host pointer can be bound without being dedicated.
bool IsImportable(const VkExternalMemoryProperties& properties) {
  constexpr VkExternalMemoryFeatureFlags kBoth =
      VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT | VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT;
  return (properties.externalMemoryFeatures & kBoth) == VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
}

bool Fits(const VkMemoryRequirements& requirements, const ImportedPlace& place) {
  return (requirements.memoryTypeBits & (1u << place.memory_type)) != 0 &&
         place.offset % requirements.alignment == 0 && place.offset <= place.memory_size &&
         requirements.size <= place.memory_size - place.offset;
}

bool IsImportable(const InstanceTable& instance, VkPhysicalDevice physical_device,
                  const VkImageCreateInfo& info) {
  VkPhysicalDeviceExternalImageFormatInfo external{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO, nullptr, kHostPointer};
  VkPhysicalDeviceImageFormatInfo2 format{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2,
                                          &external,
                                          info.format,
                                          info.imageType,
                                          info.tiling,
                                          info.usage,
                                          info.flags};
  VkExternalImageFormatProperties importable{
      VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES, nullptr, {}};
  VkImageFormatProperties2 properties{VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2, &importable, {}};
  if (instance.vkGetPhysicalDeviceImageFormatProperties2(physical_device, &format, &properties) !=
      VK_SUCCESS) {
    return false;
  }
  const VkImageFormatProperties& limits = properties.imageFormatProperties;
  return IsImportable(importable.externalMemoryProperties) &&
         info.extent.width <= limits.maxExtent.width &&
         info.extent.height <= limits.maxExtent.height &&
         info.extent.depth <= limits.maxExtent.depth && info.mipLevels <= limits.maxMipLevels &&
         info.arrayLayers <= limits.maxArrayLayers && (info.samples & limits.sampleCounts) != 0;
}

/// Colors only: of linear images in other formats there are few, and each aspect would be asked
/// for.
bool HasOneAspect(VkFormat format) {
  return format < VK_FORMAT_D16_UNORM ||
         (format > VK_FORMAT_D32_SFLOAT_S8_UINT && format <= VK_FORMAT_ASTC_12x12_SRGB_BLOCK);
}

bool IsLaidOutAlike(const DeviceTable& vk, VkDevice device, const VkImageCreateInfo& info,
                    VkImage one, VkImage other) {
  for (uint32_t level = 0; level < info.mipLevels; ++level) {
    const VkImageSubresource subresource{VK_IMAGE_ASPECT_COLOR_BIT, level, 0};
    VkSubresourceLayout first{};
    VkSubresourceLayout second{};
    vk.vkGetImageSubresourceLayout(device, one, &subresource, &first);
    vk.vkGetImageSubresourceLayout(device, other, &subresource, &second);
    if (first.offset != second.offset || first.size != second.size ||
        first.rowPitch != second.rowPitch ||
        (info.arrayLayers > 1 && first.arrayPitch != second.arrayPitch) ||
        (info.imageType == VK_IMAGE_TYPE_3D && first.depthPitch != second.depthPitch)) {
      return false;
    }
  }
  return true;
}

}  // namespace

VkBuffer CreateExternalBuffer(const InstanceTable& instance, VkPhysicalDevice physical_device,
                              const DeviceTable& vk, VkDevice device,
                              const VkBufferCreateInfo& info, const ImportedPlace& place) {
  // A captured address belongs to the buffer that was captured.
  if ((info.flags & VK_BUFFER_CREATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT) != 0) {
    return VK_NULL_HANDLE;
  }
  VkPhysicalDeviceExternalBufferInfo question{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO, nullptr, info.flags, info.usage,
      kHostPointer};
  VkBufferUsageFlags2CreateInfo usage{VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO};
  if (const auto* more = FindInChain<VkBufferUsageFlags2CreateInfo>(
          info.pNext, VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO)) {
    usage.usage = more->usage;
    question.pNext = &usage;
  }
  VkExternalBufferProperties properties{VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
  instance.vkGetPhysicalDeviceExternalBufferProperties(physical_device, &question, &properties);
  if (!IsImportable(properties.externalMemoryProperties)) {
    return VK_NULL_HANDLE;
  }
  const VkExternalMemoryBufferCreateInfo external{
      VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO, info.pNext, kHostPointer};
  VkBufferCreateInfo with = info;
  with.pNext = &external;
  VkBuffer buffer = VK_NULL_HANDLE;
  if (vk.vkCreateBuffer(device, &with, nullptr, &buffer) != VK_SUCCESS) {
    return VK_NULL_HANDLE;
  }
  const VkBufferMemoryRequirementsInfo2 of{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2,
                                           nullptr, buffer};
  VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
  vk.vkGetBufferMemoryRequirements2(device, &of, &requirements);
  if (!Fits(requirements.memoryRequirements, place)) {
    vk.vkDestroyBuffer(device, buffer, nullptr);
    return VK_NULL_HANDLE;
  }
  return buffer;
}

VkImage CreateExternalImage(const InstanceTable& instance, VkPhysicalDevice physical_device,
                            const DeviceTable& vk, VkDevice device, const VkImageCreateInfo& info,
                            VkImage like, const ImportedPlace& place) {
  // An image for imported memory must begin undefined, and has one place.
  if (info.initialLayout != VK_IMAGE_LAYOUT_UNDEFINED ||
      (info.flags & VK_IMAGE_CREATE_DISJOINT_BIT) != 0 ||
      (info.tiling != VK_IMAGE_TILING_LINEAR && info.tiling != VK_IMAGE_TILING_OPTIMAL) ||
      !IsImportable(instance, physical_device, info)) {
    return VK_NULL_HANDLE;
  }
  const VkExternalMemoryImageCreateInfo external{
      VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO, info.pNext, kHostPointer};
  VkImageCreateInfo with = info;
  with.pNext = &external;
  VkImage image = VK_NULL_HANDLE;
  if (vk.vkCreateImage(device, &with, nullptr, &image) != VK_SUCCESS) {
    return VK_NULL_HANDLE;
  }
  const VkImageMemoryRequirementsInfo2 of{VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2,
                                          nullptr, image};
  VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
  vk.vkGetImageMemoryRequirements2(device, &of, &requirements);
  const bool is_seen = info.tiling == VK_IMAGE_TILING_LINEAR;
  if (!Fits(requirements.memoryRequirements, place) ||
      (is_seen && (!HasOneAspect(info.format) || !IsLaidOutAlike(vk, device, info, like, image)))) {
    vk.vkDestroyImage(device, image, nullptr);
    return VK_NULL_HANDLE;
  }
  return image;
}

}  // namespace vesper::server
