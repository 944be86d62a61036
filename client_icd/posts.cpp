// SPDX-License-Identifier: Apache-2.0
#include "client_icd/posts.h"

#include "client_icd/word_list.h"
#include "proto/records_gen.h"

namespace vesper::client {

PostKind PostKindOf(uint16_t number) {
  namespace command = proto::command_number;
  switch (number) {
    case command::vkCreateBuffer:
    case command::vkCreateImage:
    case command::vkBindBufferMemory:
    case command::vkBindBufferMemory2:
    case command::vkBindImageMemory:
    case command::vkBindImageMemory2:
    case command::vkCreateAccelerationStructureKHR:
    case command::vkCreateAccelerationStructureNV:
    case command::vkBindAccelerationStructureMemoryNV:
    case command::vkCreateMicromapEXT:
    case command::vkCreateOpticalFlowSessionNV:
    case command::vkBindOpticalFlowSessionImageNV:
      return kPostResources;
    case command::vkCreateGraphicsPipelines:
    case command::vkCreateComputePipelines:
    case command::vkCreateRayTracingPipelinesKHR:
    case command::vkCreateRayTracingPipelinesNV:
    case command::vkCreateShaderModule:
    case command::vkCreateShadersEXT:
    case command::vkCreatePipelineCache:
    case command::vkMergePipelineCaches:
    case command::vkCreateIndirectCommandsLayoutEXT:
    case command::vkCreateIndirectCommandsLayoutNV:
    case command::vkCreateIndirectExecutionSetEXT:
      return kPostPipelines;
    case command::vkAllocateDescriptorSets:
      return kPostDescriptors;
    case command::vkAllocateMemory:
    case command::vesperAllocateMemory:
      return kPostMemory;
    default:
      return kPostAlways;
  }
}

uint32_t ReadPostKinds(std::string_view words) {
  if (words.empty()) {
    return kPostAll;
  }
  constexpr KindWord kWords[] = {
      {"resources", kPostResources},
      {"pipelines", kPostPipelines},
      {"descriptors", kPostDescriptors},
      {"memory", kPostMemory},
  };
  return ReadKinds(words, kWords);
}

}  // namespace vesper::client
