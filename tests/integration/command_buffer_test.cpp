// SPDX-License-Identifier: Apache-2.0
// The life of a command buffer: recorded, reset, used again, used twice at once, called by another,
// reset with its pool.
#include <cstdint>
#include <map>

#include "shaders/accumulate_comp.h"
#include "shaders/push_write_comp.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class CommandBufferTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    buffer_ = MakeHostBuffer(gpu(), 256 * sizeof(uint32_t),
                             kStorageUsage | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT);
    const VkBuffer handle = buffer_.handle;
    write_ = MakeKernel(gpu(), kPushWriteComp, {&handle, 1}, 8);
    accumulate_ = MakeKernel(gpu(), kAccumulateComp, {&handle, 1});
  }

  void Fill(VkCommandBuffer commands, uint32_t slot, uint32_t value) {
    vk.CmdFillBuffer(commands, buffer_.handle, slot * sizeof(uint32_t), sizeof(uint32_t), value);
    FullBarrier(commands);
  }

  void SubmitAndWait(VkCommandBuffer commands) {
    Submit(commands);
    VESPER_CHECK(vk.QueueWaitIdle(queue));
  }

  Owned<VkCommandPool> MakeCommandPool(VkCommandPoolCreateFlags flags) {
    VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    info.flags = flags;
    info.queueFamilyIndex = queue_family;
    return Make(vk.CreateCommandPool, vk.DestroyCommandPool, info);
  }

  std::vector<VkCommandBuffer> AllocateFrom(
      VkCommandPool pool, uint32_t count,
      VkCommandBufferLevel level = VK_COMMAND_BUFFER_LEVEL_PRIMARY) {
    VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    info.commandPool = pool;
    info.level = level;
    info.commandBufferCount = count;
    std::vector<VkCommandBuffer> buffers(count);
    VESPER_CHECK(vk.AllocateCommandBuffers(device, &info, buffers.data()));
    return buffers;
  }

  void RecordSecondary(VkCommandBuffer commands, VkCommandBufferUsageFlags flags,
                       const Recorder& recorder) {
    const VkCommandBufferInheritanceInfo inheritance{
        VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
    VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    begin.flags = flags;
    begin.pInheritanceInfo = &inheritance;
    VESPER_CHECK(vk.BeginCommandBuffer(commands, &begin));
    recorder(commands);
    VESPER_CHECK(vk.EndCommandBuffer(commands));
  }

  std::span<uint32_t> data() const { return buffer_.As<uint32_t>(); }

  Buffer buffer_;
  Kernel write_;
  Kernel accumulate_;
};

TEST_F(CommandBufferTest, SubmittedAgainAndAgain) {
  VkCommandBuffer step = Record([&](VkCommandBuffer commands) {
    FullBarrier(commands);
    accumulate_.Dispatch(gpu(), commands, 1);
    FullBarrier(commands);
  });
  for (uint32_t round = 1; round <= 10; ++round) {
    SubmitAndWait(step);
    EXPECT_EQ((1u << round) - 1, data()[0]);
  }
}

TEST_F(CommandBufferTest, SimultaneousUse) {
  VkCommandBuffer step = Record(
      [&](VkCommandBuffer commands) {
        FullBarrier(commands);
        accumulate_.Dispatch(gpu(), commands, 1);
        FullBarrier(commands);
      },
      VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT);
  VkCommandBuffer twice[2] = {step, step};
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.commandBufferCount = 2;
  submit.pCommandBuffers = twice;
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(15u, data()[0]);
}

TEST_F(CommandBufferTest, ResetAndRecordedAnew) {
  VkCommandBuffer commands = AllocateCommandBuffer();
  for (uint32_t round = 0; round < 20; ++round) {
    RecordInto(commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
               [&](VkCommandBuffer buffer) { Fill(buffer, round, 1000 + round); });
    SubmitAndWait(commands);
    ASSERT_EQ(1000 + round, data()[round]);
    ASSERT_EQ(0u, data()[round + 1]);
    ASSERT_EQ(VK_SUCCESS,
              vk.ResetCommandBuffer(
                  commands, round % 2 == 0 ? VK_COMMAND_BUFFER_RESET_RELEASE_RESOURCES_BIT : 0));
  }
}

