// SPDX-License-Identifier: Apache-2.0
//
// The instance and the device of a sample. The samples use Vulkan 1.3 with dynamic rendering,
// synchronization2 and timeline semaphores, one queue that draws, computes and copies, and no
// extension at all.
#pragma once

#include <cstdint>
#include <string>

#include "examples/common/commands.h"

namespace vesper::examples {

class Instance {
 public:
  // `api_version`: the highest version that the program makes use of. Throws a Failure if there is
  // no driver for Vulkan 1.3.
  explicit Instance(const char* application_name, uint32_t api_version = VK_API_VERSION_1_3);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  VkInstance handle() const { return handle_; }
  const InstanceCommands& commands() const { return commands_; }

 private:
  VkInstance handle_ = VK_NULL_HANDLE;
  InstanceCommands commands_;
};

// What a shader may compute with beside 32 bits.
struct Arithmetic {
  bool float16 = false;
  bool float64 = false;
  bool int8 = false;
  bool int16 = false;
  bool int64 = false;
};

class Device {
 public:
  // Opens the physical device at `index` in the order of vkEnumeratePhysicalDevices. Throws a
  // Failure if there is none, or if it lacks something that the samples need. Of `wanted`, what the
  // device has is switched on. The instance must outlive the device.
  Device(const Instance& instance, uint32_t index, const Arithmetic& wanted = {});
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  VkDevice handle() const { return handle_; }
  const DeviceCommands& commands() const { return commands_; }
  VkQueue queue() const { return queue_; }
  uint32_t queue_family() const { return queue_family_; }
  const std::string& name() const { return name_; }
  // The driver's name and version, as it says them.
  const std::string& driver() const { return driver_; }
  const Instance& instance() const { return instance_; }
  uint32_t api_version() const { return api_version_; }
  const Arithmetic& arithmetic() const { return arithmetic_; }

  // The first memory type among `allowed_types` (a bit mask) that has all of `required` and
  // `preferred`, else the first that has all of `required`. Throws a Failure if there is none.
  uint32_t FindMemoryType(uint32_t allowed_types, VkMemoryPropertyFlags required,
                          VkMemoryPropertyFlags preferred) const;

  // True if images of the format with optimal tiling can be used in all the ways of `features`.
  bool SupportsFormat(VkFormat format, VkFormatFeatureFlags features) const;

 private:
  void ChooseQueueFamily();
  void CreateDevice(const Arithmetic& wanted);

  const Instance& instance_;
  VkPhysicalDevice physical_device_ = VK_NULL_HANDLE;
  VkPhysicalDeviceMemoryProperties memory_ = {};
  std::string name_;
  std::string driver_;
  uint32_t api_version_ = 0;
  Arithmetic arithmetic_;
  uint32_t queue_family_ = 0;
  VkDevice handle_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  DeviceCommands commands_;
};

}  // namespace vesper::examples
