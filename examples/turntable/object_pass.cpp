// SPDX-License-Identifier: Apache-2.0
#include "examples/turntable/object_pass.h"

#include <cstddef>

#include "examples/common/failure.h"
#include "examples/turntable/barriers.h"
#include "shaders/object_frag.h"
#include "shaders/object_vert.h"

namespace vesper::examples {
namespace {

// Required of every driver as a colour attachment that can be blended, sampled and resolved.
constexpr VkFormat kPictureFormat = VK_FORMAT_R16G16B16A16_SFLOAT;
// Every driver has four samples for colour and depth.
constexpr VkSampleCountFlagBits kSamples = VK_SAMPLE_COUNT_4_BIT;
constexpr VkShaderStageFlags kBothStages =
    VK_SHADER_STAGE_VERTEX_BIT | VK_SHADER_STAGE_FRAGMENT_BIT;

VkFormat ChooseDepthFormat(const Device& device) {
  for (const VkFormat format : {VK_FORMAT_D32_SFLOAT, VK_FORMAT_X8_D24_UNORM_PACK32}) {
    if (device.SupportsFormat(format, VK_FORMAT_FEATURE_DEPTH_STENCIL_ATTACHMENT_BIT)) {
      return format;
    }
  }
  return VK_FORMAT_D16_UNORM;
}

Owned<VkSampler> MakeSampler(const Device& device) {
  const VkSamplerCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO,
      .magFilter = VK_FILTER_LINEAR,
      .minFilter = VK_FILTER_LINEAR,
      .mipmapMode = VK_SAMPLER_MIPMAP_MODE_LINEAR,
      .addressModeU = VK_SAMPLER_ADDRESS_MODE_REPEAT,
      .addressModeV = VK_SAMPLER_ADDRESS_MODE_REPEAT,
      .addressModeW = VK_SAMPLER_ADDRESS_MODE_REPEAT,
      .maxLod = VK_LOD_CLAMP_NONE,
  };
  VkSampler sampler = VK_NULL_HANDLE;
  Check(device.commands().CreateSampler(device.handle(), &create_info, nullptr, &sampler),
        "vkCreateSampler");
  return {device.handle(), sampler, device.commands().DestroySampler};
}

}  // namespace

ObjectPass::ObjectPass(const Device& device, const Scene& scene, VkExtent2D extent,
                       std::span<const Buffer> uniforms)
    : device_(device),
      scene_(scene),
      extent_(extent),
      depth_format_(ChooseDepthFormat(device)),
      colour_(device, {.format = kPictureFormat,
                       .extent = extent,
                       .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT |
                                VK_IMAGE_USAGE_TRANSIENT_ATTACHMENT_BIT,
                       .samples = kSamples}),
      depth_(device, {.format = depth_format_,
                      .extent = extent,
                      .usage = VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT |
                               VK_IMAGE_USAGE_TRANSIENT_ATTACHMENT_BIT,
                      .aspect = VK_IMAGE_ASPECT_DEPTH_BIT,
                      .samples = kSamples}),
      picture_(device, {.format = kPictureFormat,
                        .extent = extent,
                        .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_SAMPLED_BIT}),
      sampler_(MakeSampler(device)) {
  MakeDescriptorSets(uniforms);
  MakePipeline();
}

void ObjectPass::MakeDescriptorSets(std::span<const Buffer> uniforms) {
  const VkDescriptorSetLayoutBinding bindings[] = {
      {.binding = 0,
       .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
       .descriptorCount = 1,
       .stageFlags = kBothStages},
      {.binding = 1,
       .descriptorType = VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER,
       .descriptorCount = 1,
       .stageFlags = VK_SHADER_STAGE_FRAGMENT_BIT},
  };
  set_layout_ = MakeDescriptorSetLayout(device_, bindings);
  const uint32_t count = static_cast<uint32_t>(uniforms.size());
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, count},
                                        {VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, count}};
  descriptor_pool_ = MakeDescriptorPool(device_, count, sizes);
  for (const Buffer& buffer : uniforms) {
    const VkDescriptorSet set =
        AllocateDescriptorSet(device_, descriptor_pool_.get(), set_layout_.get());
    const VkDescriptorBufferInfo buffer_info = {buffer.handle(), 0, sizeof(FrameUniforms)};
    const VkDescriptorImageInfo image_info = {sampler_.get(), scene_.patterns().view(),
                                              VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL};
    const VkWriteDescriptorSet writes[] = {
        {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
         .dstSet = set,
         .dstBinding = 0,
         .descriptorCount = 1,
         .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
         .pBufferInfo = &buffer_info},
        {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
         .dstSet = set,
         .dstBinding = 1,
         .descriptorCount = 1,
         .descriptorType = VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER,
         .pImageInfo = &image_info},
    };
    device_.commands().UpdateDescriptorSets(device_.handle(), 2, writes, 0, nullptr);
    sets_.push_back(set);
  }
}

