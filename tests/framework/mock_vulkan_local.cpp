// SPDX-License-Identifier: Apache-2.0
// The commands that the worker calls on its own account: they are not on the wire, so no generated
// function packs their arguments.
#include <algorithm>
#include <cstring>

#include "proto/records_gen.h"
#include "tests/framework/mock_vulkan.h"

namespace vesper::tests {
namespace {

const auto kInstance = reinterpret_cast<VkInstance>(uintptr_t{0x100});
const auto kPhysicalDevice = reinterpret_cast<VkPhysicalDevice>(uintptr_t{0x200});
constexpr uint32_t kFamilyCount = 3;
constexpr uint32_t kQueueCounts[kFamilyCount] = {2, 1, 1};

template <typename T>
VkResult CopyOut(const std::vector<T>& values, uint32_t* count, T* out) {
  if (out == nullptr) {
    *count = static_cast<uint32_t>(values.size());
    return VK_SUCCESS;
  }
  const auto copied = std::min<uint32_t>(*count, static_cast<uint32_t>(values.size()));
  std::copy_n(values.begin(), copied, out);
  *count = copied;
  return copied < values.size() ? VK_INCOMPLETE : VK_SUCCESS;
}

std::vector<VkExtensionProperties> ExtensionsOf(bool instance) {
  std::vector<VkExtensionProperties> extensions;
  for (const proto::ExtensionInfo& info : proto::Extensions()) {
    if (info.is_instance == instance && MockVulkan::Current().offers_extensions()) {
      VkExtensionProperties properties{};
      std::strncpy(properties.extensionName, info.name, VK_MAX_EXTENSION_NAME_SIZE - 1);
      properties.specVersion = info.spec_version;
      extensions.push_back(properties);
    }
  }
  return extensions;
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateInstanceExtensionProperties(
    const char*, uint32_t* count, VkExtensionProperties* properties) {
  return CopyOut(ExtensionsOf(true), count, properties);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateInstance(const VkInstanceCreateInfo*,
                                                const VkAllocationCallbacks*,
                                                VkInstance* instance) {
  MockVulkan::Current().Note("vkCreateInstance");
  *instance = kInstance;
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyInstance(VkInstance, const VkAllocationCallbacks*) {
  MockVulkan::Current().Note("vkDestroyInstance");
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumeratePhysicalDevices(VkInstance, uint32_t* count,
                                                          VkPhysicalDevice* devices) {
  return CopyOut({kPhysicalDevice}, count, devices);
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumeratePhysicalDeviceGroups(
    VkInstance, uint32_t* count, VkPhysicalDeviceGroupProperties* groups) {
  VkPhysicalDeviceGroupProperties group{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GROUP_PROPERTIES};
  group.physicalDeviceCount = 1;
  group.physicalDevices[0] = kPhysicalDevice;
  return CopyOut({group}, count, groups);
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateDeviceExtensionProperties(
    VkPhysicalDevice, const char*, uint32_t* count, VkExtensionProperties* properties) {
  return CopyOut(ExtensionsOf(false), count, properties);
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceProperties2(VkPhysicalDevice,
                                                          VkPhysicalDeviceProperties2* out) {
  out->properties.apiVersion = VK_API_VERSION_1_4;
  out->properties.deviceType = MockVulkan::Current().is_lavapipe()
                                   ? VK_PHYSICAL_DEVICE_TYPE_CPU
                                   : VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
  out->properties.driverVersion = MockVulkan::Current().driver_version();
  out->properties.vendorID = 0x10005;
  std::strcpy(out->properties.deviceName, "mock device");
  out->properties.limits.timestampPeriod = 1;
  out->properties.limits.nonCoherentAtomSize = 64;
  out->properties.limits.maxMemoryAllocationCount = 4096;
  for (auto* next = static_cast<VkBaseOutStructure*>(out->pNext); next != nullptr;
       next = next->pNext) {
    if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_PROPERTIES_KHR) {
      reinterpret_cast<VkPhysicalDeviceRayTracingPipelinePropertiesKHR*>(next)
          ->shaderGroupHandleSize = kMockGroupHandleBytes;
    }
    if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT) {
      reinterpret_cast<VkPhysicalDeviceExternalMemoryHostPropertiesEXT*>(next)
          ->minImportedHostPointerAlignment = 4096;
    }
  }
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceFeatures2(VkPhysicalDevice,
                                                        VkPhysicalDeviceFeatures2* out) {
  out->features.robustBufferAccess = VK_TRUE;
  out->features.geometryShader = VK_TRUE;
}

VKAPI_ATTR void VKAPI_CALL
vkGetPhysicalDeviceMemoryProperties(VkPhysicalDevice, VkPhysicalDeviceMemoryProperties* out) {
  *out = {};
  out->memoryTypeCount = 4;
  out->memoryTypes[kMockDeviceLocal] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
  out->memoryTypes[kMockCoherent] = {VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                         VK_MEMORY_PROPERTY_HOST_COHERENT_BIT |
                                         VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
                                     1};
  out->memoryTypes[kMockCached] = {
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, 1};
  out->memoryTypes[kMockSlow] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                     VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                     VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                                 0};
  out->memoryHeapCount = 2;
  out->memoryHeaps[0] = {1u << 30, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
  out->memoryHeaps[1] = {1u << 30, 0};
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceMemoryProperties2(
    VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2* out) {
  MockVulkan::Current().Note("vkGetPhysicalDeviceMemoryProperties2");
  auto* next = static_cast<VkBaseOutStructure*>(out->pNext);
  while (next != nullptr &&
         next->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) {
    next = next->pNext;
  }
  if (next != nullptr) {
    auto& properties = *reinterpret_cast<VkPhysicalDeviceMemoryBudgetPropertiesEXT*>(next);
    const auto [budget, used] = MockVulkan::Current().Budget();
    std::fill_n(properties.heapBudget, 2, budget);
    std::fill_n(properties.heapUsage, 2, used);
  }
  vkGetPhysicalDeviceMemoryProperties(device, &out->memoryProperties);
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceQueueFamilyProperties(VkPhysicalDevice,
                                                                    uint32_t* count,
                                                                    VkQueueFamilyProperties* out) {
  const std::vector<VkQueueFamilyProperties> families = {
      {VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT |
           VK_QUEUE_SPARSE_BINDING_BIT,
       kQueueCounts[0],
       64,
       {1, 1, 1}},
      {VK_QUEUE_TRANSFER_BIT, kQueueCounts[1], 64, {1, 1, 1}},
      {VK_QUEUE_TRANSFER_BIT, kQueueCounts[2], 64, {1, 1, 1}},
  };
  CopyOut(families, count, out);
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceQueueFamilyProperties2(
    VkPhysicalDevice device, uint32_t* count, VkQueueFamilyProperties2* out) {
  VkQueueFamilyProperties families[kFamilyCount];
  uint32_t available = kFamilyCount;
  vkGetPhysicalDeviceQueueFamilyProperties(device, &available, families);
  if (out != nullptr) {
    *count = std::min(*count, available);
    for (uint32_t i = 0; i < *count; ++i) {
      out[i].queueFamilyProperties = families[i];
    }
    return;
  }
  *count = available;
}

VKAPI_ATTR void VKAPI_CALL vkGetDeviceQueue(VkDevice, uint32_t family, uint32_t index,
                                            VkQueue* queue) {
  *queue = MockQueue(family, index);
}

VKAPI_ATTR void VKAPI_CALL vkGetDeviceQueue2(VkDevice, const VkDeviceQueueInfo2* info,
                                             VkQueue* queue) {
  *queue = MockQueue(info->queueFamilyIndex, info->queueIndex);
}

VKAPI_ATTR VkResult VKAPI_CALL vkDeviceWaitIdle(VkDevice) { return VK_SUCCESS; }

VKAPI_ATTR VkResult VKAPI_CALL vkWaitSemaphores(VkDevice, const VkSemaphoreWaitInfo* info,
                                                uint64_t timeout) {
  return MockVulkan::Current().WaitSemaphores(*info, timeout);
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetSemaphoreCounterValue(VkDevice, VkSemaphore semaphore,
                                                          uint64_t* value) {
  return MockVulkan::Current().CounterValue(semaphore, value);
}

VKAPI_ATTR VkResult VKAPI_CALL vkMapMemory(VkDevice, VkDeviceMemory memory, VkDeviceSize offset,
                                           VkDeviceSize, VkMemoryMapFlags, void** data) {
  MockVulkan::Current().Note("vkMapMemory");
  return MockVulkan::Current().Map(memory, offset, data);
}

VKAPI_ATTR void VKAPI_CALL vkUnmapMemory(VkDevice, VkDeviceMemory) {
  MockVulkan::Current().Note("vkUnmapMemory");
}

VKAPI_ATTR VkResult VKAPI_CALL vkFlushMappedMemoryRanges(VkDevice, uint32_t,
                                                         const VkMappedMemoryRange*) {
  MockVulkan::Current().Note("vkFlushMappedMemoryRanges");
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkInvalidateMappedMemoryRanges(VkDevice, uint32_t,
                                                              const VkMappedMemoryRange*) {
  MockVulkan::Current().Note("vkInvalidateMappedMemoryRanges");
  return VK_SUCCESS;
}

// Host image copies touch every byte that they are told to.
VKAPI_ATTR VkResult VKAPI_CALL vkCopyMemoryToImage(VkDevice, const VkCopyMemoryToImageInfo* info) {
  MockVulkan::Current().Note("vkCopyMemoryToImage");
  for (uint32_t i = 0; i < info->regionCount; ++i) {
    const volatile auto* bytes =
        static_cast<const volatile std::byte*>(info->pRegions[i].pHostPointer);
    (void)bytes[0];
  }
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkCopyImageToMemory(VkDevice, const VkCopyImageToMemoryInfo* info) {
  MockVulkan::Current().Note("vkCopyImageToMemory");
  for (uint32_t i = 0; i < info->regionCount; ++i) {
    *static_cast<std::byte*>(info->pRegions[i].pHostPointer) = std::byte{0x77};
  }
  return VK_SUCCESS;
}

// What a pipeline is described by, as the letter that begins its key: g, c, r, or - for none.
char DescribedBy(const VkPipelineCreateInfoKHR* info) {
  const auto* next = info == nullptr ? nullptr : static_cast<const VkBaseInStructure*>(info->pNext);
  switch (next == nullptr ? VK_STRUCTURE_TYPE_MAX_ENUM : next->sType) {
    case VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO:
      return 'g';
    case VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO:
      return 'c';
    case VK_STRUCTURE_TYPE_RAY_TRACING_PIPELINE_CREATE_INFO_KHR:
      return 'r';
    default:
      return '-';
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPipelineKeyKHR(VkDevice, const VkPipelineCreateInfoKHR* info,
                                                   VkPipelineBinaryKeyKHR* key) {
  MockVulkan::Current().Note("vkGetPipelineKeyKHR");
  key->keySize = 4;
  std::memset(key->key, DescribedBy(info), key->keySize);
  return VK_SUCCESS;
}

// A pipeline has three binaries, a description one. Data that begin with a zero make none.
VKAPI_ATTR VkResult VKAPI_CALL vkCreatePipelineBinariesKHR(
    VkDevice, const VkPipelineBinaryCreateInfoKHR* info, const VkAllocationCallbacks*,
    VkPipelineBinaryHandlesInfoKHR* binaries) {
  MockVulkan& mock = MockVulkan::Current();
  mock.Note(info->pKeysAndDataInfo != nullptr  ? "vkCreatePipelineBinariesKHR, from data"
            : info->pipeline != VK_NULL_HANDLE ? "vkCreatePipelineBinariesKHR, from a pipeline"
                                               : "vkCreatePipelineBinariesKHR, from a description");
  const std::unique_lock lock = mock.Lock();
  VkResult result = VK_SUCCESS;
  if (mock.FailsNow(proto::command_number::vesperCreatePipelineBinaries, &result)) {
    return result;
  }
  const VkPipelineBinaryKeysAndDataKHR* data = info->pKeysAndDataInfo;
  const uint32_t available = data != nullptr                    ? data->binaryCount
                             : info->pipeline != VK_NULL_HANDLE ? 3
                                                                : 1;
  if (binaries->pPipelineBinaries == nullptr) {
    binaries->pipelineBinaryCount = available;
    return VK_SUCCESS;
  }
  if (binaries->pipelineBinaryCount < available) {
    result = VK_INCOMPLETE;
  } else {
    binaries->pipelineBinaryCount = available;
  }
  const auto begins_with_zero = [data](uint32_t i) {
    const VkPipelineBinaryDataKHR* found = data == nullptr ? nullptr : data->pPipelineBinaryData;
    return found != nullptr && found[i].pData != nullptr && found[i].dataSize > 0 &&
           *static_cast<const char*>(found[i].pData) == 0;
  };
  for (uint32_t i = 0; i < binaries->pipelineBinaryCount; ++i) {
    if (begins_with_zero(i)) {
      binaries->pPipelineBinaries[i] = VK_NULL_HANDLE;
      result = VK_PIPELINE_BINARY_MISSING_KHR;
    } else {
      binaries->pPipelineBinaries[i] = reinterpret_cast<VkPipelineBinaryKHR>(mock.MakeHandle());
    }
  }
  return result;
}

// Two addresses, one word of the vendor's, and three bytes of its own.
VKAPI_ATTR VkResult VKAPI_CALL vkGetDeviceFaultInfoEXT(VkDevice, VkDeviceFaultCountsEXT* counts,
                                                       VkDeviceFaultInfoEXT* info) {
  MockVulkan::Current().Note("vkGetDeviceFaultInfoEXT");
  const std::vector<VkDeviceFaultAddressInfoEXT> addresses = {
      {VK_DEVICE_FAULT_ADDRESS_TYPE_READ_INVALID_EXT, 0x1000, 16},
      {VK_DEVICE_FAULT_ADDRESS_TYPE_WRITE_INVALID_EXT, 0x2000, 4096}};
  const std::vector<VkDeviceFaultVendorInfoEXT> words = {{"a word", 7, 8}};
  const std::vector<char> bytes = {'x', 'y', 'z'};
  if (info != nullptr) {
    std::strcpy(info->description, "the mock was lost");
  }
  const VkResult results[] = {
      CopyOut(addresses, &counts->addressInfoCount, info ? info->pAddressInfos : nullptr),
      CopyOut(words, &counts->vendorInfoCount, info ? info->pVendorInfos : nullptr)};
  auto size = static_cast<uint32_t>(counts->vendorBinarySize);
  const VkResult last =
      CopyOut(bytes, &size, info ? static_cast<char*>(info->pVendorBinaryData) : nullptr);
  counts->vendorBinarySize = size;
  return std::max({results[0], results[1], last});
}

// Elements are bytes. The driver's own layouts take 4 bytes more than that, which are not written.
VKAPI_ATTR VkResult VKAPI_CALL
vkConvertCooperativeVectorMatrixNV(VkDevice, const VkConvertCooperativeVectorMatrixInfoNV* info) {
  MockVulkan::Current().Note("vkConvertCooperativeVectorMatrixNV");
  const size_t bytes = size_t{info->numRows} * info->numColumns;
  if (info->dstData.hostAddress == nullptr) {
    *info->pDstSize = bytes + 4;
    return VK_SUCCESS;
  }
  if (*info->pDstSize < bytes + 4) {
    *info->pDstSize = 0;
    return VK_INCOMPLETE;
  }
  const auto* source = static_cast<const uint8_t*>(info->srcData.hostAddress);
  auto* target = static_cast<uint8_t*>(info->dstData.hostAddress);
  const bool by_rows = info->srcLayout == VK_COOPERATIVE_VECTOR_MATRIX_LAYOUT_ROW_MAJOR_NV;
  const bool by_columns = info->srcLayout == VK_COOPERATIVE_VECTOR_MATRIX_LAYOUT_COLUMN_MAJOR_NV;
  for (size_t i = 0; i < bytes; ++i) {
    const size_t row = i / info->numColumns;
    const size_t column = i % info->numColumns;
    target[i] = source[by_rows      ? row * info->srcStride + column
                       : by_columns ? column * info->srcStride + row
                                    : i];
  }
  *info->pDstSize = bytes + 4;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL
vkGetMemoryHostPointerPropertiesEXT(VkDevice, VkExternalMemoryHandleTypeFlagBits, const void*,
                                    VkMemoryHostPointerPropertiesEXT* properties) {
  properties->memoryTypeBits = MockVulkan::Current().importable_types();
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceExternalBufferProperties(
    VkPhysicalDevice, const VkPhysicalDeviceExternalBufferInfo*,
    VkExternalBufferProperties* properties) {
  properties->externalMemoryProperties.externalMemoryFeatures =
      VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetDeviceProcAddr(VkDevice, const char* name) {
  return MockVulkan::GetProcAddr(VK_NULL_HANDLE, name);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance,
                                                               const char* name) {
  return MockVulkan::GetProcAddr(instance, name);
}

#define VESPER_MOCK(name) {#name, reinterpret_cast<PFN_vkVoidFunction>(&name)}

const MockProc kProcs[] = {
    VESPER_MOCK(vkGetInstanceProcAddr),
    VESPER_MOCK(vkGetDeviceProcAddr),
    VESPER_MOCK(vkGetMemoryHostPointerPropertiesEXT),
    VESPER_MOCK(vkGetPhysicalDeviceExternalBufferProperties),
    VESPER_MOCK(vkEnumerateInstanceExtensionProperties),
    VESPER_MOCK(vkCreateInstance),
    VESPER_MOCK(vkDestroyInstance),
    VESPER_MOCK(vkEnumeratePhysicalDevices),
    VESPER_MOCK(vkEnumeratePhysicalDeviceGroups),
    VESPER_MOCK(vkEnumerateDeviceExtensionProperties),
    VESPER_MOCK(vkGetPhysicalDeviceProperties2),
    VESPER_MOCK(vkGetPhysicalDeviceFeatures2),
    VESPER_MOCK(vkGetPhysicalDeviceMemoryProperties),
    VESPER_MOCK(vkGetPhysicalDeviceMemoryProperties2),
    VESPER_MOCK(vkGetPhysicalDeviceQueueFamilyProperties),
    VESPER_MOCK(vkGetPhysicalDeviceQueueFamilyProperties2),
    VESPER_MOCK(vkGetDeviceQueue),
    VESPER_MOCK(vkGetDeviceQueue2),
    VESPER_MOCK(vkDeviceWaitIdle),
    VESPER_MOCK(vkWaitSemaphores),
    VESPER_MOCK(vkGetSemaphoreCounterValue),
    VESPER_MOCK(vkMapMemory),
    VESPER_MOCK(vkUnmapMemory),
    VESPER_MOCK(vkFlushMappedMemoryRanges),
    VESPER_MOCK(vkInvalidateMappedMemoryRanges),
    VESPER_MOCK(vkCopyMemoryToImage),
    VESPER_MOCK(vkCopyImageToMemory),
    VESPER_MOCK(vkGetPipelineKeyKHR),
    VESPER_MOCK(vkCreatePipelineBinariesKHR),
    VESPER_MOCK(vkGetDeviceFaultInfoEXT),
    VESPER_MOCK(vkConvertCooperativeVectorMatrixNV),
};
#undef VESPER_MOCK

}  // namespace

VkQueue MockQueue(uint32_t family, uint32_t index) {
  if (family >= kFamilyCount || index >= kQueueCounts[family]) {
    return VK_NULL_HANDLE;
  }
  return reinterpret_cast<VkQueue>(uintptr_t{0x300} + 0x10 * family + index);
}

std::span<const MockProc> LocalMockProcs() { return kProcs; }

}  // namespace vesper::tests
