// SPDX-License-Identifier: Apache-2.0
// When what was posted is written: without a wait, a flush or another call it is heard all the
// same.
#include <chrono>
#include <thread>

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
