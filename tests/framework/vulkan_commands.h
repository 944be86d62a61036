// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_VULKAN_COMMANDS_H_
#define VESPER_TESTS_FRAMEWORK_VULKAN_COMMANDS_H_

// Every command of core Vulkan 1.0 to 1.4 as X-macros, by the way it is looked up: without an
// instance, with an instance, and with a device (one list for each version). The tests load all of
// them, so a command that is missing is found before any test runs. vkGetInstanceProcAddr is left
// out: it comes from the library itself.

// clang-format off
#define VESPER_TEST_GLOBAL_COMMANDS(X)                                                             \
  X(CreateInstance) X(EnumerateInstanceExtensionProperties) X(EnumerateInstanceLayerProperties)    \
  X(EnumerateInstanceVersion)

#define VESPER_TEST_INSTANCE_COMMANDS(X)                                                           \
  X(DestroyInstance) X(EnumeratePhysicalDevices) X(GetPhysicalDeviceFeatures)                      \
  X(GetPhysicalDeviceFormatProperties) X(GetPhysicalDeviceImageFormatProperties)                   \
  X(GetPhysicalDeviceProperties) X(GetPhysicalDeviceQueueFamilyProperties)                         \
  X(GetPhysicalDeviceMemoryProperties) X(CreateDevice) X(EnumerateDeviceExtensionProperties)       \
  X(EnumerateDeviceLayerProperties) X(GetPhysicalDeviceSparseImageFormatProperties)                \
  X(EnumeratePhysicalDeviceGroups) X(GetPhysicalDeviceFeatures2) X(GetPhysicalDeviceProperties2)   \
  X(GetPhysicalDeviceFormatProperties2) X(GetPhysicalDeviceImageFormatProperties2)                 \
  X(GetPhysicalDeviceQueueFamilyProperties2) X(GetPhysicalDeviceMemoryProperties2)                 \
  X(GetPhysicalDeviceSparseImageFormatProperties2) X(GetPhysicalDeviceExternalBufferProperties)    \
  X(GetPhysicalDeviceExternalFenceProperties) X(GetPhysicalDeviceExternalSemaphoreProperties)      \
  X(GetPhysicalDeviceToolProperties)

#define VESPER_TEST_DEVICE_COMMANDS_1_0(X)                                                         \
  X(GetDeviceProcAddr) X(DestroyDevice) X(GetDeviceQueue) X(QueueSubmit) X(QueueWaitIdle)          \
  X(DeviceWaitIdle) X(AllocateMemory) X(FreeMemory) X(MapMemory) X(UnmapMemory)                    \
  X(FlushMappedMemoryRanges) X(InvalidateMappedMemoryRanges) X(GetDeviceMemoryCommitment)          \
  X(BindBufferMemory) X(BindImageMemory) X(GetBufferMemoryRequirements)                            \
  X(GetImageMemoryRequirements) X(GetImageSparseMemoryRequirements) X(QueueBindSparse)             \
  X(CreateFence) X(DestroyFence) X(ResetFences) X(GetFenceStatus) X(WaitForFences)                 \
  X(CreateSemaphore) X(DestroySemaphore) X(CreateEvent) X(DestroyEvent) X(GetEventStatus)          \
  X(SetEvent) X(ResetEvent) X(CreateQueryPool) X(DestroyQueryPool) X(GetQueryPoolResults)          \
  X(CreateBuffer) X(DestroyBuffer) X(CreateBufferView) X(DestroyBufferView) X(CreateImage)         \
  X(DestroyImage) X(GetImageSubresourceLayout) X(CreateImageView) X(DestroyImageView)              \
  X(CreateShaderModule) X(DestroyShaderModule) X(CreatePipelineCache) X(DestroyPipelineCache)      \
  X(GetPipelineCacheData) X(MergePipelineCaches) X(CreateGraphicsPipelines)                        \
  X(CreateComputePipelines) X(DestroyPipeline) X(CreatePipelineLayout) X(DestroyPipelineLayout)    \
  X(CreateSampler) X(DestroySampler) X(CreateDescriptorSetLayout) X(DestroyDescriptorSetLayout)    \
  X(CreateDescriptorPool) X(DestroyDescriptorPool) X(ResetDescriptorPool)                          \
  X(AllocateDescriptorSets) X(FreeDescriptorSets) X(UpdateDescriptorSets) X(CreateFramebuffer)     \
  X(DestroyFramebuffer) X(CreateRenderPass) X(DestroyRenderPass) X(GetRenderAreaGranularity)       \
  X(CreateCommandPool) X(DestroyCommandPool) X(ResetCommandPool) X(AllocateCommandBuffers)         \
  X(FreeCommandBuffers) X(BeginCommandBuffer) X(EndCommandBuffer) X(ResetCommandBuffer)            \
  X(CmdBindPipeline) X(CmdSetViewport) X(CmdSetScissor) X(CmdSetLineWidth) X(CmdSetDepthBias)      \
  X(CmdSetBlendConstants) X(CmdSetDepthBounds) X(CmdSetStencilCompareMask)                         \
  X(CmdSetStencilWriteMask) X(CmdSetStencilReference) X(CmdBindDescriptorSets)                     \
  X(CmdBindIndexBuffer) X(CmdBindVertexBuffers) X(CmdDraw) X(CmdDrawIndexed) X(CmdDrawIndirect)    \
  X(CmdDrawIndexedIndirect) X(CmdDispatch) X(CmdDispatchIndirect) X(CmdCopyBuffer)                 \
  X(CmdCopyImage) X(CmdBlitImage) X(CmdCopyBufferToImage) X(CmdCopyImageToBuffer)                  \
  X(CmdUpdateBuffer) X(CmdFillBuffer) X(CmdClearColorImage) X(CmdClearDepthStencilImage)           \
  X(CmdClearAttachments) X(CmdResolveImage) X(CmdSetEvent) X(CmdResetEvent) X(CmdWaitEvents)       \
  X(CmdPipelineBarrier) X(CmdBeginQuery) X(CmdEndQuery) X(CmdResetQueryPool)                       \
  X(CmdWriteTimestamp) X(CmdCopyQueryPoolResults) X(CmdPushConstants) X(CmdBeginRenderPass)        \
  X(CmdNextSubpass) X(CmdEndRenderPass) X(CmdExecuteCommands)

