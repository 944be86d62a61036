// SPDX-License-Identifier: Apache-2.0
// Descriptors without a set, and set updates in the caller's own shape: push descriptors, update
// templates, inline uniform blocks.
#include <cstddef>
#include <cstdint>

#include "shaders/gather_comp.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kStep = 256;

// A program's own structure, out of which a template picks the descriptors.
struct Inputs {
  uint32_t unrelated = 0xDEADBEEF;
  VkDescriptorBufferInfo uniform{};
  VkDescriptorBufferInfo storage{};
  struct Element {
    VkDescriptorBufferInfo info{};
    uint64_t padding = ~0ull;
  } elements[3];
};

class PushDescriptorTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    numbers_ =
        MakeHostBuffer(gpu(), 16 * kStep, kStorageUsage | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT);
    results_ = MakeHostBuffer(gpu(), 64);
    for (uint32_t i = 0; i < 16; ++i) {
      numbers_.As<uint32_t>()[i * kStep / sizeof(uint32_t)] = 1u << i;
    }
  }

  void MakeLayouts(VkDescriptorSetLayoutCreateFlags input_flags,
                   VkDescriptorType uniform = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                   uint32_t uniform_count = 1) {
    const VkDescriptorSetLayoutBinding inputs[3] = {
        {0, uniform, uniform_count, VK_SHADER_STAGE_COMPUTE_BIT, nullptr},
        {1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr},
        {2, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 3, VK_SHADER_STAGE_COMPUTE_BIT, nullptr}};
    const VkDescriptorSetLayoutBinding outputs[1] = {
        {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr}};
    input_layout_ = MakeSetLayout(gpu(), inputs, input_flags);
    output_layout_ = MakeSetLayout(gpu(), outputs);
    const VkDescriptorSetLayout both[2] = {input_layout_, output_layout_};
    layout_ = MakePipelineLayout(gpu(), both, VK_SHADER_STAGE_COMPUTE_BIT, 4);
    pipeline_ = MakeComputePipeline(gpu(), kGatherComp, layout_);
    VkDescriptorPoolInlineUniformBlockCreateInfo inline_info{
        VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO};
    inline_info.maxInlineUniformBlockBindings = 4;
    const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 4},
                                          {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 20},
                                          {VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 64}};
    VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
    info.pNext = features.v13.inlineUniformBlock == VK_TRUE ? &inline_info : nullptr;
    info.maxSets = 4;
    info.poolSizeCount = features.v13.inlineUniformBlock == VK_TRUE ? 3 : 2;
    info.pPoolSizes = sizes;
    pool_ = Make(vk.CreateDescriptorPool, vk.DestroyDescriptorPool, info);
    output_set_ = AllocateSet(gpu(), pool_, output_layout_);
    WriteBufferDescriptor(gpu(), output_set_, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                          results_.handle);
  }

  VkDescriptorBufferInfo Number(uint32_t index) const {
    return {numbers_.handle, index * kStep, 16};
  }

  // The five numbers that gather.comp adds up, beginning with 2^first.
  Inputs MakeInputs(uint32_t first) const {
    Inputs inputs;
    inputs.uniform = Number(first);
    inputs.storage = Number(first + 1);
    for (uint32_t i = 0; i < 3; ++i) {
      inputs.elements[i].info = Number(first + 2 + i);
    }
    return inputs;
  }

  Owned<VkDescriptorUpdateTemplate> MakeTemplate(VkDescriptorUpdateTemplateType type) {
    const VkDescriptorUpdateTemplateEntry entries[3] = {
        {0, 0, 1, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, offsetof(Inputs, uniform), 0},
        {1, 0, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, offsetof(Inputs, storage), 0},
        {2, 0, 3, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, offsetof(Inputs, elements),
         sizeof(Inputs::Element)}};
    VkDescriptorUpdateTemplateCreateInfo info{
        VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO};
    info.descriptorUpdateEntryCount = 3;
    info.pDescriptorUpdateEntries = entries;
    info.templateType = type;
    info.descriptorSetLayout = input_layout_;
    info.pipelineBindPoint = VK_PIPELINE_BIND_POINT_COMPUTE;
    info.pipelineLayout = layout_;
    return Make(vk.CreateDescriptorUpdateTemplate, vk.DestroyDescriptorUpdateTemplate, info);
  }

  void BindOutputAndDispatch(VkCommandBuffer commands, uint32_t slot) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 1, 1, &output_set_,
                             0, nullptr);
    vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, 4, &slot);
    vk.CmdDispatch(commands, 1, 1, 1);
    FullBarrier(commands);
  }

  std::span<uint32_t> results() const { return results_.As<uint32_t>(); }

  Buffer numbers_;
  Buffer results_;
  Owned<VkDescriptorSetLayout> input_layout_;
  Owned<VkDescriptorSetLayout> output_layout_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkPipeline> pipeline_;
  Owned<VkDescriptorPool> pool_;
  VkDescriptorSet output_set_ = VK_NULL_HANDLE;
};

