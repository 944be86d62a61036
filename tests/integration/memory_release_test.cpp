// SPDX-License-Identifier: Apache-2.0
// What the program wrote must be on the GPU when the GPU may read it. Each call that releases work
// (submits, host signals of semaphores and events, flushes, unmapping) is tried with a write that
// comes after every other such call, so that it alone can have carried the data.
#include <cstring>

#include "tests/framework/memory_origin.h"
#include "tests/framework/random.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kSize = 5 * 4096 + 24;

class MemoryReleaseTest : public MemoryOriginTest {
 protected:
  void SetUp() override {
    MemoryOriginTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    source_ = MakeSharedBuffer(kSize);
    target_ = MakeDeviceBuffer(gpu(), kSize);
  }

  // Copies source to target, after what `wait` records; host writes up to the wait are visible.
  VkCommandBuffer RecordCopy(const Recorder& wait = [](VkCommandBuffer) {}) {
    return Record([&](VkCommandBuffer commands) {
      wait(commands);
      FullBarrier(commands);
      CopyBytes(gpu(), commands, source_.handle, target_.handle, kSize);
    });
  }

  std::vector<uint8_t> WriteRandomly(uint64_t seed) {
    const std::vector<uint8_t> bytes = Random(seed).Bytes(kSize);
    std::memcpy(source_.data, bytes.data(), kSize);
    return bytes;
  }

  std::vector<uint8_t> Target() { return ReadBack(gpu(), target_.handle, kSize); }

  Buffer source_;
  Buffer target_;
};

TEST_P(MemoryReleaseTest, QueueSubmit) {
  VkCommandBuffer copy = RecordCopy();
  for (uint64_t round = 0; round < 10; ++round) {
    const std::vector<uint8_t> expected = WriteRandomly(round);
    Submit(copy);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(expected, Target()) << "round " << round;
  }
}

TEST_P(MemoryReleaseTest, QueueSubmit2) {
  VkCommandBuffer copy = RecordCopy();
  VkCommandBufferSubmitInfo buffer_info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO};
  buffer_info.commandBuffer = copy;
  VkSubmitInfo2 submit{VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
  submit.commandBufferInfoCount = 1;
  submit.pCommandBufferInfos = &buffer_info;
  for (uint64_t round = 0; round < 10; ++round) {
    const std::vector<uint8_t> expected = WriteRandomly(100 + round);
    ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit2(queue, 1, &submit, VK_NULL_HANDLE));
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(expected, Target()) << "round " << round;
  }
}

TEST_P(MemoryReleaseTest, SubmitWithSeveralBatches) {
  // The data must be there for the first batch, not only at the end of the call.
  const Buffer second = MakeDeviceBuffer(gpu(), kSize);
  VkCommandBuffer copies[2] = {RecordCopy(), Record([&](VkCommandBuffer commands) {
                                 FullBarrier(commands);
                                 CopyBytes(gpu(), commands, target_.handle, second.handle, kSize);
                               })};
  VkSubmitInfo submits[2] = {{VK_STRUCTURE_TYPE_SUBMIT_INFO}, {VK_STRUCTURE_TYPE_SUBMIT_INFO}};
  for (int i = 0; i < 2; ++i) {
    submits[i].commandBufferCount = 1;
    submits[i].pCommandBuffers = &copies[i];
  }
  const std::vector<uint8_t> expected = WriteRandomly(7);
  ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 2, submits, VK_NULL_HANDLE));
  ASSERT_EQ(VK_SUCCESS, vk.DeviceWaitIdle(device));
  EXPECT_EQ(expected, ReadBack(gpu(), second.handle, kSize));
}

// A block that is written again and again, and then less and less, until it is watched in another
// way. The page that is written at that very moment has to arrive as well.
TEST_P(MemoryReleaseTest, BlocksThatAreWrittenLessAndLess) {
  constexpr VkDeviceSize kBlock = 64 << 10;
  constexpr VkDeviceSize kPage = 4096;
  for (const VkBufferUsageFlags others : {0u, VkBufferUsageFlags{kStorageUsage}}) {
    SCOPED_TRACE(others);
    const Buffer source = MakeSharedBuffer(kBlock, VK_BUFFER_USAGE_TRANSFER_SRC_BIT | others);
    const Buffer target = MakeDeviceBuffer(gpu(), kBlock);
    VkCommandBuffer copy = Record([&](VkCommandBuffer commands) {
      CopyBytes(gpu(), commands, source.handle, target.handle, kBlock);
    });
    Random random(others);
    std::vector<uint8_t> expected(kBlock);
    for (const size_t pages : {16, 16, 16, 1, 1, 1, 1, 1, 1, 1, 16, 16, 16, 3, 2, 1, 1, 0, 0, 1}) {
      const size_t first = pages == 16 ? 0 : random.Below(16 - pages);
      for (size_t i = first * kPage; i < (first + pages) * kPage; ++i) {
        expected[i] = static_cast<uint8_t>(expected[i] + 1 + i % 3);  // no byte stays as it was
      }
      std::memcpy(source.data + first * kPage, expected.data() + first * kPage, pages * kPage);
      Submit(copy);
      ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
      ASSERT_EQ(expected, ReadBack(gpu(), target.handle, kBlock)) << pages << " pages";
    }
  }
}

