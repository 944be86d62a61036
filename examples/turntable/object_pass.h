// SPDX-License-Identifier: Apache-2.0
//
// The first pass draws the scene with four samples a pixel and depth, and resolves it into a
// picture of linear light in half floats. Alpha says how much of a pixel the objects cover.
#pragma once

#include <array>
#include <span>

#include "examples/common/resources.h"
#include "examples/turntable/scene.h"

namespace vesper::examples {

class ObjectPass {
 public:
  // `uniforms` has one buffer for each frame that can be under way; one descriptor set is made for
  // each. The buffers and the scene must outlive the pass.
  ObjectPass(const Device& device, const Scene& scene, VkExtent2D extent,
             std::span<const Buffer> uniforms);

  // The picture, in VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL for compute shaders after Record().
  const Image& picture() const { return picture_; }

  // Records frame `frame` with the uniforms of the buffer at index `slot`.
  void Record(VkCommandBuffer commands, uint32_t frame, uint32_t slot) const;

 private:
  void MakePipeline();
  void MakeDescriptorSets(std::span<const Buffer> uniforms);
  void RecordObject(VkCommandBuffer commands, const DeviceMesh& mesh,
                    const ObjectConstants& constants) const;

  const Device& device_;
  const Scene& scene_;
  VkExtent2D extent_;
  VkFormat depth_format_;
  Image colour_;  // with many samples, gone after the pass
  Image depth_;
  Image picture_;
  Owned<VkSampler> sampler_;
  Owned<VkDescriptorSetLayout> set_layout_;
  Owned<VkDescriptorPool> descriptor_pool_;
  std::vector<VkDescriptorSet> sets_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkPipeline> pipeline_;
};

}  // namespace vesper::examples
