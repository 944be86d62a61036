// SPDX-License-Identifier: Apache-2.0
// A large upload of one thread beside calls of another, over a link that holds the upload back:
// what has nothing to do with it passes, and what may read those bytes stays behind them.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/framework/gate_connection.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kLarge = 16u << 20;
constexpr size_t kPieces = kLarge >> 20;

class UploadOrder : public WireTest {
 protected:
  void SetUp() override {
    environment_.compression = 0;
    Open();
    source_memory_ = Keep(Allocate(kLarge, kMockCoherent));
    source_ = Keep(CreateBuffer(kLarge, VK_BUFFER_USAGE_TRANSFER_SRC_BIT));
    ASSERT_EQ(vk::vkBindBufferMemory(device_, source_, source_memory_, 0), VK_SUCCESS);
    void* data = nullptr;
    ASSERT_EQ(vk::vkMapMemory(device_, source_memory_, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    source_data_ = static_cast<std::byte*>(data);
    fence_ = CreateFence();
    Sync();
  }
  void TearDown() override {
    gate_.Open();
    vk::vkDeviceWaitIdle(device_);
    vk::vkDestroyFence(device_, fence_, nullptr);
  }
  std::unique_ptr<transport::Connection> Wrap(
      std::unique_ptr<transport::Connection> guest) override {
    return std::make_unique<GateConnection>(std::move(guest), gate_);
  }

  void Flush() {
    const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, source_memory_,
                                    0, VK_WHOLE_SIZE};
    EXPECT_EQ(vk::vkFlushMappedMemoryRanges(device_, 1, &range), VK_SUCCESS);
  }
  // A thread that flushes, of which a piece waits at the gate.
  std::thread BeginUpload() {
    for (VkDeviceSize i = 0; i < kLarge; ++i) {
      source_data_[i] = static_cast<std::byte>(i % 251 + 1);
    }
    gate_.Close();
    std::thread uploader([this] { Flush(); });
    gate_.WaitForWriter();
    return uploader;
  }

  Gate gate_;
  VkDeviceMemory source_memory_ = VK_NULL_HANDLE;
  VkBuffer source_ = VK_NULL_HANDLE;
  std::byte* source_data_ = nullptr;
  VkFence fence_ = VK_NULL_HANDLE;
};

TEST_F(UploadOrder, SmallWorkPassesIt) {
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::byte* data = MapNewMemory(4096, kMockCoherent, &memory);
  Keep(memory);
  const VkCommandBuffer work = ShaderWork();
  std::byte seen{0};
  mock_.OnExecute([&] { seen = mock_.Memory(1)[4095]; });
  std::thread uploader = BeginUpload();
  std::atomic<bool> done{false};
  std::thread worker([&] {
    data[4095] = std::byte{9};
    EXPECT_EQ(Submit(work, fence_), VK_SUCCESS);
    EXPECT_EQ(Wait(fence_, UINT64_MAX), VK_SUCCESS);
    done = true;
  });
  EXPECT_LT(gate_.PermitsUntil(done, kPieces), kPieces);
  gate_.Open();
  uploader.join();
  worker.join();
  EXPECT_EQ(seen, std::byte{9}) << "its own bytes come before it";
  Sync();
  EXPECT_TRUE(std::equal(source_data_, source_data_ + kLarge, mock_.Memory(0).begin()));
}

TEST_F(UploadOrder, CallsPassIt) {
  std::thread uploader = BeginUpload();
  std::atomic<bool> done{false};
  std::thread worker([&] {
    VkPipelineCache cache = VK_NULL_HANDLE;
    const VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    EXPECT_EQ(vk::vkCreatePipelineCache(device_, &info, nullptr, &cache), VK_SUCCESS);
    size_t size = 0;
    EXPECT_EQ(vk::vkGetPipelineCacheData(device_, cache, &size, nullptr), VK_SUCCESS);
    vk::vkDestroyPipelineCache(device_, cache, nullptr);
    done = true;
  });
  EXPECT_LT(gate_.PermitsUntil(done, kPieces), kPieces);
  gate_.Open();
  uploader.join();
  worker.join();
}

TEST_F(UploadOrder, WorkThatMayReadItStaysBehindIt) {
  const VkBuffer target = Keep(CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT));
  const VkCommandBuffer work = Begin();
  const VkBufferCopy region{kLarge - 64, 0, 64};
  vk::vkCmdCopyBuffer(work, source_, target, 1, &region);
  ASSERT_EQ(vk::vkEndCommandBuffer(work), VK_SUCCESS);
  std::byte seen{0};
  mock_.OnExecute([&] { seen = mock_.Memory(0)[kLarge - 1]; });
  std::thread uploader = BeginUpload();
  // The other thread has written nothing itself, and finds nothing to send.
  std::thread worker([&] {
    EXPECT_EQ(Submit(work, fence_), VK_SUCCESS);
    EXPECT_EQ(Wait(fence_, UINT64_MAX), VK_SUCCESS);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // time to go wrong
  gate_.Open();
  uploader.join();
  worker.join();
  EXPECT_EQ(seen, source_data_[kLarge - 1]);
}

// The same while the upload has not even begun to be written, for another thread writes.
TEST_F(UploadOrder, WorkThatMayReadItStaysBehindAnUploadThatHasNotBegun) {
  constexpr size_t kBytes = 256u << 10;
  const VkBuffer target = Keep(CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT));
  const VkCommandBuffer work = Begin();
  const VkBufferCopy region{0, 0, 64};
  vk::vkCmdCopyBuffer(work, source_, target, 1, &region);
  ASSERT_EQ(vk::vkEndCommandBuffer(work), VK_SUCCESS);
  Sync();
  bool is_there = false;
  mock_.OnExecute(
      [&] { is_there = std::equal(source_data_, source_data_ + kBytes, mock_.Memory(0).begin()); });
  std::fill_n(source_data_, kBytes, std::byte{5});
  gate_.Close(1);
  std::thread writer([&] {
    const VkFence fence = CreateFence();
    EXPECT_EQ(vk::vkGetFenceStatus(device_, fence), VK_NOT_READY);
    vk::vkDestroyFence(device_, fence, nullptr);
    const VkBuffer buffer = Keep(CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT));
    VkMemoryRequirements requirements{};
    vk::vkGetBufferMemoryRequirements(device_, buffer, &requirements);
  });
  gate_.WaitForWriter();
  std::thread uploader([this] { Flush(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  std::thread worker([&] { EXPECT_EQ(Submit(work, fence_), VK_SUCCESS); });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // time to go wrong
  gate_.Open();
  writer.join();
  uploader.join();
  worker.join();
  EXPECT_EQ(Wait(fence_, UINT64_MAX), VK_SUCCESS);
  EXPECT_TRUE(is_there);
}

TEST_F(UploadOrder, FlushingTheSameMemoryWaitsForIt) {
  std::thread uploader = BeginUpload();
  std::atomic<bool> flushed{false};
  std::thread worker([&] {
    Flush();
    flushed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // time to go wrong
  EXPECT_FALSE(flushed.load());
  gate_.Open();
  uploader.join();
  worker.join();
}

// What a submission reaches is more than what it uses, so the program may free some of it.
TEST_F(UploadOrder, MemoryIsFreedBesideIt) {
  VkDeviceMemory first = VK_NULL_HANDLE;
  VkDeviceMemory second = VK_NULL_HANDLE;
  std::byte* large = MapNewMemory(kLarge, kMockCoherent, &first);
  std::byte* small = MapNewMemory(65536, kMockCoherent, &second);
  const VkCommandBuffer work = ShaderWork();
  Sync();
  std::fill_n(large, kLarge, std::byte{1});
  std::fill_n(small, 65536, std::byte{2});
  gate_.Close();
  std::thread submitter([&] { EXPECT_EQ(Submit(work, fence_), VK_SUCCESS); });
  gate_.WaitForWriter();
  vk::vkFreeMemory(device_, second, nullptr);  // not under way yet, so nothing has to be waited for
  std::thread other([&] { vk::vkFreeMemory(device_, first, nullptr); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  gate_.Open();
  other.join();
  submitter.join();
  EXPECT_EQ(Wait(fence_, UINT64_MAX), VK_SUCCESS);
}

// The device may write a part of the memory from now on: its bytes get a twin.
TEST_F(UploadOrder, BufferIsBoundBesideIt) {
  std::thread uploader = BeginUpload();
  std::thread other([&] {
    const VkBuffer written = Keep(CreateBuffer(kLarge, kShaderTarget));
    EXPECT_EQ(vk::vkBindBufferMemory(device_, written, source_memory_, 0), VK_SUCCESS);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  gate_.Open();
  uploader.join();
  other.join();
  mock_.OnExecute([&] { mock_.Memory(0)[5] = std::byte{77}; });
  source_data_[6] = std::byte{88};
  ASSERT_EQ(Submit(ShaderWork(), fence_), VK_SUCCESS);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  EXPECT_EQ(source_data_[5], std::byte{77});
  EXPECT_EQ(mock_.Memory(0)[6], std::byte{88});
  EXPECT_EQ(mock_.Memory(0)[kLarge - 1], source_data_[kLarge - 1]);
}

}  // namespace
}  // namespace vesper::tests
