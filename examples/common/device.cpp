// SPDX-License-Identifier: Apache-2.0
#include "examples/common/device.h"

#include <vector>

#include "examples/common/failure.h"

// The one command that the loader is linked for; everything else is reached through it.
extern "C" VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance,
                                                                          const char* name);

namespace vesper::examples {
namespace {

template <typename Function>
Function Required(PFN_vkVoidFunction function, const char* name) {
  if (function == nullptr) {
    throw Failure(std::string("the driver has no ") + name + ", which Vulkan 1.3 requires.");
  }
  return reinterpret_cast<Function>(function);
}

std::string VersionText(uint32_t version) {
  return std::to_string(VK_API_VERSION_MAJOR(version)) + "." +
         std::to_string(VK_API_VERSION_MINOR(version));
}

}  // namespace

Instance::Instance(const char* application_name, uint32_t api_version) {
  const auto create_instance = Required<PFN_vkCreateInstance>(
      vkGetInstanceProcAddr(nullptr, "vkCreateInstance"), "vkCreateInstance");
  const VkApplicationInfo application_info = {
      .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
      .pApplicationName = application_name,
      .applicationVersion = 1,
      .apiVersion = api_version,
  };
  const VkInstanceCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
      .pApplicationInfo = &application_info,
  };
  Check(create_instance(&create_info, nullptr, &handle_), "vkCreateInstance");
#define VESPER_LOAD(name) \
  commands_.name = Required<PFN_vk##name>(vkGetInstanceProcAddr(handle_, "vk" #name), "vk" #name);
  VESPER_EXAMPLE_INSTANCE_COMMANDS(VESPER_LOAD)
#undef VESPER_LOAD
}

Instance::~Instance() { commands_.DestroyInstance(handle_, nullptr); }

Device::Device(const Instance& instance, uint32_t index, const Arithmetic& wanted)
    : instance_(instance) {
  const InstanceCommands& commands = instance.commands();
  uint32_t count = 0;
  Check(commands.EnumeratePhysicalDevices(instance.handle(), &count, nullptr),
        "vkEnumeratePhysicalDevices");
  if (index >= count) {
    throw Failure("device " + std::to_string(index) +
                  " was asked for, and the number of Vulkan devices is " + std::to_string(count) +
                  ".");
  }
  std::vector<VkPhysicalDevice> devices(count);
  Check(commands.EnumeratePhysicalDevices(instance.handle(), &count, devices.data()),
        "vkEnumeratePhysicalDevices");
  physical_device_ = devices[index];

  VkPhysicalDeviceDriverProperties driver = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceProperties2 properties2 = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &driver};
  commands.GetPhysicalDeviceProperties2(physical_device_, &properties2);
  const VkPhysicalDeviceProperties& properties = properties2.properties;
  name_ = properties.deviceName;
  driver_ = std::string(driver.driverName) + " " + driver.driverInfo;
  api_version_ = properties.apiVersion;
  if (properties.apiVersion < VK_API_VERSION_1_3) {
    throw Failure("Vulkan 1.3 is needed, and " + name_ + " has Vulkan " +
                  VersionText(properties.apiVersion) + ".");
  }
  commands.GetPhysicalDeviceMemoryProperties(physical_device_, &memory_);
  ChooseQueueFamily();
  CreateDevice(wanted);
#define VESPER_LOAD(name) \
  commands_.name =        \
      Required<PFN_vk##name>(commands.GetDeviceProcAddr(handle_, "vk" #name), "vk" #name);
  VESPER_EXAMPLE_DEVICE_COMMANDS(VESPER_LOAD)
#undef VESPER_LOAD
  commands_.GetDeviceQueue(handle_, queue_family_, 0, &queue_);
}

Device::~Device() { commands_.DestroyDevice(handle_, nullptr); }

void Device::ChooseQueueFamily() {
  const InstanceCommands& commands = instance_.commands();
  uint32_t count = 0;
  commands.GetPhysicalDeviceQueueFamilyProperties(physical_device_, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  commands.GetPhysicalDeviceQueueFamilyProperties(physical_device_, &count, families.data());
  constexpr VkQueueFlags kNeeded = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
  for (uint32_t i = 0; i < count; ++i) {
    if ((families[i].queueFlags & kNeeded) == kNeeded) {
      queue_family_ = i;
      return;
    }
  }
  throw Failure(name_ + " has no queue that both draws and computes.");
}

void Device::CreateDevice(const Arithmetic& wanted) {
  VkPhysicalDeviceVulkan13Features features13 = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
  VkPhysicalDeviceVulkan12Features features12 = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &features13};
  VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                        .pNext = &features12};
  instance_.commands().GetPhysicalDeviceFeatures2(physical_device_, &features);
  if (!features13.dynamicRendering || !features13.synchronization2 || !features13.maintenance4 ||
      !features12.timelineSemaphore) {
    throw Failure(name_ + " lacks dynamic rendering, synchronization2, maintenance4 or timeline " +
                  "semaphores, which Vulkan 1.3 requires.");
  }
  arithmetic_ = {.float16 = wanted.float16 && features12.shaderFloat16,
                 .float64 = wanted.float64 && features.features.shaderFloat64,
                 .int8 = wanted.int8 && features12.shaderInt8,
                 .int16 = wanted.int16 && features.features.shaderInt16,
                 .int64 = wanted.int64 && features.features.shaderInt64};

  // Only what is used is switched on; maintenance4 is, by any compute shader of SPIR-V 1.6.
  features13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
                .synchronization2 = VK_TRUE,
                .dynamicRendering = VK_TRUE,
                .maintenance4 = VK_TRUE};
  features12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                .pNext = &features13,
                .shaderFloat16 = arithmetic_.float16,
                .shaderInt8 = arithmetic_.int8,
                .timelineSemaphore = VK_TRUE};
  features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
              .pNext = &features12,
              .features = {.shaderFloat64 = arithmetic_.float64,
                           .shaderInt64 = arithmetic_.int64,
                           .shaderInt16 = arithmetic_.int16}};
  const float priority = 1.0f;
  const VkDeviceQueueCreateInfo queue_info = {
      .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
      .queueFamilyIndex = queue_family_,
      .queueCount = 1,
      .pQueuePriorities = &priority,
  };
  const VkDeviceCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
      .pNext = &features,
      .queueCreateInfoCount = 1,
      .pQueueCreateInfos = &queue_info,
  };
  Check(instance_.commands().CreateDevice(physical_device_, &create_info, nullptr, &handle_),
        "vkCreateDevice");
}

uint32_t Device::FindMemoryType(uint32_t allowed_types, VkMemoryPropertyFlags required,
                                VkMemoryPropertyFlags preferred) const {
  for (const VkMemoryPropertyFlags wanted : {required | preferred, required}) {
    for (uint32_t i = 0; i < memory_.memoryTypeCount; ++i) {
      if ((allowed_types >> i & 1) != 0 &&
          (memory_.memoryTypes[i].propertyFlags & wanted) == wanted) {
        return i;
      }
    }
  }
  throw Failure(name_ + " has no memory type with the property flags " + std::to_string(required) +
                " for one of the sample's resources.");
}

bool Device::SupportsFormat(VkFormat format, VkFormatFeatureFlags features) const {
  VkFormatProperties properties;
  instance_.commands().GetPhysicalDeviceFormatProperties(physical_device_, format, &properties);
  return (properties.optimalTilingFeatures & features) == features;
}

}  // namespace vesper::examples
