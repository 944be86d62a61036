// SPDX-License-Identifier: Apache-2.0
// Every way to lead a shader to a buffer: the program's bytes get there, the shader's come back,
// and the buffers beside it, which the work was not led to, stay as they are on both sides.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "shaders/push_write_comp.h"
#include "shaders/transform_comp.h"
#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr uint32_t kWords = 5000;
constexpr VkDeviceSize kBytes = kWords * sizeof(uint32_t);
// Where the words begin in each buffer: what a dynamic offset or a range may be.
constexpr VkDeviceSize kStart = 4096;
constexpr VkDeviceSize kSize = 3 * 65536;
constexpr VkDescriptorType kStorageType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
constexpr VkPipelineBindPoint kCompute = VK_PIPELINE_BIND_POINT_COMPUTE;

class MemoryDescriptorTest : public VulkanTest {
 protected:
  // Leads what is recorded next to binding 0 being a buffer from kStart on.
  using Bind = std::function<void(VkCommandBuffer, VkBuffer)>;

  void SetUp() override {
    VulkanTest::SetUp();
    for (int i = 0; i < 4; ++i) {
      buffers_.push_back(MakeHostBuffer(gpu(), kSize));
      contents_.emplace_back(kSize);
    }
  }

  void MakePipeline(VkDescriptorType type, VkDescriptorSetLayoutCreateFlags flags = 0,
                    const void* next = nullptr) {
    const VkDescriptorSetLayoutBinding binding{0, type, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    const VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                               next, flags, 1, &binding};
    set_layout_ = Make(vk.CreateDescriptorSetLayout, vk.DestroyDescriptorSetLayout, info);
    layout_ = MakePipelineLayout(gpu(), {set_layout_.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 8);
    pipeline_ = MakeComputePipeline(gpu(), kTransformComp, layout_);
  }
  void MakePools(VkDescriptorType type, VkDescriptorPoolCreateFlags flags = 0) {
    const VkDescriptorPoolSize size{type, 8};
    pool_ = MakePool(gpu(), {&size, 1}, 8, flags);
  }
  void BindSet(VkCommandBuffer commands, VkDescriptorSet set,
               std::vector<uint32_t> offsets = {}) const {
    vk.CmdBindDescriptorSets(commands, kCompute, layout_, 0, 1, &set,
                             static_cast<uint32_t>(offsets.size()), offsets.data());
  }
  VkWriteDescriptorSet WriteOf(VkDescriptorSet set, const VkDescriptorBufferInfo& info) const {
    return {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
            nullptr,
            set,
            0,
            0,
            1,
            kStorageType,
            nullptr,
            &info,
            nullptr};
  }
  static VkDescriptorBufferInfo InfoOf(VkBuffer buffer) { return {buffer, kStart, kBytes}; }

  void Dispatch(VkCommandBuffer commands, uint32_t salt) {
    const uint32_t push[] = {salt, kWords};
    vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(push), push);
    vk.CmdBindPipeline(commands, kCompute, pipeline_);
    vk.CmdDispatch(commands, (kWords + 63) / 64, 1, 1);
  }
  // The program writes all over the buffers.
  void Write() {
    for (size_t i = 0; i < buffers_.size(); ++i) {
      for (int k = 0; k < 40; ++k) {
        const size_t at = random_.Below(kSize);
        buffers_[i].data[at] = contents_[i][at] = static_cast<uint8_t>(random_.Next());
      }
    }
  }
  void Expect(size_t transformed, uint32_t salt) {
    for (uint32_t i = 0; i < kWords; ++i) {
      uint8_t* place = &contents_[transformed][kStart + i * sizeof(uint32_t)];
      uint32_t word = 0;
      std::memcpy(&word, place, sizeof(word));
      word = word * 3 + salt + i;
      std::memcpy(place, &word, sizeof(word));
    }
    for (size_t i = 0; i < buffers_.size(); ++i) {
      ASSERT_EQ(0, std::memcmp(contents_[i].data(), buffers_[i].data, kSize))
          << "buffer " << i << ", when " << transformed << " was transformed";
    }
  }
  void SubmitAndWait(VkCommandBuffer commands) {
    Submit(commands);
    VESPER_CHECK(vk.QueueWaitIdle(queue));
  }
  // Leads a dispatch to one buffer after the other.
  void Check(const Bind& bind) {
    for (uint32_t round = 0; round < 9; ++round) {
      const size_t target = round % 3;  // the last buffer never is
      Write();
      Execute([&](VkCommandBuffer commands) {
        FullBarrier(commands);
        bind(commands, buffers_[target].handle);
        Dispatch(commands, round);
        FullBarrier(commands);
      });
      Expect(target, round);
    }
  }

  std::vector<Buffer> buffers_;
  std::vector<std::vector<uint8_t>> contents_;
  Random random_{21};
  Owned<VkDescriptorSetLayout> set_layout_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkPipeline> pipeline_;
  Owned<VkDescriptorPool> pool_;
};

