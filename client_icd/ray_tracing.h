// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>

namespace vesper::client {

class Device;

/// Remembers a ray tracing pipeline that was made, and asks for what the program will have to know
/// of it: the handles of its shader groups, and, if it sets the stack's size itself, what each
/// shader needs.
void NoteRayTracingPipeline(Device& device, const VkAllocationCallbacks* callbacks,
                            const VkRayTracingPipelineCreateInfoKHR& info, VkPipeline pipeline);

}  // namespace vesper::client
