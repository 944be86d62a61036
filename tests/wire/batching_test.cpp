// SPDX-License-Identifier: Apache-2.0
// When what was posted is written: without a wait, a flush or another call it is heard all the
// same.
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

class Batching : public WireTest {
 protected:
  // Nothing here makes the guest write.
  bool IsHeard(const std::string& name, size_t count = 1) const {
    for (int i = 0; i < 5000 && mock_.Count(name) < count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return mock_.Count(name) == count;
  }
};

TEST_F(Batching, APostIsHeard) {
  Open();
  for (size_t i = 1; i < 4; ++i) {
    Keep(CreateBuffer(64 * i, VK_BUFFER_USAGE_TRANSFER_DST_BIT));
    EXPECT_TRUE(IsHeard("vkCreateBuffer", i));
    std::this_thread::sleep_for(std::chrono::milliseconds(30 * (i - 1)));  // it sleeps, or not
  }
}

TEST_F(Batching, ARecordingIsHeard) {
  Open();
  ShaderWork();
  EXPECT_TRUE(IsHeard("vkCmdDispatch"));
}

class LongRecording : public Batching {
 protected:
  static constexpr uint32_t kDraws = 20000;

  void SetUp() override {
    mock_.On(number::vkCmdDraw, [this](void* args) {
      const std::lock_guard lock(mutex_);
      draws_.push_back(*static_cast<const proto::Args_vkCmdDraw*>(args));
    });
  }
  size_t CountDraws() const {
    const std::lock_guard lock(mutex_);
    return draws_.size();
  }
  void Draw(VkCommandBuffer buffer, uint32_t first, uint32_t count) {
    for (uint32_t i = first; i < first + count; ++i) {
      vk::vkCmdDraw(buffer, 3, 1, i, 0);
    }
  }
  // The draws that the driver saw, each by its number.
  void ExpectDraws(uint32_t count) {
    uint32_t next = 0;
    for (const auto& draw : draws_) {
      ASSERT_EQ(draw.firstVertex, next++);
    }
    EXPECT_EQ(next, count);
  }

  mutable std::mutex mutex_;
  std::vector<proto::Args_vkCmdDraw> draws_;
};

TEST_F(LongRecording, IsReplayedWhileItGoesOn) {
  Open();
  const VkCommandBuffer buffer = Begin();
  Draw(buffer, 0, kDraws);
  while (CountDraws() < kDraws / 2) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(mock_.Count("vkEndCommandBuffer"), 0u);
  Draw(buffer, kDraws, kDraws);
  ASSERT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  Sync();
  ExpectDraws(2 * kDraws);
  EXPECT_EQ(mock_.Count("vkBeginCommandBuffer"), 1u);
  EXPECT_EQ(mock_.Count("vkEndCommandBuffer"), 1u);
}

TEST_F(LongRecording, OfTwoBuffersInTurn) {
  Open();
  const VkCommandBuffer buffers[2] = {Begin(), Begin()};
  for (uint32_t i = 0; i < kDraws; ++i) {
    vk::vkCmdDraw(buffers[i % 2], 3, 1, i / 2, i % 2);
  }
  for (const VkCommandBuffer buffer : buffers) {
    ASSERT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  }
  Sync();
  uint32_t next[2] = {};
  for (const auto& draw : draws_) {
    ASSERT_EQ(draw.firstVertex, next[draw.firstInstance]++);
  }
  EXPECT_EQ(next[0], kDraws / 2);
  EXPECT_EQ(next[1], kDraws / 2);
}

// Nothing of the recording that was begun anew is left, nor is it ended twice.
TEST_F(LongRecording, IsBegunAnew) {
  Open();
  const VkCommandBuffer buffer = Begin();
  Draw(buffer, 0, kDraws);
  ASSERT_EQ(vk::vkResetCommandBuffer(buffer, 0), VK_SUCCESS);
  Sync();
  mock_.Clear();
  draws_.clear();
  const VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  ASSERT_EQ(vk::vkBeginCommandBuffer(buffer, &info), VK_SUCCESS);
  Draw(buffer, 0, 10);
  ASSERT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  Sync();
  ExpectDraws(10);
  EXPECT_EQ(mock_.Count("vkEndCommandBuffer"), 1u);
}

// The program is told when it ends the recording; the host's buffer comes to its end as well.
TEST_F(LongRecording, ThatFailsInTheMiddle) {
  Open();
  const VkCommandBuffer buffer = Begin();
  Draw(buffer, 0, kDraws);
  const VkMultiDrawInfoEXT draw{};  // again and again, more often than a frame can say
  vk::vkCmdDrawMultiEXT(buffer, proto::kMaxFrameBytes / sizeof(draw), &draw, 1, 0, 0);
  Draw(buffer, kDraws, kDraws);
  EXPECT_EQ(vk::vkEndCommandBuffer(buffer), VK_ERROR_OUT_OF_HOST_MEMORY);
  Sync();
  EXPECT_LE(CountDraws(), kDraws);
  EXPECT_EQ(mock_.Count("vkEndCommandBuffer"), 1u);
  const VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  ASSERT_EQ(vk::vkBeginCommandBuffer(buffer, &info), VK_SUCCESS);
  EXPECT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
}

class WholeRecording : public LongRecording, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    environment_.debug_sync = GetParam();
    environment_.records_in_parts = GetParam();
    LongRecording::SetUp();
  }
};

TEST_P(WholeRecording, IsSentWhenItEnds) {
  Open();
  const VkCommandBuffer buffer = Begin();
  Draw(buffer, 0, kDraws);
  Sync();
  EXPECT_EQ(CountDraws(), 0u);
  ASSERT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  Sync();
  ExpectDraws(kDraws);
}

INSTANTIATE_TEST_SUITE_P(VariableAndSync, WholeRecording, testing::Bool());

TEST_F(Batching, SubmissionsAreHeardInARow) {
  Open();
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
  }
  EXPECT_TRUE(IsHeard("vkQueueSubmit", 10));
}

TEST_F(Batching, SmallWritesToMemoryAreHeard) {
  Open();
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::byte* data = MapNewMemory(4096, kMockCoherent, &memory);
  Keep(memory);
  Sync();
  data[7] = std::byte{7};
  const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, memory, 0,
                                  VK_WHOLE_SIZE};
  ASSERT_EQ(vk::vkFlushMappedMemoryRanges(device_, 1, &range), VK_SUCCESS);
  Keep(CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT));
  EXPECT_TRUE(IsHeard("vkCreateBuffer", 2));
  EXPECT_EQ(mock_.Memory(0)[7], std::byte{7}) << "it was posted before";
}

TEST_F(Batching, WithoutBatchesTheSame) {
  environment_.batches = false;
  Open();
  ASSERT_EQ(Submit(ShaderWork(), VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_TRUE(IsHeard("vkQueueSubmit"));
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), 1u);
}

}  // namespace
}  // namespace vesper::tests
