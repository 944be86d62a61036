// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

namespace vesper::client {

/// Gives each bind that asks for its own result (VkBindMemoryStatus, maintenance6) the result of
/// the whole call: the host's driver made them in one go.
template <typename BindInfo>
void WriteBindStatus(const BindInfo* infos, uint32_t count, VkResult result) {
  for (uint32_t i = 0; i < count; ++i) {
    for (auto* next = static_cast<const VkBaseInStructure*>(infos[i].pNext); next != nullptr;
         next = next->pNext) {
      if (next->sType == VK_STRUCTURE_TYPE_BIND_MEMORY_STATUS) {
        *reinterpret_cast<const VkBindMemoryStatus*>(next)->pResult = result;
      }
    }
  }
}

}  // namespace vesper::client
