// SPDX-License-Identifier: Apache-2.0
//
// The C ABI. Programs call through the pointers that vkGet*ProcAddr gives, and an exception must
// not leave there: it would unwind through frames that know nothing of it. So every pointer that is
// given leads to Guarded<entry point>, except for those of recorded commands that are generated,
// which throw nothing (proto::Buffer reports its failures instead).
//
// The only exceptions are those of the standard library when the system gives no memory or thread.
// A command with a result says so. For one without, what it should have done can't be made good:
// the command buffer is broken, as vkEndCommandBuffer says, or the session is lost.
#pragma once

#include <vulkan/vulkan_core.h>

#include <type_traits>

namespace vesper::client {

void AbandonAfterException(VkInstance instance);
void AbandonAfterException(VkPhysicalDevice physical_device);
void AbandonAfterException(VkDevice device);
void AbandonAfterException(VkQueue queue);
void AbandonAfterException(VkCommandBuffer command_buffer);

template <auto kFunction, typename Type = decltype(kFunction)>
struct Guarded;

template <auto kFunction, typename Return, typename First, typename... Rest>
struct Guarded<kFunction, Return(VKAPI_PTR*)(First, Rest...)> {
  static VKAPI_ATTR Return VKAPI_CALL Call(First first, Rest... rest) {
    try {
      return kFunction(first, rest...);
    } catch (...) {
      if constexpr (std::is_same_v<Return, VkResult>) {
        return VK_ERROR_OUT_OF_HOST_MEMORY;
      } else {
        AbandonAfterException(first);
        return Return();
      }
    }
  }
};

}  // namespace vesper::client
