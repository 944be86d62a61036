// SPDX-License-Identifier: Apache-2.0
//
// The second pass turns light into a photograph, with two compute shaders: the first counts how
// often each brightness occurs, the second derives the exposure from those counts, puts a backdrop
// behind the objects, applies a tone curve and a vignette, and writes 8-bit sRGB.
#pragma once

#include "examples/common/resources.h"

namespace vesper::examples {

class GradePass {
 public:
  // Grades `picture`, which must outlive the pass.
  GradePass(const Device& device, const Image& picture);

  // The result, in VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL for copies after Record().
  const Image& photograph() const { return photograph_; }

  void Record(VkCommandBuffer commands) const;

 private:
  void MakeDescriptorSet(const Image& picture);

  const Device& device_;
  Image photograph_;
  Buffer histogram_;
  Owned<VkDescriptorSetLayout> set_layout_;
  Owned<VkDescriptorPool> descriptor_pool_;
  VkDescriptorSet set_ = VK_NULL_HANDLE;
  Owned<VkPipelineLayout> layout_;
  Owned<VkPipeline> histogram_pipeline_;
  Owned<VkPipeline> grade_pipeline_;
};

}  // namespace vesper::examples
