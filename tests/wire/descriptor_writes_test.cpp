// SPDX-License-Identifier: Apache-2.0
// What the host compares when work is done: what follows from the descriptors that are bound.
#include <array>
#include <vector>

#include "tests/wire/write_set.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr VkBufferUsageFlags kStorage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
constexpr VkDescriptorType kStorageType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;

// Three storage buffers of 4 KiB lie in the memory that is watched, 64 KiB apart.
class DescriptorWrites : public WriteSetTest {
 protected:
  void SetUp() override {
    WriteSetTest::SetUp();
    for (size_t i = 0; i < buffers_.size(); ++i) {
      buffers_[i] = Bind(At(i), 4096, kStorage);
    }
    VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
    info.maxSets = 100;
    ASSERT_EQ(vk::vkCreateDescriptorPool(device_, &info, nullptr, &set_pool_), VK_SUCCESS);
  }
  void TearDown() override {
    for (const VkDescriptorSetLayout layout : layouts_) {
      vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);
    }
    vk::vkDestroyDescriptorPool(device_, set_pool_, nullptr);
    WriteSetTest::TearDown();
  }

  static constexpr size_t At(size_t buffer) { return buffer << 16; }
  static Seen Whole(size_t buffer) { return {At(buffer), At(buffer) + 4096}; }

  VkDescriptorSetLayout MakeLayout(const std::vector<VkDescriptorSetLayoutBinding>& bindings) {
    VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
    info.bindingCount = static_cast<uint32_t>(bindings.size());
    info.pBindings = bindings.data();
    VkDescriptorSetLayout layout = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateDescriptorSetLayout(device_, &info, nullptr, &layout), VK_SUCCESS);
    layouts_.push_back(layout);
    return layout;
  }
  VkDescriptorSet MakeSet(const std::vector<VkDescriptorSetLayoutBinding>& bindings) {
    const VkDescriptorSetLayout layout = MakeLayout(bindings);
    const VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr,
                                           set_pool_, 1, &layout};
    VkDescriptorSet set = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkAllocateDescriptorSets(device_, &info, &set), VK_SUCCESS);
    return set;
  }
  // Of one binding, number 0.
  VkDescriptorSet MakeSet(VkDescriptorType type, uint32_t count = 1) {
    return MakeSet({{0, type, count, VK_SHADER_STAGE_ALL, nullptr}});
  }
  VkWriteDescriptorSet WriteOf(VkDescriptorSet set, const VkDescriptorBufferInfo* infos,
                               uint32_t count = 1, VkDescriptorType type = kStorageType) {
    return {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
            nullptr,
            set,
            0,
            0,
            count,
            type,
            nullptr,
            infos,
            nullptr};
  }
  void Update(const VkWriteDescriptorSet& write) {
    vk::vkUpdateDescriptorSets(device_, 1, &write, 0, nullptr);
  }
  void Name(VkDescriptorSet set, VkBuffer buffer, VkDeviceSize offset = 0,
            VkDeviceSize range = VK_WHOLE_SIZE, VkDescriptorType type = kStorageType) {
    const VkDescriptorBufferInfo info{buffer, offset, range};
    Update(WriteOf(set, &info, 1, type));
  }
  void BindSets(VkCommandBuffer buffer, const std::vector<VkDescriptorSet>& sets) {
    vk::vkCmdBindDescriptorSets(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, VK_NULL_HANDLE, 0,
                                static_cast<uint32_t>(sets.size()), sets.data(), 0, nullptr);
  }
  VkCommandBuffer Dispatch(const std::vector<VkDescriptorSet>& sets) {
    return Record([&](VkCommandBuffer buffer) {
      BindSets(buffer, sets);
      vk::vkCmdDispatch(buffer, 1, 1, 1);
    });
  }

  std::array<VkBuffer, 3> buffers_{};
  VkDescriptorPool set_pool_ = VK_NULL_HANDLE;
  std::vector<VkDescriptorSetLayout> layouts_;
};

