// SPDX-License-Identifier: Apache-2.0
//
// The Vulkan commands that the samples use, as tables of function pointers. The loader exports only
// some commands by name, so each is asked for: instance commands from vkGetInstanceProcAddr, device
// commands from vkGetDeviceProcAddr, which leads straight into the driver.
#pragma once

#include <vulkan/vulkan_core.h>

#define VESPER_EXAMPLE_INSTANCE_COMMANDS(X) \
  X(CreateDevice)                           \
  X(DestroyInstance)                        \
  X(EnumeratePhysicalDevices)               \
  X(GetDeviceProcAddr)                      \
  X(GetPhysicalDeviceFeatures2)             \
  X(GetPhysicalDeviceFormatProperties)      \
  X(GetPhysicalDeviceMemoryProperties)      \
  X(GetPhysicalDeviceProperties2)           \
  X(GetPhysicalDeviceQueueFamilyProperties)

#define VESPER_EXAMPLE_DEVICE_COMMANDS(X) \
  X(AllocateCommandBuffers)               \
  X(AllocateDescriptorSets)               \
  X(AllocateMemory)                       \
  X(BeginCommandBuffer)                   \
  X(BindBufferMemory)                     \
  X(BindImageMemory)                      \
  X(CmdBeginRendering)                    \
  X(CmdBindDescriptorSets)                \
  X(CmdBindIndexBuffer)                   \
  X(CmdBindPipeline)                      \
  X(CmdBindVertexBuffers)                 \
  X(CmdBlitImage2)                        \
  X(CmdCopyBuffer)                        \
  X(CmdCopyBufferToImage)                 \
  X(CmdCopyImage)                         \
  X(CmdCopyImageToBuffer)                 \
  X(CmdDispatch)                          \
  X(CmdDrawIndexed)                       \
  X(CmdEndRendering)                      \
  X(CmdFillBuffer)                        \
  X(CmdPipelineBarrier2)                  \
  X(CmdPushConstants)                     \
  X(CmdSetScissor)                        \
  X(CmdSetViewport)                       \
  X(CreateBuffer)                         \
  X(CreateCommandPool)                    \
  X(CreateComputePipelines)               \
  X(CreateDescriptorPool)                 \
  X(CreateDescriptorSetLayout)            \
  X(CreateFence)                          \
  X(CreateGraphicsPipelines)              \
  X(CreateImage)                          \
  X(CreateImageView)                      \
  X(CreatePipelineLayout)                 \
  X(CreateSampler)                        \
  X(CreateSemaphore)                      \
  X(CreateShaderModule)                   \
  X(DestroyBuffer)                        \
  X(DestroyCommandPool)                   \
  X(DestroyDescriptorPool)                \
  X(DestroyDescriptorSetLayout)           \
  X(DestroyDevice)                        \
  X(DestroyFence)                         \
  X(DestroyImage)                         \
  X(DestroyImageView)                     \
  X(DestroyPipeline)                      \
  X(DestroyPipelineLayout)                \
  X(DestroySampler)                       \
  X(DestroySemaphore)                     \
  X(DestroyShaderModule)                  \
  X(DeviceWaitIdle)                       \
  X(EndCommandBuffer)                     \
  X(FreeMemory)                           \
  X(GetBufferMemoryRequirements)          \
  X(GetDeviceQueue)                       \
  X(GetImageMemoryRequirements)           \
  X(MapMemory)                            \
  X(QueueSubmit2)                         \
  X(ResetCommandPool)                     \
  X(ResetFences)                          \
  X(UnmapMemory)                          \
  X(UpdateDescriptorSets)                 \
  X(WaitForFences)                        \
  X(WaitSemaphores)

namespace vesper::examples {

#define VESPER_MEMBER(name) PFN_vk##name name = nullptr;

struct InstanceCommands {
  VESPER_EXAMPLE_INSTANCE_COMMANDS(VESPER_MEMBER)
};

struct DeviceCommands {
  VESPER_EXAMPLE_DEVICE_COMMANDS(VESPER_MEMBER)
};

#undef VESPER_MEMBER

}  // namespace vesper::examples
