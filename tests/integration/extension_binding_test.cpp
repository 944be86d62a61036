// SPDX-License-Identifier: Apache-2.0
// Extensions that bind shaders and descriptors in their own ways, and those that tell about memory.
#include <cstdint>
#include <cstring>

#include "shaders/push_write_comp.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class ExtensionBindingTest : public ::testing::Test, public Gpu {
 protected:
  void SetUp() override { OpenInstance(); }

  bool OpenWith(const std::vector<const char*>& extensions, void* device_features) {
    for (const char* extension : extensions) {
      if (!HasDeviceExtension(extension)) {
        return false;
      }
    }
    GpuOptions options;
    options.device_extensions = extensions;
    options.device_features = device_features;
    OpenDevice(options);
    return true;
  }

  // The layout of push_write.comp: a storage buffer, and eight bytes of push constants.
  void MakeLayouts(VkDescriptorSetLayoutCreateFlags flags = 0) {
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                               VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    set_layout_ = MakeSetLayout(*this, {&binding, 1}, flags);
    layout_ = MakePipelineLayout(*this, {set_layout_.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 8);
  }

  void PushAndDispatch(VkCommandBuffer commands, uint32_t slot, uint32_t value) {
    const uint32_t push[2] = {slot, value};
    vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
    vk.CmdDispatch(commands, 1, 1, 1);
    FullBarrier(commands);
  }

  VkDeviceAddress AddressOf(VkBuffer buffer) {
    VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
    info.buffer = buffer;
    return vk.GetBufferDeviceAddress(device, &info);
  }

  Owned<VkDescriptorSetLayout> set_layout_;
  Owned<VkPipelineLayout> layout_;
};

TEST_F(ExtensionBindingTest, ShaderObjectAndItsBinary) {
  VkPhysicalDeviceShaderObjectFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_OBJECT_FEATURES_EXT};
  feature.shaderObject = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_shader_object"}, &feature));
  const auto create = vk.Find<PFN_vkCreateShadersEXT>(device, "vkCreateShadersEXT");
  const auto destroy = vk.Find<PFN_vkDestroyShaderEXT>(device, "vkDestroyShaderEXT");
  const auto bind = vk.Find<PFN_vkCmdBindShadersEXT>(device, "vkCmdBindShadersEXT");
  const auto binary_data =
      vk.Find<PFN_vkGetShaderBinaryDataEXT>(device, "vkGetShaderBinaryDataEXT");
  ASSERT_TRUE(create != nullptr && destroy != nullptr && bind != nullptr && binary_data != nullptr);
  MakeLayouts();
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, 8};
  VkShaderCreateInfoEXT info{VK_STRUCTURE_TYPE_SHADER_CREATE_INFO_EXT};
  info.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.codeType = VK_SHADER_CODE_TYPE_SPIRV_EXT;
  info.codeSize = sizeof(kPushWriteComp);
  info.pCode = kPushWriteComp;
  info.pName = "main";
  info.setLayoutCount = 1;
  info.pSetLayouts = set_layout_.address();
  info.pushConstantRangeCount = 1;
  info.pPushConstantRanges = &range;
  VkShaderEXT shaders[2] = {};
  ASSERT_EQ(VK_SUCCESS, create(device, 1, &info, nullptr, &shaders[0]));
  size_t size = 0;
  ASSERT_EQ(VK_SUCCESS, binary_data(device, shaders[0], &size, nullptr));
  // Binaries have to be at such addresses.
  std::vector<uint64_t> binary((size + 15) / 8 + 2);
  void* aligned =
      reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(binary.data()) + 15) & ~uintptr_t{15});
  ASSERT_EQ(VK_SUCCESS, binary_data(device, shaders[0], &size, aligned));
  info.codeType = VK_SHADER_CODE_TYPE_BINARY_EXT;
  info.codeSize = size;
  info.pCode = aligned;
  ASSERT_EQ(VK_SUCCESS, create(device, 1, &info, nullptr, &shaders[1]));

  const Buffer data = MakeHostBuffer(*this, 64);
  const VkDescriptorPoolSize pool_size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
  const Owned<VkDescriptorPool> pool = MakePool(*this, {&pool_size, 1}, 1);
  VkDescriptorSet set = AllocateSet(*this, pool, set_layout_);
  WriteBufferDescriptor(*this, set, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, data.handle);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set, 0,
                             nullptr);
    for (uint32_t i = 0; i < 2; ++i) {
      const VkShaderStageFlagBits stage = VK_SHADER_STAGE_COMPUTE_BIT;
      bind(commands, 1, &stage, &shaders[i]);
      PushAndDispatch(commands, i, 60 + i);
    }
  });
  EXPECT_EQ(60u, data.As<uint32_t>()[0]);
  EXPECT_EQ(61u, data.As<uint32_t>()[1]);
  for (const VkShaderEXT shader : shaders) {
    destroy(device, shader, nullptr);
  }
}

