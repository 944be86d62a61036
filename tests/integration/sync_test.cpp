// SPDX-License-Identifier: Apache-2.0
// Fences, events, barriers: what their state is at which moment, and waits that end when they
// should.
#include <chrono>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class FenceTest : public VulkanTest {
 protected:
  // A submission that only the host's event lets through.
  VkCommandBuffer RecordGated(VkEvent gate) {
    return Record([&](VkCommandBuffer commands) {
      vk.CmdWaitEvents(commands, 1, &gate, VK_PIPELINE_STAGE_HOST_BIT,
                       VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, nullptr, 0, nullptr, 0, nullptr);
    });
  }
};

TEST_F(FenceTest, CreatedSignaledOrNot) {
  EXPECT_EQ(VK_SUCCESS, vk.GetFenceStatus(device, MakeFence(true)));
  EXPECT_EQ(VK_NOT_READY, vk.GetFenceStatus(device, MakeFence(false)));
}

TEST_F(FenceTest, ResetOfSeveral) {
  const Owned<VkFence> a = MakeFence(true);
  const Owned<VkFence> b = MakeFence(true);
  const Owned<VkFence> c = MakeFence(false);
  const VkFence all[3] = {a, b, c};
  ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 3, all));
  for (const VkFence fence : all) {
    EXPECT_EQ(VK_NOT_READY, vk.GetFenceStatus(device, fence));
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 0, nullptr, b));
  Wait(b);
  EXPECT_EQ(VK_NOT_READY, vk.GetFenceStatus(device, a));
}

TEST_F(FenceTest, PendingUntilTheWorkIsDone) {
  const Owned<VkEvent> gate = MakeEvent();
  const Owned<VkFence> fence = MakeFence();
  Submit(RecordGated(gate), fence);
  // The work can't be done: every look must say so, however many there are.
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(VK_NOT_READY, vk.GetFenceStatus(device, fence));
  }
  EXPECT_EQ(VK_TIMEOUT, vk.WaitForFences(device, 1, fence.address(), VK_TRUE, 0));
  ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, gate));
  Wait(fence);
  EXPECT_EQ(VK_SUCCESS, vk.GetFenceStatus(device, fence));
  EXPECT_EQ(VK_SUCCESS, vk.WaitForFences(device, 1, fence.address(), VK_TRUE, 0));
}

TEST_F(FenceTest, TimeoutIsNotShorterThanAsked) {
  const Owned<VkFence> fence = MakeFence();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(VK_TIMEOUT, vk.WaitForFences(device, 1, fence.address(), VK_TRUE, 50'000'000));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
}

TEST_F(FenceTest, WaitForAnyAndAll) {
  const Owned<VkEvent> gate = MakeEvent();
  const Owned<VkFence> early = MakeFence();
  const Owned<VkFence> late = MakeFence();
  const VkFence both[2] = {late, early};
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 0, nullptr, early));
  Submit(RecordGated(gate), late);
  EXPECT_EQ(VK_SUCCESS, vk.WaitForFences(device, 2, both, VK_FALSE, kWaitLimitNs));
  EXPECT_EQ(VK_NOT_READY, vk.GetFenceStatus(device, late));
  EXPECT_EQ(VK_SUCCESS, vk.GetFenceStatus(device, early));
  EXPECT_EQ(VK_TIMEOUT, vk.WaitForFences(device, 2, both, VK_TRUE, 20'000'000));
  ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, gate));
  EXPECT_EQ(VK_SUCCESS, vk.WaitForFences(device, 2, both, VK_TRUE, kWaitLimitNs));
  EXPECT_EQ(VK_SUCCESS, vk.WaitForFences(device, 2, both, VK_TRUE, UINT64_MAX));
}

TEST_F(FenceTest, ReusedManyTimes) {
  const Owned<VkFence> fence = MakeFence();
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 0, nullptr, fence));
    Wait(fence);
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
    ASSERT_EQ(VK_NOT_READY, vk.GetFenceStatus(device, fence));
  }
}

using EventTest = VulkanTest;

TEST_F(EventTest, SetAndResetByTheHost) {
  const Owned<VkEvent> event = MakeEvent();
  EXPECT_EQ(VK_EVENT_RESET, vk.GetEventStatus(device, event));
  ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, event));
  EXPECT_EQ(VK_EVENT_SET, vk.GetEventStatus(device, event));
  ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, event));
  EXPECT_EQ(VK_EVENT_SET, vk.GetEventStatus(device, event));
  ASSERT_EQ(VK_SUCCESS, vk.ResetEvent(device, event));
  EXPECT_EQ(VK_EVENT_RESET, vk.GetEventStatus(device, event));
}

