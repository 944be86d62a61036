// SPDX-License-Identifier: Apache-2.0
// What the guest collects before a submission: of buffers that have to be named, those that the
// command buffers name. The mock tells which allocations had the program's latest bytes when the
// work ran.
#include <array>
#include <vector>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr VkDeviceSize kSize = 64u << 10;
constexpr VkBufferUsageFlags kStorage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
constexpr VkBufferUsageFlags kNamed =
    kStorage | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_VERTEX_BUFFER_BIT |
    VK_BUFFER_USAGE_INDEX_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT;
constexpr VkDescriptorType kStorageType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;

// Three allocations, each with a buffer that can only be reached by naming it.
class DescriptorReads : public WireTest {
 protected:
  void SetUp() override {
    Open();
    for (VkBuffer& buffer : buffers_) {
      buffer = Add(kNamed);
    }
    VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
    info.maxSets = 2000;
    ASSERT_EQ(vk::vkCreateDescriptorPool(device_, &info, nullptr, &set_pool_), VK_SUCCESS);
    fence_ = CreateFence();
    mock_.OnExecute([this] {
      reached_.clear();
      for (size_t i = 0; i < data_.size(); ++i) {
        if (mock_.Memory(i)[0] == value_) {
          reached_.push_back(i);
        }
      }
    });
  }
  void TearDown() override {
    for (const VkDescriptorSetLayout layout : layouts_) {
      vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);
    }
    vk::vkDestroyDescriptorPool(device_, set_pool_, nullptr);
    for (const VkDeviceMemory memory : memories_) {
      vk::vkFreeMemory(device_, memory, nullptr);
    }
    vk::vkDestroyFence(device_, fence_, nullptr);
  }

  // A buffer with these usages in an allocation of its own, which is mapped and watched.
  VkBuffer Add(VkBufferUsageFlags usage) {
    memories_.push_back(Allocate(kSize, kMockCoherent));
    const VkBuffer buffer = Keep(CreateBuffer(kSize, usage));
    EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memories_.back(), 0), VK_SUCCESS);
    void* data = nullptr;
    EXPECT_EQ(vk::vkMapMemory(device_, memories_.back(), 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    data_.push_back(static_cast<std::byte*>(data));
    return buffer;
  }
  VkDescriptorSet MakeSet(VkDescriptorType type = kStorageType, uint32_t count = 1) {
    const VkDescriptorSetLayoutBinding binding{0, type, count, VK_SHADER_STAGE_ALL, nullptr};
    const VkDescriptorSetLayoutCreateInfo layout_info{
        VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, 1, &binding};
    VkDescriptorSetLayout layout = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateDescriptorSetLayout(device_, &layout_info, nullptr, &layout), VK_SUCCESS);
    layouts_.push_back(layout);
    const VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr,
                                           set_pool_, 1, &layout};
    VkDescriptorSet set = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkAllocateDescriptorSets(device_, &info, &set), VK_SUCCESS);
    return set;
  }
  void Name(VkDescriptorSet set, VkBuffer buffer, VkDescriptorType type = kStorageType,
            uint32_t element = 0) {
    const VkDescriptorBufferInfo info{buffer, 0, 16};
    const VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                     nullptr,
                                     set,
                                     0,
                                     element,
                                     1,
                                     type,
                                     nullptr,
                                     &info,
                                     nullptr};
    vk::vkUpdateDescriptorSets(device_, 1, &write, 0, nullptr);
  }
  static void BindSet(VkCommandBuffer buffer, VkDescriptorSet set) {
    vk::vkCmdBindDescriptorSets(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, VK_NULL_HANDLE, 0, 1, &set,
                                0, nullptr);
  }
  template <typename Commands>
  VkCommandBuffer Record(const Commands& commands) {
    VkCommandBuffer buffer = Begin();
    commands(buffer);
    EXPECT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
    return buffer;
  }
  VkCommandBuffer Dispatch(VkDescriptorSet set) {
    return Record([set](VkCommandBuffer buffer) {
      BindSet(buffer, set);
      vk::vkCmdDispatch(buffer, 1, 1, 1);
    });
  }
  void ProgramWritesEverywhere() {
    value_ = static_cast<std::byte>(static_cast<int>(value_) + 1);
    for (std::byte* data : data_) {
      data[0] = value_;
    }
  }
  // Which allocations had what the program wrote.
  std::vector<size_t> Reached(VkCommandBuffer buffer) {
    ProgramWritesEverywhere();
    EXPECT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
    EXPECT_EQ(Submit(buffer, fence_), VK_SUCCESS);
    EXPECT_EQ(Wait(fence_), VK_SUCCESS);
    return reached_;
  }
  template <typename Commands>
  std::vector<size_t> ReachedBy(const Commands& commands) {
    return Reached(Record(commands));
  }

  std::array<VkBuffer, 3> buffers_{};
  std::vector<VkDeviceMemory> memories_;
  std::vector<std::byte*> data_;
  std::vector<VkDescriptorSetLayout> layouts_;
  VkDescriptorPool set_pool_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  std::byte value_{0x10};
  std::vector<size_t> reached_;
};

