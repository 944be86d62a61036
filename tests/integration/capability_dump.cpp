// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/capability_dump.h"

#include <cstdio>
#include <cstring>
#include <sstream>
#include <type_traits>

#include "tests/framework/gpu.h"

namespace vesper::tests {
namespace {

template <typename T>
std::string Text(const T& value);

template <typename T, size_t kCount>
std::string TextOfArray(const T (&values)[kCount]) {
  if constexpr (std::is_same_v<T, char>) {
    return std::string(values, strnlen(values, kCount));
  } else {
    std::string text;
    for (const T& value : values) {
      text += (text.empty() ? "" : " ") + Text(value);
    }
    return text;
  }
}

template <typename T>
std::string Text(const T& value) {
  if constexpr (std::is_array_v<T>) {
    return TextOfArray(value);
  } else if constexpr (std::is_same_v<T, VkConformanceVersion>) {
    return std::to_string(value.major) + "." + std::to_string(value.minor) + "." +
           std::to_string(value.subminor) + "." + std::to_string(value.patch);
  } else if constexpr (std::is_same_v<T, VkExtent3D>) {
    return std::to_string(value.width) + "x" + std::to_string(value.height) + "x" +
           std::to_string(value.depth);
  } else if constexpr (std::is_same_v<T, VkExtent2D>) {
    return std::to_string(value.width) + "x" + std::to_string(value.height);
  } else if constexpr (std::is_floating_point_v<T>) {
    char text[40];
    snprintf(text, sizeof(text), "%a", static_cast<double>(value));  // Every bit of it.
    return text;
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<long>(value));
  } else {
    return std::to_string(value);
  }
}

// All formats of core Vulkan: four runs of numbers.
std::vector<VkFormat> CoreFormats() {
  const std::pair<int, int> runs[] = {
      {VK_FORMAT_R4G4_UNORM_PACK8, VK_FORMAT_ASTC_12x12_SRGB_BLOCK},
      {VK_FORMAT_G8B8G8R8_422_UNORM, VK_FORMAT_G16_B16_R16_3PLANE_444_UNORM},
      {VK_FORMAT_G8_B8R8_2PLANE_444_UNORM, VK_FORMAT_G16_B16R16_2PLANE_444_UNORM},
      {VK_FORMAT_A4R4G4B4_UNORM_PACK16, VK_FORMAT_A4B4G4R4_UNORM_PACK16},
      {VK_FORMAT_ASTC_4x4_SFLOAT_BLOCK, VK_FORMAT_ASTC_12x12_SFLOAT_BLOCK},
      {VK_FORMAT_A1B5G5R5_UNORM_PACK16, VK_FORMAT_A8_UNORM}};
  std::vector<VkFormat> formats;
  for (const auto& [first, last] : runs) {
    for (int format = first; format <= last; ++format) {
      formats.push_back(static_cast<VkFormat>(format));
    }
  }
  return formats;
}

class Dumper {
 public:
  Dumper() { gpu_.OpenInstance(); }

  Capabilities Dump() {
    DumpFeatures();
    DumpProperties();
    DumpExtensions();
    DumpQueueFamilies();
    DumpMemory();
    for (const VkFormat format : CoreFormats()) {
      DumpFormat(format);
    }
    DumpExternalHandles();
    DumpTools();
    return std::move(found_);
  }

 private:
  template <typename T>
  void Add(const std::string& name, const T& value) {
    found_[name] = Text(value);
  }

  void DumpFeatures();
  void DumpProperties();
  void DumpExtensions();
  void DumpQueueFamilies();
  void DumpMemory();
  void DumpFormat(VkFormat format);
  void DumpImageFormat(VkFormat format, VkImageType type, VkImageTiling tiling,
                       VkImageUsageFlags usage, VkImageCreateFlags flags);
  void DumpExternalHandles();
  void DumpTools();