TEST_F(MemoryDescriptorTest, Writes) {
  MakePipeline(kStorageType);
  MakePools(kStorageType);
  const VkDescriptorSet set = AllocateSet(gpu(), pool_, set_layout_);
  Check([&](VkCommandBuffer commands, VkBuffer buffer) {
    WriteBufferDescriptor(gpu(), set, 0, kStorageType, buffer, kStart, kBytes);
    BindSet(commands, set);
  });
}

TEST_F(MemoryDescriptorTest, Copies) {
  MakePipeline(kStorageType);
  MakePools(kStorageType);
  const VkDescriptorSet from = AllocateSet(gpu(), pool_, set_layout_);
  const VkDescriptorSet to = AllocateSet(gpu(), pool_, set_layout_);
  Check([&](VkCommandBuffer commands, VkBuffer buffer) {
    WriteBufferDescriptor(gpu(), from, 0, kStorageType, buffer, kStart, kBytes);
    const VkCopyDescriptorSet copy{
        VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET, nullptr, from, 0, 0, to, 0, 0, 1};
    vk.UpdateDescriptorSets(device, 0, nullptr, 1, &copy);
    WriteBufferDescriptor(gpu(), from, 0, kStorageType, buffers_[3].handle);
    BindSet(commands, to);
  });
}

TEST_F(MemoryDescriptorTest, Templates) {
  MakePipeline(kStorageType);
  MakePools(kStorageType);
  const VkDescriptorSet set = AllocateSet(gpu(), pool_, set_layout_);
  const VkDescriptorUpdateTemplateEntry entry{0, 0, 1, kStorageType, 0, 0};
  VkDescriptorUpdateTemplateCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO};
  info.descriptorUpdateEntryCount = 1;
  info.pDescriptorUpdateEntries = &entry;
  info.templateType = VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET;
  info.descriptorSetLayout = set_layout_;
  const Owned<VkDescriptorUpdateTemplate> update =
      Make(vk.CreateDescriptorUpdateTemplate, vk.DestroyDescriptorUpdateTemplate, info);
  Check([&](VkCommandBuffer commands, VkBuffer buffer) {
    const VkDescriptorBufferInfo data = InfoOf(buffer);
    vk.UpdateDescriptorSetWithTemplate(device, set, update, &data);
    BindSet(commands, set);
  });
}

TEST_F(MemoryDescriptorTest, PushedDescriptors) {
  VESPER_REQUIRE(features.v14.pushDescriptor);
  MakePipeline(kStorageType, VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT);
  Check([&](VkCommandBuffer commands, VkBuffer buffer) {
    const VkDescriptorBufferInfo info = InfoOf(buffer);
    const VkWriteDescriptorSet write = WriteOf(VK_NULL_HANDLE, info);
    vk.CmdPushDescriptorSet(commands, kCompute, layout_, 0, 1, &write);
  });
}

TEST_F(MemoryDescriptorTest, PushedTemplates) {
  VESPER_REQUIRE(features.v14.pushDescriptor);
  MakePipeline(kStorageType, VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT);
  const VkDescriptorUpdateTemplateEntry entry{0, 0, 1, kStorageType, 0, 0};
  VkDescriptorUpdateTemplateCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO};
  info.descriptorUpdateEntryCount = 1;
  info.pDescriptorUpdateEntries = &entry;
  info.templateType = VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_PUSH_DESCRIPTORS;
  info.pipelineBindPoint = kCompute;
  info.pipelineLayout = layout_;
  const Owned<VkDescriptorUpdateTemplate> update =
      Make(vk.CreateDescriptorUpdateTemplate, vk.DestroyDescriptorUpdateTemplate, info);
  Check([&](VkCommandBuffer commands, VkBuffer buffer) {
    const VkDescriptorBufferInfo data = InfoOf(buffer);
    vk.CmdPushDescriptorSetWithTemplate(commands, update, layout_, 0, &data);
  });
}

TEST_F(MemoryDescriptorTest, DynamicOffsets) {
  constexpr VkDescriptorType kType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC;
  MakePipeline(kType);
  MakePools(kType);
  const VkDescriptorSet set = AllocateSet(gpu(), pool_, set_layout_);
  Check([&](VkCommandBuffer commands, VkBuffer buffer) {
    WriteBufferDescriptor(gpu(), set, 0, kType, buffer, 0, kBytes);
    BindSet(commands, set, {static_cast<uint32_t>(kStart)});
  });
}

