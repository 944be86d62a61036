// SPDX-License-Identifier: Apache-2.0
#include "examples/turntable/grade_pass.h"

#include "examples/turntable/barriers.h"
#include "shaders/grade_comp.h"
#include "shaders/histogram_comp.h"

namespace vesper::examples {
namespace {

constexpr uint32_t kBins = 64;      // as in shaders/grade.glsl
constexpr uint32_t kGroupSize = 8;  // local_size_x and local_size_y of both shaders

struct GradeConstants {
  uint32_t width;
  uint32_t height;
};

}  // namespace

GradePass::GradePass(const Device& device, const Image& picture)
    : device_(device),
      photograph_(device, {.format = VK_FORMAT_R8G8B8A8_UNORM,
                           .extent = picture.description().extent,
                           .usage = VK_IMAGE_USAGE_STORAGE_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT}),
      histogram_(device, kBins * sizeof(uint32_t),
                 VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                 Placement::kDevice) {
  MakeDescriptorSet(picture);
  layout_ = MakePipelineLayout(device, set_layout_.get(),
                               {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(GradeConstants)});
  histogram_pipeline_ = MakeComputePipeline(device, layout_.get(), kHistogramComp);
  grade_pipeline_ = MakeComputePipeline(device, layout_.get(), kGradeComp);
}

void GradePass::MakeDescriptorSet(const Image& picture) {
  constexpr VkDescriptorType kTypes[] = {VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE,
                                         VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                         VK_DESCRIPTOR_TYPE_STORAGE_IMAGE};
  VkDescriptorSetLayoutBinding bindings[3] = {};
  VkDescriptorPoolSize sizes[3] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    bindings[i] = {.binding = i,
                   .descriptorType = kTypes[i],
                   .descriptorCount = 1,
                   .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    sizes[i] = {kTypes[i], 1};
  }
  set_layout_ = MakeDescriptorSetLayout(device_, bindings);
  descriptor_pool_ = MakeDescriptorPool(device_, 1, sizes);
  set_ = AllocateDescriptorSet(device_, descriptor_pool_.get(), set_layout_.get());

  const VkDescriptorImageInfo picture_info = {VK_NULL_HANDLE, picture.view(),
                                              VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL};
  const VkDescriptorBufferInfo histogram_info = {histogram_.handle(), 0, VK_WHOLE_SIZE};
  const VkDescriptorImageInfo photograph_info = {VK_NULL_HANDLE, photograph_.view(),
                                                 VK_IMAGE_LAYOUT_GENERAL};
  VkWriteDescriptorSet writes[3] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    writes[i] = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                 .dstSet = set_,
                 .dstBinding = i,
                 .descriptorCount = 1,
                 .descriptorType = kTypes[i]};
  }
  writes[0].pImageInfo = &picture_info;
  writes[1].pBufferInfo = &histogram_info;
  writes[2].pImageInfo = &photograph_info;
  device_.commands().UpdateDescriptorSets(device_.handle(), 3, writes, 0, nullptr);
}

void GradePass::Record(VkCommandBuffer commands) const {
  const DeviceCommands& vk = device_.commands();
  const VkExtent2D extent = photograph_.description().extent;
  const uint32_t groups_x = (extent.width + kGroupSize - 1) / kGroupSize;
  const uint32_t groups_y = (extent.height + kGroupSize - 1) / kGroupSize;
  const GradeConstants constants = {extent.width, extent.height};

  // The frame before may still read the counts, and copy its photograph away.
  const VkMemoryBarrier2 before_clear = MemoryBarrier(kComputeRead, kTransferWrite);
  const VkImageMemoryBarrier2 to_write =
      ImageBarrier(photograph_, kTransferRead, VK_IMAGE_LAYOUT_UNDEFINED, kComputeWrite,
                   VK_IMAGE_LAYOUT_GENERAL);
  RecordBarriers(device_, commands, {&to_write, 1}, {&before_clear, 1});
  vk.CmdFillBuffer(commands, histogram_.handle(), 0, VK_WHOLE_SIZE, 0);
  const VkMemoryBarrier2 before_count = MemoryBarrier(kTransferWrite, kComputeUpdate);
  RecordBarriers(device_, commands, {}, {&before_count, 1});

  vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_.get(), 0, 1, &set_, 0,
                           nullptr);
  vk.CmdPushConstants(commands, layout_.get(), VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(constants),
                      &constants);
  vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, histogram_pipeline_.get());
  vk.CmdDispatch(commands, groups_x, groups_y, 1);
  const VkMemoryBarrier2 before_grade = MemoryBarrier(kComputeWrite, kComputeRead);
  RecordBarriers(device_, commands, {}, {&before_grade, 1});
  vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, grade_pipeline_.get());
  vk.CmdDispatch(commands, groups_x, groups_y, 1);

  const VkImageMemoryBarrier2 to_copy =
      ImageBarrier(photograph_, kComputeWrite, VK_IMAGE_LAYOUT_GENERAL, kTransferRead,
                   VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  RecordBarriers(device_, commands, {&to_copy, 1});
}

}  // namespace vesper::examples