TEST_F(DescriptorWrites, OnlyWhatIsBoundIsWritten) {
  EXPECT_THAT(After(Dispatch({})), IsEmpty());
  const VkDescriptorSet bound = MakeSet(kStorageType);
  const VkDescriptorSet other = MakeSet(kStorageType);
  Name(bound, buffers_[0], 256, 512);
  Name(other, buffers_[1]);
  EXPECT_THAT(After(Dispatch({bound})), ElementsAre(Seen{256, 768}));
  EXPECT_THAT(After(Dispatch({bound, VK_NULL_HANDLE, other})),
              ElementsAre(Seen{256, 768}, Whole(1)));
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) { BindSets(buffer, {bound}); }), IsEmpty())
      << "nothing runs";
}

TEST_F(DescriptorWrites, TypesDifferInWhatTheyWrite) {
  const VkBuffer texels = Bind(192u << 10, 4096, VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT);
  const VkBufferViewCreateInfo info{
      VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO, nullptr, 0, texels, VK_FORMAT_R32_UINT, 1024, 512};
  VkBufferView view = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateBufferView(device_, &info, nullptr, &view), VK_SUCCESS);
  const VkDescriptorSet set = MakeSet({
      {0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1, VK_SHADER_STAGE_ALL, nullptr},
      {1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC, 1, VK_SHADER_STAGE_ALL, nullptr},
      {2, VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, 1, VK_SHADER_STAGE_ALL, nullptr},
      {3, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, 1, VK_SHADER_STAGE_ALL, nullptr},
  });
  const VkDescriptorBufferInfo parts[] = {{buffers_[0], 0, VK_WHOLE_SIZE}, {buffers_[1], 64, 128}};
  VkWriteDescriptorSet write = WriteOf(set, &parts[0], 1, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER);
  Update(write);
  EXPECT_THAT(After(Dispatch({set})), IsEmpty());
  write = WriteOf(set, &parts[1], 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC);
  write.dstBinding = 1;
  Update(write);
  // The offset that is given when the set is bound may move it to the buffer's end.
  const Seen dynamic{At(1) + 64, At(1) + 4096};
  EXPECT_THAT(After(Dispatch({set})), ElementsAre(dynamic));
  write = WriteOf(set, nullptr, 1, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER);
  write.dstBinding = 3;
  write.pTexelBufferView = &view;
  Update(write);
  EXPECT_THAT(After(Dispatch({set})), ElementsAre(dynamic));
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER;
  write.dstBinding = 2;
  Update(write);
  vk::vkDestroyBufferView(device_, view, nullptr);
  EXPECT_THAT(After(Dispatch({set})),
              ElementsAre(dynamic, Seen{(192u << 10) + 1024, (192u << 10) + 1536}));
}

TEST_F(DescriptorWrites, ASetCountsAsItIsWhenTheWorkIsSubmitted) {
  const VkDescriptorSet set = MakeSet(kStorageType);
  Name(set, buffers_[0]);
  const VkCommandBuffer work = Dispatch({set});
  Name(set, buffers_[1]);
  EXPECT_THAT(After(work), ElementsAre(Whole(1)));
  EXPECT_THAT(After(work), ElementsAre(Whole(1))) << "submitted again";
  Name(set, buffers_[2]);
  EXPECT_THAT(After(work), ElementsAre(Whole(2)));
  Name(set, VK_NULL_HANDLE);
  EXPECT_THAT(After(work), IsEmpty());
}

TEST_F(DescriptorWrites, WhatWasSubmittedDoesNotChange) {
  const VkDescriptorSet set = MakeSet(kStorageType);
  Name(set, buffers_[0]);
  const VkCommandBuffer work = Dispatch({set});
  DeviceWritesEverywhere();
  mock_.Hold(true);
  ASSERT_EQ(Submit(work, fence_), VK_SUCCESS);
  Sync();  // the driver has it
  Name(set, buffers_[1]);
  Sync();
  mock_.Hold(false);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  EXPECT_THAT(Visible(), ElementsAre(Whole(0)));
}

