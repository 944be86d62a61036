// SPDX-License-Identifier: Apache-2.0
// Submissions: their order, their shapes, and what an empty one still does.
#include <cstdint>

#include "shaders/accumulate_comp.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class QueueTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    log_ = MakeHostBuffer(gpu(), 64 * sizeof(uint32_t));
  }

  // A command buffer that appends nothing but its own value: log[slot] = value.
  VkCommandBuffer RecordWrite(uint32_t slot, uint32_t value) {
    return Record([&](VkCommandBuffer commands) {
      vk.CmdFillBuffer(commands, log_.handle, slot * sizeof(uint32_t), sizeof(uint32_t), value);
      FullBarrier(commands);
    });
  }

  std::span<uint32_t> log() const { return log_.As<uint32_t>(); }

  Buffer log_;
};

TEST_F(QueueTest, CommandBuffersOfOneSubmitRunInOrder) {
  std::vector<VkCommandBuffer> buffers;
  for (uint32_t i = 1; i <= 20; ++i) {
    buffers.push_back(RecordWrite(0, i));
    buffers.push_back(RecordWrite(i, i * 100));
  }
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.commandBufferCount = static_cast<uint32_t>(buffers.size());
  submit.pCommandBuffers = buffers.data();
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(20u, log()[0]);
  for (uint32_t i = 1; i <= 20; ++i) {
    EXPECT_EQ(i * 100, log()[i]);
  }
}

TEST_F(QueueTest, ManySubmitsWithoutWaiting) {
  const VkBuffer handle = log_.handle;
  const Kernel kernel = MakeKernel(gpu(), kAccumulateComp, {&handle, 1});
  VkCommandBuffer step = Record(
      [&](VkCommandBuffer commands) {
        FullBarrier(commands);
        kernel.Dispatch(gpu(), commands, 1);
        FullBarrier(commands);
      },
      VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT);
  uint32_t expected = 0;
  for (int i = 0; i < 300; ++i) {
    Submit(step);
    expected = expected * 2 + 1;
    if (i % 100 == 50) {
      // A write to another place in the same memory must not disturb the chain.
      log()[32] = static_cast<uint32_t>(i);
    }
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(expected, log()[0]);
  EXPECT_EQ(250u, log()[32]);
}

TEST_F(QueueTest, EmptySubmitSignalsItsFence) {
  const Owned<VkFence> fence = MakeFence();
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 0, nullptr, fence));
  Wait(fence);
  EXPECT_EQ(VK_SUCCESS, vk.GetFenceStatus(device, fence));
  ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit2(queue, 0, nullptr, fence));
  Wait(fence);
}

TEST_F(QueueTest, EmptyBatchesCarrySemaphores) {
  const Owned<VkSemaphore> binary = MakeSemaphore();
  const Owned<VkSemaphore> timeline = MakeTimeline(5);
  const uint64_t value = 6;
  VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  values.signalSemaphoreValueCount = 1;
  values.pSignalSemaphoreValues = &value;
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo submits[2] = {{VK_STRUCTURE_TYPE_SUBMIT_INFO}, {VK_STRUCTURE_TYPE_SUBMIT_INFO}};
  submits[0].signalSemaphoreCount = 1;
  submits[0].pSignalSemaphores = binary.address();
  submits[1].pNext = &values;
  submits[1].waitSemaphoreCount = 1;
  submits[1].pWaitSemaphores = binary.address();
  submits[1].pWaitDstStageMask = &stage;
  submits[1].signalSemaphoreCount = 1;
  submits[1].pSignalSemaphores = timeline.address();
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 2, submits, VK_NULL_HANDLE));
  VkSemaphoreWaitInfo wait{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
  wait.semaphoreCount = 1;
  wait.pSemaphores = timeline.address();
  wait.pValues = &value;
  EXPECT_EQ(VK_SUCCESS, vk.WaitSemaphores(device, &wait, kWaitLimitNs));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

TEST_F(QueueTest, Submit2WithSemaphoresAndSeveralBatches) {
  const Owned<VkSemaphore> binary = MakeSemaphore();
  const Owned<VkSemaphore> timeline = MakeTimeline();
  VkCommandBufferSubmitInfo buffers[2] = {{VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO},
                                          {VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO}};
  buffers[0].commandBuffer = RecordWrite(1, 11);
  buffers[1].commandBuffer = RecordWrite(1, 22);
  VkSemaphoreSubmitInfo binary_info{VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO};
  binary_info.semaphore = binary;
  binary_info.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
  VkSemaphoreSubmitInfo timeline_info{VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO};
  timeline_info.semaphore = timeline;
  timeline_info.value = 40;
  timeline_info.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
  VkSubmitInfo2 submits[2] = {{VK_STRUCTURE_TYPE_SUBMIT_INFO_2}, {VK_STRUCTURE_TYPE_SUBMIT_INFO_2}};
  for (int i = 0; i < 2; ++i) {
    submits[i].commandBufferInfoCount = 1;
    submits[i].pCommandBufferInfos = &buffers[i];
  }
  submits[0].signalSemaphoreInfoCount = 1;
  submits[0].pSignalSemaphoreInfos = &binary_info;
  submits[1].waitSemaphoreInfoCount = 1;
  submits[1].pWaitSemaphoreInfos = &binary_info;
  submits[1].signalSemaphoreInfoCount = 1;
  submits[1].pSignalSemaphoreInfos = &timeline_info;
  const Owned<VkFence> fence = MakeFence();
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit2(queue, 2, submits, fence));
  Wait(fence);
  EXPECT_EQ(22u, log()[1]);
  // Lavapipe may signal the fence a moment before the semaphore, so the value gets its own wait.
  const uint64_t value = 40;
  VkSemaphoreWaitInfo wait{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
  wait.semaphoreCount = 1;
  wait.pSemaphores = timeline.address();
  wait.pValues = &value;
  EXPECT_EQ(VK_SUCCESS, vk.WaitSemaphores(device, &wait, kWaitLimitNs));
}

TEST_F(QueueTest, WaitIdleOnAnIdleQueueReturns) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(VK_SUCCESS, vk.DeviceWaitIdle(device));
  }
}

