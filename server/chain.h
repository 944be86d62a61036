// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

namespace vesper::server {

/// The struct of this type in a decoded pNext chain, or null. It may be changed: decoded structs
/// are the worker's own memory.
template <typename T>
T* FindInChain(const void* next, VkStructureType type) {
  for (auto* element = static_cast<const VkBaseInStructure*>(next); element != nullptr;
       element = element->pNext) {
    if (element->sType == type) {
      return const_cast<T*>(reinterpret_cast<const T*>(element));
    }
  }
  return nullptr;
}

}  // namespace vesper::server
