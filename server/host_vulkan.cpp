// SPDX-License-Identifier: Apache-2.0
#include "server/host_vulkan.h"

#include <dlfcn.h>
#include <stdlib.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <string_view>

#include "proto/record.h"

namespace vesper::server {
namespace {

template <typename Function>
Function Get(PFN_vkGetInstanceProcAddr get, VkInstance instance, const char* name) {
  return reinterpret_cast<Function>(get(instance, name));
}

std::string Hexadecimal(const uint8_t* bytes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", bytes[i]);
    text += digits;
  }
  return text;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool Matches(const std::string& selector, size_t index,
             const VkPhysicalDeviceProperties& properties,
             const VkPhysicalDeviceIDProperties& ids) {
  if (selector.empty()) {
    return true;
  }
  if (std::all_of(selector.begin(), selector.end(),
                  [](unsigned char c) { return std::isdigit(c); }) &&
      selector.size() < 4) {
    return std::stoul(selector) == index;
  }
  std::string plain = Lower(selector);
  std::erase(plain, '-');
  return plain == Hexadecimal(ids.deviceUUID, VK_UUID_SIZE) ||
         Lower(properties.deviceName).find(Lower(selector)) != std::string::npos;
}

}  // namespace

PFN_vkGetInstanceProcAddr OpenVulkanLoader(const std::string& driver_manifest, std::string* error) {
  if (!driver_manifest.empty()) {
    ::setenv("VK_DRIVER_FILES", driver_manifest.c_str(), 1);
    ::setenv("VK_ICD_FILENAMES", driver_manifest.c_str(), 1);
  }
  // Where Vesper's own guest driver is installed too, the loader must not load it here.
  ::setenv("VK_LOADER_DRIVERS_DISABLE", "*vesper_icd*", 1);
  void* library = ::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *error = "expected the Vulkan loader libvulkan.so.1 on the server, got: " +
             std::string(::dlerror()) + "; install the package libvulkan1 there";
    return nullptr;
  }
  // Never closed: the process ends with the session.
  return reinterpret_cast<PFN_vkGetInstanceProcAddr>(::dlsym(library, "vkGetInstanceProcAddr"));
}

proto::ObjectId PhysicalDeviceId(size_t index) {
  return proto::MakeObjectId(proto::HandleType::kPhysicalDevice, 1, static_cast<uint32_t>(index));
}

std::unique_ptr<HostInstance> HostInstance::Create(PFN_vkGetInstanceProcAddr get,
                                                   const proto::Hello& hello,
                                                   const std::string& device_selector,
                                                   std::string* error) {
  const auto create = Get<PFN_vkCreateInstance>(get, VK_NULL_HANDLE, "vkCreateInstance");
  const auto enumerate = Get<PFN_vkEnumerateInstanceExtensionProperties>(
      get, VK_NULL_HANDLE, "vkEnumerateInstanceExtensionProperties");
  if (create == nullptr || enumerate == nullptr) {
    *error =
        "expected a Vulkan loader on the server, got a library without vkCreateInstance; "
        "install the package libvulkan1 there";
    return nullptr;
  }
  uint32_t count = 0;
  std::vector<VkExtensionProperties> available;
  if (enumerate(nullptr, &count, nullptr) == VK_SUCCESS) {
    available.resize(count);
    if (enumerate(nullptr, &count, available.data()) < 0) {
      count = 0;
    }
    available.resize(count);
  }
  // The instance always speaks the newest version: what the program may use is the guest's matter.
  std::vector<const char*> extensions;
  for (const VkExtensionProperties& extension : available) {
    const int index = proto::ExtensionIndex(extension.extensionName);
    if (index >= 0 && proto::Extensions()[static_cast<size_t>(index)].is_instance) {
      extensions.push_back(extension.extensionName);
    }
  }
  const VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                      nullptr,
                                      hello.application_name.c_str(),
                                      hello.application_version,
                                      hello.engine_name.c_str(),
                                      hello.engine_version,
                                      VK_API_VERSION_1_4};
  const VkInstanceCreateInfo create_info{
      VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,   nullptr,          0, &application, 0, nullptr,
      static_cast<uint32_t>(extensions.size()), extensions.data()};
  std::unique_ptr<HostInstance> host(new HostInstance);
  const VkResult result = create(&create_info, nullptr, &host->instance_);
  if (result != VK_SUCCESS) {
    *error = "expected a working Vulkan driver on the server, got VkResult " +
             std::to_string(result) +
             " from its vkCreateInstance; install one there, or name one with vesperd --driver";
    return nullptr;
  }
  host->table_.Load(get, host->instance_);
  host->get_device_proc_addr_ =
      Get<PFN_vkGetDeviceProcAddr>(get, host->instance_, "vkGetDeviceProcAddr");
  if (!host->FindDevices(hello, device_selector, error)) {
    return nullptr;
  }
  return host;
}

