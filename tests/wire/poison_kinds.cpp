// SPDX-License-Identifier: Apache-2.0
// One object of every kind that a command creates.
#include "tests/wire/poison.h"

namespace vesper::tests {

void Poison::AddKinds() {
#define VESPER_KIND(Name, type)                                                           \
  Add(number::vkCreate##Name, "vkDestroy" #Name, vk::vkCreate##Name, vk::vkDestroy##Name, \
      {VK_STRUCTURE_TYPE_##type##_CREATE_INFO})
#define VESPER_KIND_OF(Name, Vendor, type)                                                   \
  Add(number::vkCreate##Name##Vendor, "vkDestroy" #Name #Vendor, vk::vkCreate##Name##Vendor, \
      vk::vkDestroy##Name##Vendor, {VK_STRUCTURE_TYPE_##type##_CREATE_INFO_##Vendor})
  VESPER_KIND(Buffer, BUFFER);
  VESPER_KIND(BufferView, BUFFER_VIEW);
  VESPER_KIND(CommandPool, COMMAND_POOL);
  VESPER_KIND(DescriptorPool, DESCRIPTOR_POOL);
  VESPER_KIND(DescriptorSetLayout, DESCRIPTOR_SET_LAYOUT);
  VESPER_KIND(Event, EVENT);
  VESPER_KIND(Framebuffer, FRAMEBUFFER);
  VESPER_KIND(Image, IMAGE);
  VESPER_KIND(ImageView, IMAGE_VIEW);
  VESPER_KIND(PipelineCache, PIPELINE_CACHE);
  VESPER_KIND(PipelineLayout, PIPELINE_LAYOUT);
  VESPER_KIND(QueryPool, QUERY_POOL);
  VESPER_KIND(RenderPass, RENDER_PASS);
  VESPER_KIND(Sampler, SAMPLER);
  VESPER_KIND(SamplerYcbcrConversion, SAMPLER_YCBCR_CONVERSION);
  VESPER_KIND(Semaphore, SEMAPHORE);
  VESPER_KIND(ShaderModule, SHADER_MODULE);
  VESPER_KIND_OF(AccelerationStructure, KHR, ACCELERATION_STRUCTURE);
  VESPER_KIND_OF(AccelerationStructure, NV, ACCELERATION_STRUCTURE);
  VESPER_KIND_OF(IndirectCommandsLayout, EXT, INDIRECT_COMMANDS_LAYOUT);
  VESPER_KIND_OF(IndirectCommandsLayout, NV, INDIRECT_COMMANDS_LAYOUT);
  VESPER_KIND_OF(Micromap, EXT, MICROMAP);
  VESPER_KIND_OF(OpticalFlowSession, NV, OPTICAL_FLOW_SESSION);
#undef VESPER_KIND
#undef VESPER_KIND_OF
  Add(number::vkCreateRenderPass2, "vkDestroyRenderPass", vk::vkCreateRenderPass2,
      vk::vkDestroyRenderPass, {VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO_2});
  VkIndirectExecutionSetCreateInfoEXT execution_set{
      VK_STRUCTURE_TYPE_INDIRECT_EXECUTION_SET_CREATE_INFO_EXT};
  static const VkIndirectExecutionSetPipelineInfoEXT kPipelines{
      VK_STRUCTURE_TYPE_INDIRECT_EXECUTION_SET_PIPELINE_INFO_EXT, nullptr, VK_NULL_HANDLE, 1};
  execution_set.info.pPipelineInfo = &kPipelines;
  Add(number::vkCreateIndirectExecutionSetEXT, "vkDestroyIndirectExecutionSetEXT",
      vk::vkCreateIndirectExecutionSetEXT, vk::vkDestroyIndirectExecutionSetEXT, execution_set);
  Add(number::vkAllocateMemory, "vkFreeMemory", vk::vkAllocateMemory, vk::vkFreeMemory,
      VkMemoryAllocateInfo{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, 64, kMockCoherent});
  AddPipelines();
  kinds_[number::vkAllocateCommandBuffers] = {
      [this](uint64_t* handle) {
        const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                               nullptr, pool_, VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
        return vk::vkAllocateCommandBuffers(device_, &info,
                                            reinterpret_cast<VkCommandBuffer*>(handle));
      },
      [this](uint64_t handle) {
        const auto buffer = reinterpret_cast<VkCommandBuffer>(handle);
        vk::vkFreeCommandBuffers(device_, pool_, 1, &buffer);
      },
      ""};
  kinds_[number::vkAllocateDescriptorSets] = {
      [this](uint64_t* handle) {
        const VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                               nullptr, sets_, 1, &layout_};
        return vk::vkAllocateDescriptorSets(device_, &info,
                                            reinterpret_cast<VkDescriptorSet*>(handle));
      },
      [this](uint64_t handle) {
        const auto set = reinterpret_cast<VkDescriptorSet>(handle);
        vk::vkFreeDescriptorSets(device_, sets_, 1, &set);
      },
      ""};
}

void Poison::AddPipelines() {
  const auto add = [this](uint16_t command, auto create) {
    kinds_[command] = {
        [create](uint64_t* handle) { return create(reinterpret_cast<VkPipeline*>(handle)); },
        [this](uint64_t handle) {
          vk::vkDestroyPipeline(device_, reinterpret_cast<VkPipeline>(handle), nullptr);
        },
        "vkDestroyPipeline"};
  };
  add(number::vkCreateGraphicsPipelines, [this](VkPipeline* pipeline) {
    const VkGraphicsPipelineCreateInfo info{VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO};
    return vk::vkCreateGraphicsPipelines(device_, VK_NULL_HANDLE, 1, &info, nullptr, pipeline);
  });
  add(number::vkCreateComputePipelines, [this](VkPipeline* pipeline) {
    VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
    info.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  nullptr,
                  0,
                  VK_SHADER_STAGE_COMPUTE_BIT,
                  VK_NULL_HANDLE,
                  "main"};
    return vk::vkCreateComputePipelines(device_, VK_NULL_HANDLE, 1, &info, nullptr, pipeline);
  });
  add(number::vkCreateRayTracingPipelinesKHR, [this](VkPipeline* pipeline) {
    const VkRayTracingPipelineCreateInfoKHR info{
        VK_STRUCTURE_TYPE_RAY_TRACING_PIPELINE_CREATE_INFO_KHR};
    return vk::vkCreateRayTracingPipelinesKHR(device_, VK_NULL_HANDLE, VK_NULL_HANDLE, 1, &info,
                                              nullptr, pipeline);
  });
  add(number::vkCreateRayTracingPipelinesNV, [this](VkPipeline* pipeline) {
    const VkRayTracingPipelineCreateInfoNV info{
        VK_STRUCTURE_TYPE_RAY_TRACING_PIPELINE_CREATE_INFO_NV};
    return vk::vkCreateRayTracingPipelinesNV(device_, VK_NULL_HANDLE, 1, &info, nullptr, pipeline);
  });
  kinds_[number::vkCreateShadersEXT] = {
      [this](uint64_t* handle) {
        const uint32_t code = 0;
        VkShaderCreateInfoEXT info{VK_STRUCTURE_TYPE_SHADER_CREATE_INFO_EXT};
        info.codeType = VK_SHADER_CODE_TYPE_SPIRV_EXT;
        info.codeSize = sizeof(code);
        info.pCode = &code;
        return vk::vkCreateShadersEXT(device_, 1, &info, nullptr,
                                      reinterpret_cast<VkShaderEXT*>(handle));
      },
      [this](uint64_t handle) {
        vk::vkDestroyShaderEXT(device_, reinterpret_cast<VkShaderEXT>(handle), nullptr);
      },
      "vkDestroyShaderEXT"};
}

}  // namespace vesper::tests
