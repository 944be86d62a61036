// SPDX-License-Identifier: Apache-2.0
// Descriptor sets: arrays, offsets while binding, copies between sets, pools that run out, updates
// after binding. Push descriptors, templates, inline uniform blocks and samplers have files of
// their own.
#include <cstdint>
#include <utility>

#include "shaders/gather_comp.h"
#include "shaders/push_write_comp.h"
#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

// Distances between the numbers in one buffer that satisfy every offset alignment.
constexpr VkDeviceSize kStep = 256;

class DescriptorSetTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    numbers_ =
        MakeHostBuffer(gpu(), 16 * kStep, kStorageUsage | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT);
    results_ = MakeHostBuffer(gpu(), 64 * sizeof(uint32_t));
    for (uint32_t i = 0; i < 16; ++i) {
      // Powers of two: a sum tells which numbers are in it.
      numbers_.As<uint32_t>()[i * kStep / sizeof(uint32_t)] = 1u << i;
    }
  }

  // The layouts that gather.comp asks for; the first two bindings with the types given.
  void MakeLayouts(VkDescriptorType uniform = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                   VkDescriptorType storage = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER) {
    const VkDescriptorSetLayoutBinding inputs[3] = {
        {0, uniform, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr},
        {1, storage, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr},
        {2, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 3, VK_SHADER_STAGE_COMPUTE_BIT, nullptr}};
    const VkDescriptorSetLayoutBinding outputs[1] = {
        {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr}};
    input_layout_ = MakeSetLayout(gpu(), inputs);
    output_layout_ = MakeSetLayout(gpu(), outputs);
    const VkDescriptorSetLayout both[2] = {input_layout_, output_layout_};
    layout_ = MakePipelineLayout(gpu(), both, VK_SHADER_STAGE_COMPUTE_BIT, 4);
    pipeline_ = MakeComputePipeline(gpu(), kGatherComp, layout_);
    const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 8},
                                          {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 48},
                                          {VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, 8},
                                          {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC, 8}};
    pool_ = MakePool(gpu(), sizes, 16);
    output_set_ = AllocateSet(gpu(), pool_, output_layout_);
    WriteBufferDescriptor(gpu(), output_set_, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                          results_.handle);
  }

  VkDescriptorBufferInfo Number(uint32_t index) const {
    return {numbers_.handle, index * kStep, 16};
  }

  void WriteNumber(VkDescriptorSet set, uint32_t binding, VkDescriptorType type, uint32_t index) {
    WriteBufferDescriptor(gpu(), set, binding, type, numbers_.handle, index * kStep, 16);
  }

  // Three numbers into the array at binding 2.
  void WriteElements(VkDescriptorSet set, uint32_t a, uint32_t b, uint32_t c) {
    const VkDescriptorBufferInfo infos[3] = {Number(a), Number(b), Number(c)};
    VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    write.dstSet = set;
    write.dstBinding = 2;
    write.descriptorCount = 3;
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = infos;
    vk.UpdateDescriptorSets(device, 1, &write, 0, nullptr);
  }

  // Binds and dispatches; the sum appears at results()[slot].
  void Gather(VkCommandBuffer commands, VkDescriptorSet inputs, uint32_t slot,
              std::span<const uint32_t> offsets = {}) {
    const VkDescriptorSet sets[2] = {inputs, output_set_};
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 2, sets,
                             static_cast<uint32_t>(offsets.size()), offsets.data());
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

TEST_F(DescriptorSetTest, BuffersAndArrays) {
  MakeLayouts();
  VkDescriptorSet set = AllocateSet(gpu(), pool_, input_layout_);
  WriteNumber(set, 0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 0);
  WriteNumber(set, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 3);
  WriteElements(set, 5, 7, 9);
  Execute([&](VkCommandBuffer commands) { Gather(commands, set, 2); });
  EXPECT_EQ(1u + 8 + 32 + 128 + 512, results()[2]);
}

