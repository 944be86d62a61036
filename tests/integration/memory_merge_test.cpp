// SPDX-License-Identifier: Apache-2.0
// The program and the GPU write into one page, or one word, between the same two sync points.
// Neither may lose a byte to the other, whoever comes first.
#include <cstring>

#include "tests/framework/memory_origin.h"
#include "tests/framework/random.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kSize = 2 * 4096;

class MemoryMergeTest : public MemoryOriginTest {
 protected:
  void SetUp() override {
    MemoryOriginTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    shared_ = MakeSharedBuffer(kSize);
    source_ = MakeSharedBuffer(kSize);
    expected_.assign(kSize, 0);
  }

  // A command buffer with which the GPU copies the chosen bytes of source_ into shared_.
  VkCommandBuffer RecordByteCopies(const std::vector<size_t>& places) {
    std::vector<VkBufferCopy> regions;
    for (const size_t place : places) {
      regions.push_back({place, place, 1});
    }
    return Record([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      vk.CmdCopyBuffer(commands, source_.handle, shared_.handle,
                       static_cast<uint32_t>(regions.size()), regions.data());
      FullBarrier(commands);
    });
  }

  // Both what the program sees and what the GPU sees must be what is expected.
  void ExpectBothSides(const std::string& when) {
    ASSERT_EQ(0, std::memcmp(expected_.data(), shared_.data, kSize)) << "program's view, " << when;
    ASSERT_EQ(expected_, ReadBack(gpu(), shared_.handle, kSize)) << "GPU's view, " << when;
  }

  Buffer shared_;
  Buffer source_;
  std::vector<uint8_t> expected_;
};

TEST_P(MemoryMergeTest, ProgramAndGpuWriteAlternateBytesOfAWord) {
  const std::vector<size_t> odd = {1, 3, 5, 7, 65, 4095, 4097, 8191};
  const std::vector<size_t> even = {0, 2, 4, 6, 64, 4094, 4096, 8190};
  VkCommandBuffer copy = RecordByteCopies(odd);
  const Owned<VkFence> fence = MakeFence();
  for (int round = 1; round <= 50; ++round) {
    std::memset(source_.data, 0x80 | round, kSize);
    Submit(copy, fence);
    for (const size_t place : even) {
      shared_.data[place] = expected_[place] = static_cast<uint8_t>(round);
    }
    Wait(fence);
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
    for (const size_t place : odd) {
      expected_[place] = static_cast<uint8_t>(0x80 | round);
    }
    ASSERT_EQ(0, std::memcmp(expected_.data(), shared_.data, kSize)) << "round " << round;
  }
  ExpectBothSides("at the end");
}

TEST_P(MemoryMergeTest, RandomBytesOfOnePage) {
  Random random(11);
  const Owned<VkFence> fence = MakeFence();
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE(round);
    // Every byte belongs to the program, to the GPU or to nobody this time.
    std::vector<size_t> by_gpu;
    std::vector<size_t> by_program;
    for (size_t i = 0; i < kSize; ++i) {
      const uint64_t owner = random.Below(12);
      if (owner == 0) {
        by_gpu.push_back(i);
      } else if (owner <= 2) {
        by_program.push_back(i);
      }
    }
    random.Fill(source_.bytes());
    Submit(RecordByteCopies(by_gpu), fence);
    for (const size_t place : by_program) {
      shared_.data[place] = expected_[place] = static_cast<uint8_t>(random.Next());
    }
    for (const size_t place : by_gpu) {
      expected_[place] = source_.data[place];
    }
    Wait(fence);
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
    ASSERT_EQ(0, std::memcmp(expected_.data(), shared_.data, kSize));
    if (round % 8 == 0) {
      ExpectBothSides("round " + std::to_string(round));
    }
  }
  ExpectBothSides("at the end");
}