#define VESPER_TEST_DEVICE_COMMANDS_1_1(X)                                                         \
  X(BindBufferMemory2) X(BindImageMemory2) X(GetDeviceGroupPeerMemoryFeatures)                     \
  X(CmdSetDeviceMask) X(CmdDispatchBase) X(GetImageMemoryRequirements2)                            \
  X(GetBufferMemoryRequirements2) X(GetImageSparseMemoryRequirements2) X(TrimCommandPool)          \
  X(GetDeviceQueue2) X(CreateSamplerYcbcrConversion) X(DestroySamplerYcbcrConversion)              \
  X(CreateDescriptorUpdateTemplate) X(DestroyDescriptorUpdateTemplate)                             \
  X(UpdateDescriptorSetWithTemplate) X(GetDescriptorSetLayoutSupport)

#define VESPER_TEST_DEVICE_COMMANDS_1_2(X)                                                         \
  X(CmdDrawIndirectCount) X(CmdDrawIndexedIndirectCount) X(CreateRenderPass2)                      \
  X(CmdBeginRenderPass2) X(CmdNextSubpass2) X(CmdEndRenderPass2) X(ResetQueryPool)                 \
  X(GetSemaphoreCounterValue) X(WaitSemaphores) X(SignalSemaphore) X(GetBufferDeviceAddress)       \
  X(GetBufferOpaqueCaptureAddress) X(GetDeviceMemoryOpaqueCaptureAddress)

#define VESPER_TEST_DEVICE_COMMANDS_1_3(X)                                                         \
  X(CreatePrivateDataSlot) X(DestroyPrivateDataSlot) X(SetPrivateData) X(GetPrivateData)           \
  X(CmdSetEvent2) X(CmdResetEvent2) X(CmdWaitEvents2) X(CmdPipelineBarrier2)                       \
  X(CmdWriteTimestamp2) X(QueueSubmit2) X(CmdCopyBuffer2) X(CmdCopyImage2)                         \
  X(CmdCopyBufferToImage2) X(CmdCopyImageToBuffer2) X(CmdBlitImage2) X(CmdResolveImage2)           \
  X(CmdBeginRendering) X(CmdEndRendering) X(CmdSetCullMode) X(CmdSetFrontFace)                     \
  X(CmdSetPrimitiveTopology) X(CmdSetViewportWithCount) X(CmdSetScissorWithCount)                  \
  X(CmdBindVertexBuffers2) X(CmdSetDepthTestEnable) X(CmdSetDepthWriteEnable)                      \
  X(CmdSetDepthCompareOp) X(CmdSetDepthBoundsTestEnable) X(CmdSetStencilTestEnable)                \
  X(CmdSetStencilOp) X(CmdSetRasterizerDiscardEnable) X(CmdSetDepthBiasEnable)                     \
  X(CmdSetPrimitiveRestartEnable) X(GetDeviceBufferMemoryRequirements)                             \
  X(GetDeviceImageMemoryRequirements) X(GetDeviceImageSparseMemoryRequirements)

#define VESPER_TEST_DEVICE_COMMANDS_1_4(X)                                                         \
  X(CmdSetLineStipple) X(MapMemory2) X(UnmapMemory2) X(CmdBindIndexBuffer2)                        \
  X(GetRenderingAreaGranularity) X(GetDeviceImageSubresourceLayout)                                \
  X(GetImageSubresourceLayout2) X(CmdPushDescriptorSet) X(CmdPushDescriptorSetWithTemplate)        \
  X(CmdSetRenderingAttachmentLocations) X(CmdSetRenderingInputAttachmentIndices)                   \
  X(CmdBindDescriptorSets2) X(CmdPushConstants2) X(CmdPushDescriptorSet2)                          \
  X(CmdPushDescriptorSetWithTemplate2) X(CopyMemoryToImage) X(CopyImageToMemory)                   \
  X(CopyImageToImage) X(TransitionImageLayout)

// clang-format on

#endif  // VESPER_TESTS_FRAMEWORK_VULKAN_COMMANDS_H_