TEST_F(DescriptorSetTest, CopiesBetweenSets) {
  MakeLayouts();
  VkDescriptorSet first = AllocateSet(gpu(), pool_, input_layout_);
  VkDescriptorSet second = AllocateSet(gpu(), pool_, input_layout_);
  WriteNumber(first, 0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1);
  WriteNumber(first, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2);
  WriteElements(first, 3, 4, 5);
  WriteElements(second, 10, 10, 10);
  VkCopyDescriptorSet copies[3] = {{VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET},
                                   {VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET},
                                   {VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET}};
  for (uint32_t i = 0; i < 3; ++i) {
    copies[i].srcSet = first;
    copies[i].dstSet = second;
    copies[i].srcBinding = copies[i].dstBinding = i;
    copies[i].descriptorCount = 1;
  }
  // Of the array: elements 1 and 2 to the places 0 and 1.
  copies[2].srcArrayElement = 1;
  copies[2].descriptorCount = 2;
  // A write in the same call comes first.
  const VkDescriptorBufferInfo number = Number(6);
  VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.dstSet = first;
  write.dstBinding = 2;
  write.dstArrayElement = 2;
  write.descriptorCount = 1;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  write.pBufferInfo = &number;
  vk.UpdateDescriptorSets(device, 1, &write, 3, copies);
  Execute([&](VkCommandBuffer commands) { Gather(commands, second, 0); });
  EXPECT_EQ(2u + 4 + 16 + 64 + 1024, results()[0]);
}

TEST_F(DescriptorSetTest, DynamicOffsets) {
  MakeLayouts(VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC);
  VkDescriptorSet set = AllocateSet(gpu(), pool_, input_layout_);
  WriteNumber(set, 0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, 0);
  WriteNumber(set, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC, 1);
  WriteElements(set, 13, 14, 15);
  Execute([&](VkCommandBuffer commands) {
    for (uint32_t i = 0; i < 5; ++i) {
      const uint32_t offsets[2] = {static_cast<uint32_t>(i * kStep),
                                   static_cast<uint32_t>(2 * i * kStep)};
      Gather(commands, set, i, offsets);
    }
  });
  for (uint32_t i = 0; i < 5; ++i) {
    EXPECT_EQ((1u << i) + (2u << (2 * i)) + (7u << 13), results()[i]);
  }
}

TEST_F(DescriptorSetTest, BindDescriptorSets2) {
  VESPER_REQUIRE(features.v14.maintenance6 == VK_TRUE);
  MakeLayouts();
  VkDescriptorSet set = AllocateSet(gpu(), pool_, input_layout_);
  WriteNumber(set, 0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 2);
  WriteNumber(set, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2);
  WriteElements(set, 2, 2, 2);
  const VkDescriptorSet sets[2] = {set, output_set_};
  VkBindDescriptorSetsInfo info{VK_STRUCTURE_TYPE_BIND_DESCRIPTOR_SETS_INFO};
  info.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  info.layout = layout_;
  info.descriptorSetCount = 2;
  info.pDescriptorSets = sets;
  Execute([&](VkCommandBuffer commands) {
    const uint32_t slot = 1;
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
    vk.CmdBindDescriptorSets2(commands, &info);
    vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, 4, &slot);
    vk.CmdDispatch(commands, 1, 1, 1);
  });
  EXPECT_EQ(20u, results()[1]);
}

TEST_F(DescriptorSetTest, LayoutsMayGoBeforeTheirUsers) {
  // Set layouts are needed to create, not to use.
  MakeLayouts();
  VkDescriptorSet set = AllocateSet(gpu(), pool_, input_layout_);
  input_layout_.Reset();
  output_layout_.Reset();
  WriteNumber(set, 0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 0);
  WriteNumber(set, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1);
  WriteElements(set, 2, 3, 4);
  Execute([&](VkCommandBuffer commands) { Gather(commands, set, 0); });
  EXPECT_EQ(31u, results()[0]);
}

