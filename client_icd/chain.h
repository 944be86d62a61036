// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

namespace vesper::client {

/// The struct of this type in a pNext chain of the program's, or null.
template <typename T>
const T* FindInChain(const void* next, VkStructureType type) {
  for (auto* element = static_cast<const VkBaseInStructure*>(next); element != nullptr;
       element = element->pNext) {
    if (element->sType == type) {
      return reinterpret_cast<const T*>(element);
    }
  }
  return nullptr;
}

template <typename T>
T* FindInChain(void* next, VkStructureType type) {
  return const_cast<T*>(FindInChain<T>(static_cast<const void*>(next), type));
}

}  // namespace vesper::client
