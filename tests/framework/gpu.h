// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_GPU_H_
#define VESPER_TESTS_FRAMEWORK_GPU_H_

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tests/framework/owned.h"
#include "tests/framework/vulkan_api.h"

namespace vesper::tests {

// Long enough for a loaded machine under a sanitizer, short enough to end a hang. In nanoseconds.
inline constexpr uint64_t kWaitLimitNs = 30'000'000'000;

// The core features of all versions, chained from `core`. Query into it, or enable from it.
struct CoreFeatures {
  CoreFeatures() { Link(nullptr); }
  CoreFeatures(const CoreFeatures&) = delete;
  CoreFeatures& operator=(const CoreFeatures&) = delete;

  // Chains the structs and puts `next` behind the last one.
  void Link(void* next);

  VkPhysicalDeviceFeatures2 core{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
  VkPhysicalDeviceVulkan11Features v11{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES};
  VkPhysicalDeviceVulkan12Features v12{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
  VkPhysicalDeviceVulkan13Features v13{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
  VkPhysicalDeviceVulkan14Features v14{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_4_FEATURES};
};

struct CoreProperties {
  CoreProperties();
  CoreProperties(const CoreProperties&) = delete;
  CoreProperties& operator=(const CoreProperties&) = delete;

  const VkPhysicalDeviceLimits& limits() const { return core.properties.limits; }

  VkPhysicalDeviceProperties2 core{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  VkPhysicalDeviceVulkan11Properties v11{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
  VkPhysicalDeviceVulkan12Properties v12{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
  VkPhysicalDeviceVulkan13Properties v13{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
  VkPhysicalDeviceVulkan14Properties v14{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_4_PROPERTIES};
};

struct GpuOptions {
  uint32_t api_version = VK_API_VERSION_1_4;
  std::vector<const char*> instance_extensions;
  std::vector<const char*> device_extensions;
  void* device_features = nullptr;  // Chained behind the core features; nothing is enabled in it.
  const VkAllocationCallbacks* allocator = nullptr;
  // The features of sparse resources. With them some drivers' memory can't be shared.
  bool sparse = false;
};

// An instance and a device with one queue that does everything, and what almost every test does
// with them. Members are open on purpose: tests call Vulkan directly.
class Gpu {
 public:
  Gpu() = default;
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;
  ~Gpu() { Close(); }

  // Creates the instance and picks the first physical device; throws if that fails.
  void OpenInstance(const GpuOptions& options = {});
  // Creates the device with all core features that it has (but see `sparse`), its queue and a
  // command pool.
  void OpenDevice(const GpuOptions& options = {});
  void Open(const GpuOptions& options = {});
  void CloseDevice();
  void Close();

  bool HasDeviceExtension(const std::string& name) const {
    return device_extensions.contains(name);
  }

  // Creates an object of the device with a pair of vkCreateX and vkDestroyX.
  template <typename Handle, typename Info>
  Owned<Handle> Make(VkResult (*create)(VkDevice, const Info*, const VkAllocationCallbacks*,
                                        Handle*),
                     void (*destroy)(VkDevice, Handle, const VkAllocationCallbacks*),
                     const Info& info) {
    Handle handle{};
    VESPER_CHECK(create(device, &info, nullptr, &handle));
    return Owned<Handle>(
        handle, [owner = device, destroy](Handle object) { destroy(owner, object, nullptr); });
  }

  Owned<VkFence> MakeFence(bool signaled = false);
  Owned<VkSemaphore> MakeSemaphore();
  Owned<VkSemaphore> MakeTimeline(uint64_t value = 0);
  Owned<VkEvent> MakeEvent();

  // --- Commands ---
  using Recorder = std::function<void(VkCommandBuffer)>;

  // From `command_pool`; lives until the pool goes.
  VkCommandBuffer AllocateCommandBuffer(
      VkCommandBufferLevel level = VK_COMMAND_BUFFER_LEVEL_PRIMARY);
  void RecordInto(VkCommandBuffer commands, VkCommandBufferUsageFlags flags,
                  const Recorder& recorder);
  VkCommandBuffer Record(const Recorder& recorder, VkCommandBufferUsageFlags flags = 0);
  void Submit(VkCommandBuffer commands, VkFence fence = VK_NULL_HANDLE);
  void Wait(VkFence fence);
  // Records, submits, and waits until it is done; what was written is then visible to the host.
  void Execute(const Recorder& recorder);

  // All writes so far, by the host too, are visible to everything after it, the host included.
  void FullBarrier(VkCommandBuffer commands) const;
  // Puts FullBarrier's dependency around a layout transition of all of the image.
  void Transition(VkCommandBuffer commands, VkImage image, VkImageLayout from, VkImageLayout to,
                  VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT) const;

  // --- Memory ---
  // The first memory type among `type_bits` with all of `flags`; throws if there is none.
  uint32_t FindMemoryType(uint32_t type_bits, VkMemoryPropertyFlags flags) const;
  // One memory type for each different set of properties among those that the host can map.
  std::vector<uint32_t> DistinctHostVisibleTypes(uint32_t type_bits = ~0u) const;
  bool IsCoherent(uint32_t memory_type) const;
  Owned<VkDeviceMemory> Allocate(VkDeviceSize size, uint32_t memory_type,
                                 const void* next = nullptr);
  uint8_t* Map(VkDeviceMemory memory, VkDeviceSize offset = 0, VkDeviceSize size = VK_WHOLE_SIZE);

  VulkanApi vk;
  VkInstance instance = VK_NULL_HANDLE;
  VkPhysicalDevice physical_device = VK_NULL_HANDLE;
  VkDevice device = VK_NULL_HANDLE;
  VkQueue queue = VK_NULL_HANDLE;
  uint32_t queue_family = 0;
  VkCommandPool command_pool = VK_NULL_HANDLE;
  uint32_t api_version = 0;
  CoreFeatures features;
  CoreProperties properties;
  VkPhysicalDeviceMemoryProperties memory_properties{};
  std::vector<VkQueueFamilyProperties> queue_families;
  std::set<std::string> device_extensions;  // Those on offer, not those that are enabled.

 private:
  void CreateQueuesAndDevice(const GpuOptions& options);

  const VkAllocationCallbacks* allocator_ = nullptr;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_GPU_H_