TEST_F(DescriptorSetTest, ResetPoolGivesAllSetsBack) {
  MakeLayouts();
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 4},
                                        {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 16}};
  const Owned<VkDescriptorPool> pool = MakePool(gpu(), sizes, 4);
  for (uint32_t round = 0; round < 10; ++round) {
    VkDescriptorSet last = VK_NULL_HANDLE;
    for (int i = 0; i < 4; ++i) {
      last = AllocateSet(gpu(), pool, input_layout_);
    }
    WriteNumber(last, 0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, round);
    WriteNumber(last, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, round);
    WriteElements(last, round, round, round);
    Execute([&](VkCommandBuffer commands) { Gather(commands, last, round); });
    EXPECT_EQ(5u << round, results()[round]);
    ASSERT_EQ(VK_SUCCESS, vk.ResetDescriptorPool(device, pool, 0));
  }
}

TEST_F(DescriptorSetTest, FreedSetsMakeRoom) {
  MakeLayouts();
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2};
  const Owned<VkDescriptorPool> pool =
      MakePool(gpu(), {&size, 1}, 2, VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT);
  for (int round = 0; round < 20; ++round) {
    const VkDescriptorSet sets[3] = {AllocateSet(gpu(), pool, output_layout_), VK_NULL_HANDLE,
                                     AllocateSet(gpu(), pool, output_layout_)};
    ASSERT_NE(sets[0], sets[2]);
    ASSERT_EQ(VK_SUCCESS, vk.FreeDescriptorSets(device, pool, 3, sets));
  }
}

TEST_F(DescriptorSetTest, OverdrawnPool) {
  // A driver may give more than the pool was made for (lavapipe does), or it says that the pool is
  // empty; then it has made no set, and the room that there was is still there.
  MakeLayouts();
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 4};
  const Owned<VkDescriptorPool> pool = MakePool(gpu(), {&size, 1}, 4);
  const std::vector<VkDescriptorSetLayout> layouts(5, output_layout_);
  VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  info.descriptorPool = pool;
  info.descriptorSetCount = 5;
  info.pSetLayouts = layouts.data();
  std::vector<VkDescriptorSet> sets(5);
  const VkResult result = vk.AllocateDescriptorSets(device, &info, sets.data());
  if (result != VK_SUCCESS) {
    EXPECT_TRUE(result == VK_ERROR_OUT_OF_POOL_MEMORY || result == VK_ERROR_FRAGMENTED_POOL)
        << ResultName(result);
    EXPECT_EQ(std::vector<VkDescriptorSet>(5), sets);
    info.descriptorSetCount = 1;
    EXPECT_EQ(VK_SUCCESS, vk.AllocateDescriptorSets(device, &info, sets.data()));
  }
  ASSERT_EQ(VK_SUCCESS, vk.ResetDescriptorPool(device, pool, 0));
  EXPECT_NE(nullptr, AllocateSet(gpu(), pool, output_layout_));
}