TEST_F(ExtensionBindingTest, DescriptorsInABuffer) {
  // The program writes descriptors, whose bytes mean something to the host's GPU only, into memory
  // that it has mapped.
  VkPhysicalDeviceDescriptorBufferFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DESCRIPTOR_BUFFER_FEATURES_EXT};
  feature.descriptorBuffer = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_descriptor_buffer"}, &feature));
  const auto layout_size =
      vk.Find<PFN_vkGetDescriptorSetLayoutSizeEXT>(device, "vkGetDescriptorSetLayoutSizeEXT");
  const auto binding_offset = vk.Find<PFN_vkGetDescriptorSetLayoutBindingOffsetEXT>(
      device, "vkGetDescriptorSetLayoutBindingOffsetEXT");
  const auto get_descriptor = vk.Find<PFN_vkGetDescriptorEXT>(device, "vkGetDescriptorEXT");
  const auto bind_buffers =
      vk.Find<PFN_vkCmdBindDescriptorBuffersEXT>(device, "vkCmdBindDescriptorBuffersEXT");
  const auto set_offsets =
      vk.Find<PFN_vkCmdSetDescriptorBufferOffsetsEXT>(device, "vkCmdSetDescriptorBufferOffsetsEXT");
  ASSERT_TRUE(layout_size != nullptr && binding_offset != nullptr && get_descriptor != nullptr &&
              bind_buffers != nullptr && set_offsets != nullptr);
  VkPhysicalDeviceDescriptorBufferPropertiesEXT limits{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DESCRIPTOR_BUFFER_PROPERTIES_EXT};
  VkPhysicalDeviceProperties2 root{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  root.pNext = &limits;
  vk.GetPhysicalDeviceProperties2(physical_device, &root);

  MakeLayouts(VK_DESCRIPTOR_SET_LAYOUT_CREATE_DESCRIPTOR_BUFFER_BIT_EXT);
  const Owned<VkPipeline> pipeline =
      MakeComputePipeline(*this, kPushWriteComp, layout_, nullptr, VK_NULL_HANDLE,
                          VK_PIPELINE_CREATE_DESCRIPTOR_BUFFER_BIT_EXT);
  VkDeviceSize size = 0;
  VkDeviceSize offset = 0;
  layout_size(device, set_layout_, &size);
  binding_offset(device, set_layout_, 0, &offset);
  const VkDeviceSize step = (size + limits.descriptorBufferOffsetAlignment - 1) /
                            limits.descriptorBufferOffsetAlignment *
                            limits.descriptorBufferOffsetAlignment;
  const Buffer descriptors = MakeHostBuffer(*this, 2 * step,
                                            VK_BUFFER_USAGE_RESOURCE_DESCRIPTOR_BUFFER_BIT_EXT |
                                                VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
  const Buffer data[2] = {
      MakeHostBuffer(*this, 64, kStorageUsage | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT),
      MakeHostBuffer(*this, 64, kStorageUsage | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT)};
  for (uint32_t i = 0; i < 2; ++i) {
    VkDescriptorAddressInfoEXT address{VK_STRUCTURE_TYPE_DESCRIPTOR_ADDRESS_INFO_EXT};
    address.address = AddressOf(data[i].handle);
    address.range = 64;
    VkDescriptorGetInfoEXT info{VK_STRUCTURE_TYPE_DESCRIPTOR_GET_INFO_EXT};
    info.type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    info.data.pStorageBuffer = &address;
    get_descriptor(device, &info, limits.storageBufferDescriptorSize,
                   descriptors.data + i * step + offset);
  }
  VkDescriptorBufferBindingInfoEXT binding{VK_STRUCTURE_TYPE_DESCRIPTOR_BUFFER_BINDING_INFO_EXT};
  binding.address = AddressOf(descriptors.handle);
  binding.usage = VK_BUFFER_USAGE_RESOURCE_DESCRIPTOR_BUFFER_BIT_EXT;
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    bind_buffers(commands, 1, &binding);
    for (uint32_t i = 0; i < 2; ++i) {
      const uint32_t buffer_index = 0;
      const VkDeviceSize at = i * step;
      set_offsets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &buffer_index, &at);
      PushAndDispatch(commands, 3 + i, 80 + i);
    }
  });
  EXPECT_EQ(80u, data[0].As<uint32_t>()[3]);
  EXPECT_EQ(0u, data[0].As<uint32_t>()[4]);
  EXPECT_EQ(81u, data[1].As<uint32_t>()[4]);
}

