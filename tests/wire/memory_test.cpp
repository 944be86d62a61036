// SPDX-License-Identifier: Apache-2.0
// Mapped memory over the wire: the mock's allocations are the device's memory, and its work writes
// them while the program writes its own mapping.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/framework/random.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Not;

class Memory : public WireTest {
 protected:
  void SetUp() override {
    Open();
    work_ = ShaderWork();
    Sync();
    mock_.Clear();
  }
  void TearDown() override {
    for (const VkDeviceMemory memory : memories_) {
      vk::vkFreeMemory(device_, memory, nullptr);
    }
    vk::vkDestroyFence(device_, fence_, nullptr);
  }
  std::byte* Map(VkDeviceSize size, uint32_t type) {
    VkDeviceMemory memory = VK_NULL_HANDLE;
    std::byte* data = MapNewMemory(size, type, &memory);
    memories_.push_back(memory);
    return data;
  }
  void SubmitAndWait() {
    if (fence_ == VK_NULL_HANDLE) {
      fence_ = CreateFence();
    }
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
    ASSERT_EQ(Submit(work_, fence_), VK_SUCCESS);
    ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  }

  VkCommandBuffer work_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  std::vector<VkDeviceMemory> memories_;
};

TEST_F(Memory, FreshMappingsAreZeroOnBothSides) {
  const std::byte* data = Map(10'000, kMockCoherent);
  EXPECT_THAT(std::vector<std::byte>(data, data + 10'000), Each(std::byte{0}));
  Sync();
  EXPECT_THAT(std::vector<std::byte>(mock_.Memory(0).begin(), mock_.Memory(0).end()),
              Each(std::byte{0}))
      << "another program's bytes must not leak, and both must start alike";
}

TEST_F(Memory, SubmissionsReleaseWhatTheProgramWrote) {
  std::byte* data = Map(10'000, kMockCoherent);
  data[0] = std::byte{1};
  data[9'999] = std::byte{2};
  std::byte seen[2] = {};
  mock_.OnExecute([&] {
    seen[0] = mock_.Memory(0)[0];
    seen[1] = mock_.Memory(0)[9'999];
  });
  SubmitAndWait();
  EXPECT_EQ(seen[0], std::byte{1});
  EXPECT_EQ(seen[1], std::byte{2});
}

TEST_F(Memory, FencesBringWhatTheDeviceWrote) {
  const std::byte* data = Map(3u << 20, kMockCoherent);
  mock_.OnExecute([&] { std::ranges::fill(mock_.Memory(0), std::byte{0x42}); });
  SubmitAndWait();
  EXPECT_EQ(std::count(data, data + (3u << 20), std::byte{0x42}), 3 << 20);
}

TEST_F(Memory, NoByteOfEitherWriterIsLost) {
  constexpr size_t kSize = 8192;
  std::byte* data = Map(kSize, kMockCoherent);
  Random random(1);
  std::vector<std::byte> expected(kSize);
  for (int round = 0; round < 40; ++round) {
    // Even bytes are the program's, odd ones the device's; some change in each round.
    std::vector<size_t> devices;
    for (int i = 0; i < 60; ++i) {
      const size_t at = random.Below(kSize);
      const auto value = static_cast<std::byte>(random.Next());
      expected[at] = value;
      if (at % 2 == 0) {
        data[at] = value;
      } else {
        devices.push_back(at);
      }
    }
    mock_.OnExecute([&] {
      for (const size_t at : devices) {
        mock_.Memory(0)[at] = expected[at];
      }
    });
    SubmitAndWait();
    ASSERT_EQ(std::memcmp(data, expected.data(), kSize), 0) << "in round " << round;
    ASSERT_EQ(std::memcmp(mock_.Memory(0).data(), expected.data(), kSize), 0);
  }
}

TEST_F(Memory, WritesWhileTheDeviceWorksAreKept) {
  std::byte* data = Map(4096, kMockCoherent);
  mock_.Hold(true);
  mock_.OnExecute([&] { mock_.Memory(0)[1] = std::byte{0xd0}; });
  const VkFence fence = CreateFence();
  ASSERT_EQ(Submit(work_, fence), VK_SUCCESS);
  data[0] = std::byte{0xaa};  // beside the device's byte, after the submission
  data[2] = std::byte{0xbb};
  Sync();
  mock_.Hold(false);
  ASSERT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_EQ(data[0], std::byte{0xaa});
  EXPECT_EQ(data[1], std::byte{0xd0});
  EXPECT_EQ(data[2], std::byte{0xbb});
  mock_.OnExecute({});
  SubmitAndWait();
  EXPECT_EQ(mock_.Memory(0)[0], std::byte{0xaa});
  EXPECT_EQ(mock_.Memory(0)[1], std::byte{0xd0});
  vk::vkDestroyFence(device_, fence, nullptr);
}

TEST_F(Memory, UncoherentMemoryIsFlushedByRange) {
  std::byte* data = Map(16384, kMockCached);
  std::memset(data, 0x11, 16384);
  SubmitAndWait();
  EXPECT_EQ(mock_.Memory(0)[0], std::byte{0}) << "nobody flushed";
  const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, memories_[0], 64,
                                  128};
  ASSERT_EQ(vk::vkFlushMappedMemoryRanges(device_, 1, &range), VK_SUCCESS);
  mock_.Clear();
  SubmitAndWait();
  // More may travel, up to whole pages: a cache may write back whenever it likes.
  EXPECT_EQ(mock_.Memory(0)[64], std::byte{0x11});
  EXPECT_EQ(mock_.Memory(0)[191], std::byte{0x11});
  EXPECT_THAT(mock_.Names(), Contains("vkFlushMappedMemoryRanges")) << "on the real memory, too";
  const VkMappedMemoryRange whole{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, memories_[0],
                                  8192, VK_WHOLE_SIZE};
  ASSERT_EQ(vk::vkFlushMappedMemoryRanges(device_, 1, &whole), VK_SUCCESS);
  Sync();
  EXPECT_EQ(mock_.Memory(0)[16383], std::byte{0x11});
  EXPECT_EQ(mock_.Memory(0)[8191], std::byte{0});
}

TEST_F(Memory, UnmappingSendsAndMappingAgainFinds) {
  std::byte* data = Map(4096, kMockCoherent);
  data[5] = std::byte{5};
  vk::vkUnmapMemory(device_, memories_[0]);
  Sync();
  EXPECT_EQ(mock_.Memory(0)[5], std::byte{5});
  // While it is not mapped, the device's writes are not pushed, but they are there at the next map.
  mock_.OnExecute([&] { mock_.Memory(0)[6] = std::byte{6}; });
  SubmitAndWait();
  mock_.OnExecute({});
  void* again = nullptr;
  ASSERT_EQ(vk::vkMapMemory(device_, memories_[0], 4, VK_WHOLE_SIZE, 0, &again), VK_SUCCESS);
  EXPECT_EQ(static_cast<std::byte*>(again)[1], std::byte{5});
  EXPECT_EQ(static_cast<std::byte*>(again)[2], std::byte{6});
}

TEST_F(Memory, FreeingUnmapsAndForgets) {
  Map(4096, kMockCoherent);
  vk::vkFreeMemory(device_, memories_.back(), nullptr);
  memories_.clear();
  mock_.OnExecute([] {});
  SubmitAndWait();
  Sync();
  EXPECT_THAT(mock_.Names(), Contains("vkFreeMemory"));
}

TEST_F(Memory, AFailedMapIsReported) {
  const VkDeviceMemory memory = Allocate(4096, kMockDeviceLocal);
  memories_.push_back(memory);
  void* data = nullptr;
  EXPECT_EQ(vk::vkMapMemory(device_, memory, 0, VK_WHOLE_SIZE, 0, &data),
            VK_ERROR_MEMORY_MAP_FAILED);
  const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr,
                                  VkDeviceSize{1} << 40, kMockCoherent};
  VkDeviceMemory none = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkAllocateMemory(device_, &info, nullptr, &none), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(none, VK_NULL_HANDLE);
}

TEST_F(Memory, DataComeBeforeTheFenceThatTells) {
  constexpr size_t kSize = 1u << 20;
  const std::byte* data = Map(kSize, kMockCoherent);
  unsigned char value = 0;
  mock_.OnExecute([&] { std::ranges::fill(mock_.Memory(0), static_cast<std::byte>(value)); });
  fence_ = CreateFence();
  for (value = 1; value < 40; ++value) {
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
    ASSERT_EQ(Submit(work_, fence_), VK_SUCCESS);
    while (vk::vkGetFenceStatus(device_, fence_) == VK_NOT_READY) {
      std::this_thread::yield();
    }
    ASSERT_EQ(data[0], static_cast<std::byte>(value));
    ASSERT_EQ(data[kSize - 1], static_cast<std::byte>(value));
  }
}

}  // namespace
}  // namespace vesper::tests