  Gpu gpu_;
  Capabilities found_;
};

#define FIELD(member) Add(name + "." #member, value.member);
#define END() }
#define CORE(type, structure_type)  \
  {                                 \
    const std::string name = #type; \
    type value{structure_type};     \
    root.pNext = &value;            \
    query(gpu_.physical_device, &root);
// Only where the extension is offered: others don't fill their structs.
#define EXTENSION(type, structure_type, extension) \
  if (gpu_.HasDeviceExtension(extension)) CORE(type, structure_type)

void Dumper::DumpFeatures() {
  VkPhysicalDeviceFeatures2 root{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
  const auto query = gpu_.vk.GetPhysicalDeviceFeatures2;
#define ROOT(type)                      \
  {                                     \
    const std::string name = #type;     \
    query(gpu_.physical_device, &root); \
    const type& value = root;
#include "tests/integration/capability_features.inc"
}

void Dumper::DumpProperties() {
  VkPhysicalDeviceProperties2 root{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  const auto query = gpu_.vk.GetPhysicalDeviceProperties2;
#include "tests/integration/capability_properties.inc"
#undef ROOT
}

#undef EXTENSION
#undef CORE
#undef END
#undef FIELD

void Dumper::DumpExtensions() {
  uint32_t count = 0;
  VESPER_CHECK(
      gpu_.vk.EnumerateDeviceExtensionProperties(gpu_.physical_device, nullptr, &count, nullptr));
  std::vector<VkExtensionProperties> extensions(count);
  VESPER_CHECK(gpu_.vk.EnumerateDeviceExtensionProperties(gpu_.physical_device, nullptr, &count,
                                                          extensions.data()));
  for (const VkExtensionProperties& extension : extensions) {
    Add("extension." + std::string(extension.extensionName), extension.specVersion);
  }
  VESPER_CHECK(gpu_.vk.EnumerateInstanceExtensionProperties(nullptr, &count, nullptr));
  extensions.resize(count);
  VESPER_CHECK(gpu_.vk.EnumerateInstanceExtensionProperties(nullptr, &count, extensions.data()));
  for (const VkExtensionProperties& extension : extensions) {
    Add("instance_extension." + std::string(extension.extensionName), extension.specVersion);
  }
}

void Dumper::DumpQueueFamilies() {
  uint32_t count = 0;
  gpu_.vk.GetPhysicalDeviceQueueFamilyProperties2(gpu_.physical_device, &count, nullptr);
  std::vector<VkQueueFamilyGlobalPriorityProperties> priorities(
      count, {VK_STRUCTURE_TYPE_QUEUE_FAMILY_GLOBAL_PRIORITY_PROPERTIES});
  std::vector<VkQueueFamilyProperties2> families(count,
                                                 {VK_STRUCTURE_TYPE_QUEUE_FAMILY_PROPERTIES_2});
  for (uint32_t i = 0; i < count; ++i) {
    families[i].pNext = &priorities[i];
  }
  gpu_.vk.GetPhysicalDeviceQueueFamilyProperties2(gpu_.physical_device, &count, families.data());
  for (uint32_t i = 0; i < count; ++i) {
    const std::string name = "queue_family." + std::to_string(i);
    const VkQueueFamilyProperties& family = families[i].queueFamilyProperties;
    Add(name + ".queueFlags", family.queueFlags);
    Add(name + ".queueCount", family.queueCount);
    Add(name + ".timestampValidBits", family.timestampValidBits);
    Add(name + ".minImageTransferGranularity", family.minImageTransferGranularity);
    for (uint32_t j = 0; j < priorities[i].priorityCount; ++j) {
      Add(name + ".priorities." + std::to_string(j), priorities[i].priorities[j]);
    }
  }
}

void Dumper::DumpMemory() {
  VkPhysicalDeviceMemoryProperties2 memory{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
  gpu_.vk.GetPhysicalDeviceMemoryProperties2(gpu_.physical_device, &memory);
  const VkPhysicalDeviceMemoryProperties& found = memory.memoryProperties;
  for (uint32_t i = 0; i < found.memoryTypeCount; ++i) {
    const std::string name = "memory_type." + std::to_string(i);
    Add(name + ".propertyFlags", found.memoryTypes[i].propertyFlags);
    Add(name + ".heapIndex", found.memoryTypes[i].heapIndex);
  }
  for (uint32_t i = 0; i < found.memoryHeapCount; ++i) {
    const std::string name = "memory_heap." + std::to_string(i);
    Add(name + ".flags", found.memoryHeaps[i].flags);
    Add(name + ".size", found.memoryHeaps[i].size);
  }
}

void Dumper::DumpFormat(VkFormat format) {
  const std::string name = "format." + std::to_string(format);
  VkFormatProperties3 third{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3};
  VkFormatProperties2 second{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2};
  second.pNext = &third;
  gpu_.vk.GetPhysicalDeviceFormatProperties2(gpu_.physical_device, format, &second);
  Add(name + ".linear", second.formatProperties.linearTilingFeatures);
  Add(name + ".optimal", second.formatProperties.optimalTilingFeatures);
  Add(name + ".buffer", second.formatProperties.bufferFeatures);
  Add(name + ".linear3", third.linearTilingFeatures);
  Add(name + ".optimal3", third.optimalTilingFeatures);
  Add(name + ".buffer3", third.bufferFeatures);

  const VkImageUsageFlags copies =
      VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
  DumpImageFormat(format, VK_IMAGE_TYPE_1D, VK_IMAGE_TILING_OPTIMAL, copies, 0);
  DumpImageFormat(format, VK_IMAGE_TYPE_3D, VK_IMAGE_TILING_OPTIMAL, copies, 0);
  DumpImageFormat(format, VK_IMAGE_TYPE_2D, VK_IMAGE_TILING_LINEAR, copies, 0);
  for (const VkImageUsageFlags usage :
       {VK_IMAGE_USAGE_SAMPLED_BIT, VK_IMAGE_USAGE_STORAGE_BIT, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT,
        VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT, VK_IMAGE_USAGE_INPUT_ATTACHMENT_BIT}) {
    DumpImageFormat(format, VK_IMAGE_TYPE_2D, VK_IMAGE_TILING_OPTIMAL, copies | usage, 0);
  }
  DumpImageFormat(format, VK_IMAGE_TYPE_2D, VK_IMAGE_TILING_OPTIMAL, VK_IMAGE_USAGE_SAMPLED_BIT,
                  VK_IMAGE_CREATE_CUBE_COMPATIBLE_BIT | VK_IMAGE_CREATE_MUTABLE_FORMAT_BIT);

  VkPhysicalDeviceSparseImageFormatInfo2 sparse{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SPARSE_IMAGE_FORMAT_INFO_2};
  sparse.format = format;
  sparse.type = VK_IMAGE_TYPE_2D;
  sparse.samples = VK_SAMPLE_COUNT_1_BIT;
  sparse.usage = VK_IMAGE_USAGE_SAMPLED_BIT;
  sparse.tiling = VK_IMAGE_TILING_OPTIMAL;
  uint32_t count = 0;
  gpu_.vk.GetPhysicalDeviceSparseImageFormatProperties2(gpu_.physical_device, &sparse, &count,
                                                        nullptr);
  std::vector<VkSparseImageFormatProperties2> properties(
      count, {VK_STRUCTURE_TYPE_SPARSE_IMAGE_FORMAT_PROPERTIES_2});
  gpu_.vk.GetPhysicalDeviceSparseImageFormatProperties2(gpu_.physical_device, &sparse, &count,
                                                        properties.data());
  for (uint32_t i = 0; i < count; ++i) {
    Add(name + ".sparse." + std::to_string(i) + ".granularity",
        properties[i].properties.imageGranularity);
    Add(name + ".sparse." + std::to_string(i) + ".flags", properties[i].properties.flags);
    Add(name + ".sparse." + std::to_string(i) + ".aspect", properties[i].properties.aspectMask);
  }
}

void Dumper::DumpImageFormat(VkFormat format, VkImageType type, VkImageTiling tiling,
                             VkImageUsageFlags usage, VkImageCreateFlags flags) {
  VkPhysicalDeviceImageFormatInfo2 info{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2};
  info.format = format;
  info.type = type;
  info.tiling = tiling;
  info.usage = usage;
  info.flags = flags;
  VkSamplerYcbcrConversionImageFormatProperties ycbcr{
      VK_STRUCTURE_TYPE_SAMPLER_YCBCR_CONVERSION_IMAGE_FORMAT_PROPERTIES};
  VkImageFormatProperties2 second{VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2};
  second.pNext = &ycbcr;
  const VkResult result =
      gpu_.vk.GetPhysicalDeviceImageFormatProperties2(gpu_.physical_device, &info, &second);
  std::ostringstream text;
  text << ResultName(result);
  if (result == VK_SUCCESS) {
    const VkImageFormatProperties& found = second.imageFormatProperties;
    text << " " << Text(found.maxExtent) << " levels " << found.maxMipLevels << " layers "
         << found.maxArrayLayers << " samples " << found.sampleCounts << " size "
         << found.maxResourceSize << " descriptors " << ycbcr.combinedImageSamplerDescriptorCount;
  }
  found_["image_format." + std::to_string(format) + ".type" + std::to_string(type) + ".tiling" +
         std::to_string(tiling) + ".usage" + std::to_string(usage) + ".flags" +
         std::to_string(flags)] = text.str();
}

void Dumper::DumpExternalHandles() {
  for (uint32_t bit = 0; bit < 13; ++bit) {
    VkPhysicalDeviceExternalBufferInfo buffer{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO};
    buffer.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
    buffer.handleType = static_cast<VkExternalMemoryHandleTypeFlagBits>(1u << bit);
    VkExternalBufferProperties properties{VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
    gpu_.vk.GetPhysicalDeviceExternalBufferProperties(gpu_.physical_device, &buffer, &properties);
    Add("external.buffer." + std::to_string(bit),
        properties.externalMemoryProperties.externalMemoryFeatures);
  }
  for (uint32_t bit = 0; bit < 4; ++bit) {
    VkPhysicalDeviceExternalFenceInfo fence{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_FENCE_INFO};
    fence.handleType = static_cast<VkExternalFenceHandleTypeFlagBits>(1u << bit);
    VkExternalFenceProperties fence_properties{VK_STRUCTURE_TYPE_EXTERNAL_FENCE_PROPERTIES};
    gpu_.vk.GetPhysicalDeviceExternalFenceProperties(gpu_.physical_device, &fence,
                                                     &fence_properties);
    Add("external.fence." + std::to_string(bit), fence_properties.externalFenceFeatures);
    VkPhysicalDeviceExternalSemaphoreInfo semaphore{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_SEMAPHORE_INFO};
    semaphore.handleType = static_cast<VkExternalSemaphoreHandleTypeFlagBits>(1u << bit);
    VkExternalSemaphoreProperties semaphore_properties{
        VK_STRUCTURE_TYPE_EXTERNAL_SEMAPHORE_PROPERTIES};
    gpu_.vk.GetPhysicalDeviceExternalSemaphoreProperties(gpu_.physical_device, &semaphore,
                                                         &semaphore_properties);
    Add("external.semaphore." + std::to_string(bit),
        semaphore_properties.externalSemaphoreFeatures);
  }
}

void Dumper::DumpTools() {
  uint32_t count = 0;
  VESPER_CHECK(gpu_.vk.GetPhysicalDeviceToolProperties(gpu_.physical_device, &count, nullptr));
  Add("tools", count);
  VESPER_CHECK(gpu_.vk.EnumeratePhysicalDevices(gpu_.instance, &count, nullptr));
  Add("physical_devices", count);
}

}  // namespace

Capabilities DumpCapabilities() { return Dumper().Dump(); }

}  // namespace vesper::tests