TEST_F(DescriptorWrites, UpdatesRunOnIntoTheNextBindings) {
  const VkDescriptorSet set = MakeSet({
      {7, kStorageType, 1, VK_SHADER_STAGE_ALL, nullptr},
      {0, kStorageType, 2, VK_SHADER_STAGE_ALL, nullptr},
      {3, kStorageType, 0, VK_SHADER_STAGE_ALL, nullptr},
  });
  const VkDescriptorBufferInfo infos[] = {{buffers_[0], 0, 16}, {buffers_[1], 0, 16}};
  VkWriteDescriptorSet write = WriteOf(set, infos, 2);
  write.dstArrayElement = 1;
  Update(write);
  EXPECT_THAT(After(Dispatch({set})),
              ElementsAre(Seen{At(0), At(0) + 16}, Seen{At(1), At(1) + 16}));
  Name(set, buffers_[2], 0, 16);  // element 0 of binding 0, which was empty
  const VkDescriptorBufferInfo none{VK_NULL_HANDLE, 0, VK_WHOLE_SIZE};
  write = WriteOf(set, &none);
  write.dstBinding = 7;
  Update(write);
  EXPECT_THAT(After(Dispatch({set})),
              ElementsAre(Seen{At(0), At(0) + 16}, Seen{At(2), At(2) + 16}));
}

TEST_F(DescriptorWrites, CopiesCarryWhatTheSourceHolds) {
  const VkDescriptorSet from = MakeSet(kStorageType, 3);
  const VkDescriptorSet to = MakeSet(kStorageType, 3);
  const VkDescriptorBufferInfo infos[] = {{buffers_[0], 0, 16}, {buffers_[1], 0, 16}};
  Update(WriteOf(from, infos, 2));
  const VkDescriptorBufferInfo replaced{buffers_[2], 0, 16};
  VkWriteDescriptorSet write = WriteOf(to, &replaced);
  write.dstArrayElement = 1;
  Update(write);
  const VkCommandBuffer work = Dispatch({to});
  VkCopyDescriptorSet copy{VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET, nullptr, from, 0, 1, to, 0, 0, 2};
  vk::vkUpdateDescriptorSets(device_, 0, nullptr, 1, &copy);
  Name(from, buffers_[2]);
  EXPECT_THAT(After(work), ElementsAre(Seen{At(1), At(1) + 16})) << "and the empty one";
  copy = {VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET, nullptr, to, 0, 0, to, 0, 2, 1};
  vk::vkUpdateDescriptorSets(device_, 0, nullptr, 1, &copy);  // within one set
  copy = {VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET, nullptr, to, 0, 1, to, 0, 0, 1};
  vk::vkUpdateDescriptorSets(device_, 0, nullptr, 1, &copy);  // the empty one onto the other
  EXPECT_THAT(After(work), ElementsAre(Seen{At(1), At(1) + 16}));
  copy = {VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET, nullptr, to, 0, 0, to, 0, 2, 1};
  vk::vkUpdateDescriptorSets(device_, 0, nullptr, 1, &copy);
  EXPECT_THAT(After(work), IsEmpty());
}

TEST_F(DescriptorWrites, TemplatesAreUpdates) {
  const VkDescriptorSet set = MakeSet(kStorageType, 2);
  const VkDescriptorUpdateTemplateEntry entry{
      0, 0, 2, kStorageType, 8, sizeof(VkDescriptorBufferInfo) + 8};
  VkDescriptorUpdateTemplateCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO};
  info.descriptorUpdateEntryCount = 1;
  info.pDescriptorUpdateEntries = &entry;
  info.templateType = VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET;
  VkDescriptorUpdateTemplate update = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorUpdateTemplate(device_, &info, nullptr, &update), VK_SUCCESS);
  const struct {
    uint64_t unused;
    VkDescriptorBufferInfo first;
    uint64_t between;
    VkDescriptorBufferInfo second;
  } data{0, {buffers_[0], 0, 16}, 0, {buffers_[2], 32, 16}};
  vk::vkUpdateDescriptorSetWithTemplate(device_, set, update, &data);
  EXPECT_THAT(After(Dispatch({set})),
              ElementsAre(Seen{At(0), At(0) + 16}, Seen{At(2) + 32, At(2) + 48}));
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                vk::vkCmdPushDescriptorSetWithTemplate(buffer, update, VK_NULL_HANDLE, 0, &data);
                vk::vkCmdDispatch(buffer, 1, 1, 1);
              }),
              ElementsAre(Seen{At(0), At(0) + 16}, Seen{At(2) + 32, At(2) + 48}));
  vk::vkDestroyDescriptorUpdateTemplate(device_, update, nullptr);
}