uint32_t HostInstance::QueryGroupHandleBytes(const PhysicalDevice& device) const {
  const auto has = [&device](const char* name) {
    const int index = proto::ExtensionIndex(name);
    return index >= 0 && device.extensions[static_cast<size_t>(index)];
  };
  VkPhysicalDeviceRayTracingPropertiesNV old{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PROPERTIES_NV};
  VkPhysicalDeviceRayTracingPipelinePropertiesKHR pipeline{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_PROPERTIES_KHR};
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  if (has(VK_NV_RAY_TRACING_EXTENSION_NAME)) {
    properties.pNext = &old;
  }
  if (has(VK_KHR_RAY_TRACING_PIPELINE_EXTENSION_NAME)) {
    pipeline.pNext = properties.pNext;
    properties.pNext = &pipeline;
  }
  if (properties.pNext != nullptr) {
    table_.vkGetPhysicalDeviceProperties2(device.handle, &properties);
  }
  return std::max(old.shaderGroupHandleSize, pipeline.shaderGroupHandleSize);
}

uint64_t HostInstance::QueryImportAlignment(VkPhysicalDevice device) const {
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT import{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT};
  VkPhysicalDeviceProperties2 properties{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &import, {}};
  table_.vkGetPhysicalDeviceProperties2(device, &properties);
  return import.minImportedHostPointerAlignment;
}

bool HostInstance::FindDevices(const proto::Hello& hello, const std::string& selector,
                               std::string* error) {
  uint32_t count = 0;
  std::vector<VkPhysicalDevice> handles;
  if (table_.vkEnumeratePhysicalDevices(instance_, &count, nullptr) == VK_SUCCESS) {
    handles.resize(count);
    if (table_.vkEnumeratePhysicalDevices(instance_, &count, handles.data()) < 0) {
      count = 0;
    }
    handles.resize(std::min(count, proto::kMaxPhysicalDevices));
  }
  for (size_t i = 0; i < handles.size(); ++i) {
    PhysicalDevice device;
    device.handle = handles[i];
    VkPhysicalDeviceIDProperties ids{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
    VkPhysicalDeviceProperties2 properties{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &ids, {}};
    table_.vkGetPhysicalDeviceProperties2(handles[i], &properties);
    device.properties = properties.properties;
    // Progress needs timeline semaphores, which every device of Vulkan 1.2 has.
    if (device.properties.apiVersion < VK_API_VERSION_1_2 ||
        !Matches(selector, i, device.properties, ids)) {
      continue;
    }
    table_.vkGetPhysicalDeviceMemoryProperties(handles[i], &device.memory);
    table_.vkGetPhysicalDeviceQueueFamilyProperties(handles[i], &device.queue_family_count,
                                                    nullptr);
    std::vector<VkQueueFamilyProperties> families(device.queue_family_count);
    table_.vkGetPhysicalDeviceQueueFamilyProperties(handles[i], &device.queue_family_count,
                                                    families.data());
    for (const VkQueueFamilyProperties& family : families) {
      device.queue_counts.push_back(family.queueCount);
      device.queue_flags.push_back(family.queueFlags);
    }
    uint32_t extension_count = 0;
    table_.vkEnumerateDeviceExtensionProperties(handles[i], nullptr, &extension_count, nullptr);
    std::vector<VkExtensionProperties> extensions(extension_count);
    table_.vkEnumerateDeviceExtensionProperties(handles[i], nullptr, &extension_count,
                                                extensions.data());
    device.extensions.assign(proto::Extensions().size(), false);
    for (const VkExtensionProperties& extension : extensions) {
      const int index = proto::ExtensionIndex(extension.extensionName);
      const bool known_to_guest = std::find(hello.extensions.begin(), hello.extensions.end(),
                                            extension.extensionName) != hello.extensions.end();
      if (index >= 0 && known_to_guest) {
        device.extensions[static_cast<size_t>(index)] = true;
      }
      if (std::string_view(extension.extensionName) == VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME) {
        device.import_alignment = QueryImportAlignment(handles[i]);
      }
    }
    device.group_handle_bytes = QueryGroupHandleBytes(device);
    devices_.push_back(std::move(device));
  }
  if (devices_.empty()) {
    *error = "expected a Vulkan 1.2 device on the server" +
             (selector.empty() ? std::string() : " that matches --device " + selector) +
             ", got none among its " + std::to_string(handles.size()) +
             "; see `vulkaninfo --summary` there";
    return false;
  }
  return true;
}

const HostInstance::PhysicalDevice* HostInstance::Find(VkPhysicalDevice handle) const {
  for (const PhysicalDevice& device : devices_) {
    if (device.handle == handle) {
      return &device;
    }
  }
  return nullptr;
}

}  // namespace vesper::server
