// SPDX-License-Identifier: Apache-2.0
//
// Barriers in the words of synchronization2, short enough to read where they stand.
#pragma once

#include <span>

#include "examples/common/resources.h"

namespace vesper::examples {

// One side of a barrier: at which stages, and which accesses.
struct Scope {
  VkPipelineStageFlags2 stages;
  VkAccessFlags2 accesses;
};

inline constexpr Scope kNothing = {VK_PIPELINE_STAGE_2_NONE, VK_ACCESS_2_NONE};
inline constexpr Scope kTransferRead = {VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT,
                                        VK_ACCESS_2_TRANSFER_READ_BIT};
inline constexpr Scope kTransferWrite = {VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT,
                                         VK_ACCESS_2_TRANSFER_WRITE_BIT};
inline constexpr Scope kColourWrite = {VK_PIPELINE_STAGE_2_COLOR_ATTACHMENT_OUTPUT_BIT,
                                       VK_ACCESS_2_COLOR_ATTACHMENT_WRITE_BIT};
inline constexpr Scope kDepthTest = {
    VK_PIPELINE_STAGE_2_EARLY_FRAGMENT_TESTS_BIT | VK_PIPELINE_STAGE_2_LATE_FRAGMENT_TESTS_BIT,
    VK_ACCESS_2_DEPTH_STENCIL_ATTACHMENT_READ_BIT | VK_ACCESS_2_DEPTH_STENCIL_ATTACHMENT_WRITE_BIT};
inline constexpr Scope kFragmentSample = {VK_PIPELINE_STAGE_2_FRAGMENT_SHADER_BIT,
                                          VK_ACCESS_2_SHADER_SAMPLED_READ_BIT};
inline constexpr Scope kComputeSample = {VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
                                         VK_ACCESS_2_SHADER_SAMPLED_READ_BIT};
inline constexpr Scope kComputeRead = {VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
                                       VK_ACCESS_2_SHADER_STORAGE_READ_BIT};
inline constexpr Scope kComputeWrite = {VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
                                        VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT};
inline constexpr Scope kComputeUpdate = {
    VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
    VK_ACCESS_2_SHADER_STORAGE_READ_BIT | VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT};
inline constexpr Scope kVertexInput = {
    VK_PIPELINE_STAGE_2_VERTEX_INPUT_BIT,
    VK_ACCESS_2_VERTEX_ATTRIBUTE_READ_BIT | VK_ACCESS_2_INDEX_READ_BIT};
inline constexpr Scope kHostRead = {VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT};

// A change of layout of some mip levels of an image, all layers.
inline VkImageMemoryBarrier2 ImageBarrier(const Image& image, Scope from, VkImageLayout old_layout,
                                          Scope to, VkImageLayout new_layout,
                                          uint32_t first_mip = 0,
                                          uint32_t mip_count = VK_REMAINING_MIP_LEVELS) {
  VkImageSubresourceRange range = image.whole();
  range.baseMipLevel = first_mip;
  range.levelCount = mip_count;
  return {
      .sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2,
      .srcStageMask = from.stages,
      .srcAccessMask = from.accesses,
      .dstStageMask = to.stages,
      .dstAccessMask = to.accesses,
      .oldLayout = old_layout,
      .newLayout = new_layout,
      .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
      .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
      .image = image.handle(),
      .subresourceRange = range,
  };
}

inline VkMemoryBarrier2 MemoryBarrier(Scope from, Scope to) {
  return {
      .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
      .srcStageMask = from.stages,
      .srcAccessMask = from.accesses,
      .dstStageMask = to.stages,
      .dstAccessMask = to.accesses,
  };
}

inline void RecordBarriers(const Device& device, VkCommandBuffer commands,
                           std::span<const VkImageMemoryBarrier2> images,
                           std::span<const VkMemoryBarrier2> memory = {}) {
  const VkDependencyInfo dependency = {
      .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
      .memoryBarrierCount = static_cast<uint32_t>(memory.size()),
      .pMemoryBarriers = memory.data(),
      .imageMemoryBarrierCount = static_cast<uint32_t>(images.size()),
      .pImageMemoryBarriers = images.data(),
  };
  device.commands().CmdPipelineBarrier2(commands, &dependency);
}

}  // namespace vesper::examples