TEST_F(DescriptorWrites, PushedDescriptorsStayForTheRecording) {
  const VkDescriptorBufferInfo infos[] = {{buffers_[0], 16, 16}, {buffers_[2], 0, VK_WHOLE_SIZE}};
  const VkWriteDescriptorSet first = WriteOf(VK_NULL_HANDLE, &infos[0]);
  VkPushDescriptorSetInfo second{VK_STRUCTURE_TYPE_PUSH_DESCRIPTOR_SET_INFO};
  const VkWriteDescriptorSet write = WriteOf(VK_NULL_HANDLE, &infos[1]);
  second.stageFlags = VK_SHADER_STAGE_ALL;
  second.descriptorWriteCount = 1;
  second.pDescriptorWrites = &write;
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                vk::vkCmdPushDescriptorSet(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, VK_NULL_HANDLE,
                                           0, 1, &first);
                vk::vkCmdDispatch(buffer, 1, 1, 1);
                vk::vkCmdPushDescriptorSet2(buffer, &second);
                vk::vkCmdDispatch(buffer, 1, 1, 1);
              }),
              ElementsAre(Seen{16, 32}, Whole(2)));
}

TEST_F(DescriptorWrites, SecondaryCommandBuffersBindTheirOwn) {
  const VkDescriptorSet set = MakeSet(kStorageType);
  Name(set, buffers_[0]);
  const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr,
                                         pool_, VK_COMMAND_BUFFER_LEVEL_SECONDARY, 1};
  VkCommandBuffer secondary = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkAllocateCommandBuffers(device_, &info, &secondary), VK_SUCCESS);
  const VkCommandBufferInheritanceInfo inheritance{
      VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, 0,
                                       &inheritance};
  ASSERT_EQ(vk::vkBeginCommandBuffer(secondary, &begin), VK_SUCCESS);
  VkBindDescriptorSetsInfo bind{VK_STRUCTURE_TYPE_BIND_DESCRIPTOR_SETS_INFO};
  bind.stageFlags = VK_SHADER_STAGE_ALL;
  bind.descriptorSetCount = 1;
  bind.pDescriptorSets = &set;
  vk::vkCmdBindDescriptorSets2(secondary, &bind);
  vk::vkCmdDispatch(secondary, 1, 1, 1);
  ASSERT_EQ(vk::vkEndCommandBuffer(secondary), VK_SUCCESS);
  const VkCommandBuffer primary =
      Record([&](VkCommandBuffer buffer) { vk::vkCmdExecuteCommands(buffer, 1, &secondary); });
  EXPECT_THAT(After(primary), ElementsAre(Whole(0)));
  Name(set, buffers_[1]);
  EXPECT_THAT(After(primary), ElementsAre(Whole(1)));
}

TEST_F(DescriptorWrites, SetsThatReplaceOthersBeginEmpty) {
  for (const bool reset : {false, true}) {
    const VkDescriptorSet old = MakeSet(kStorageType);
    Name(old, buffers_[0]);
    EXPECT_THAT(After(Dispatch({old})), ElementsAre(Whole(0)));
    if (reset) {
      ASSERT_EQ(vk::vkResetDescriptorPool(device_, set_pool_, 0), VK_SUCCESS);
    } else {
      ASSERT_EQ(vk::vkFreeDescriptorSets(device_, set_pool_, 1, &old), VK_SUCCESS);
    }
    const VkDescriptorSet set = MakeSet(kStorageType);
    EXPECT_THAT(After(Dispatch({set})), IsEmpty());
    Name(set, buffers_[2]);
    EXPECT_THAT(After(Dispatch({set})), ElementsAre(Whole(2)));
  }
}

TEST_F(DescriptorWrites, MutableDescriptorsHoldWhatWasWrittenLast) {
  const VkDescriptorSet set = MakeSet(VK_DESCRIPTOR_TYPE_MUTABLE_EXT, 2);
  Name(set, buffers_[1]);
  EXPECT_THAT(After(Dispatch({set})), ElementsAre(Whole(1)));
  Name(set, buffers_[0], 0, VK_WHOLE_SIZE, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER);
  EXPECT_THAT(After(Dispatch({set})), IsEmpty());
  Name(set, buffers_[0]);
  const VkDescriptorImageInfo image{};
  VkWriteDescriptorSet write = WriteOf(set, nullptr, 1, VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE);
  write.pImageInfo = &image;
  Update(write);
  EXPECT_THAT(After(Dispatch({set})), IsEmpty());
}