TEST_F(CommandBufferTest, BeginImpliesReset) {
  VkCommandBuffer commands = Record([&](VkCommandBuffer buffer) { Fill(buffer, 0, 1); });
  // Recorded again without a reset, and once given up in the middle of recording.
  RecordInto(commands, 0, [&](VkCommandBuffer buffer) { Fill(buffer, 1, 2); });
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  ASSERT_EQ(VK_SUCCESS, vk.BeginCommandBuffer(commands, &begin));
  Fill(commands, 2, 3);
  ASSERT_EQ(VK_SUCCESS, vk.ResetCommandBuffer(commands, 0));
  RecordInto(commands, 0, [&](VkCommandBuffer buffer) { Fill(buffer, 3, 4); });
  SubmitAndWait(commands);
  EXPECT_EQ(0u, data()[0]);
  EXPECT_EQ(0u, data()[1]);
  EXPECT_EQ(0u, data()[2]);
  EXPECT_EQ(4u, data()[3]);
}

TEST_F(CommandBufferTest, PoolResetTouchesAllOfItsBuffers) {
  const Owned<VkCommandPool> pool = MakeCommandPool(VK_COMMAND_POOL_CREATE_TRANSIENT_BIT);
  const std::vector<VkCommandBuffer> buffers = AllocateFrom(pool, 8);
  for (uint32_t round = 0; round < 4; ++round) {
    for (uint32_t i = 0; i < buffers.size(); ++i) {
      RecordInto(buffers[i], 0,
                 [&](VkCommandBuffer commands) { Fill(commands, i, round * 10 + i + 1); });
    }
    VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.commandBufferCount = static_cast<uint32_t>(buffers.size());
    submit.pCommandBuffers = buffers.data();
    ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    for (uint32_t i = 0; i < buffers.size(); ++i) {
      ASSERT_EQ(round * 10 + i + 1, data()[i]);
    }
    ASSERT_EQ(VK_SUCCESS,
              vk.ResetCommandPool(
                  device, pool, round % 2 == 0 ? VK_COMMAND_POOL_RESET_RELEASE_RESOURCES_BIT : 0));
    vk.TrimCommandPool(device, pool, 0);
  }
}