// A block of which every byte changes each time, long enough for it to be sent without looking;
// then parts of it go back to what they were before, and in the end the device may write there too.
TEST_P(MemoryReleaseTest, BlocksThatAreRewrittenAgainAndAgain) {
  constexpr VkDeviceSize kBlock = 64 << 10;
  Buffer source = MakeSharedBuffer(kBlock, VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
  // Mapped, so that nothing else has to be submitted to look at it.
  const Buffer target = MakeHostBuffer(gpu(), kBlock);
  VkCommandBuffer copy = Record([&](VkCommandBuffer commands) {
    FullBarrier(commands);
    CopyBytes(gpu(), commands, source.handle, target.handle, kBlock);
    FullBarrier(commands);
  });
  const std::vector<uint8_t> contents[] = {std::vector<uint8_t>(kBlock, 0x11),
                                           std::vector<uint8_t>(kBlock, 0x22)};
  std::vector<uint8_t> expected;
  const auto expect_copied = [&](int round) {
    std::memcpy(source.data, expected.data(), kBlock);
    Submit(copy);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(0, std::memcmp(expected.data(), target.data, kBlock)) << "round " << round;
  };
  for (int rewrites = 1; rewrites < 40; ++rewrites) {
    for (int round = 0; round < rewrites; ++round) {
      expected = contents[round % 2];
      ASSERT_NO_FATAL_FAILURE(expect_copied(round));
    }
    for (size_t at = static_cast<size_t>(rewrites); at < kBlock; at += 13 * 1024) {
      expected[at] = expected[at] == 0x11 ? 0x22 : 0x11;
      ASSERT_NO_FATAL_FAILURE(expect_copied(rewrites));
    }
  }
  // A second buffer over the same memory, through which the device writes.
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = kBlock;
  info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  VkExternalMemoryBufferCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
  external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  info.pNext = GetParam() == MemoryOrigin::kImported ? &external : nullptr;
  const Owned<VkBuffer> alias = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  for (int round = 0; round < 3; ++round) {
    expected = contents[round % 2];
    ASSERT_NO_FATAL_FAILURE(expect_copied(round));
  }
  ASSERT_EQ(VK_SUCCESS, vk.BindBufferMemory(device, alias, source.memory, 0));
  for (size_t at = 0; at < kBlock; at += 7 * 1024) {
    VkCommandBuffer fill = Record([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      vk.CmdFillBuffer(commands, alias, at + 4, 4, 0x44444444);
      FullBarrier(commands);
    });
    // The program does not know yet what the device has written when it submits again.
    Submit(fill);
    source.data[at + 1] = expected[at + 1] = 0x33;
    std::fill_n(expected.begin() + static_cast<ptrdiff_t>(at) + 4, 4, uint8_t{0x44});
    Submit(copy);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(0, std::memcmp(expected.data(), target.data, kBlock)) << "at " << at;
    ASSERT_EQ(0, std::memcmp(expected.data(), source.data, kBlock)) << "at " << at;
  }
}

TEST_P(MemoryReleaseTest, SignalSemaphoreReleasesWaitingWork) {
  const Owned<VkSemaphore> gate = MakeTimeline();
  VkCommandBuffer copy = RecordCopy();
  for (uint64_t round = 1; round <= 10; ++round) {
    VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.waitSemaphoreValueCount = 1;
    values.pWaitSemaphoreValues = &round;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.pNext = &values;
    submit.waitSemaphoreCount = 1;
    submit.pWaitSemaphores = gate.address();
    submit.pWaitDstStageMask = &stage;
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &copy;
    ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));

    const std::vector<uint8_t> expected = WriteRandomly(200 + round);
    VkSemaphoreSignalInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
    signal.semaphore = gate;
    signal.value = round;
    ASSERT_EQ(VK_SUCCESS, vk.SignalSemaphore(device, &signal));
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(expected, Target()) << "round " << round;
  }
}

TEST_P(MemoryReleaseTest, SetEventReleasesWaitingWork) {
  const Owned<VkEvent> gate = MakeEvent();
  VkCommandBuffer copy = RecordCopy([&](VkCommandBuffer commands) {
    VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
    barrier.srcAccessMask = VK_ACCESS_HOST_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
    vk.CmdWaitEvents(commands, 1, gate.address(), VK_PIPELINE_STAGE_HOST_BIT,
                     VK_PIPELINE_STAGE_TRANSFER_BIT, 1, &barrier, 0, nullptr, 0, nullptr);
  });
  for (uint64_t round = 0; round < 5; ++round) {
    ASSERT_EQ(VK_SUCCESS, vk.ResetEvent(device, gate));
    Submit(copy);
    const std::vector<uint8_t> expected = WriteRandomly(300 + round);
    ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, gate));
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(expected, Target()) << "round " << round;
  }
}