TEST_F(DescriptorReads, OnlyWhatIsBoundIsCollected) {
  const VkDescriptorSet set = MakeSet();
  Name(set, buffers_[1]);
  EXPECT_THAT(ReachedBy([](VkCommandBuffer it) { vk::vkCmdDispatch(it, 1, 1, 1); }), IsEmpty());
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) { BindSet(it, set); }), IsEmpty());
  EXPECT_THAT(Reached(Dispatch(set)), ElementsAre(1));
  const VkDescriptorSet other = MakeSet(VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC);
  Name(other, buffers_[0], VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC);
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                const VkDescriptorSet sets[] = {set, VK_NULL_HANDLE, other};
                VkBindDescriptorSetsInfo info{VK_STRUCTURE_TYPE_BIND_DESCRIPTOR_SETS_INFO};
                const uint32_t offset = 0;
                info.stageFlags = VK_SHADER_STAGE_ALL;
                info.descriptorSetCount = 3;
                info.pDescriptorSets = sets;
                info.dynamicOffsetCount = 1;
                info.pDynamicOffsets = &offset;
                vk::vkCmdBindDescriptorSets2(it, &info);
                vk::vkCmdDraw(it, 3, 1, 0, 0);
              }),
              ElementsAre(0, 1));
}

TEST_F(DescriptorReads, ASetCountsAsItIsWhenTheWorkIsSubmitted) {
  const VkDescriptorSet set = MakeSet();
  Name(set, buffers_[0]);
  const VkCommandBuffer work = Dispatch(set);
  Name(set, buffers_[1]);
  EXPECT_THAT(Reached(work), ElementsAre(1));
  EXPECT_THAT(Reached(work), ElementsAre(1)) << "submitted again";
  Name(set, buffers_[2]);
  EXPECT_THAT(Reached(work), ElementsAre(2));
  const VkDescriptorSet from = MakeSet();
  Name(from, buffers_[0]);
  const VkCopyDescriptorSet copy{
      VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET, nullptr, from, 0, 0, set, 0, 0, 1};
  vk::vkUpdateDescriptorSets(device_, 0, nullptr, 1, &copy);
  EXPECT_THAT(Reached(work), ElementsAre(0));
}

TEST_F(DescriptorReads, TemplatesAndPushedDescriptorsName) {
  const VkDescriptorUpdateTemplateEntry entry{0, 0, 1, kStorageType, 0, 0};
  VkDescriptorUpdateTemplateCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO};
  info.descriptorUpdateEntryCount = 1;
  info.pDescriptorUpdateEntries = &entry;
  VkDescriptorUpdateTemplate update = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorUpdateTemplate(device_, &info, nullptr, &update), VK_SUCCESS);
  const VkDescriptorBufferInfo infos[] = {
      {buffers_[0], 0, 16}, {buffers_[1], 0, 16}, {buffers_[2], 0, 16}};
  const VkDescriptorSet set = MakeSet();
  vk::vkUpdateDescriptorSetWithTemplate(device_, set, update, &infos[2]);
  EXPECT_THAT(Reached(Dispatch(set)), ElementsAre(2));
  VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.descriptorCount = 1;
  write.descriptorType = kStorageType;
  write.pBufferInfo = &infos[0];
  const auto bind_point = VK_PIPELINE_BIND_POINT_COMPUTE;
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                vk::vkCmdPushDescriptorSet(it, bind_point, VK_NULL_HANDLE, 0, 1, &write);
                vk::vkCmdDispatch(it, 1, 1, 1);
                vk::vkCmdPushDescriptorSetWithTemplate(it, update, VK_NULL_HANDLE, 0, &infos[1]);
                vk::vkCmdDispatch(it, 1, 1, 1);
              }),
              ElementsAre(0, 1));
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                VkPushDescriptorSetInfo push{VK_STRUCTURE_TYPE_PUSH_DESCRIPTOR_SET_INFO};
                push.stageFlags = VK_SHADER_STAGE_ALL;
                push.descriptorWriteCount = 1;
                push.pDescriptorWrites = &write;
                vk::vkCmdPushDescriptorSet2(it, &push);
                vk::vkCmdDispatch(it, 1, 1, 1);
              }),
              ElementsAre(0));
  vk::vkDestroyDescriptorUpdateTemplate(device_, update, nullptr);
}

