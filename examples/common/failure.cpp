// SPDX-License-Identifier: Apache-2.0
#include "examples/common/failure.h"

#include <string>

namespace vesper::examples {

const char* ResultName(VkResult result) {
  switch (result) {
#define VESPER_CASE(name) \
  case name:              \
    return #name;
    VESPER_CASE(VK_SUCCESS)
    VESPER_CASE(VK_NOT_READY)
    VESPER_CASE(VK_TIMEOUT)
    VESPER_CASE(VK_INCOMPLETE)
    VESPER_CASE(VK_ERROR_OUT_OF_HOST_MEMORY)
    VESPER_CASE(VK_ERROR_OUT_OF_DEVICE_MEMORY)
    VESPER_CASE(VK_ERROR_INITIALIZATION_FAILED)
    VESPER_CASE(VK_ERROR_DEVICE_LOST)
    VESPER_CASE(VK_ERROR_MEMORY_MAP_FAILED)
    VESPER_CASE(VK_ERROR_LAYER_NOT_PRESENT)
    VESPER_CASE(VK_ERROR_EXTENSION_NOT_PRESENT)
    VESPER_CASE(VK_ERROR_FEATURE_NOT_PRESENT)
    VESPER_CASE(VK_ERROR_INCOMPATIBLE_DRIVER)
    VESPER_CASE(VK_ERROR_TOO_MANY_OBJECTS)
    VESPER_CASE(VK_ERROR_FORMAT_NOT_SUPPORTED)
    VESPER_CASE(VK_ERROR_FRAGMENTED_POOL)
    VESPER_CASE(VK_ERROR_OUT_OF_POOL_MEMORY)
    VESPER_CASE(VK_ERROR_UNKNOWN)
#undef VESPER_CASE
    default:
      return "an unknown VkResult";
  }
}

void Check(VkResult result, const char* command) {
  if (result != VK_SUCCESS) {
    throw Failure(std::string(command) + " returned " + ResultName(result) + " (" +
                  std::to_string(result) + ").");
  }
}

}  // namespace vesper::examples
