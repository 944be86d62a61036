// SPDX-License-Identifier: Apache-2.0
// Buffers: requirements, binding, transfers between them, device addresses, texel views, sparse
// binding.
#include <cstdint>

#include "shaders/address_copy_comp.h"
#include "shaders/texel_buffer_comp.h"
#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class BufferTest : public VulkanTest {
 protected:
  Owned<VkBuffer> MakeUnbound(VkDeviceSize size, VkBufferUsageFlags usage = kTransferUsage,
                              VkBufferCreateFlags flags = 0) {
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.flags = flags;
    info.size = size;
    info.usage = usage;
    return Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  }
};

TEST_F(BufferTest, RequirementsOfAllGenerationsAgree) {
  for (const VkDeviceSize size : {1u, 17u, 4096u, 1'000'000u}) {
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = size;
    info.usage = kStorageUsage;
    const Owned<VkBuffer> buffer = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
    VkMemoryRequirements first{};
    vk.GetBufferMemoryRequirements(device, buffer, &first);
    EXPECT_GE(first.size, size);
    EXPECT_NE(0u, first.memoryTypeBits);
    EXPECT_EQ(0u, first.alignment & (first.alignment - 1));

    VkBufferMemoryRequirementsInfo2 of{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2};
    of.buffer = buffer;
    VkMemoryRequirements2 second{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    vk.GetBufferMemoryRequirements2(device, &of, &second);
    VkDeviceBufferMemoryRequirements ahead{VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS};
    ahead.pCreateInfo = &info;
    VkMemoryRequirements2 third{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    vk.GetDeviceBufferMemoryRequirements(device, &ahead, &third);
    for (const VkMemoryRequirements2& other : {second, third}) {
      EXPECT_EQ(first.size, other.memoryRequirements.size);
      EXPECT_EQ(first.alignment, other.memoryRequirements.alignment);
      EXPECT_EQ(first.memoryTypeBits, other.memoryRequirements.memoryTypeBits);
    }
  }
}

TEST_F(BufferTest, SeveralBoundInOneCall) {
  const Owned<VkBuffer> buffers[3] = {MakeUnbound(1000), MakeUnbound(1000), MakeUnbound(1000)};
  VkMemoryRequirements requirements{};
  vk.GetBufferMemoryRequirements(device, buffers[0], &requirements);
  const VkDeviceSize step = (requirements.size + requirements.alignment - 1) /
                            requirements.alignment * requirements.alignment;
  const Owned<VkDeviceMemory> memory = Allocate(
      3 * step,
      FindMemoryType(requirements.memoryTypeBits,
                     VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT));
  VkBindBufferMemoryInfo binds[3];
  VkResult results[3] = {VK_ERROR_UNKNOWN, VK_ERROR_UNKNOWN, VK_ERROR_UNKNOWN};
  VkBindMemoryStatus statuses[3];
  for (int i = 0; i < 3; ++i) {
    statuses[i] = {VK_STRUCTURE_TYPE_BIND_MEMORY_STATUS};
    statuses[i].pResult = &results[i];
    binds[i] = {VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO};
    binds[i].pNext = features.v14.maintenance6 == VK_TRUE ? &statuses[i] : nullptr;
    binds[i].buffer = buffers[i];
    binds[i].memory = memory;
    binds[i].memoryOffset = i * step;
  }
  ASSERT_EQ(VK_SUCCESS, vk.BindBufferMemory2(device, 3, binds));
  if (features.v14.maintenance6 == VK_TRUE) {
    for (const VkResult result : results) {
      EXPECT_EQ(VK_SUCCESS, result);
    }
  }
  const uint8_t* data = Map(memory);
  Execute([&](VkCommandBuffer commands) {
    for (uint32_t i = 0; i < 3; ++i) {
      vk.CmdFillBuffer(commands, buffers[i], 0, VK_WHOLE_SIZE, (i + 1) * 0x11111111);
    }
  });
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ((i + 1) * 0x11, data[i * step]);
    EXPECT_EQ((i + 1) * 0x11, data[i * step + 999]);
  }
}

TEST_F(BufferTest, CopyWithManyRegions) {
  constexpr size_t kRegions = 500;
  const Buffer source = MakeHostBuffer(gpu(), 16 * kRegions);
  const Buffer target = MakeHostBuffer(gpu(), 16 * kRegions);
  Random random(40);
  random.Fill(source.bytes());
  std::vector<uint8_t> expected(16 * kRegions);
  std::vector<VkBufferCopy2> regions;
  for (size_t i = 0; i < kRegions; ++i) {
    VkBufferCopy2 region{VK_STRUCTURE_TYPE_BUFFER_COPY_2};
    region.srcOffset = random.Below(16 * kRegions - 16);
    region.dstOffset = 16 * i + random.Below(8);
    region.size = random.Between(1, 8);
    std::copy_n(source.data + region.srcOffset, region.size, expected.begin() + region.dstOffset);
    regions.push_back(region);
  }
  VkCopyBufferInfo2 copy{VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2};
  copy.srcBuffer = source.handle;
  copy.dstBuffer = target.handle;
  copy.regionCount = kRegions;
  copy.pRegions = regions.data();
  Execute([&](VkCommandBuffer commands) { vk.CmdCopyBuffer2(commands, &copy); });
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), target.data));
}