TEST_F(EventTest, SetAndResetByTheDevice) {
  const Owned<VkEvent> event = MakeEvent();
  Execute([&](VkCommandBuffer commands) {
    vk.CmdSetEvent(commands, event, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  });
  EXPECT_EQ(VK_EVENT_SET, vk.GetEventStatus(device, event));
  Execute([&](VkCommandBuffer commands) {
    vk.CmdResetEvent(commands, event, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  });
  EXPECT_EQ(VK_EVENT_RESET, vk.GetEventStatus(device, event));
  // Each side undoes what the other did.
  ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, event));
  Execute([&](VkCommandBuffer commands) {
    vk.CmdResetEvent(commands, event, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  });
  EXPECT_EQ(VK_EVENT_RESET, vk.GetEventStatus(device, event));
}

TEST_F(EventTest, Synchronization2Commands) {
  const Owned<VkEvent> event = MakeEvent();
  const Buffer a = MakeHostBuffer(gpu(), 4096);
  const Buffer b = MakeHostBuffer(gpu(), 4096);
  VkMemoryBarrier2 barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER_2};
  barrier.srcStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT;
  barrier.srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT;
  barrier.dstStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT;
  barrier.dstAccessMask = VK_ACCESS_2_TRANSFER_READ_BIT;
  VkDependencyInfo dependency{VK_STRUCTURE_TYPE_DEPENDENCY_INFO};
  dependency.memoryBarrierCount = 1;
  dependency.pMemoryBarriers = &barrier;
  Execute([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, a.handle, 0, VK_WHOLE_SIZE, 0x31313131);
    vk.CmdSetEvent2(commands, event, &dependency);
    vk.CmdWaitEvents2(commands, 1, event.address(), &dependency);
    CopyBytes(gpu(), commands, a.handle, b.handle, 4096);
    vk.CmdResetEvent2(commands, event, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT);
  });
  EXPECT_EQ(0x31, b.data[4095]);
  EXPECT_EQ(VK_EVENT_RESET, vk.GetEventStatus(device, event));
}

TEST_F(EventTest, DeviceOnlyEventBetweenTwoSubmissions) {
  VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  info.flags = VK_EVENT_CREATE_DEVICE_ONLY_BIT;
  const Owned<VkEvent> event = Make(vk.CreateEvent, vk.DestroyEvent, info);
  const Buffer buffer = MakeHostBuffer(gpu(), 64);
  Submit(Record([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, buffer.handle, 0, 32, 0x22222222);
    vk.CmdSetEvent(commands, event, VK_PIPELINE_STAGE_TRANSFER_BIT);
  }));
  Submit(Record([&](VkCommandBuffer commands) {
    VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
    barrier.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
    vk.CmdWaitEvents(commands, 1, event.address(), VK_PIPELINE_STAGE_TRANSFER_BIT,
                     VK_PIPELINE_STAGE_TRANSFER_BIT, 1, &barrier, 0, nullptr, 0, nullptr);
    CopyBytes(gpu(), commands, buffer.handle, buffer.handle, 32, 0, 32);
    FullBarrier(commands);
  }));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(0x22, buffer.data[63]);
}

TEST_F(EventTest, TwoGatesInOneSubmission) {
  // A conversation between host and device within a single submission.
  const Owned<VkEvent> go[2] = {MakeEvent(), MakeEvent()};
  const Owned<VkEvent> done[2] = {MakeEvent(), MakeEvent()};
  Submit(Record([&](VkCommandBuffer commands) {
    for (int i = 0; i < 2; ++i) {
      vk.CmdWaitEvents(commands, 1, go[i].address(), VK_PIPELINE_STAGE_HOST_BIT,
                       VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, nullptr, 0, nullptr, 0, nullptr);
      vk.CmdSetEvent(commands, done[i], VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
    }
  }));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(VK_EVENT_RESET, vk.GetEventStatus(device, done[i]));
    ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, go[i]));
    EXPECT_TRUE(Eventually([&] { return vk.GetEventStatus(device, done[i]) == VK_EVENT_SET; },
                           std::chrono::seconds(30)));
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

using BarrierTest = VulkanTest;

TEST_F(BarrierTest, BufferAndImageBarriersOfBothGenerations) {
  const Buffer a = MakeHostBuffer(gpu(), 1024);
  const Buffer b = MakeHostBuffer(gpu(), 1024);
  const Image image = MakeImage(gpu(), ImageInfo(VK_FORMAT_R8G8B8A8_UNORM, 16, 16));
  Execute([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, a.handle, 0, VK_WHOLE_SIZE, 0x0A0B0C0D);
    VkBufferMemoryBarrier buffer{VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER};
    buffer.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    buffer.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
    buffer.srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    buffer.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    buffer.buffer = a.handle;
    buffer.size = VK_WHOLE_SIZE;
    VkImageMemoryBarrier image_barrier{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
    image_barrier.dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    image_barrier.newLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL;
    image_barrier.srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    image_barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    image_barrier.image = image.handle;
    image_barrier.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    vk.CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT,
                          VK_DEPENDENCY_BY_REGION_BIT, 0, nullptr, 1, &buffer, 1, &image_barrier);
    const VkBufferImageCopy copy = WholeImageCopy(image);
    vk.CmdCopyBufferToImage(commands, a.handle, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                            1, &copy);

    VkImageMemoryBarrier2 image_barrier2{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2};
    image_barrier2.srcStageMask = VK_PIPELINE_STAGE_2_COPY_BIT;
    image_barrier2.srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT;
    image_barrier2.dstStageMask = VK_PIPELINE_STAGE_2_COPY_BIT;
    image_barrier2.dstAccessMask = VK_ACCESS_2_TRANSFER_READ_BIT;
    image_barrier2.oldLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL;
    image_barrier2.newLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
    image_barrier2.srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    image_barrier2.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    image_barrier2.image = image.handle;
    image_barrier2.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, VK_REMAINING_MIP_LEVELS, 0,
                                       VK_REMAINING_ARRAY_LAYERS};
    VkDependencyInfo dependency{VK_STRUCTURE_TYPE_DEPENDENCY_INFO};
    dependency.imageMemoryBarrierCount = 1;
    dependency.pImageMemoryBarriers = &image_barrier2;
    vk.CmdPipelineBarrier2(commands, &dependency);
    vk.CmdCopyImageToBuffer(commands, image.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, b.handle,
                            1, &copy);
  });
  for (const uint32_t word : b.As<uint32_t>()) {
    ASSERT_EQ(0x0A0B0C0Du, word);
  }
}

}  // namespace
}  // namespace vesper::tests