TEST_F(PushDescriptorTest, PushedWritesAndPartialPushes) {
  VESPER_REQUIRE(features.v14.pushDescriptor == VK_TRUE);
  MakeLayouts(VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT);
  const VkDescriptorBufferInfo infos[5] = {Number(0), Number(1), Number(2), Number(3), Number(4)};
  VkWriteDescriptorSet writes[3] = {{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET},
                                    {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET},
                                    {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET}};
  for (uint32_t i = 0; i < 3; ++i) {
    // The set that a pushed write names is ignored, and may be rubbish.
    writes[i].dstSet = reinterpret_cast<VkDescriptorSet>(uintptr_t{0xBAD0});
    writes[i].dstBinding = i;
    writes[i].descriptorCount = i == 2 ? 3 : 1;
    writes[i].descriptorType =
        i == 0 ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    writes[i].pBufferInfo = &infos[i];
  }
  const VkDescriptorBufferInfo tenth = Number(10);
  VkWriteDescriptorSet second = writes[1];
  second.pBufferInfo = &tenth;
  VkPushDescriptorSetInfo push2{VK_STRUCTURE_TYPE_PUSH_DESCRIPTOR_SET_INFO};
  push2.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  push2.layout = layout_;
  push2.descriptorWriteCount = 1;
  const VkDescriptorBufferInfo eleventh = Number(11);
  VkWriteDescriptorSet third = writes[0];
  third.pBufferInfo = &eleventh;
  push2.pDescriptorWrites = &third;
  Execute([&](VkCommandBuffer commands) {
    vk.CmdPushDescriptorSet(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 3, writes);
    BindOutputAndDispatch(commands, 0);
    // What is not pushed again stays.
    vk.CmdPushDescriptorSet(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &second);
    BindOutputAndDispatch(commands, 1);
    vk.CmdPushDescriptorSet2(commands, &push2);
    BindOutputAndDispatch(commands, 2);
  });
  EXPECT_EQ(31u, results()[0]);
  EXPECT_EQ(31u - 2 + 1024, results()[1]);
  EXPECT_EQ(31u - 1 - 2 + 1024 + 2048, results()[2]);
}

TEST_F(PushDescriptorTest, PushedWithATemplate) {
  VESPER_REQUIRE(features.v14.pushDescriptor == VK_TRUE);
  MakeLayouts(VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT);
  const Owned<VkDescriptorUpdateTemplate> update =
      MakeTemplate(VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_PUSH_DESCRIPTORS);
  Execute([&](VkCommandBuffer commands) {
    for (uint32_t i = 0; i < 4; ++i) {
      const Inputs inputs = MakeInputs(i);
      if (i % 2 == 0) {
        vk.CmdPushDescriptorSetWithTemplate(commands, update, layout_, 0, &inputs);
      } else {
        VkPushDescriptorSetWithTemplateInfo info{
            VK_STRUCTURE_TYPE_PUSH_DESCRIPTOR_SET_WITH_TEMPLATE_INFO};
        info.descriptorUpdateTemplate = update;
        info.layout = layout_;
        info.pData = &inputs;
        vk.CmdPushDescriptorSetWithTemplate2(commands, &info);
      }
      BindOutputAndDispatch(commands, i);
    }
  });
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(31u << i, results()[i]);
  }
}