TEST_F(BufferTest, FillOfAnOddTail) {
  // The whole size is rounded down to whole words: the last three bytes stay.
  const Buffer buffer = MakeHostBuffer(gpu(), 31);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, buffer.handle, 4, VK_WHOLE_SIZE, 0x55555555);
  });
  for (size_t i = 0; i < 31; ++i) {
    EXPECT_EQ(i >= 4 && i < 28 ? 0x55 : 0, buffer.data[i]) << "byte " << i;
  }
}

TEST_F(BufferTest, DeviceAddress) {
  VESPER_REQUIRE(features.v12.bufferDeviceAddress == VK_TRUE);
  const VkBufferUsageFlags usage = kStorageUsage | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
  const Buffer source = MakeHostBuffer(gpu(), 1000 * sizeof(uint32_t), usage);
  const Buffer target = MakeHostBuffer(gpu(), 1000 * sizeof(uint32_t), usage);
  struct Push {
    VkDeviceAddress from;
    VkDeviceAddress to;
    uint32_t count;
  } push{};
  VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
  info.buffer = source.handle;
  push.from = vk.GetBufferDeviceAddress(device, &info);
  ASSERT_NE(0u, push.from);
  EXPECT_EQ(push.from, vk.GetBufferDeviceAddress(device, &info));
  info.buffer = target.handle;
  push.to = vk.GetBufferDeviceAddress(device, &info);
  ASSERT_NE(push.from, push.to);
  push.from += 4 * 10;  // An address is a number that one may calculate with.
  push.count = 900;
  const Owned<VkPipelineLayout> layout =
      MakePipelineLayout(gpu(), {}, VK_SHADER_STAGE_COMPUTE_BIT, sizeof(Push));
  const Owned<VkPipeline> pipeline = MakeComputePipeline(gpu(), kAddressCopyComp, layout);
  for (uint32_t i = 0; i < 1000; ++i) {
    source.As<uint32_t>()[i] = i * 65537;
  }
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdPushConstants(commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(Push), &push);
    vk.CmdDispatch(commands, 32, 1, 1);
  });
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(i < 900 ? (i + 10) * 65537 ^ 0xFFFF0000u : 0, target.As<uint32_t>()[i]) << i;
  }
}