TEST_P(MemoryMergeTest, GpuWritesAfterTheProgramWithAGate) {
  // The GPU is held back by a semaphore until the program has written, so the order is certain.
  const std::vector<size_t> by_gpu = {10, 11, 13, 4096, 4100};
  VkCommandBuffer copy = RecordByteCopies(by_gpu);
  const Owned<VkSemaphore> gate = MakeTimeline();
  for (uint64_t round = 1; round <= 10; ++round) {
    std::memset(source_.data, static_cast<int>(0x40 + round), kSize);
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
    for (const size_t place : {size_t{9}, size_t{12}, size_t{14}, size_t{4097}}) {
      shared_.data[place] = expected_[place] = static_cast<uint8_t>(round);
    }
    VkSemaphoreSignalInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
    signal.semaphore = gate;
    signal.value = round;
    ASSERT_EQ(VK_SUCCESS, vk.SignalSemaphore(device, &signal));
    // Written after the release, while the GPU is perhaps at work next to it.
    shared_.data[4101] = expected_[4101] = static_cast<uint8_t>(~round);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    for (const size_t place : by_gpu) {
      expected_[place] = static_cast<uint8_t>(0x40 + round);
    }
    ExpectBothSides("round " + std::to_string(round));
  }
}

TEST_P(MemoryMergeTest, GpuPutsBackTheOldValue) {
  // The program changes 0 to 7; the GPU turns it back to 0. Against what the guest knew at the sync
  // point before, nothing has changed; against what it knows now, it has.
  VkCommandBuffer fill = Record([&](VkCommandBuffer commands) {
    FullBarrier(commands);
    vk.CmdFillBuffer(commands, shared_.handle, 0, 64, 0);
    FullBarrier(commands);
  });
  for (int round = 0; round < 10; ++round) {
    std::memset(shared_.data, 7, 64);
    Submit(fill);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    for (size_t i = 0; i < 64; ++i) {
      ASSERT_EQ(0, shared_.data[i]) << "byte " << i << ", round " << round;
    }
  }
}

TEST_P(MemoryMergeTest, ProgramPutsBackTheOldValue) {
  // The other way round: the GPU writes 9, the program turns it back to 0, and the GPU must see 0.
  const Buffer seen = MakeSharedBuffer(64);
  VkCommandBuffer fill = Record([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, shared_.handle, 0, 64, 0x09090909);
    FullBarrier(commands);
  });
  VkCommandBuffer copy = Record([&](VkCommandBuffer commands) {
    CopyBytes(gpu(), commands, shared_.handle, seen.handle, 64);
    FullBarrier(commands);
  });
  for (int round = 0; round < 10; ++round) {
    Submit(fill);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(9, shared_.data[63]);
    std::memset(shared_.data, 0, 32);
    Submit(copy);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    for (size_t i = 0; i < 64; ++i) {
      ASSERT_EQ(i < 32 ? 0 : 9, seen.data[i]) << "byte " << i << ", round " << round;
    }
  }
}

TEST_P(MemoryMergeTest, ProgramWritesWhatTheGpuHasJustWritten) {
  // Both write the same value into neighbouring bytes; then the GPU changes only its own.
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE(round);
    const uint8_t first = static_cast<uint8_t>(2 * round + 1);
    const uint8_t second = static_cast<uint8_t>(2 * round + 2);
    std::memset(source_.data, first, kSize);
    Submit(RecordByteCopies({100}));
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    shared_.data[100] = first;
    shared_.data[101] = first;
    std::memset(source_.data, second, kSize);
    Submit(RecordByteCopies({100}));
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    ASSERT_EQ(second, shared_.data[100]);
    ASSERT_EQ(first, shared_.data[101]);
  }
}

