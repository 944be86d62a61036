// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/gpu.h"

namespace vesper::tests {

void CoreFeatures::Link(void* next) {
  core.pNext = &v11;
  v11.pNext = &v12;
  v12.pNext = &v13;
  v13.pNext = &v14;
  v14.pNext = next;
}

CoreProperties::CoreProperties() {
  core.pNext = &v11;
  v11.pNext = &v12;
  v12.pNext = &v13;
  v13.pNext = &v14;
}

void Gpu::OpenInstance(const GpuOptions& options) {
  allocator_ = options.allocator;
  vk.LoadGlobal();
  VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.pApplicationName = "vesper test";
  application.apiVersion = options.api_version;
  VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.pApplicationInfo = &application;
  info.enabledExtensionCount = static_cast<uint32_t>(options.instance_extensions.size());
  info.ppEnabledExtensionNames = options.instance_extensions.data();
  VESPER_CHECK(vk.CreateInstance(&info, allocator_, &instance));
  vk.LoadInstance(instance);

  uint32_t count = 0;
  VESPER_CHECK(vk.EnumeratePhysicalDevices(instance, &count, nullptr));
  std::vector<VkPhysicalDevice> found(count);
  VESPER_CHECK(vk.EnumeratePhysicalDevices(instance, &count, found.data()));
  if (found.empty()) {
    throw std::runtime_error("Expected at least one physical device, but there is none.");
  }
  physical_device = found.front();

  vk.GetPhysicalDeviceFeatures2(physical_device, &features.core);
  vk.GetPhysicalDeviceProperties2(physical_device, &properties.core);
  vk.GetPhysicalDeviceMemoryProperties(physical_device, &memory_properties);
  vk.GetPhysicalDeviceQueueFamilyProperties(physical_device, &count, nullptr);
  queue_families.resize(count);
  vk.GetPhysicalDeviceQueueFamilyProperties(physical_device, &count, queue_families.data());
  VESPER_CHECK(vk.EnumerateDeviceExtensionProperties(physical_device, nullptr, &count, nullptr));
  std::vector<VkExtensionProperties> extensions(count);
  VESPER_CHECK(
      vk.EnumerateDeviceExtensionProperties(physical_device, nullptr, &count, extensions.data()));
  for (const VkExtensionProperties& extension : extensions) {
    device_extensions.insert(extension.extensionName);
  }
}

void Gpu::OpenDevice(const GpuOptions& options) {
  CreateQueuesAndDevice(options);
  api_version = options.api_version;
  vk.LoadDevice(device, api_version);
  vk.GetDeviceQueue(device, queue_family, 0, &queue);
  VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = queue_family;
  VESPER_CHECK(vk.CreateCommandPool(device, &pool, nullptr, &command_pool));
}

void Gpu::CreateQueuesAndDevice(const GpuOptions& options) {
  const VkQueueFlags wanted = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
  queue_family = 0;
  while (queue_family < queue_families.size() &&
         (queue_families[queue_family].queueFlags & wanted) != wanted) {
    ++queue_family;
  }
  if (queue_family == queue_families.size()) {
    throw std::runtime_error("Expected a queue family for graphics and compute; there is none.");
  }
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queue_info{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue_info.queueFamilyIndex = queue_family;
  queue_info.queueCount = 1;
  queue_info.pQueuePriorities = &priority;
  features.Link(options.device_features);
  if (!options.sparse) {
    VkPhysicalDeviceFeatures& core = features.core.features;
    for (VkBool32* sparse : {&core.sparseBinding, &core.sparseResidencyBuffer,
                             &core.sparseResidencyImage2D, &core.sparseResidencyImage3D,
                             &core.sparseResidency2Samples, &core.sparseResidency4Samples,
                             &core.sparseResidency8Samples, &core.sparseResidency16Samples,
                             &core.sparseResidencyAliased, &core.shaderResourceResidency}) {
      *sparse = VK_FALSE;
    }
  }
  VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.pNext = &features.core;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue_info;
  info.enabledExtensionCount = static_cast<uint32_t>(options.device_extensions.size());
  info.ppEnabledExtensionNames = options.device_extensions.data();
  VESPER_CHECK(vk.CreateDevice(physical_device, &info, allocator_, &device));
}

void Gpu::Open(const GpuOptions& options) {
  OpenInstance(options);
  OpenDevice(options);
}

void Gpu::CloseDevice() {
  if (device != VK_NULL_HANDLE) {
    vk.DestroyCommandPool(device, command_pool, nullptr);
    vk.DestroyDevice(device, allocator_);
    device = VK_NULL_HANDLE;
    command_pool = VK_NULL_HANDLE;
    queue = VK_NULL_HANDLE;
  }
}

void Gpu::Close() {
  CloseDevice();
  if (instance != VK_NULL_HANDLE) {
    vk.DestroyInstance(instance, allocator_);
    instance = VK_NULL_HANDLE;
    physical_device = VK_NULL_HANDLE;
  }
}

Owned<VkFence> Gpu::MakeFence(bool signaled) {
  VkFenceCreateInfo info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  info.flags = signaled ? VK_FENCE_CREATE_SIGNALED_BIT : 0;
  return Make(vk.CreateFence, vk.DestroyFence, info);
}

Owned<VkSemaphore> Gpu::MakeSemaphore() {
  const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  return Make(vk.CreateSemaphore, vk.DestroySemaphore, info);
}

Owned<VkSemaphore> Gpu::MakeTimeline(uint64_t value) {
  VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO};
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  type.initialValue = value;
  VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  info.pNext = &type;
  return Make(vk.CreateSemaphore, vk.DestroySemaphore, info);
}

Owned<VkEvent> Gpu::MakeEvent() {
  const VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  return Make(vk.CreateEvent, vk.DestroyEvent, info);
}

VkCommandBuffer Gpu::AllocateCommandBuffer(VkCommandBufferLevel level) {
  VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  info.commandPool = command_pool;
  info.level = level;
  info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  VESPER_CHECK(vk.AllocateCommandBuffers(device, &info, &commands));
  return commands;
}

void Gpu::RecordInto(VkCommandBuffer commands, VkCommandBufferUsageFlags flags,
                     const Recorder& recorder) {
  VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  info.flags = flags;
  VESPER_CHECK(vk.BeginCommandBuffer(commands, &info));
  recorder(commands);
  VESPER_CHECK(vk.EndCommandBuffer(commands));
}

VkCommandBuffer Gpu::Record(const Recorder& recorder, VkCommandBufferUsageFlags flags) {
  VkCommandBuffer commands = AllocateCommandBuffer();
  RecordInto(commands, flags, recorder);
  return commands;
}

void Gpu::Submit(VkCommandBuffer commands, VkFence fence) {
  VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  VESPER_CHECK(vk.QueueSubmit(queue, 1, &info, fence));
}

void Gpu::Wait(VkFence fence) {
  VESPER_CHECK(vk.WaitForFences(device, 1, &fence, VK_TRUE, kWaitLimitNs));
}

void Gpu::Execute(const Recorder& recorder) {
  VkCommandBuffer commands = Record(
      [&](VkCommandBuffer buffer) {
        recorder(buffer);
        FullBarrier(buffer);
      },
      VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
  const Owned<VkFence> fence = MakeFence();
  Submit(commands, fence);
  Wait(fence);
  vk.FreeCommandBuffers(device, command_pool, 1, &commands);
}

void Gpu::FullBarrier(VkCommandBuffer commands) const {
  VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT |
                          VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT;
  const VkPipelineStageFlags stages =
      VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT;
  vk.CmdPipelineBarrier(commands, stages, stages, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

void Gpu::Transition(VkCommandBuffer commands, VkImage image, VkImageLayout from, VkImageLayout to,
                     VkImageAspectFlags aspect) const {
  VkImageMemoryBarrier barrier{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.oldLayout = from;
  barrier.newLayout = to;
  barrier.srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  barrier.image = image;
  barrier.subresourceRange = {aspect, 0, VK_REMAINING_MIP_LEVELS, 0, VK_REMAINING_ARRAY_LAYERS};
  vk.CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                        VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, nullptr, 0, nullptr, 1, &barrier);
}

uint32_t Gpu::FindMemoryType(uint32_t type_bits, VkMemoryPropertyFlags flags) const {
  for (uint32_t i = 0; i < memory_properties.memoryTypeCount; ++i) {
    if ((type_bits >> i & 1) != 0 &&
        (memory_properties.memoryTypes[i].propertyFlags & flags) == flags) {
      return i;
    }
  }
  throw std::runtime_error("Expected a memory type with the property flags " +
                           std::to_string(flags) + " among the types " + std::to_string(type_bits) +
                           "; there is none.");
}

std::vector<uint32_t> Gpu::DistinctHostVisibleTypes(uint32_t type_bits) const {
  std::set<VkMemoryPropertyFlags> seen;
  std::vector<uint32_t> types;
  for (uint32_t i = 0; i < memory_properties.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = memory_properties.memoryTypes[i].propertyFlags;
    if ((type_bits >> i & 1) != 0 && (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0 &&
        (flags & VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD) == 0 && seen.insert(flags).second) {
      types.push_back(i);
    }
  }
  return types;
}

bool Gpu::IsCoherent(uint32_t memory_type) const {
  return (memory_properties.memoryTypes[memory_type].propertyFlags &
          VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0;
}

Owned<VkDeviceMemory> Gpu::Allocate(VkDeviceSize size, uint32_t memory_type, const void* next) {
  VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  info.pNext = next;
  info.allocationSize = size;
  info.memoryTypeIndex = memory_type;
  return Make(vk.AllocateMemory, vk.FreeMemory, info);
}

uint8_t* Gpu::Map(VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size) {
  void* data = nullptr;
  VESPER_CHECK(vk.MapMemory(device, memory, offset, size, 0, &data));
  return static_cast<uint8_t*>(data);
}

}  // namespace vesper::tests