TEST_F(BufferTest, OpaqueCaptureAddressesAreStable) {
  VESPER_REQUIRE(features.v12.bufferDeviceAddressCaptureReplay == VK_TRUE);
  const Owned<VkBuffer> buffer =
      MakeUnbound(4096, kStorageUsage | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT,
                  VK_BUFFER_CREATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT);
  VkMemoryRequirements requirements{};
  vk.GetBufferMemoryRequirements(device, buffer, &requirements);
  VkMemoryAllocateFlagsInfo flags{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO};
  flags.flags =
      VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT | VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT;
  const Owned<VkDeviceMemory> memory =
      Allocate(requirements.size, FindMemoryType(requirements.memoryTypeBits, 0), &flags);
  ASSERT_EQ(VK_SUCCESS, vk.BindBufferMemory(device, buffer, memory, 0));
  VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
  info.buffer = buffer;
  EXPECT_EQ(vk.GetBufferOpaqueCaptureAddress(device, &info),
            vk.GetBufferOpaqueCaptureAddress(device, &info));
  VkDeviceMemoryOpaqueCaptureAddressInfo of{
      VK_STRUCTURE_TYPE_DEVICE_MEMORY_OPAQUE_CAPTURE_ADDRESS_INFO};
  of.memory = memory;
  EXPECT_EQ(vk.GetDeviceMemoryOpaqueCaptureAddress(device, &of),
            vk.GetDeviceMemoryOpaqueCaptureAddress(device, &of));
}

TEST_F(BufferTest, TexelViews) {
  const Buffer source =
      MakeHostBuffer(gpu(), 1024, kTransferUsage | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT);
  const Buffer target =
      MakeHostBuffer(gpu(), 1024, kTransferUsage | VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT);
  Random(41).Fill(source.bytes());
  VkBufferViewCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO};
  info.buffer = source.handle;
  info.format = VK_FORMAT_R8G8B8A8_UNORM;
  info.offset = 256;
  info.range = 512;
  const Owned<VkBufferView> source_view = Make(vk.CreateBufferView, vk.DestroyBufferView, info);
  info.buffer = target.handle;
  info.format = VK_FORMAT_R32_UINT;
  info.offset = 0;
  info.range = VK_WHOLE_SIZE;
  const Owned<VkBufferView> target_view = Make(vk.CreateBufferView, vk.DestroyBufferView, info);

  const VkDescriptorSetLayoutBinding bindings[2] = {
      {0, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr},
      {1, VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr}};
  const Owned<VkDescriptorSetLayout> set_layout = MakeSetLayout(gpu(), bindings);
  const Owned<VkPipelineLayout> layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const Owned<VkPipeline> pipeline = MakeComputePipeline(gpu(), kTexelBufferComp, layout);
  const VkDescriptorPoolSize sizes[2] = {{VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, 1},
                                         {VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, 1}};
  const Owned<VkDescriptorPool> pool = MakePool(gpu(), sizes, 1);
  VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  VkWriteDescriptorSet writes[2] = {{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET},
                                    {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET}};
  for (uint32_t i = 0; i < 2; ++i) {
    writes[i].dstSet = set;
    writes[i].dstBinding = i;
    writes[i].descriptorCount = 1;
    writes[i].descriptorType = bindings[i].descriptorType;
    writes[i].pTexelBufferView = i == 0 ? source_view.address() : target_view.address();
  }
  vk.UpdateDescriptorSets(device, 2, writes, 0, nullptr);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0,
                             nullptr);
    vk.CmdDispatch(commands, 128, 1, 1);
  });
  for (size_t i = 0; i < 128; ++i) {
    uint32_t sum = 0;
    for (size_t channel = 0; channel < 4; ++channel) {
      sum += source.data[256 + 4 * i + channel];
    }
    ASSERT_EQ(sum, target.As<uint32_t>()[i]) << "texel " << i;
  }
}

class SparseBufferTest : public BufferTest {
 protected:
  void Configure(GpuOptions& options) override { options.sparse = true; }

  // `memory_first`: the memory is there, and in use, before there is any sparse resource.
  void BindPages(bool memory_first);
};

