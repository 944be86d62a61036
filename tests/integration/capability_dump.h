// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_INTEGRATION_CAPABILITY_DUMP_H_
#define VESPER_TESTS_INTEGRATION_CAPABILITY_DUMP_H_

#include <map>
#include <string>

namespace vesper::tests {

// Everything that the first physical device says about itself, as text: the name of each number
// ("VkPhysicalDeviceVulkan12Properties.maxTimelineSemaphoreValueDifference") and its value.
using Capabilities = std::map<std::string, std::string>;

// Asks the driver that the Vulkan loader finds in this process.
Capabilities DumpCapabilities();

}  // namespace vesper::tests

#endif  // VESPER_TESTS_INTEGRATION_CAPABILITY_DUMP_H_
