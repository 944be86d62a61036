// SPDX-License-Identifier: Apache-2.0
//
// How the samples fail: a Failure is thrown with one sentence for the user, the objects made so far
// are destroyed on the way up, and main() prints the sentence and returns 1.
#pragma once

#include <vulkan/vulkan_core.h>

#include <stdexcept>

namespace vesper::examples {

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The name of a result code, as the specification spells it; "an unknown VkResult" for others.
const char* ResultName(VkResult result);

// Throws a Failure that names `command` unless the result is VK_SUCCESS.
void Check(VkResult result, const char* command);

}  // namespace vesper::examples
