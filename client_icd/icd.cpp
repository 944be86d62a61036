// SPDX-License-Identifier: Apache-2.0
//
// The loader's side of the driver: the only symbols that the library exports (icd.map).
// Interface version 7: vkloader's "Loader and Driver Interface" document.
#include <vulkan/vk_icd.h>

#include <algorithm>
#include <cstring>

#include "client_icd/entry_points_gen.h"
#include "client_icd/proc_table.h"

namespace {

constexpr uint32_t kNewestInterface = 7;
/// Before version 4 the loader does not look for vk_icdGetPhysicalDeviceProcAddr, before 2 it does
/// not negotiate; all loaders since 2017 do.
constexpr uint32_t kOldestInterface = 4;

}  // namespace

extern "C" {

#define VESPER_EXPORT __attribute__((visibility("default")))

VESPER_EXPORT VKAPI_ATTR VkResult VKAPI_CALL
vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t* pVersion) {
  if (*pVersion < kOldestInterface) {
    return VK_ERROR_INCOMPATIBLE_DRIVER;
  }
  *pVersion = std::min(*pVersion, kNewestInterface);
  return VK_SUCCESS;
}

VESPER_EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL
vk_icdGetPhysicalDeviceProcAddr(VkInstance instance, const char* pName) {
  const vesper::client::Proc* proc = pName == nullptr ? nullptr : vesper::client::FindProc(pName);
  if (proc == nullptr || proc->level != vesper::client::ProcLevel::kPhysicalDevice) {
    return nullptr;
  }
  return vesper::client::entry::vkGetInstanceProcAddr(instance, pName);
}

VESPER_EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL
vk_icdGetInstanceProcAddr(VkInstance instance, const char* pName) {
  if (pName != nullptr && std::strncmp(pName, "vk_icd", 6) == 0) {
    // Since version 7 the exports are also found here, for drivers that are linked in.
    if (std::strcmp(pName, "vk_icdNegotiateLoaderICDInterfaceVersion") == 0) {
      return reinterpret_cast<PFN_vkVoidFunction>(&vk_icdNegotiateLoaderICDInterfaceVersion);
    }
    if (std::strcmp(pName, "vk_icdGetPhysicalDeviceProcAddr") == 0) {
      return reinterpret_cast<PFN_vkVoidFunction>(&vk_icdGetPhysicalDeviceProcAddr);
    }
    if (std::strcmp(pName, "vk_icdGetInstanceProcAddr") == 0) {
      return reinterpret_cast<PFN_vkVoidFunction>(&vk_icdGetInstanceProcAddr);
    }
    return nullptr;
  }
  return vesper::client::entry::vkGetInstanceProcAddr(instance, pName);
}

}  // extern "C"