TEST_F(MemoryDescriptorTest, SetsThatReplaceOthers) {
  MakePipeline(kStorageType);
  MakePools(kStorageType, VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT);
  int round = 0;
  Check([&](VkCommandBuffer commands, VkBuffer buffer) {
    VkDescriptorSet set = AllocateSet(gpu(), pool_, set_layout_);
    WriteBufferDescriptor(gpu(), set, 0, kStorageType, buffers_[3].handle);
    if (++round % 2 == 0) {
      ASSERT_EQ(VK_SUCCESS, vk.FreeDescriptorSets(device, pool_, 1, &set));
    } else {
      ASSERT_EQ(VK_SUCCESS, vk.ResetDescriptorPool(device, pool_, 0));
    }
    set = AllocateSet(gpu(), pool_, set_layout_);
    WriteBufferDescriptor(gpu(), set, 0, kStorageType, buffer, kStart, kBytes);
    BindSet(commands, set);
  });
}

TEST_F(MemoryDescriptorTest, SecondaryCommandBuffers) {
  MakePipeline(kStorageType);
  MakePools(kStorageType);
  const VkDescriptorSet set = AllocateSet(gpu(), pool_, set_layout_);
  const VkCommandBuffer secondary = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  for (uint32_t round = 0; round < 9; ++round) {
    const size_t target = round % 3;
    WriteBufferDescriptor(gpu(), set, 0, kStorageType, buffers_[target].handle, kStart, kBytes);
    const VkCommandBufferInheritanceInfo inherited{
        VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
    VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    begin.pInheritanceInfo = &inherited;
    ASSERT_EQ(VK_SUCCESS, vk.BeginCommandBuffer(secondary, &begin));
    BindSet(secondary, set);
    Dispatch(secondary, round);
    ASSERT_EQ(VK_SUCCESS, vk.EndCommandBuffer(secondary));
    Write();
    Execute([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      vk.CmdExecuteCommands(commands, 1, &secondary);
      FullBarrier(commands);
    });
    Expect(target, round);
  }
}

TEST_F(MemoryDescriptorTest, UpdatesBetweenRecordingAndSubmission) {
  VESPER_REQUIRE(features.v12.descriptorBindingStorageBufferUpdateAfterBind);
  const VkDescriptorBindingFlags late = VK_DESCRIPTOR_BINDING_UPDATE_AFTER_BIND_BIT;
  VkDescriptorSetLayoutBindingFlagsCreateInfo flags{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO};
  flags.bindingCount = 1;
  flags.pBindingFlags = &late;
  MakePipeline(kStorageType, VK_DESCRIPTOR_SET_LAYOUT_CREATE_UPDATE_AFTER_BIND_POOL_BIT, &flags);
  MakePools(kStorageType, VK_DESCRIPTOR_POOL_CREATE_UPDATE_AFTER_BIND_BIT);
  const VkDescriptorSet set = AllocateSet(gpu(), pool_, set_layout_);
  WriteBufferDescriptor(gpu(), set, 0, kStorageType, buffers_[3].handle, kStart, kBytes);
  const VkCommandBuffer commands = Record([&](VkCommandBuffer recording) {
    FullBarrier(recording);
    BindSet(recording, set);
    Dispatch(recording, 7);
    FullBarrier(recording);
  });
  for (const size_t target : {0, 2, 2, 1, 0, 1}) {
    WriteBufferDescriptor(gpu(), set, 0, kStorageType, buffers_[target].handle, kStart, kBytes);
    Write();
    SubmitAndWait(commands);
    Expect(target, 7);
  }
}

// The program says in mapped memory how much there is to do.
TEST_F(MemoryDescriptorTest, ParametersOfDispatches) {
  const Buffer result = MakeHostBuffer(gpu(), 4096);
  const Buffer parameters = MakeHostBuffer(gpu(), kSize, VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT);
  const VkBuffer handle = result.handle;
  const Kernel kernel = MakeKernel(gpu(), kPushWriteComp, {&handle, 1}, 8);
  const VkCommandBuffer commands = Record([&](VkCommandBuffer recording) {
    const uint32_t push[] = {0, 500};
    FullBarrier(recording);
    vk.CmdPushConstants(recording, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
    vk.CmdBindPipeline(recording, kCompute, kernel.pipeline);
    vk.CmdBindDescriptorSets(recording, kCompute, kernel.layout, 0, 1, &kernel.set, 0, nullptr);
    vk.CmdDispatchIndirect(recording, parameters.handle, kStart);
    FullBarrier(recording);
  });
  for (const uint32_t groups : {3u, 70u, 1u, 200u}) {
    std::fill_n(result.As<uint32_t>().data(), 1024, 0u);
    const VkDispatchIndirectCommand command{groups, 1, 1};
    std::memcpy(parameters.data + kStart, &command, sizeof(command));
    SubmitAndWait(commands);
    for (uint32_t i = 0; i < 1024; ++i) {
      ASSERT_EQ(i < groups ? 500 + i : 0, result.As<uint32_t>()[i]) << groups << " groups";
    }
  }
}

}  // namespace
}  // namespace vesper::tests