void ObjectPass::MakePipeline() {
  layout_ =
      MakePipelineLayout(device_, set_layout_.get(), {kBothStages, 0, sizeof(ObjectConstants)});
  const Owned<VkShaderModule> vertex_module = MakeShaderModule(device_, kObjectVert);
  const Owned<VkShaderModule> fragment_module = MakeShaderModule(device_, kObjectFrag);
  const VkPipelineShaderStageCreateInfo stages[] = {
      {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
       .stage = VK_SHADER_STAGE_VERTEX_BIT,
       .module = vertex_module.get(),
       .pName = "main"},
      {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
       .stage = VK_SHADER_STAGE_FRAGMENT_BIT,
       .module = fragment_module.get(),
       .pName = "main"},
  };
  const VkVertexInputBindingDescription binding = {0, sizeof(Vertex), VK_VERTEX_INPUT_RATE_VERTEX};
  const VkVertexInputAttributeDescription attributes[] = {
      {0, 0, VK_FORMAT_R32G32B32_SFLOAT, offsetof(Vertex, position)},
      {1, 0, VK_FORMAT_R32G32B32_SFLOAT, offsetof(Vertex, normal)},
      {2, 0, VK_FORMAT_R32G32_SFLOAT, offsetof(Vertex, u)},
  };
  const VkPipelineVertexInputStateCreateInfo vertex_input = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO,
      .vertexBindingDescriptionCount = 1,
      .pVertexBindingDescriptions = &binding,
      .vertexAttributeDescriptionCount = 3,
      .pVertexAttributeDescriptions = attributes,
  };
  const VkPipelineInputAssemblyStateCreateInfo input_assembly = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
      .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST,
  };
  const VkPipelineViewportStateCreateInfo viewport = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO,
      .viewportCount = 1,
      .scissorCount = 1,
  };
  const VkPipelineRasterizationStateCreateInfo rasterization = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO,
      .polygonMode = VK_POLYGON_MODE_FILL,
      .cullMode = VK_CULL_MODE_BACK_BIT,
      .frontFace = VK_FRONT_FACE_COUNTER_CLOCKWISE,
      .lineWidth = 1.0f,
  };
  const VkPipelineMultisampleStateCreateInfo multisample = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
      .rasterizationSamples = kSamples,
  };
  const VkPipelineDepthStencilStateCreateInfo depth_stencil = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_DEPTH_STENCIL_STATE_CREATE_INFO,
      .depthTestEnable = VK_TRUE,
      .depthWriteEnable = VK_TRUE,
      .depthCompareOp = VK_COMPARE_OP_LESS,
  };
  const VkPipelineColorBlendAttachmentState attachment = {
      .colorWriteMask = VK_COLOR_COMPONENT_R_BIT | VK_COLOR_COMPONENT_G_BIT |
                        VK_COLOR_COMPONENT_B_BIT | VK_COLOR_COMPONENT_A_BIT};
  const VkPipelineColorBlendStateCreateInfo blend = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
      .attachmentCount = 1,
      .pAttachments = &attachment,
  };
  const VkDynamicState dynamic_states[] = {VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
  const VkPipelineDynamicStateCreateInfo dynamic = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO,
      .dynamicStateCount = 2,
      .pDynamicStates = dynamic_states,
  };
  const VkPipelineRenderingCreateInfo rendering = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO,
      .colorAttachmentCount = 1,
      .pColorAttachmentFormats = &kPictureFormat,
      .depthAttachmentFormat = depth_format_,
  };
  const VkGraphicsPipelineCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
      .pNext = &rendering,
      .stageCount = 2,
      .pStages = stages,
      .pVertexInputState = &vertex_input,
      .pInputAssemblyState = &input_assembly,
      .pViewportState = &viewport,
      .pRasterizationState = &rasterization,
      .pMultisampleState = &multisample,
      .pDepthStencilState = &depth_stencil,
      .pColorBlendState = &blend,
      .pDynamicState = &dynamic,
      .layout = layout_.get(),
  };
  VkPipeline pipeline = VK_NULL_HANDLE;
  Check(device_.commands().CreateGraphicsPipelines(device_.handle(), VK_NULL_HANDLE, 1,
                                                   &create_info, nullptr, &pipeline),
        "vkCreateGraphicsPipelines");
  pipeline_ = {device_.handle(), pipeline, device_.commands().DestroyPipeline};
}

