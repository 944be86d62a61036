// SPDX-License-Identifier: Apache-2.0
//
// Memory of the program's own that it gives to a device (VK_EXT_external_memory_host). The host's
// GPU cannot get at it, so it is made a shadow like any other: what the program has written there
// is sent at every releasing call, and what the device has written is put there before every
// observing one. To the host it is memory that was allocated, and is mapped from its first moment
// to its last.
//
// It differs from other shadows in that the pages are the program's, and in that nobody maps them:
// they are compared, never tracked and never made absent, since the program may have protections,
// mappings and handlers of its own there.
#pragma once

#include <vulkan/vulkan_core.h>

#include "client_icd/device_memory.h"

namespace vesper::client {

class Device;

/// The only handle type that can be imported.
inline constexpr VkExternalMemoryHandleTypeFlagBits kHostPointer =
    VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;

/// Fills in what can be done with an external handle type, in a buffer or image that could do
/// without one.
void DescribeExternalMemory(VkExternalMemoryHandleTypeFlagBits type,
                            VkExternalMemoryProperties* properties);

/// The program's memory that an allocation is to be made of, or null.
const VkImportMemoryHostPointerInfoEXT* FindImport(const VkMemoryAllocateInfo& info);

/// Makes the shadow of memory that was just allocated on the host. Not VK_SUCCESS: the allocation
/// is of no use.
VkResult Import(Device& device, VkDeviceMemory handle, DeviceMemory& memory,
                const VkImportMemoryHostPointerInfoEXT& info);

}  // namespace vesper::client
