// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/vulkan_api.h"

#include <dlfcn.h>

#include <ostream>

namespace vesper::tests {
namespace {

template <typename Function>
void Assign(Function& function, PFN_vkVoidFunction found, const char* name) {
  function = reinterpret_cast<Function>(found);
  if (function == nullptr) {
    throw std::runtime_error(std::string("Expected the entry point ") + name +
                             " to be found, but the lookup returned NULL.");
  }
}

std::string Describe(VkResult result, const std::string& expression, const char* file, int line) {
  return std::string(file) + ":" + std::to_string(line) + ": expected VK_SUCCESS but got " +
         ResultName(result) + " from " + expression;
}

}  // namespace

VulkanError::VulkanError(VkResult result, const std::string& expression, const char* file, int line)
    : std::runtime_error(Describe(result, expression, file, line)), result_(result) {}

std::string ResultName(VkResult result) {
#define VESPER_TEST_RESULT(name) \
  case name:                     \
    return #name;
  switch (result) {
    VESPER_TEST_RESULT(VK_SUCCESS)
    VESPER_TEST_RESULT(VK_NOT_READY)
    VESPER_TEST_RESULT(VK_TIMEOUT)
    VESPER_TEST_RESULT(VK_EVENT_SET)
    VESPER_TEST_RESULT(VK_EVENT_RESET)
    VESPER_TEST_RESULT(VK_INCOMPLETE)
    VESPER_TEST_RESULT(VK_PIPELINE_COMPILE_REQUIRED)
    VESPER_TEST_RESULT(VK_ERROR_OUT_OF_HOST_MEMORY)
    VESPER_TEST_RESULT(VK_ERROR_OUT_OF_DEVICE_MEMORY)
    VESPER_TEST_RESULT(VK_ERROR_INITIALIZATION_FAILED)
    VESPER_TEST_RESULT(VK_ERROR_DEVICE_LOST)
    VESPER_TEST_RESULT(VK_ERROR_MEMORY_MAP_FAILED)
    VESPER_TEST_RESULT(VK_ERROR_LAYER_NOT_PRESENT)
    VESPER_TEST_RESULT(VK_ERROR_EXTENSION_NOT_PRESENT)
    VESPER_TEST_RESULT(VK_ERROR_FEATURE_NOT_PRESENT)
    VESPER_TEST_RESULT(VK_ERROR_INCOMPATIBLE_DRIVER)
    VESPER_TEST_RESULT(VK_ERROR_TOO_MANY_OBJECTS)
    VESPER_TEST_RESULT(VK_ERROR_FORMAT_NOT_SUPPORTED)
    VESPER_TEST_RESULT(VK_ERROR_FRAGMENTED_POOL)
    VESPER_TEST_RESULT(VK_ERROR_OUT_OF_POOL_MEMORY)
    VESPER_TEST_RESULT(VK_ERROR_INVALID_EXTERNAL_HANDLE)
    VESPER_TEST_RESULT(VK_ERROR_FRAGMENTATION)
    VESPER_TEST_RESULT(VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS)
    VESPER_TEST_RESULT(VK_ERROR_UNKNOWN)
    default:
      return "VkResult " + std::to_string(static_cast<int>(result));
  }
#undef VESPER_TEST_RESULT
}

void VulkanApi::LoadGlobal() {
  // Never closed: a loader that is unloaded while a driver's threads still end is a fault of the
  // test, not something that a test may trip over.
  void* library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw std::runtime_error(std::string("The Vulkan loader could not be opened: ") + dlerror());
  }
  GetInstanceProcAddr =
      reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
  if (GetInstanceProcAddr == nullptr) {
    throw std::runtime_error("libvulkan.so.1 does not export vkGetInstanceProcAddr.");
  }
#define VESPER_TEST_LOAD(name) Assign(name, GetInstanceProcAddr(nullptr, "vk" #name), "vk" #name);
  VESPER_TEST_GLOBAL_COMMANDS(VESPER_TEST_LOAD)
#undef VESPER_TEST_LOAD
}

void VulkanApi::LoadInstance(VkInstance instance) {
#define VESPER_TEST_LOAD(name) Assign(name, GetInstanceProcAddr(instance, "vk" #name), "vk" #name);
  VESPER_TEST_INSTANCE_COMMANDS(VESPER_TEST_LOAD)
  VESPER_TEST_LOAD(GetDeviceProcAddr)
#undef VESPER_TEST_LOAD
}

void VulkanApi::LoadDevice(VkDevice device, uint32_t api_version) {
#define VESPER_TEST_LOAD(name) Assign(name, GetDeviceProcAddr(device, "vk" #name), "vk" #name);
  VESPER_TEST_DEVICE_COMMANDS_1_0(VESPER_TEST_LOAD)
  if (api_version >= VK_API_VERSION_1_1) {
    VESPER_TEST_DEVICE_COMMANDS_1_1(VESPER_TEST_LOAD)
  }
  if (api_version >= VK_API_VERSION_1_2) {
    VESPER_TEST_DEVICE_COMMANDS_1_2(VESPER_TEST_LOAD)
  }
  if (api_version >= VK_API_VERSION_1_3) {
    VESPER_TEST_DEVICE_COMMANDS_1_3(VESPER_TEST_LOAD)
  }
  if (api_version >= VK_API_VERSION_1_4) {
    VESPER_TEST_DEVICE_COMMANDS_1_4(VESPER_TEST_LOAD)
  }
#undef VESPER_TEST_LOAD
}

}  // namespace vesper::tests

void PrintTo(VkResult result, std::ostream* stream) {
  *stream << vesper::tests::ResultName(result);
}