TEST_F(ExtensionBindingTest, MutableDescriptorType) {
  VkPhysicalDeviceMutableDescriptorTypeFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MUTABLE_DESCRIPTOR_TYPE_FEATURES_EXT};
  feature.mutableDescriptorType = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_mutable_descriptor_type"}, &feature));
  const VkDescriptorType types[2] = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                     VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER};
  const VkMutableDescriptorTypeListEXT list{2, types};
  VkMutableDescriptorTypeCreateInfoEXT lists{
      VK_STRUCTURE_TYPE_MUTABLE_DESCRIPTOR_TYPE_CREATE_INFO_EXT};
  lists.mutableDescriptorTypeListCount = 1;
  lists.pMutableDescriptorTypeLists = &list;
  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_MUTABLE_EXT, 1,
                                             VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  info.pNext = &lists;
  info.bindingCount = 1;
  info.pBindings = &binding;
  set_layout_ = Make(vk.CreateDescriptorSetLayout, vk.DestroyDescriptorSetLayout, info);
  layout_ = MakePipelineLayout(*this, {set_layout_.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 8);
  const Owned<VkPipeline> pipeline = MakeComputePipeline(*this, kPushWriteComp, layout_);
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_MUTABLE_EXT, 1};
  VkDescriptorPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  pool_info.pNext = &lists;
  pool_info.maxSets = 1;
  pool_info.poolSizeCount = 1;
  pool_info.pPoolSizes = &size;
  const Owned<VkDescriptorPool> pool =
      Make(vk.CreateDescriptorPool, vk.DestroyDescriptorPool, pool_info);
  VkDescriptorSet set = AllocateSet(*this, pool, set_layout_);
  const Buffer data = MakeHostBuffer(*this, 64);
  WriteBufferDescriptor(*this, set, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, data.handle);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set, 0,
                             nullptr);
    PushAndDispatch(commands, 5, 55);
  });
  EXPECT_EQ(55u, data.As<uint32_t>()[5]);
}

TEST_F(ExtensionBindingTest, MemoryBudgetAndPriority) {
  VkPhysicalDeviceMemoryPriorityFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PRIORITY_FEATURES_EXT};
  feature.memoryPriority = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_memory_budget", "VK_EXT_memory_priority"}, &feature));
  VkMemoryPriorityAllocateInfoEXT priority{VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT};
  priority.priority = 0.75f;
  const Owned<VkDeviceMemory> memory = Allocate(1 << 20, 0, &priority);
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
  VkPhysicalDeviceMemoryProperties2 root{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
  root.pNext = &budget;
  vk.GetPhysicalDeviceMemoryProperties2(physical_device, &root);
  for (uint32_t i = 0; i < root.memoryProperties.memoryHeapCount; ++i) {
    EXPECT_GT(budget.heapBudget[i], 0u);
    EXPECT_LE(budget.heapBudget[i], root.memoryProperties.memoryHeaps[i].size);
  }
  // Entries beyond the heaps are zero.
  EXPECT_EQ(0u, budget.heapBudget[root.memoryProperties.memoryHeapCount]);
}

TEST_F(ExtensionBindingTest, CustomBorderColor) {
  VkPhysicalDeviceCustomBorderColorFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_CUSTOM_BORDER_COLOR_FEATURES_EXT};
  feature.customBorderColors = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_custom_border_color"}, &feature));
  VkSamplerCustomBorderColorCreateInfoEXT color{
      VK_STRUCTURE_TYPE_SAMPLER_CUSTOM_BORDER_COLOR_CREATE_INFO_EXT};
  color.customBorderColor.float32[1] = 0.5f;
  color.format = VK_FORMAT_R8G8B8A8_UNORM;
  VkSamplerCreateInfo info{VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
  info.pNext = &color;
  info.addressModeU = info.addressModeV = info.addressModeW =
      VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_BORDER;
  info.borderColor = VK_BORDER_COLOR_FLOAT_CUSTOM_EXT;
  const Owned<VkSampler> sampler = Make(vk.CreateSampler, vk.DestroySampler, info);
  EXPECT_NE(VkSampler{VK_NULL_HANDLE}, sampler.get());
}

}  // namespace
}  // namespace vesper::tests