void SparseBufferTest::BindPages(bool memory_first) {
  VESPER_REQUIRE(features.core.features.sparseBinding == VK_TRUE);
  VESPER_REQUIRE((queue_families[queue_family].queueFlags & VK_QUEUE_SPARSE_BINDING_BIT) != 0);
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.flags = VK_BUFFER_CREATE_SPARSE_BINDING_BIT;
  info.size = 1;
  info.usage = kTransferUsage;
  VkDeviceBufferMemoryRequirements ahead{VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS};
  ahead.pCreateInfo = &info;
  VkMemoryRequirements2 page{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
  vk.GetDeviceBufferMemoryRequirements(device, &ahead, &page);
  const VkDeviceSize page_size = page.memoryRequirements.alignment;
  info.size = 4 * page_size;
  Owned<VkBuffer> buffer;
  if (!memory_first) {
    buffer = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  }
  // Drivers need not offer memory for sparse buffers that the program may map, so a plain buffer
  // over the same memory shows what lies where.
  info.flags = 0;
  const Owned<VkBuffer> plain = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  VkMemoryRequirements plain_needs{};
  vk.GetBufferMemoryRequirements(device, plain, &plain_needs);
  const uint32_t types = page.memoryRequirements.memoryTypeBits & plain_needs.memoryTypeBits;
  VESPER_REQUIRE(types != 0 && plain_needs.size <= 4 * page_size);
  const Owned<VkDeviceMemory> memory = Allocate(4 * page_size, FindMemoryType(types, 0));
  ASSERT_EQ(VK_SUCCESS, vk.BindBufferMemory(device, plain, memory, 0));
  if (memory_first) {
    info.flags = VK_BUFFER_CREATE_SPARSE_BINDING_BIT;
    buffer = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  }
  const Buffer copy = MakeHostBuffer(gpu(), 4 * page_size);

  // The pages of the buffer lie in the memory in reverse order.
  VkSparseMemoryBind binds[4] = {};
  for (VkDeviceSize i = 0; i < 4; ++i) {
    binds[i].resourceOffset = i * page_size;
    binds[i].size = page_size;
    binds[i].memory = memory;
    binds[i].memoryOffset = (3 - i) * page_size;
  }
  VkSparseBufferMemoryBindInfo buffer_bind{buffer, 4, binds};
  const Owned<VkSemaphore> bound = MakeSemaphore();
  VkBindSparseInfo bind{VK_STRUCTURE_TYPE_BIND_SPARSE_INFO};
  bind.bufferBindCount = 1;
  bind.pBufferBinds = &buffer_bind;
  bind.signalSemaphoreCount = 1;
  bind.pSignalSemaphores = bound.address();
  const Owned<VkFence> fence = MakeFence();
  ASSERT_EQ(VK_SUCCESS, vk.QueueBindSparse(queue, 1, &bind, fence));
  VkCommandBuffer fill = Record([&](VkCommandBuffer commands) {
    for (uint32_t i = 0; i < 4; ++i) {
      vk.CmdFillBuffer(commands, buffer, i * page_size, page_size, (i + 1) * 0x01010101);
    }
    FullBarrier(commands);
    const VkBufferCopy whole{0, 0, 4 * page_size};
    vk.CmdCopyBuffer(commands, plain, copy.handle, 1, &whole);
    FullBarrier(commands);
  });
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.waitSemaphoreCount = 1;
  submit.pWaitSemaphores = bound.address();
  submit.pWaitDstStageMask = &stage;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &fill;
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
  Wait(fence);
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  const std::span<const uint8_t> data = copy.bytes();
  for (VkDeviceSize i = 0; i < 4; ++i) {
    EXPECT_EQ(4 - i, data[i * page_size]);
    EXPECT_EQ(4 - i, data[(i + 1) * page_size - 1]);
  }
}

TEST_F(SparseBufferTest, SparseBindingOfPages) { BindPages(false); }

TEST_F(SparseBufferTest, SparseBindingOfMemoryThatWasThereBefore) { BindPages(true); }

}  // namespace
}  // namespace vesper::tests
