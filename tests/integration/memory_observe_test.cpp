// SPDX-License-Identifier: Apache-2.0
// What the GPU wrote must be in the mapping when the program learns that the work is done, by
// whatever call it learns it. Each observing call is tried alone.
#include <cstdint>
#include <cstring>
#include <thread>

#include "shaders/transform_comp.h"
#include "tests/framework/memory_origin.h"
#include "tests/framework/random.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kSize = 3 * 4096 + 40;

class MemoryObserveTest : public MemoryOriginTest {
 protected:
  void SetUp() override {
    MemoryOriginTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    source_ = MakeSharedBuffer(kSize);
    result_ = MakeSharedBuffer(kSize);
    copy_ = Record([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      CopyBytes(gpu(), commands, source_.handle, result_.handle, kSize);
      FullBarrier(commands);
    });
  }

  // New contents for the source, which the copy must bring into the mapped result.
  void Prepare(uint64_t seed) {
    Random(seed).Fill(source_.bytes());
    ASSERT_NE(0, std::memcmp(source_.data, result_.data, kSize));
  }

  void ExpectCopied() const { EXPECT_EQ(0, std::memcmp(source_.data, result_.data, kSize)); }

  // Calls `poll` until it says true. The test's time-out ends a poll that never does.
  void Poll(const std::function<bool()>& poll) {
    while (!poll()) {
      std::this_thread::yield();
    }
  }

