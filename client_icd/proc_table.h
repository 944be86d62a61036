// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "proto/record.h"

namespace vesper::client {

enum class ProcLevel : uint8_t { kGlobal, kInstance, kPhysicalDevice, kDevice };

struct Proc {
  const char* name;
  ProcLevel level;
  std::span<const uint16_t> providers;  // core versions and extensions that bring it
  PFN_vkVoidFunction (*function)();
};

/// All entry points, sorted by name.
std::span<const Proc> Procs();

/// The entry point of this name, or null.
const Proc* FindProc(std::string_view name);

/// True if an API version or one of the enabled extensions brings the entry point.
template <typename IsEnabled>
bool IsProvided(const Proc& proc, uint32_t api_version, const IsEnabled& is_extension_enabled) {
  for (const uint16_t provider : proc.providers) {
    if ((provider & proto::kCoreProvider) != 0) {
      const uint32_t major = (provider >> 8) & 0x7f;
      const uint32_t minor = provider & 0xff;
      if (VK_MAKE_API_VERSION(0, major, minor, 0) <= api_version) {
        return true;
      }
    } else if (is_extension_enabled(provider)) {
      return true;
    }
  }
  return false;
}

}  // namespace vesper::client