TEST_F(DescriptorWrites, DescriptorsOfDestroyedBuffersAreNotUsed) {
  const VkDescriptorSet set = MakeSet(kStorageType, 2);
  const VkBuffer gone = CreateBuffer(4096, kStorage);
  ASSERT_EQ(vk::vkBindBufferMemory(device_, gone, memory_, 192u << 10), VK_SUCCESS);
  const VkDescriptorBufferInfo infos[] = {{gone, 0, 16}, {buffers_[1], 0, 16}};
  Update(WriteOf(set, infos, 2));
  vk::vkDestroyBuffer(device_, gone, nullptr);
  EXPECT_THAT(After(Dispatch({set})), ElementsAre(Seen{At(1), At(1) + 16}));
}

// What is not known leads everywhere that descriptors can lead.

TEST_F(DescriptorWrites, HugeArraysLeadEverywhere) {
  const auto everywhere = ElementsAre(Whole(0), Whole(1), Whole(2));
  const VkDescriptorSet set = MakeSet(kStorageType, 5000);
  const VkDescriptorBufferInfo info{buffers_[0], 0, 16};
  VkWriteDescriptorSet write = WriteOf(set, &info);
  write.dstArrayElement = 4095;
  Update(write);
  EXPECT_THAT(After(Dispatch({set})), ElementsAre(Seen{0, 16}));
  write.dstArrayElement = 4096;
  Update(write);
  EXPECT_THAT(After(Dispatch({set})), everywhere);
  // What is copied from such a set is not known, either.
  const VkDescriptorSet copied = MakeSet(kStorageType);
  const VkCopyDescriptorSet copy{
      VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET, nullptr, set, 0, 0, copied, 0, 0, 1};
  vk::vkUpdateDescriptorSets(device_, 0, nullptr, 1, &copy);
  EXPECT_THAT(After(Dispatch({copied})), everywhere);
}

TEST_F(DescriptorWrites, DescriptorsInMemoryLeadEverywhere) {
  const VkDescriptorBufferBindingInfoEXT info{VK_STRUCTURE_TYPE_DESCRIPTOR_BUFFER_BINDING_INFO_EXT};
  const auto bind = [&](VkCommandBuffer buffer) {
    vk::vkCmdBindDescriptorBuffersEXT(buffer, 1, &info);
  };
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                bind(buffer);
                vk::vkCmdDispatch(buffer, 1, 1, 1);
              }),
              ElementsAre(Whole(0), Whole(1), Whole(2)));
  EXPECT_THAT(AfterRecording(bind), IsEmpty());
}

TEST_F(DescriptorWrites, BuffersWithoutAPlaceLeadEverywhere) {
  const VkDescriptorSet set = MakeSet(kStorageType);
  Name(set, Keep(CreateBuffer(4096, kStorage)));
  EXPECT_THAT(After(Dispatch({set})), ElementsAre(Whole(0), Whole(1), Whole(2)));
}

TEST_F(DescriptorWrites, StaleMemoryIsComparedWhenItIsMapped) {
  const VkDescriptorSet set = MakeSet(kStorageType);
  Name(set, buffers_[1]);
  vk::vkUnmapMemory(device_, memory_);
  DeviceWritesEverywhere();
  RunAndWait(Dispatch({set}));
  Map();
  EXPECT_THAT(Visible(), ElementsAre(Whole(1)));
  const VkDescriptorSet unknown = MakeSet(kStorageType);
  Name(unknown, Keep(CreateBuffer(4096, kStorage)));
  vk::vkUnmapMemory(device_, memory_);
  DeviceWritesEverywhere();
  RunAndWait(Dispatch({unknown}));
  Map();
  EXPECT_THAT(Visible(), ElementsAre(Whole(0), Whole(1), Whole(2)));
}

}  // namespace
}  // namespace vesper::tests