TEST_F(DescriptorReads, SecondaryCommandBuffersNameForThePrimary) {
  const VkDescriptorSet set = MakeSet();
  Name(set, buffers_[2]);
  const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr,
                                         pool_, VK_COMMAND_BUFFER_LEVEL_SECONDARY, 1};
  VkCommandBuffer secondary = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkAllocateCommandBuffers(device_, &info, &secondary), VK_SUCCESS);
  const VkCommandBufferInheritanceInfo inheritance{
      VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, 0,
                                       &inheritance};
  ASSERT_EQ(vk::vkBeginCommandBuffer(secondary, &begin), VK_SUCCESS);
  BindSet(secondary, set);
  vk::vkCmdBindIndexBuffer(secondary, buffers_[0], 0, VK_INDEX_TYPE_UINT16);
  vk::vkCmdDrawIndexed(secondary, 3, 1, 0, 0, 0);
  ASSERT_EQ(vk::vkEndCommandBuffer(secondary), VK_SUCCESS);
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) { vk::vkCmdExecuteCommands(it, 1, &secondary); }),
              ElementsAre(0, 2));
}

TEST_F(DescriptorReads, ARecordingForgetsTheOneBefore) {
  const VkDescriptorSet sets[] = {MakeSet(), MakeSet()};
  Name(sets[0], buffers_[0]);
  Name(sets[1], buffers_[1]);
  const VkCommandBuffer buffer = Dispatch(sets[0]);
  EXPECT_THAT(Reached(buffer), ElementsAre(0));
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  ASSERT_EQ(vk::vkBeginCommandBuffer(buffer, &begin), VK_SUCCESS);
  BindSet(buffer, sets[1]);
  vk::vkCmdDispatch(buffer, 1, 1, 1);
  ASSERT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  EXPECT_THAT(Reached(buffer), ElementsAre(1));
  ASSERT_EQ(vk::vkFreeDescriptorSets(device_, set_pool_, 1, &sets[0]), VK_SUCCESS);
  ASSERT_EQ(vk::vkResetDescriptorPool(device_, set_pool_, 0), VK_SUCCESS);
  const VkDescriptorSet again = MakeSet();
  EXPECT_THAT(Reached(Dispatch(again)), IsEmpty());
  Name(again, buffers_[2]);
  EXPECT_THAT(Reached(Dispatch(again)), ElementsAre(2));
}

// Each command that names buffers by itself, with the buffers that it names.
TEST_F(DescriptorReads, CommandsNameTheirBuffers) {
  const VkDeviceSize offsets[] = {0, 0, 0};
  const VkBuffer vertex_buffers[] = {buffers_[0], VK_NULL_HANDLE, buffers_[2]};
  const auto draw = [](VkCommandBuffer it) { vk::vkCmdDraw(it, 3, 1, 0, 0); };
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                vk::vkCmdBindVertexBuffers(it, 0, 3, vertex_buffers, offsets);
                draw(it);
              }),
              ElementsAre(0, 2));
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                vk::vkCmdBindVertexBuffers2(it, 0, 3, vertex_buffers, offsets, nullptr, nullptr);
                draw(it);
              }),
              ElementsAre(0, 2));
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                vk::vkCmdBindIndexBuffer(it, buffers_[1], 0, VK_INDEX_TYPE_UINT16);
                draw(it);
              }),
              ElementsAre(1));
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                vk::vkCmdBindIndexBuffer2(it, buffers_[1], 0, 64, VK_INDEX_TYPE_UINT16);
                draw(it);
              }),
              ElementsAre(1));
  const VkBuffer of = buffers_[0];
  const VkBuffer count = buffers_[2];
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) { vk::vkCmdDrawIndirect(it, of, 0, 1, 16); }),
              ElementsAre(0));
  EXPECT_THAT(
      ReachedBy([&](VkCommandBuffer it) { vk::vkCmdDrawIndexedIndirect(it, of, 0, 1, 20); }),
      ElementsAre(0));
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                vk::vkCmdDrawIndirectCount(it, of, 0, count, 0, 1, 16);
              }),
              ElementsAre(0, 2));
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                vk::vkCmdDrawIndexedIndirectCount(it, of, 0, count, 0, 1, 20);
              }),
              ElementsAre(0, 2));
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                vk::vkCmdDrawIndirectByteCountEXT(it, 1, 0, of, 0, 0, 16);
              }),
              ElementsAre(0));
  EXPECT_THAT(
      ReachedBy([&](VkCommandBuffer it) { vk::vkCmdDrawMeshTasksIndirectEXT(it, of, 0, 1, 12); }),
      ElementsAre(0));
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                vk::vkCmdDrawMeshTasksIndirectCountEXT(it, of, 0, count, 0, 1, 12);
              }),
              ElementsAre(0, 2));
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) { vk::vkCmdDispatchIndirect(it, of, 0); }),
              ElementsAre(0));
}