TEST_F(QueueTest, DeviceWaitIdleMeansEveryFenceIsSignaled) {
  std::vector<Owned<VkFence>> fences;
  for (uint32_t i = 0; i < 20; ++i) {
    fences.push_back(MakeFence());
    Submit(RecordWrite(i, i + 1), fences.back());
  }
  ASSERT_EQ(VK_SUCCESS, vk.DeviceWaitIdle(device));
  for (const Owned<VkFence>& fence : fences) {
    EXPECT_EQ(VK_SUCCESS, vk.GetFenceStatus(device, fence));
  }
  for (uint32_t i = 0; i < 20; ++i) {
    EXPECT_EQ(i + 1, log()[i]);
  }
}

TEST_F(QueueTest, HandleIsTheSameEachTime) {
  VkQueue again = VK_NULL_HANDLE;
  vk.GetDeviceQueue(device, queue_family, 0, &again);
  EXPECT_EQ(queue, again);
  VkDeviceQueueInfo2 info{VK_STRUCTURE_TYPE_DEVICE_QUEUE_INFO_2};
  info.queueFamilyIndex = queue_family;
  vk.GetDeviceQueue2(device, &info, &again);
  EXPECT_EQ(queue, again);
}

TEST_F(QueueTest, DeviceGroupSubmitInfoOfOneDevice) {
  VkCommandBuffer write = RecordWrite(3, 333);
  const uint32_t mask = 1;
  VkDeviceGroupSubmitInfo group{VK_STRUCTURE_TYPE_DEVICE_GROUP_SUBMIT_INFO};
  group.commandBufferCount = 1;
  group.pCommandBufferDeviceMasks = &mask;
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.pNext = &group;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &write;
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(333u, log()[3]);
}

// A device with every queue of every family that the physical device has.
TEST(QueuesOfAllFamilies, EachOneWorks) {
  Gpu gpu;
  gpu.OpenInstance();
  std::vector<VkDeviceQueueCreateInfo> infos;
  const std::vector<float> priorities(64, 0.5f);
  for (uint32_t family = 0; family < gpu.queue_families.size(); ++family) {
    VkDeviceQueueCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
    info.queueFamilyIndex = family;
    info.queueCount = std::min(64u, gpu.queue_families[family].queueCount);
    info.pQueuePriorities = priorities.data();
    infos.push_back(info);
  }
  VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.queueCreateInfoCount = static_cast<uint32_t>(infos.size());
  info.pQueueCreateInfos = infos.data();
  ASSERT_EQ(VK_SUCCESS, gpu.vk.CreateDevice(gpu.physical_device, &info, nullptr, &gpu.device));
  gpu.vk.LoadDevice(gpu.device, VK_API_VERSION_1_4);
  std::set<VkQueue> seen;
  const Owned<VkFence> fence = gpu.MakeFence();
  for (const VkDeviceQueueCreateInfo& family : infos) {
    for (uint32_t index = 0; index < family.queueCount; ++index) {
      VkQueue queue = VK_NULL_HANDLE;
      gpu.vk.GetDeviceQueue(gpu.device, family.queueFamilyIndex, index, &queue);
      ASSERT_NE(nullptr, queue);
      EXPECT_TRUE(seen.insert(queue).second) << "two queues have one handle";
      ASSERT_EQ(VK_SUCCESS, gpu.vk.QueueSubmit(queue, 0, nullptr, fence));
      gpu.Wait(fence);
      ASSERT_EQ(VK_SUCCESS, gpu.vk.ResetFences(gpu.device, 1, fence.address()));
      ASSERT_EQ(VK_SUCCESS, gpu.vk.QueueWaitIdle(queue));
    }
  }
}

}  // namespace
}  // namespace vesper::tests
