// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <deque>
#include <vector>

namespace vesper::client {

class Session;

/// Create infos of graphics pipelines without what doesn't count. Much of them only counts under
/// conditions that other members decide, and the specification lets what doesn't count be garbage,
/// so it is taken out before the codec follows pointers. (Vulkan 1.4, "Graphics Pipelines";
/// conditions that a struct shows by itself are in codegen/policy.toml.) Owns the structs it had to
/// change; everything else stays the program's.
class CleanGraphicsInfos {
 public:
  CleanGraphicsInfos(Session& session, const VkGraphicsPipelineCreateInfo* infos, uint32_t count);

  const VkGraphicsPipelineCreateInfo* data() const { return infos_.data(); }

 private:
  void Clean(Session& session, VkGraphicsPipelineCreateInfo& info);
  void CleanViewports(VkGraphicsPipelineCreateInfo& info);
  void CleanBlending(VkGraphicsPipelineCreateInfo& info);

  std::vector<VkGraphicsPipelineCreateInfo> infos_;
  // Deques: elements stay where they are while others are added.
  std::deque<VkPipelineViewportStateCreateInfo> viewports_;
  std::deque<VkPipelineColorBlendStateCreateInfo> blends_;
  std::deque<VkPipelineMultisampleStateCreateInfo> multisamples_;
};

}  // namespace vesper::client
