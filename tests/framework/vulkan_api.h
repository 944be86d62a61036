// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_VULKAN_API_H_
#define VESPER_TESTS_FRAMEWORK_VULKAN_API_H_

#include <vulkan/vulkan_core.h>

#include <iosfwd>
#include <stdexcept>
#include <string>

#include "tests/framework/vulkan_commands.h"

namespace vesper::tests {

// What a helper throws when Vulkan refuses something that the test takes for granted. GoogleTest
// reports it as the failure of the running test.
class VulkanError : public std::runtime_error {
 public:
  VulkanError(VkResult result, const std::string& expression, const char* file, int line);

  VkResult result() const { return result_; }

 private:
  VkResult result_;
};

// "VK_SUCCESS", "VK_ERROR_DEVICE_LOST", ...; the number for a result without a name here.
std::string ResultName(VkResult result);

// The entry points of Vulkan: a member for each core command, without the prefix "vk". The members
// are null until the matching Load function was called.
struct VulkanApi {
#define VESPER_TEST_DECLARE(name) PFN_vk##name name = nullptr;
  PFN_vkGetInstanceProcAddr GetInstanceProcAddr = nullptr;
  VESPER_TEST_GLOBAL_COMMANDS(VESPER_TEST_DECLARE)
  VESPER_TEST_INSTANCE_COMMANDS(VESPER_TEST_DECLARE)
  VESPER_TEST_DEVICE_COMMANDS_1_0(VESPER_TEST_DECLARE)
  VESPER_TEST_DEVICE_COMMANDS_1_1(VESPER_TEST_DECLARE)
  VESPER_TEST_DEVICE_COMMANDS_1_2(VESPER_TEST_DECLARE)
  VESPER_TEST_DEVICE_COMMANDS_1_3(VESPER_TEST_DECLARE)
  VESPER_TEST_DEVICE_COMMANDS_1_4(VESPER_TEST_DECLARE)
#undef VESPER_TEST_DECLARE

  // Opens the Vulkan loader (which stays open for the life of the process) and finds the commands
  // that need no instance. Throws std::runtime_error if there is no loader.
  void LoadGlobal();

  // Finds the commands of the instance. Throws if one of them is missing.
  void LoadInstance(VkInstance instance);

  // Finds the commands of every core version up to `api_version`. Throws if one is missing.
  void LoadDevice(VkDevice device, uint32_t api_version);

  // A command outside the lists above (an extension's), null if the device doesn't offer it.
  template <typename Function>
  Function Find(VkDevice device, const char* name) const {
    return reinterpret_cast<Function>(GetDeviceProcAddr(device, name));
  }
};

}  // namespace vesper::tests

// GoogleTest finds this one by the type's namespace, which is the global one.
void PrintTo(VkResult result, std::ostream* stream);

// Evaluates a call that must return VK_SUCCESS; throws VulkanError otherwise. For helpers: in the
// body of a test, ASSERT_EQ(VK_SUCCESS, call) says the same with a softer voice.
#define VESPER_CHECK(expression)                                                                \
  do {                                                                                          \
    const VkResult vesper_check_result = (expression);                                          \
    if (vesper_check_result != VK_SUCCESS) {                                                    \
      throw ::vesper::tests::VulkanError(vesper_check_result, #expression, __FILE__, __LINE__); \
    }                                                                                           \
  } while (false)

#endif  // VESPER_TESTS_FRAMEWORK_VULKAN_API_H_