TEST_P(MemoryReleaseTest, UnmapCarriesWhatWasWritten) {
  VkCommandBuffer copy = RecordCopy();
  for (uint64_t round = 0; round < 10; ++round) {
    const std::vector<uint8_t> expected = WriteRandomly(400 + round);
    vk.UnmapMemory(device, source_.memory);
    Submit(copy);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(expected, Target()) << "round " << round;
    source_.data = Map(source_.memory);
  }
}

TEST_P(MemoryReleaseTest, UnmapWhileEarlierWorkIsPending) {
  // The work was submitted before the write; only unmapping and the signal come after it.
  const Owned<VkEvent> gate = MakeEvent();
  VkCommandBuffer copy = RecordCopy([&](VkCommandBuffer commands) {
    VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
    barrier.srcAccessMask = VK_ACCESS_HOST_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
    vk.CmdWaitEvents(commands, 1, gate.address(), VK_PIPELINE_STAGE_HOST_BIT,
                     VK_PIPELINE_STAGE_TRANSFER_BIT, 1, &barrier, 0, nullptr, 0, nullptr);
  });
  Submit(copy);
  const std::vector<uint8_t> expected = WriteRandomly(500);
  vk.UnmapMemory(device, source_.memory);
  ASSERT_EQ(VK_SUCCESS, vk.SetEvent(device, gate));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(expected, Target());
}

TEST_P(MemoryReleaseTest, FlushOfNonCoherentMemory) {
  const VkDeviceSize atom = properties.limits().nonCoherentAtomSize;
  for (const uint32_t type : DistinctHostVisibleTypes()) {
    SCOPED_TRACE(type);
    Buffer source = MakeHostBufferInType(gpu(), 64 * atom, kTransferUsage, type);
    const Buffer target = MakeDeviceBuffer(gpu(), 64 * atom);
    Random random(600 + type);
    random.Fill(source.bytes());
    VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
    range.memory = source.memory;
    for (VkDeviceSize i = 0; i < 64; i += 4) {
      range.offset = i * atom;
      range.size = 4 * atom;
      ASSERT_EQ(VK_SUCCESS, vk.FlushMappedMemoryRanges(device, 1, &range));
    }
    VkCommandBuffer copy = Record([&](VkCommandBuffer commands) {
      CopyBytes(gpu(), commands, source.handle, target.handle, 64 * atom);
    });
    Submit(copy);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    const std::vector<uint8_t> read = ReadBack(gpu(), target.handle, 64 * atom);
    EXPECT_EQ(0, std::memcmp(read.data(), source.data, read.size()));
  }
}

TEST_P(MemoryReleaseTest, RingOfPersistentlyMappedFrames) {
  // The way games do it: three slots of one mapping, each rewritten when its fence says so, with
  // the other two in flight.
  constexpr size_t kSlots = 3;
  constexpr VkDeviceSize kSlotSize = 4096 + 512;  // No multiple of a page: neighbours share one.
  const Buffer ring = MakeSharedBuffer(kSlots * kSlotSize);
  const Buffer results = MakeSharedBuffer(kSlots * kSlotSize);
  std::vector<Owned<VkFence>> fences;
  std::vector<VkCommandBuffer> copies;
  std::vector<std::vector<uint8_t>> expected(kSlots);
  for (size_t slot = 0; slot < kSlots; ++slot) {
    fences.push_back(MakeFence());
    copies.push_back(Record([&](VkCommandBuffer commands) {
      CopyBytes(gpu(), commands, ring.handle, results.handle, kSlotSize, slot * kSlotSize,
                slot * kSlotSize);
      FullBarrier(commands);
    }));
  }
  Random random(8);
  for (size_t frame = 0; frame < 60; ++frame) {
    const size_t slot = frame % kSlots;
    if (frame >= kSlots) {
      Wait(fences[slot]);
      ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fences[slot].address()));
      ASSERT_EQ(0, std::memcmp(expected[slot].data(), results.data + slot * kSlotSize, kSlotSize))
          << "frame " << frame - kSlots;
    }
    expected[slot] = random.Bytes(kSlotSize);
    std::memcpy(ring.data + slot * kSlotSize, expected[slot].data(), kSlotSize);
    Submit(copies[slot], fences[slot]);
  }
  ASSERT_EQ(VK_SUCCESS, vk.DeviceWaitIdle(device));
  for (size_t slot = 0; slot < kSlots; ++slot) {
    EXPECT_EQ(0, std::memcmp(expected[slot].data(), results.data + slot * kSlotSize, kSlotSize));
  }
}

TEST_P(MemoryReleaseTest, SingleByteWritesOneByOne) {
  // One changed byte per submission, at the edges of words and pages too.
  VkCommandBuffer copy = RecordCopy();
  std::vector<uint8_t> expected(kSize);
  std::memset(source_.data, 0, kSize);
  const size_t places[] = {0, 1, 7, 8, 4094, 4095, 4096, 4097, 8191, 12288, kSize - 2, kSize - 1};
  uint8_t value = 1;
  for (const size_t place : places) {
    source_.data[place] = expected[place] = value++;
    Submit(copy);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(expected, Target()) << "byte " << place;
  }
}

VESPER_TEST_WITH_BOTH_ORIGINS(MemoryReleaseTest);

}  // namespace
}  // namespace vesper::tests