TEST_P(MemoryMergeTest, ProgramWritesBetweenTwoSubmissionsInFlight) {
  // Byte i is the GPU's in the first submission and stays; the program's byte comes in between and
  // is read by the second submission.
  const Buffer seen = MakeSharedBuffer(kSize);
  VkCommandBuffer first = RecordByteCopies({200, 202, 4200});
  VkCommandBuffer second = Record([&](VkCommandBuffer commands) {
    FullBarrier(commands);
    CopyBytes(gpu(), commands, shared_.handle, seen.handle, kSize);
    FullBarrier(commands);
  });
  for (int round = 1; round <= 30; ++round) {
    std::memset(source_.data, round, kSize);
    Submit(first);
    for (const size_t place : {size_t{201}, size_t{203}, size_t{4201}}) {
      shared_.data[place] = expected_[place] = static_cast<uint8_t>(0xC0 | round);
    }
    Submit(second);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    for (const size_t place : {size_t{200}, size_t{202}, size_t{4200}}) {
      expected_[place] = static_cast<uint8_t>(round);
    }
    ASSERT_EQ(0, std::memcmp(expected_.data(), shared_.data, kSize)) << "round " << round;
    ASSERT_EQ(0, std::memcmp(expected_.data(), seen.data, kSize)) << "round " << round;
  }
}

TEST_P(MemoryMergeTest, UnmapWithGpuWritesInFlight) {
  // The program's bytes leave at the unmap while the GPU writes other bytes of the same word.
  for (int round = 1; round <= 20; ++round) {
    SCOPED_TRACE(round);
    std::memset(source_.data, 0x80 | round, kSize);
    Submit(RecordByteCopies({17, 19, 21}));
    for (const size_t place : {size_t{16}, size_t{18}, size_t{20}}) {
      shared_.data[place] = expected_[place] = static_cast<uint8_t>(round);
    }
    vk.UnmapMemory(device, shared_.memory);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    shared_.data = Map(shared_.memory);
    for (const size_t place : {size_t{17}, size_t{19}, size_t{21}}) {
      expected_[place] = static_cast<uint8_t>(0x80 | round);
    }
    ASSERT_EQ(0, std::memcmp(expected_.data(), shared_.data, kSize));
  }
  ExpectBothSides("at the end");
}

TEST_P(MemoryMergeTest, TwoBuffersInOneAllocationSharingAPage) {
  // One belongs to the program, the other to the GPU; the border is in the middle of a page.
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = 1024;
  info.usage = kTransferUsage;
  const Owned<VkBuffer> mine = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  const Owned<VkBuffer> theirs = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  VkMemoryRequirements requirements{};
  vk.GetBufferMemoryRequirements(device, mine, &requirements);
  const VkDeviceSize border =
      (requirements.size + requirements.alignment - 1) & ~(requirements.alignment - 1);
  const Owned<VkDeviceMemory> memory = Allocate(
      border + requirements.size,
      FindMemoryType(requirements.memoryTypeBits,
                     VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT));
  ASSERT_EQ(VK_SUCCESS, vk.BindBufferMemory(device, mine, memory, 0));
  ASSERT_EQ(VK_SUCCESS, vk.BindBufferMemory(device, theirs, memory, border));
  uint8_t* data = Map(memory);
  VkCommandBuffer fill = AllocateCommandBuffer();
  for (uint32_t round = 1; round <= 20; ++round) {
    RecordInto(fill, 0, [&](VkCommandBuffer commands) {
      vk.CmdFillBuffer(commands, theirs, 0, VK_WHOLE_SIZE, round * 0x01010101);
      FullBarrier(commands);
    });
    Submit(fill);
    std::memset(data, static_cast<int>(0xFF - round), 1024);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    for (size_t i = 0; i < 1024; ++i) {
      ASSERT_EQ(0xFF - round, data[i]) << "byte " << i;
      ASSERT_EQ(round, data[border + i]) << "byte " << i;
    }
  }
  const std::vector<uint8_t> on_gpu = ReadBack(gpu(), mine, 1024);
  EXPECT_EQ(std::vector<uint8_t>(1024, 0xFF - 20), on_gpu);
}

VESPER_TEST_WITH_BOTH_ORIGINS(MemoryMergeTest);

}  // namespace
}  // namespace vesper::tests