TEST_F(CommandBufferTest, FreeAndAllocateFromOnePool) {
  const Owned<VkCommandPool> pool =
      MakeCommandPool(VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT);
  std::vector<VkCommandBuffer> buffers = AllocateFrom(pool, 100);
  EXPECT_EQ(100u, std::set<VkCommandBuffer>(buffers.begin(), buffers.end()).size());
  // Nulls in the list of what to free are allowed.
  std::vector<VkCommandBuffer> odd(100);
  for (size_t i = 1; i < 100; i += 2) {
    odd[i] = buffers[i];
  }
  vk.FreeCommandBuffers(device, pool, 100, odd.data());
  const std::vector<VkCommandBuffer> more = AllocateFrom(pool, 50);
  for (uint32_t i = 0; i < 50; ++i) {
    RecordInto(buffers[2 * i], 0, [&](VkCommandBuffer commands) { Fill(commands, 2 * i, i + 1); });
    RecordInto(more[i], 0, [&](VkCommandBuffer commands) { Fill(commands, 2 * i + 1, i + 500); });
    Submit(buffers[2 * i]);
    Submit(more[i]);
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  for (uint32_t i = 0; i < 50; ++i) {
    EXPECT_EQ(i + 1, data()[2 * i]);
    EXPECT_EQ(i + 500, data()[2 * i + 1]);
  }
}

TEST_F(CommandBufferTest, PoolDestroyedWithRecordedBuffers) {
  Owned<VkCommandPool> pool = MakeCommandPool(0);
  for (VkCommandBuffer commands : AllocateFrom(pool, 10)) {
    RecordInto(commands, 0, [&](VkCommandBuffer buffer) { Fill(buffer, 9, 9); });
  }
  pool.Reset();
  SubmitAndWait(Record([&](VkCommandBuffer commands) { Fill(commands, 0, 5); }));
  EXPECT_EQ(5u, data()[0]);
  EXPECT_EQ(0u, data()[9]);
}

TEST_F(CommandBufferTest, SecondaryBuffersRunWhereTheyAreCalled) {
  VkCommandBuffer first = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  VkCommandBuffer second = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  RecordSecondary(first, 0, [&](VkCommandBuffer commands) {
    Fill(commands, 0, 1);
    Fill(commands, 1, 100);
  });
  RecordSecondary(second, 0, [&](VkCommandBuffer commands) {
    accumulate_.Dispatch(gpu(), commands, 1);
    FullBarrier(commands);
  });
  VkCommandBuffer primary = Record([&](VkCommandBuffer commands) {
    Fill(commands, 1, 50);
    VkCommandBuffer both[2] = {first, second};
    vk.CmdExecuteCommands(commands, 2, both);
    Fill(commands, 2, 7);
  });
  SubmitAndWait(primary);
  EXPECT_EQ(3u, data()[0]);
  EXPECT_EQ(100u, data()[1]);
  EXPECT_EQ(7u, data()[2]);
}

TEST_F(CommandBufferTest, SecondaryUsedByManyPrimaries) {
  VkCommandBuffer step = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  RecordSecondary(step, VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT,
                  [&](VkCommandBuffer commands) {
                    FullBarrier(commands);
                    accumulate_.Dispatch(gpu(), commands, 1);
                    FullBarrier(commands);
                  });
  for (int i = 0; i < 5; ++i) {
    Submit(Record([&](VkCommandBuffer commands) {
      vk.CmdExecuteCommands(commands, 1, &step);
      vk.CmdExecuteCommands(commands, 1, &step);
    }));
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(1023u, data()[0]);
}

TEST_F(CommandBufferTest, SecondaryRecordedAgainBeforeItsPrimaryIs) {
  VkCommandBuffer secondary = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  VkCommandBuffer primary = AllocateCommandBuffer();
  for (uint32_t round = 1; round <= 5; ++round) {
    RecordSecondary(secondary, 0,
                    [&](VkCommandBuffer commands) { Fill(commands, round, round * 3); });
    RecordInto(primary, 0,
               [&](VkCommandBuffer commands) { vk.CmdExecuteCommands(commands, 1, &secondary); });
    SubmitAndWait(primary);
    EXPECT_EQ(round * 3, data()[round]);
  }
}

TEST_F(CommandBufferTest, PushConstantsKeepTheirPartialUpdates) {
  SubmitAndWait(Record([&](VkCommandBuffer commands) {
    uint32_t push[2] = {10, 111};
    vk.CmdPushConstants(commands, write_.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
    write_.Dispatch(gpu(), commands, 1);
    // Only the slot, then only the value.
    push[0] = 11;
    vk.CmdPushConstants(commands, write_.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 4, push);
    write_.Dispatch(gpu(), commands, 1);
    push[0] = 222;
    vk.CmdPushConstants(commands, write_.layout, VK_SHADER_STAGE_COMPUTE_BIT, 4, 4, push);
    VkPushConstantsInfo info{VK_STRUCTURE_TYPE_PUSH_CONSTANTS_INFO};
    const uint32_t slot = 12;
    info.layout = write_.layout;
    info.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
    info.offset = 0;
    info.size = 4;
    info.pValues = &slot;
    vk.CmdPushConstants2(commands, &info);
    write_.Dispatch(gpu(), commands, 2);
    FullBarrier(commands);
  }));
  EXPECT_EQ(111u, data()[10]);
  EXPECT_EQ(111u, data()[11]);
  EXPECT_EQ(222u, data()[12]);
  EXPECT_EQ(223u, data()[13]);
}

TEST_F(CommandBufferTest, IndirectDispatchReadsMappedMemory) {
  const Buffer arguments =
      MakeHostBuffer(gpu(), 64, kTransferUsage | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT);
  VkCommandBuffer dispatch = Record([&](VkCommandBuffer commands) {
    const uint32_t push[2] = {20, 1};
    vk.CmdPushConstants(commands, write_.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, write_.pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, write_.layout, 0, 1,
                             &write_.set, 0, nullptr);
    vk.CmdDispatchIndirect(commands, arguments.handle, 16);
    FullBarrier(commands);
  });
  for (uint32_t groups : {3u, 7u, 1u}) {
    // The program changes the arguments between two submissions of the same recording.
    arguments.As<uint32_t>()[4] = groups;
    arguments.As<uint32_t>()[5] = 1;
    arguments.As<uint32_t>()[6] = 1;
    std::fill(data().begin(), data().end(), 0);
    SubmitAndWait(dispatch);
    for (uint32_t i = 0; i < 10; ++i) {
      EXPECT_EQ(i < groups ? i + 1 : 0, data()[20 + i]) << groups << " groups, slot " << i;
    }
  }
}

TEST_F(CommandBufferTest, DispatchBase) {
  const Owned<VkPipeline> pipeline =
      MakeComputePipeline(gpu(), kPushWriteComp, write_.layout, nullptr, VK_NULL_HANDLE,
                          VK_PIPELINE_CREATE_DISPATCH_BASE_BIT);
  SubmitAndWait(Record([&](VkCommandBuffer commands) {
    const uint32_t push[2] = {30, 500};
    vk.CmdPushConstants(commands, write_.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, write_.layout, 0, 1,
                             &write_.set, 0, nullptr);
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdSetDeviceMask(commands, 1);
    vk.CmdDispatchBase(commands, 4, 0, 0, 3, 1, 1);
    FullBarrier(commands);
  }));
  std::map<size_t, uint32_t> written;
  for (size_t slot = 0; slot < data().size(); ++slot) {
    if (data()[slot] != 0) {
      written[slot] = data()[slot];
    }
  }
  EXPECT_EQ((std::map<size_t, uint32_t>{{34, 504}, {35, 505}, {36, 506}}), written);
}

TEST_F(CommandBufferTest, LargeRecording) {
  // Many thousand commands in one buffer: far more than fits into one frame of any transport.
  constexpr uint32_t kCommands = 20'000;
  SubmitAndWait(Record([&](VkCommandBuffer commands) {
    for (uint32_t i = 0; i < kCommands; ++i) {
      vk.CmdFillBuffer(commands, buffer_.handle, i % 200 * 4, 4, i);
      if (i % 200 == 199) {
        FullBarrier(commands);
      }
    }
    FullBarrier(commands);
  }));
  for (uint32_t slot = 0; slot < 200; ++slot) {
    ASSERT_EQ(kCommands - 200 + slot, data()[slot]);
  }
}

TEST_F(CommandBufferTest, UpdateBufferOfTheLargestSize) {
  const Buffer large = MakeHostBuffer(gpu(), 65536);
  std::vector<uint32_t> values(65536 / sizeof(uint32_t));
  for (uint32_t i = 0; i < values.size(); ++i) {
    values[i] = i * 40503;
  }
  VkCommandBuffer update = Record([&](VkCommandBuffer commands) {
    vk.CmdUpdateBuffer(commands, large.handle, 0, 65536, values.data());
    FullBarrier(commands);
  });
  // The data were taken while recording; what the program does to its array later is its own
  // affair.
  const std::vector<uint32_t> expected = values;
  std::fill(values.begin(), values.end(), 0);
  SubmitAndWait(update);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), large.As<uint32_t>().begin()));
}

}  // namespace
}  // namespace vesper::tests