void ObjectPass::Record(VkCommandBuffer commands, uint32_t frame, uint32_t slot) const {
  const DeviceCommands& vk = device_.commands();
  // The frame before may still draw into these images or read the picture: same queue, so naming
  // those stages here is enough to wait for it.
  const VkImageMemoryBarrier2 before[] = {
      ImageBarrier(colour_, kColourWrite, VK_IMAGE_LAYOUT_UNDEFINED, kColourWrite,
                   VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL),
      ImageBarrier(depth_, kDepthTest, VK_IMAGE_LAYOUT_UNDEFINED, kDepthTest,
                   VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL),
      ImageBarrier(picture_, kComputeSample, VK_IMAGE_LAYOUT_UNDEFINED, kColourWrite,
                   VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL),
  };
  RecordBarriers(device_, commands, before);

  const VkRenderingAttachmentInfo colour_attachment = {
      .sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
      .imageView = colour_.view(),
      .imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
      .resolveMode = VK_RESOLVE_MODE_AVERAGE_BIT,
      .resolveImageView = picture_.view(),
      .resolveImageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
      .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
      .storeOp = VK_ATTACHMENT_STORE_OP_DONT_CARE,
      .clearValue = {},  // black, and covered by nothing
  };
  const VkRenderingAttachmentInfo depth_attachment = {
      .sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
      .imageView = depth_.view(),
      .imageLayout = VK_IMAGE_LAYOUT_DEPTH_ATTACHMENT_OPTIMAL,
      .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
      .storeOp = VK_ATTACHMENT_STORE_OP_DONT_CARE,
      .clearValue = {.depthStencil = {1.0f, 0}},
  };
  const VkRenderingInfo rendering_info = {
      .sType = VK_STRUCTURE_TYPE_RENDERING_INFO,
      .renderArea = {{}, extent_},
      .layerCount = 1,
      .colorAttachmentCount = 1,
      .pColorAttachments = &colour_attachment,
      .pDepthAttachment = &depth_attachment,
  };
  vk.CmdBeginRendering(commands, &rendering_info);
  const VkViewport viewport = {
      0.0f, 0.0f, static_cast<float>(extent_.width), static_cast<float>(extent_.height),
      0.0f, 1.0f};
  const VkRect2D scissor = {{}, extent_};
  vk.CmdSetViewport(commands, 0, 1, &viewport);
  vk.CmdSetScissor(commands, 0, 1, &scissor);
  vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline_.get());
  vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, layout_.get(), 0, 1,
                           &sets_[slot], 0, nullptr);
  RecordObject(commands, scene_.knot(), KnotOfFrame(frame));
  RecordObject(commands, scene_.platter(), PlatterOfFrame(frame));
  vk.CmdEndRendering(commands);

  const VkImageMemoryBarrier2 after =
      ImageBarrier(picture_, kColourWrite, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, kComputeSample,
                   VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
  RecordBarriers(device_, commands, {&after, 1});
}

void ObjectPass::RecordObject(VkCommandBuffer commands, const DeviceMesh& mesh,
                              const ObjectConstants& constants) const {
  const DeviceCommands& vk = device_.commands();
  const VkBuffer vertices = mesh.vertices.handle();
  const VkDeviceSize offset = 0;
  vk.CmdPushConstants(commands, layout_.get(), kBothStages, 0, sizeof(constants), &constants);
  vk.CmdBindVertexBuffers(commands, 0, 1, &vertices, &offset);
  vk.CmdBindIndexBuffer(commands, mesh.indices.handle(), 0, VK_INDEX_TYPE_UINT32);
  vk.CmdDrawIndexed(commands, mesh.index_count, 1, 0, 0, 0);
}

}  // namespace vesper::examples