TEST_F(DescriptorSetTest, PoolsAtRandom) {
  // Within what the specification promises every allocation succeeds, beyond it the driver says;
  // and no failure comes to light later.
  const VkDescriptorType types[2] = {VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                                     VK_DESCRIPTOR_TYPE_STORAGE_BUFFER};
  std::vector<Owned<VkDescriptorSetLayout>> layouts;
  for (uint32_t i = 0; i < 9; ++i) {
    const VkDescriptorSetLayoutBinding bindings[2] = {
        {0, types[0], i / 3, VK_SHADER_STAGE_COMPUTE_BIT, nullptr},
        {1, types[1], i % 3, VK_SHADER_STAGE_COMPUTE_BIT, nullptr}};
    layouts.push_back(MakeSetLayout(gpu(), bindings));
  }
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const VkDescriptorPoolSize sizes[2] = {{types[0], 24}, {types[1], 24}};
    VkDescriptorPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
    pool_info.flags = VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT;
    pool_info.maxSets = 16;
    pool_info.poolSizeCount = 2;
    pool_info.pPoolSizes = sizes;
    VkDescriptorPool pool = VK_NULL_HANDLE;
    ASSERT_EQ(VK_SUCCESS, vk.CreateDescriptorPool(device, &pool_info, nullptr, &pool));
    std::vector<std::pair<VkDescriptorSet, uint32_t>> live;  // with their layouts' indices
    bool has_freed = false;
    for (int step = 0; step < 150; ++step) {
      if (random.OneIn(40)) {
        ASSERT_EQ(VK_SUCCESS, vk.ResetDescriptorPool(device, pool, 0));
        live.clear();
        has_freed = false;
      } else if (!live.empty() && random.OneIn(3)) {
        const size_t victim = random.Below(live.size());
        ASSERT_EQ(VK_SUCCESS, vk.FreeDescriptorSets(device, pool, 1, &live[victim].first));
        live.erase(live.begin() + static_cast<ptrdiff_t>(victim));
        has_freed = true;
      } else {
        const auto kind = static_cast<uint32_t>(random.Below(9));
        const VkDescriptorSetLayout layout = layouts[kind];
        VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
        info.descriptorPool = pool;
        info.descriptorSetCount = 1;
        info.pSetLayouts = &layout;
        VkDescriptorSet set = VK_NULL_HANDLE;
        const VkResult result = vk.AllocateDescriptorSets(device, &info, &set);
        uint32_t used[2] = {kind / 3, kind % 3};
        for (const auto& [other, index] : live) {
          used[0] += index / 3;
          used[1] += index % 3;
        }
        const bool is_promised = !has_freed && live.size() < 16 && used[0] <= 24 && used[1] <= 24;
        EXPECT_EQ(result == VK_SUCCESS, set != VK_NULL_HANDLE);
        if (result == VK_SUCCESS) {
          live.emplace_back(set, kind);
        } else {
          EXPECT_FALSE(is_promised) << ResultName(result);
          EXPECT_TRUE(result == VK_ERROR_OUT_OF_POOL_MEMORY || result == VK_ERROR_FRAGMENTED_POOL)
              << ResultName(result);
        }
      }
    }
    // Each is there to be written.
    for (const auto& [set, kind] : live) {
      if (kind / 3 != 0) {
        WriteNumber(set, 0, types[0], 1);
      }
      if (kind % 3 != 0) {
        WriteNumber(set, 1, types[1], 2);
      }
    }
    EXPECT_EQ(VK_SUCCESS, vk.QueueSubmit(gpu().queue, 0, nullptr, VK_NULL_HANDLE));
    EXPECT_EQ(VK_SUCCESS, vk.DeviceWaitIdle(device));
    vk.DestroyDescriptorPool(device, pool, nullptr);
    EXPECT_EQ(VK_SUCCESS, vk.QueueSubmit(gpu().queue, 0, nullptr, VK_NULL_HANDLE))
        << "nothing failed behind the program's back";
  }
}

