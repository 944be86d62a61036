// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <memory>
#include <string>
#include <vector>

#include "proto/arena.h"
#include "proto/setup.h"
#include "proto/snapshot.h"
#include "server/host_tables_gen.h"

namespace vesper::server {

/// Opens the machine's Vulkan loader for one driver (its manifest; empty: whatever the loader
/// finds, except Vesper itself). Null and one sentence in `error` without a loader.
PFN_vkGetInstanceProcAddr OpenVulkanLoader(const std::string& driver_manifest, std::string* error);

/// One VkInstance on the real driver, and the physical devices that guests may see.
class HostInstance {
 public:
  struct PhysicalDevice {
    VkPhysicalDevice handle = VK_NULL_HANDLE;
    VkPhysicalDeviceProperties properties{};
    VkPhysicalDeviceMemoryProperties memory{};
    std::vector<bool> extensions;  // by codec index: on the device, and known to the guest
    uint32_t queue_family_count = 0;
    std::vector<uint32_t> queue_counts;
    std::vector<VkQueueFlags> queue_flags;
    /// minImportedHostPointerAlignment; 0: the driver can't import host memory.
    uint64_t import_alignment = 0;
    uint32_t group_handle_bytes = 0;  // of a ray-tracing shader group; 0: no such extension

    bool IsLavapipe() const {
      return properties.vendorID == VK_VENDOR_ID_MESA &&
             properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    }
    /// Lavapipe waits for the whole device in vkGetQueryPoolResults, whatever the flags say.
    bool WaitsInQueryResults() const { return IsLavapipe(); }
    /// A submission that waits for a binary semaphore stays in the driver until the one that
    /// signals it begins, which may take a signal or an event of the host's.
    bool BlocksInSubmissions() const { return IsLavapipe(); }
  };

  /// Null and one sentence if there is no driver or no device that `device_selector` (an index, a
  /// UUID or a name; empty: all) names.
  static std::unique_ptr<HostInstance> Create(PFN_vkGetInstanceProcAddr get,
                                              const proto::Hello& hello,
                                              const std::string& device_selector,
                                              std::string* error);

  VkInstance handle() const { return instance_; }
  const InstanceTable& table() const { return table_; }
  PFN_vkGetDeviceProcAddr get_device_proc_addr() const { return get_device_proc_addr_; }
  const std::vector<PhysicalDevice>& devices() const { return devices_; }
  /// The device with this native handle, or null.
  const PhysicalDevice* Find(VkPhysicalDevice handle) const;

  /// Bytes of a heap that the driver thinks can be allocated; half of the heap if it doesn't tell.
  uint64_t AvailableMemory(const PhysicalDevice& device, uint32_t heap) const;
  /// Queries everything immutable. The result lives as long as `arena`. (physical_device.cpp)
  proto::Snapshot TakeSnapshot(const proto::KnownStructs& known, proto::Arena& arena) const;

 private:
  HostInstance() = default;
  uint32_t QueryGroupHandleBytes(const PhysicalDevice& device) const;
  uint64_t QueryImportAlignment(VkPhysicalDevice device) const;
  bool FindDevices(const proto::Hello& hello, const std::string& selector, std::string* error);

  VkInstance instance_ = VK_NULL_HANDLE;
  PFN_vkGetDeviceProcAddr get_device_proc_addr_ = nullptr;
  InstanceTable table_;
  std::vector<PhysicalDevice> devices_;
};

/// The id under which guests know the physical device with this index.
proto::ObjectId PhysicalDeviceId(size_t index);

}  // namespace vesper::server