  void SubmitSignaling(VkSemaphore semaphore, uint64_t value, uint64_t wait_for = 0) {
    VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.pNext = &values;
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &copy_;
    submit.signalSemaphoreCount = 1;
    submit.pSignalSemaphores = &semaphore;
    values.signalSemaphoreValueCount = 1;
    values.pSignalSemaphoreValues = &value;
    if (wait_for != 0) {
      submit.waitSemaphoreCount = 1;
      submit.pWaitSemaphores = &semaphore;
      submit.pWaitDstStageMask = &stage;
      values.waitSemaphoreValueCount = 1;
      values.pWaitSemaphoreValues = &wait_for;
    }
    VESPER_CHECK(vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
  }

  Buffer source_;
  Buffer result_;
  VkCommandBuffer copy_ = VK_NULL_HANDLE;
};

TEST_P(MemoryObserveTest, WaitForFences) {
  const Owned<VkFence> fence = MakeFence();
  for (uint64_t round = 0; round < 20; ++round) {
    Prepare(round);
    Submit(copy_, fence);
    Wait(fence);
    ExpectCopied();
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
  }
}

TEST_P(MemoryObserveTest, GetFenceStatus) {
  const Owned<VkFence> fence = MakeFence();
  for (uint64_t round = 0; round < 20; ++round) {
    Prepare(100 + round);
    Submit(copy_, fence);
    Poll([&] {
      const VkResult status = vk.GetFenceStatus(device, fence);
      EXPECT_TRUE(status == VK_SUCCESS || status == VK_NOT_READY) << ResultName(status);
      return status != VK_NOT_READY;
    });
    ExpectCopied();
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
  }
}

TEST_P(MemoryObserveTest, QueueWaitIdle) {
  for (uint64_t round = 0; round < 20; ++round) {
    Prepare(200 + round);
    Submit(copy_);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ExpectCopied();
  }
}

TEST_P(MemoryObserveTest, DeviceWaitIdle) {
  for (uint64_t round = 0; round < 20; ++round) {
    Prepare(300 + round);
    Submit(copy_);
    ASSERT_EQ(VK_SUCCESS, vk.DeviceWaitIdle(device));
    ExpectCopied();
  }
}

TEST_P(MemoryObserveTest, WaitSemaphores) {
  const Owned<VkSemaphore> timeline = MakeTimeline();
  for (uint64_t round = 1; round <= 20; ++round) {
    Prepare(400 + round);
    SubmitSignaling(timeline, round);
    VkSemaphoreWaitInfo wait{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
    wait.semaphoreCount = 1;
    wait.pSemaphores = timeline.address();
    wait.pValues = &round;
    ASSERT_EQ(VK_SUCCESS, vk.WaitSemaphores(device, &wait, kWaitLimitNs));
    ExpectCopied();
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

TEST_P(MemoryObserveTest, GetSemaphoreCounterValue) {
  const Owned<VkSemaphore> timeline = MakeTimeline();
  for (uint64_t round = 1; round <= 20; ++round) {
    Prepare(500 + round);
    SubmitSignaling(timeline, round);
    Poll([&] {
      uint64_t value = 0;
      EXPECT_EQ(VK_SUCCESS, vk.GetSemaphoreCounterValue(device, timeline, &value));
      return value >= round;
    });
    ExpectCopied();
  }
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

TEST_P(MemoryObserveTest, TimelineValueWhileLaterWorkWaits) {
  // The second submission hangs on a signal from the host; the first one's data must not hang on
  // it.
  const Owned<VkSemaphore> timeline = MakeTimeline();
  Prepare(600);
  SubmitSignaling(timeline, 1);
  SubmitSignaling(timeline, 3, /*wait_for=*/2);
  Poll([&] {
    uint64_t value = 0;
    EXPECT_EQ(VK_SUCCESS, vk.GetSemaphoreCounterValue(device, timeline, &value));
    return value >= 1;
  });
  ExpectCopied();
  Prepare(601);
  VkSemaphoreSignalInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
  signal.semaphore = timeline;
  signal.value = 2;
  ASSERT_EQ(VK_SUCCESS, vk.SignalSemaphore(device, &signal));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  ExpectCopied();
}

TEST_P(MemoryObserveTest, GetEventStatusAtTheEndOfASubmission) {
  const Owned<VkEvent> event = MakeEvent();
  VkCommandBuffer commands = Record([&](VkCommandBuffer buffer) {
    CopyBytes(gpu(), buffer, source_.handle, result_.handle, kSize);
    FullBarrier(buffer);
    vk.CmdSetEvent(buffer, event, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  });
  for (uint64_t round = 0; round < 5; ++round) {
    ASSERT_EQ(VK_SUCCESS, vk.ResetEvent(device, event));
    Prepare(700 + round);
    Submit(commands);
    Poll([&] { return vk.GetEventStatus(device, event) == VK_EVENT_SET; });
    ExpectCopied();
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  }
}

TEST_P(MemoryObserveTest, GetEventStatusInTheMiddleOfASubmission) {
  // The command buffer goes on only when the host has seen the data: nothing but the event's status
  // tells that they are there.
  const Owned<VkEvent> written = MakeEvent();
  const Owned<VkEvent> seen = MakeEvent();
  VkCommandBuffer commands = Record([&](VkCommandBuffer buffer) {
    CopyBytes(gpu(), buffer, source_.handle, result_.handle, kSize);
    FullBarrier(buffer);
    vk.CmdSetEvent(buffer, written, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
    VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
    barrier.srcAccessMask = VK_ACCESS_HOST_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
    vk.CmdWaitEvents(buffer, 1, seen.address(), VK_PIPELINE_STAGE_HOST_BIT,
                     VK_PIPELINE_STAGE_TRANSFER_BIT, 1, &barrier, 0, nullptr, 0, nullptr);
    vk.CmdFillBuffer(buffer, result_.handle, 0, 64, 0xABABABAB);
    FullBarrier(buffer);
  });
  Prepare(800);
  Submit(commands);
  Poll([&] { return vk.GetEventStatus(device, written) == VK_EVENT_SET; });
  ExpectCopied();
  ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, seen));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(0xABABABABu, result_.As<uint32_t>()[15]);
  EXPECT_EQ(0, std::memcmp(source_.data + 64, result_.data + 64, kSize - 64));
}

TEST_P(MemoryObserveTest, OneFenceTellsAboutEarlierSubmissions) {
  std::vector<Buffer> results;
  for (int i = 0; i < 5; ++i) {
    results.push_back(MakeSharedBuffer(kSize));
  }
  Prepare(900);
  for (const Buffer& result : results) {
    Submit(Record([&](VkCommandBuffer commands) {
      CopyBytes(gpu(), commands, source_.handle, result.handle, kSize);
      FullBarrier(commands);
    }));
  }
  const Owned<VkFence> fence = MakeFence();
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 0, nullptr, fence));
  Wait(fence);
  for (const Buffer& result : results) {
    EXPECT_EQ(0, std::memcmp(source_.data, result.data, kSize));
  }
}

TEST_P(MemoryObserveTest, GpuWritesWhileUnmapped) {
  vk.UnmapMemory(device, result_.memory);
  for (uint64_t round = 0; round < 5; ++round) {
    Random(1000 + round).Fill(source_.bytes());
    Submit(copy_);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    result_.data = Map(result_.memory);
    ExpectCopied();
    vk.UnmapMemory(device, result_.memory);
  }
}

TEST_P(MemoryObserveTest, MappedBetweenSubmitAndWait) {
  vk.UnmapMemory(device, result_.memory);
  Random(1100).Fill(source_.bytes());
  Submit(copy_);
  result_.data = Map(result_.memory);
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  ExpectCopied();
}

TEST_P(MemoryObserveTest, UnmappedBetweenSubmitAndWait) {
  Prepare(1200);
  Submit(copy_);
  vk.UnmapMemory(device, result_.memory);
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  result_.data = Map(result_.memory);
  ExpectCopied();
}

TEST_P(MemoryObserveTest, MappedAfterAPartialMapping) {
  // The GPU writes far outside the range that is mapped at the time.
  vk.UnmapMemory(device, result_.memory);
  const uint8_t* part = Map(result_.memory, 4096, 16);
  Random(1300).Fill(source_.bytes());
  Submit(copy_);
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(0, std::memcmp(source_.data + 4096, part, 16));
  vk.UnmapMemory(device, result_.memory);
  result_.data = Map(result_.memory);
  ExpectCopied();
}

TEST_P(MemoryObserveTest, ShaderWrites) {
  const Buffer data = MakeSharedBuffer(10'000 * sizeof(uint32_t));
  const VkBuffer handle = data.handle;
  const Kernel kernel = MakeKernel(gpu(), kTransformComp, {&handle, 1}, 8);
  std::vector<uint32_t> expected(10'000);
  for (uint32_t round = 0; round < 10; ++round) {
    Execute([&](VkCommandBuffer commands) {
      const uint32_t push[2] = {round * 77, 10'000};
      vk.CmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
      kernel.Dispatch(gpu(), commands, (10'000 + 63) / 64);
    });
    for (uint32_t i = 0; i < expected.size(); ++i) {
      expected[i] = expected[i] * 3 + round * 77 + i;
    }
    ASSERT_EQ(0, std::memcmp(expected.data(), data.data, 40'000)) << "round " << round;
    // And what the program writes into the same buffer is what the shader sees next.
    data.As<uint32_t>()[round * 900 + 5] = expected[round * 900 + 5] = ~round;
  }
}

TEST_P(MemoryObserveTest, InvalidateBringsNonCoherentData) {
  for (const uint32_t type : DistinctHostVisibleTypes()) {
    SCOPED_TRACE(type);
    const VkDeviceSize atom = properties.limits().nonCoherentAtomSize;
    const Buffer result = MakeHostBufferInType(gpu(), 32 * atom, kTransferUsage, type);
    for (uint32_t round = 1; round < 4; ++round) {
      Execute([&](VkCommandBuffer commands) {
        vk.CmdFillBuffer(commands, result.handle, 0, VK_WHOLE_SIZE, round * 0x01010101);
      });
      VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
      range.memory = result.memory;
      for (VkDeviceSize i = 0; i < 32; i += 8) {
        range.offset = i * atom;
        range.size = 8 * atom;
        ASSERT_EQ(VK_SUCCESS, vk.InvalidateMappedMemoryRanges(device, 1, &range));
      }
      for (const uint8_t byte : result.bytes()) {
        ASSERT_EQ(round, byte);
      }
    }
  }
}

VESPER_TEST_WITH_BOTH_ORIGINS(MemoryObserveTest);

}  // namespace
}  // namespace vesper::tests