TEST_F(PushDescriptorTest, SetUpdatedWithATemplate) {
  MakeLayouts(0);
  const Owned<VkDescriptorUpdateTemplate> update =
      MakeTemplate(VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET);
  VkDescriptorSet set = AllocateSet(gpu(), pool_, input_layout_);
  for (uint32_t i = 0; i < 5; ++i) {
    const Inputs inputs = MakeInputs(2 * i);
    vk.UpdateDescriptorSetWithTemplate(device, set, update, &inputs);
    Execute([&](VkCommandBuffer commands) {
      vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set, 0,
                               nullptr);
      BindOutputAndDispatch(commands, i);
    });
    EXPECT_EQ(31u << (2 * i), results()[i]);
  }
}

TEST_F(PushDescriptorTest, InlineUniformBlock) {
  VESPER_REQUIRE(features.v13.inlineUniformBlock == VK_TRUE);
  MakeLayouts(0, VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 16);
  VkDescriptorSet set = AllocateSet(gpu(), pool_, input_layout_);
  VkDescriptorSet copy = AllocateSet(gpu(), pool_, input_layout_);
  for (VkDescriptorSet each : {set, copy}) {
    WriteBufferDescriptor(gpu(), each, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, numbers_.handle, 0,
                          16);
    const VkDescriptorBufferInfo infos[3] = {Number(1), Number(2), Number(3)};
    VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    write.dstSet = each;
    write.dstBinding = 2;
    write.descriptorCount = 3;
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = infos;
    vk.UpdateDescriptorSets(device, 1, &write, 0, nullptr);
  }
  uint32_t value[4] = {1000, 0, 0, 0};
  VkWriteDescriptorSetInlineUniformBlock block{
      VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK};
  block.dataSize = 16;
  block.pData = value;
  VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.pNext = &block;
  write.dstSet = set;
  write.descriptorCount = 16;  // In bytes, for this type.
  write.descriptorType = VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK;
  vk.UpdateDescriptorSets(device, 1, &write, 0, nullptr);
  VkCopyDescriptorSet bytes{VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET};
  bytes.srcSet = set;
  bytes.dstSet = copy;
  bytes.descriptorCount = 16;
  vk.UpdateDescriptorSets(device, 0, nullptr, 1, &bytes);
  // A template takes the bytes straight out of the program's data.
  const VkDescriptorUpdateTemplateEntry entry{
      0, 0, 4, VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, sizeof(uint32_t), 0};
  VkDescriptorUpdateTemplateCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO};
  info.descriptorUpdateEntryCount = 1;
  info.pDescriptorUpdateEntries = &entry;
  info.templateType = VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET;
  info.descriptorSetLayout = input_layout_;
  const Owned<VkDescriptorUpdateTemplate> update =
      Make(vk.CreateDescriptorUpdateTemplate, vk.DestroyDescriptorUpdateTemplate, info);
  const uint32_t data[2] = {1, 50'000};
  vk.UpdateDescriptorSetWithTemplate(device, set, update, data);
  Execute([&](VkCommandBuffer commands) {
    for (uint32_t i = 0; i < 2; ++i) {
      const VkDescriptorSet inputs = i == 0 ? set : copy;
      vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &inputs, 0,
                               nullptr);
      BindOutputAndDispatch(commands, i);
    }
  });
  EXPECT_EQ(50'000u + 15, results()[0]);
  EXPECT_EQ(1000u + 15, results()[1]);
}

}  // namespace
}  // namespace vesper::tests