TEST_F(DescriptorSetTest, VariableCountAndPartiallyBound) {
  VESPER_REQUIRE(features.v12.descriptorBindingVariableDescriptorCount == VK_TRUE);
  VESPER_REQUIRE(features.v12.descriptorBindingPartiallyBound == VK_TRUE);
  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 8,
                                             VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  const VkDescriptorBindingFlags flags = VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT |
                                         VK_DESCRIPTOR_BINDING_PARTIALLY_BOUND_BIT;
  VkDescriptorSetLayoutBindingFlagsCreateInfo flags_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO};
  flags_info.bindingCount = 1;
  flags_info.pBindingFlags = &flags;
  VkDescriptorSetLayoutCreateInfo layout_info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  layout_info.pNext = &flags_info;
  layout_info.bindingCount = 1;
  layout_info.pBindings = &binding;
  VkDescriptorSetVariableDescriptorCountLayoutSupport most{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_VARIABLE_DESCRIPTOR_COUNT_LAYOUT_SUPPORT};
  VkDescriptorSetLayoutSupport support{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_SUPPORT};
  support.pNext = &most;
  vk.GetDescriptorSetLayoutSupport(device, &layout_info, &support);
  ASSERT_EQ(VK_TRUE, support.supported);
  EXPECT_GE(most.maxVariableDescriptorCount, 8u);
  const Owned<VkDescriptorSetLayout> set_layout =
      Make(vk.CreateDescriptorSetLayout, vk.DestroyDescriptorSetLayout, layout_info);

  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 3};
  const Owned<VkDescriptorPool> pool = MakePool(gpu(), {&size, 1}, 1);
  const uint32_t count = 3;
  VkDescriptorSetVariableDescriptorCountAllocateInfo counts{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_VARIABLE_DESCRIPTOR_COUNT_ALLOCATE_INFO};
  counts.descriptorSetCount = 1;
  counts.pDescriptorCounts = &count;
  VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  info.pNext = &counts;
  info.descriptorPool = pool;
  info.descriptorSetCount = 1;
  info.pSetLayouts = set_layout.address();
  VkDescriptorSet set = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS, vk.AllocateDescriptorSets(device, &info, &set));
  // Only the first element is written; the shader uses no other.
  WriteBufferDescriptor(gpu(), set, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, results_.handle);
  const Owned<VkPipelineLayout> layout =
      MakePipelineLayout(gpu(), {set_layout.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 8);
  const Owned<VkPipeline> pipeline = MakeComputePipeline(gpu(), kPushWriteComp, layout);
  Execute([&](VkCommandBuffer commands) {
    const uint32_t push[2] = {4, 44};
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0,
                             nullptr);
    vk.CmdPushConstants(commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
    vk.CmdDispatch(commands, 1, 1, 1);
  });
  EXPECT_EQ(44u, results()[4]);
}

TEST_F(DescriptorSetTest, UpdateAfterBind) {
  VESPER_REQUIRE(features.v12.descriptorBindingStorageBufferUpdateAfterBind == VK_TRUE);
  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                             VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  const VkDescriptorBindingFlags flags = VK_DESCRIPTOR_BINDING_UPDATE_AFTER_BIND_BIT;
  VkDescriptorSetLayoutBindingFlagsCreateInfo flags_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO};
  flags_info.bindingCount = 1;
  flags_info.pBindingFlags = &flags;
  VkDescriptorSetLayoutCreateInfo layout_info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  layout_info.pNext = &flags_info;
  layout_info.flags = VK_DESCRIPTOR_SET_LAYOUT_CREATE_UPDATE_AFTER_BIND_POOL_BIT;
  layout_info.bindingCount = 1;
  layout_info.pBindings = &binding;
  const Owned<VkDescriptorSetLayout> set_layout =
      Make(vk.CreateDescriptorSetLayout, vk.DestroyDescriptorSetLayout, layout_info);
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
  const Owned<VkDescriptorPool> pool =
      MakePool(gpu(), {&size, 1}, 1, VK_DESCRIPTOR_POOL_CREATE_UPDATE_AFTER_BIND_BIT);
  VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  const Owned<VkPipelineLayout> layout =
      MakePipelineLayout(gpu(), {set_layout.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 8);
  const Owned<VkPipeline> pipeline = MakeComputePipeline(gpu(), kPushWriteComp, layout);
  VkCommandBuffer commands = Record([&](VkCommandBuffer buffer) {
    const uint32_t push[2] = {7, 70};
    vk.CmdBindPipeline(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdBindDescriptorSets(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0,
                             nullptr);
    vk.CmdPushConstants(buffer, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
    vk.CmdDispatch(buffer, 1, 1, 1);
    FullBarrier(buffer);
  });
  const Buffer other = MakeHostBuffer(gpu(), 64);
  for (const Buffer* target : {&std::as_const(results_), &other}) {
    WriteBufferDescriptor(gpu(), set, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, target->handle);
    Submit(commands);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    EXPECT_EQ(70u, target->As<uint32_t>()[7]);
    target->As<uint32_t>()[7] = 0;
  }
  EXPECT_EQ(0u, results()[7]);
}

}  // namespace
}  // namespace vesper::tests