TEST_F(DescriptorReads, WhatNeedsNoNameIsInReachOfAllShaders) {
  Add(kStorage | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
  Add(VK_BUFFER_USAGE_TRANSFORM_FEEDBACK_BUFFER_BIT_EXT);
  Add(VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT);
  Add(VK_BUFFER_USAGE_CONDITIONAL_RENDERING_BIT_EXT);
  Add(VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
  EXPECT_THAT(ReachedBy([](VkCommandBuffer it) { vk::vkCmdDispatch(it, 1, 1, 1); }),
              ElementsAre(3, 4, 5, 6));
}

// What is not known may name any buffer.

TEST_F(DescriptorReads, WhatIsNotKnownNamesAll) {
  const auto everything = ElementsAre(0, 1, 2);
  EXPECT_THAT(ReachedBy([](VkCommandBuffer it) {
                const VkDecompressMemoryRegionNV region{};
                vk::vkCmdDecompressMemoryNV(it, 1, &region);
              }),
              everything);
  EXPECT_THAT(ReachedBy([](VkCommandBuffer it) {
                const VkDescriptorBufferBindingInfoEXT info{
                    VK_STRUCTURE_TYPE_DESCRIPTOR_BUFFER_BINDING_INFO_EXT};
                vk::vkCmdBindDescriptorBuffersEXT(it, 1, &info);
                vk::vkCmdDispatch(it, 1, 1, 1);
              }),
              everything);
  const VkDescriptorSet huge = MakeSet(kStorageType, 5000);
  Name(huge, buffers_[0], kStorageType, 4096);
  EXPECT_THAT(Reached(Dispatch(huge)), everything);
  const VkDescriptorSet unplaced = MakeSet();
  Name(unplaced, Keep(CreateBuffer(kSize, kStorage)));
  EXPECT_THAT(Reached(Dispatch(unplaced)), everything);
  std::vector<VkDescriptorSet> sets(1200);
  for (VkDescriptorSet& set : sets) {
    set = MakeSet();
  }
  EXPECT_THAT(ReachedBy([&](VkCommandBuffer it) {
                for (const VkDescriptorSet set : sets) {
                  BindSet(it, set);
                }
                vk::vkCmdDispatch(it, 1, 1, 1);
              }),
              everything);
}

TEST_F(DescriptorReads, ASignalReleasesWhatWaitingWorkNames) {
  const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  VkSemaphore semaphore = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateSemaphore(device_, &info, nullptr, &semaphore), VK_SUCCESS);
  const VkDescriptorSet set = MakeSet();
  Name(set, buffers_[1]);
  const VkCommandBuffer work = Dispatch(set);
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo waits{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  waits.waitSemaphoreCount = 1;
  waits.pWaitSemaphores = &semaphore;
  waits.pWaitDstStageMask = &stage;
  waits.commandBufferCount = 1;
  waits.pCommandBuffers = &work;
  VkSubmitInfo signals{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  signals.signalSemaphoreCount = 1;
  signals.pSignalSemaphores = &semaphore;
  ASSERT_EQ(vk::vkQueueSubmit(queue_, 1, &waits, VK_NULL_HANDLE), VK_SUCCESS);
  Sync();
  ProgramWritesEverywhere();
  ASSERT_EQ(vk::vkQueueSubmit(queue_, 1, &signals, fence_), VK_SUCCESS);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  EXPECT_THAT(reached_, testing::Contains(1));
  ASSERT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  vk::vkDestroySemaphore(device_, semaphore, nullptr);
}

}  // namespace
}  // namespace vesper::tests
