// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <cstdint>

#include "client_icd/chain.h"

namespace vesper::client {

/// True if a bind wants its own result, which only the driver has.
template <typename BindInfo>
bool WantsStatus(const BindInfo* infos, uint32_t count) {
  return std::any_of(infos, infos + count, [](const BindInfo& info) {
    return FindInChain<VkBindMemoryStatus>(info.pNext, VK_STRUCTURE_TYPE_BIND_MEMORY_STATUS) !=
           nullptr;
  });
}

/// Gives each bind that asks for its own result (VkBindMemoryStatus, maintenance6) the result of
/// the whole call: the host's driver made them in one go.
template <typename BindInfo>
void WriteBindStatus(const BindInfo* infos, uint32_t count, VkResult result) {
  for (uint32_t i = 0; i < count; ++i) {
    if (const auto* status =
            FindInChain<VkBindMemoryStatus>(infos[i].pNext, VK_STRUCTURE_TYPE_BIND_MEMORY_STATUS)) {
      *status->pResult = result;
    }
  }
}

}  // namespace vesper::client
