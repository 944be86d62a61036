// SPDX-License-Identifier: Apache-2.0
// Frames as games have them: a ring of three slots in memory that stays mapped, each written again
// when its fence tells that the GPU is done with it, while the other two are in flight. What is in
// a frame follows from its number alone, so that a word of another frame (stale), or half a frame
// (torn), can't be mistaken for a good one: the GPU counts those that are wrong, and copies what it
// has seen for the program to look at.
#include <cstdlib>
#include <cstring>
#include <memory>

#include "shaders/frame_check_comp.h"
#include "tests/framework/relay.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr uint32_t kSlots = 3;
// No multiple of a page: neighbours share one.
constexpr uint32_t kWords = 3000;
constexpr size_t kSlotBytes = kWords * sizeof(uint32_t);

uint32_t Word(uint32_t frame, uint32_t i) {
  uint32_t h = frame * 2654435761u ^ i * 2246822519u;
  h = (h ^ h >> 15) * 3266489917u;
  return h ^ h >> 13;
}

// Every other block of 64 words is the frame's own, the others are of the last one in this slot: so
// a frame writes some of the lines in each page and leaves some.
bool IsWritten(uint32_t frame, uint32_t i) { return (i / 64 + frame) % 2 == 0; }

class FrameRing {
 public:
  explicit FrameRing(Gpu& gpu) : gpu_(gpu) {
    ring_ = MakeHostBuffer(gpu, kSlots * kSlotBytes);
    output_ = MakeHostBuffer(gpu, kSlots * kSlotBytes, kTransferUsage);
    report_ = MakeHostBuffer(gpu, kSlots * 2 * sizeof(uint32_t));
    const VkBuffer buffers[] = {ring_.handle, report_.handle};
    kernel_ = MakeKernel(gpu, kFrameCheckComp, buffers, 8);
    for (uint32_t slot = 0; slot < kSlots; ++slot) {
      fences_[slot] = gpu.MakeFence();
      commands_[slot] = Record(slot);
      for (uint32_t i = 0; i < kWords; ++i) {
        SlotWords(slot)[i] = Word(slot, i);
      }
    }
  }

  // Frames 3, 4, ...; each is looked at when its slot's turn comes again.
  void Run(uint32_t count) {
    const uint32_t end = kSlots + count;
    for (uint32_t frame = kSlots; frame < end; ++frame) {
      if (frame >= 2 * kSlots) {
        Check(frame - kSlots);
      }
      Write(frame);
      gpu_.Submit(commands_[frame % kSlots], fences_[frame % kSlots]);
      if (::testing::Test::HasFatalFailure()) {
        break;
      }
    }
    VESPER_CHECK(gpu_.vk.QueueWaitIdle(gpu_.queue));
    for (uint32_t frame = end - std::min(kSlots, count); frame < end; ++frame) {
      Check(frame);
    }
  }

 private:
  uint32_t* SlotWords(uint32_t slot) { return ring_.As<uint32_t>().data() + slot * kWords; }

  VkCommandBuffer Record(uint32_t slot) {
    return gpu_.Record([&](VkCommandBuffer commands) {
      gpu_.vk.CmdFillBuffer(commands, report_.handle, slot * 8, 8, 0);
      gpu_.FullBarrier(commands);
      const uint32_t push[] = {slot, kWords};
      gpu_.vk.CmdPushConstants(commands, kernel_.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               sizeof(push), push);
      kernel_.Dispatch(gpu_, commands, (kWords + 63) / 64);
      CopyBytes(gpu_, commands, ring_.handle, output_.handle, kSlotBytes, slot * kSlotBytes,
                slot * kSlotBytes);
      gpu_.FullBarrier(commands);
    });
  }

  void Write(uint32_t frame) {
    uint32_t* words = SlotWords(frame % kSlots);
    for (uint32_t i = 1; i < kWords; ++i) {
      if (IsWritten(frame, i)) {
        words[i] = Word(frame, i);
      }
    }
    words[0] = frame;
  }

  void Check(uint32_t frame) {
    const uint32_t slot = frame % kSlots;
    gpu_.Wait(fences_[slot]);
    VESPER_CHECK(gpu_.vk.ResetFences(gpu_.device, 1, fences_[slot].address()));
    const uint32_t* report = report_.As<uint32_t>().data() + slot * 2;
    ASSERT_EQ(frame, report[0]) << "stale: the GPU saw another frame";
    ASSERT_EQ(0u, report[1]) << "torn: words that the GPU saw are not those of frame " << frame;
    const uint32_t* output = output_.As<uint32_t>().data() + slot * kWords;
    ASSERT_EQ(frame, output[0]);
    for (uint32_t i = 1; i < kWords; ++i) {
      ASSERT_EQ(Word(IsWritten(frame, i) ? frame : frame - kSlots, i), output[i])
          << "word " << i << " of frame " << frame << " as the program sees the GPU's copy";
    }
  }

  Gpu& gpu_;
  Buffer ring_;
  Buffer output_;
  Buffer report_;
  Kernel kernel_;
  Owned<VkFence> fences_[kSlots];
  VkCommandBuffer commands_[kSlots] = {};
};

// How many frames a test has: as many as VESPER_TEST_FRAMES says, or what suits a daily run.
uint32_t FrameCount(uint32_t daily) {
  const char* text = std::getenv("VESPER_TEST_FRAMES");
  return text == nullptr ? daily : static_cast<uint32_t>(std::strtoul(text, nullptr, 10));
}

class MemoryFramesTest : public VulkanTest {};

TEST_F(MemoryFramesTest, NoneStaleNoneTorn) { FrameRing(gpu()).Run(FrameCount(10'000)); }

// The same over a long way: what is late by milliseconds is late in another order, too.
class MemoryFramesAfarTest : public VesperOnlyTest {
 protected:
  void RunOver(std::chrono::milliseconds round_trip, uint32_t frames) {
    const std::string near = getenv("VESPER_SERVER");
    Relay relay(near);
    UseDriver(target_, relay.endpoint());
    {
      Gpu gpu;
      gpu.Open();
      FrameRing ring(gpu);
      relay.SetRoundTrip(round_trip);
      ring.Run(FrameCount(frames));
      relay.SetRoundTrip(std::chrono::milliseconds(0));
    }
    UseDriver(target_, near);
  }
};

TEST_F(MemoryFramesAfarTest, TwentyMilliseconds) { RunOver(std::chrono::milliseconds(20), 300); }

TEST_F(MemoryFramesAfarTest, HundredMilliseconds) { RunOver(std::chrono::milliseconds(100), 60); }

}  // namespace
}  // namespace vesper::tests
