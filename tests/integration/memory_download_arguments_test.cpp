// SPDX-License-Identifier: Apache-2.0
// What the driver itself reads and writes of the program's memory may have to be fetched as well:
// arrays, structs and results that lie in mapped memory, while work goes on beside.
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "shaders/push_write_comp.h"
#include "tests/integration/memory_download.h"

namespace vesper::tests {
namespace {

class MemoryDownloadArgumentsTest : public MemoryDownloadTest {
 protected:
  void SetUp() override {
    MemoryDownloadTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    Open("always");
    staging_ = MakeHostBuffer(gpu_, kMiB);
    absent_ = MakeHostBuffer(gpu_, kMiB);
    pool_ = MakePoolOfCommands();
    // Work goes on all the time: progress comes while somebody waits for a page.
    background_ = std::thread([this] { WorkAllTheTime(); });
  }
  void TearDown() override {
    stop_ = true;
    if (background_.joinable()) {
      background_.join();
    }
    pool_ = {};
    absent_ = {};
    staging_ = {};
    MemoryDownloadTest::TearDown();
  }

  Owned<VkCommandPool> MakePoolOfCommands() {
    VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    info.queueFamilyIndex = gpu_.queue_family;
    info.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
    return gpu_.Make(gpu_.vk.CreateCommandPool, gpu_.vk.DestroyCommandPool, info);
  }

  void WorkAllTheTime() {
    VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    info.commandPool = pool_;
    info.commandBufferCount = 1;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VESPER_CHECK(gpu_.vk.AllocateCommandBuffers(gpu_.device, &info, &commands));
    gpu_.RecordInto(commands, VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT, [](VkCommandBuffer) {});
    const Owned<VkFence> fence = gpu_.MakeFence();
    while (!stop_) {
      {
        const std::lock_guard lock(queue_mutex_);
        gpu_.Submit(commands, fence);
      }
      gpu_.Wait(fence);
      VESPER_CHECK(gpu_.vk.ResetFences(gpu_.device, 1, fence.address()));
    }
  }

  // The device puts these bytes into a block of their own, which the program then does not see.
  template <typename T>
  T* PutAbsent(const T* values, size_t count, size_t block = 0) {
    for (int i = 0; i < 2; ++i) {
      std::memset(staging_.data, i == 0 ? 0xee : 0, 4096);
      if (i == 1) {
        std::memcpy(staging_.data, values, count * sizeof(T));
      }
      const std::lock_guard lock(queue_mutex_);
      gpu_.Execute([&](VkCommandBuffer commands) {
        CopyBytes(gpu_, commands, staging_.handle, absent_.handle, 4096, 0, block * kBlock);
      });
    }
    return At<T>(block);
  }
  template <typename T>
  T* PutAbsent(const T& value, size_t block = 0) {
    return PutAbsent(&value, 1, block);
  }
  template <typename T>
  T* At(size_t block) const {
    return reinterpret_cast<T*>(absent_.data + block * kBlock);
  }

  static constexpr size_t kBlock = 64 << 10;

  Buffer staging_;
  Buffer absent_;
  Owned<VkCommandPool> pool_;
  std::mutex queue_mutex_;
  std::atomic<bool> stop_ = false;
  std::thread background_;
};

constexpr int kRepeats = 20;

TEST_F(MemoryDownloadArgumentsTest, DataOfAnUpdate) {
  const Buffer target = MakeHostBuffer(gpu_, 4096);
  for (int i = 0; i < kRepeats; ++i) {
    const std::vector<uint32_t> words(256, Word(7u + static_cast<uint32_t>(i)));
    const uint32_t* data = PutAbsent(words.data(), words.size());
    const std::lock_guard lock(queue_mutex_);
    gpu_.Execute([&](VkCommandBuffer commands) {
      gpu_.vk.CmdUpdateBuffer(commands, target.handle, 0, 1024, data);
    });
    ASSERT_TRUE(Holds(target.data, 1024, words[0] & 0xff));
  }
}

TEST_F(MemoryDownloadArgumentsTest, CodeOfAShader) {
  const std::vector<uint32_t> code(std::begin(kPushWriteComp), std::end(kPushWriteComp));
  ASSERT_LE(code.size() * 4, 4096u);
  for (int i = 0; i < kRepeats; ++i) {
    const uint32_t* absent = PutAbsent(code.data(), code.size());
    EXPECT_NE(VK_NULL_HANDLE, MakeShader(gpu_, {absent, code.size()}).get());
  }
}

TEST_F(MemoryDownloadArgumentsTest, ResultsOfQueries) {
  VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_OCCLUSION;
  info.queryCount = 1;
  const Owned<VkQueryPool> queries =
      gpu_.Make(gpu_.vk.CreateQueryPool, gpu_.vk.DestroyQueryPool, info);
  {
    const std::lock_guard lock(queue_mutex_);
    gpu_.Execute([&](VkCommandBuffer commands) {
      gpu_.vk.CmdResetQueryPool(commands, queries, 0, 1);
      gpu_.vk.CmdBeginQuery(commands, queries, 0, 0);
      gpu_.vk.CmdEndQuery(commands, queries, 0);
    });
  }
  for (int i = 0; i < kRepeats; ++i) {
    const uint64_t before[] = {77, 78, 79};
    uint64_t* results = PutAbsent(before, 3);
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.GetQueryPoolResults(
                              gpu_.device, queries, 0, 1, 16, results, 16,
                              VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT));
    EXPECT_EQ(0u, results[0]);
    EXPECT_EQ(1u, results[1]);
    EXPECT_EQ(79u, results[2]);
  }
}

TEST_F(MemoryDownloadArgumentsTest, ResultsThatOnlyComeOut) {
  VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  const Owned<VkPipelineCache> cache =
      gpu_.Make(gpu_.vk.CreatePipelineCache, gpu_.vk.DestroyPipelineCache, info);
  size_t size = 0;
  VESPER_CHECK(gpu_.vk.GetPipelineCacheData(gpu_.device, cache, &size, nullptr));
  ASSERT_GE(size, sizeof(VkPipelineCacheHeaderVersionOne));
  for (int i = 0; i < kRepeats; ++i) {
    auto* header = PutAbsent(VkPipelineCacheHeaderVersionOne{});
    size_t room = std::min<size_t>(size, 65536);
    VESPER_CHECK(gpu_.vk.GetPipelineCacheData(gpu_.device, cache, &room, header));
    EXPECT_EQ(VK_PIPELINE_CACHE_HEADER_VERSION_ONE, header->headerVersion);
  }
}

TEST_F(MemoryDownloadArgumentsTest, Fences) {
  const Owned<VkFence> fence = gpu_.MakeFence(true);
  for (int i = 0; i < kRepeats; ++i) {
    const VkFence* fences = PutAbsent(*fence.address());
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.WaitForFences(gpu_.device, 1, fences, VK_TRUE, kWaitLimitNs));
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.ResetFences(gpu_.device, 1, PutAbsent(*fence.address())));
    ASSERT_EQ(VK_NOT_READY, gpu_.vk.GetFenceStatus(gpu_.device, fence));
    const std::lock_guard lock(queue_mutex_);
    VESPER_CHECK(gpu_.vk.QueueSubmit(gpu_.queue, 0, nullptr, fence));
  }
}

TEST_F(MemoryDownloadArgumentsTest, SemaphoresAndSubmissions) {
  const Owned<VkSemaphore> timeline = gpu_.MakeTimeline();
  for (uint64_t value = 1; value < 3 * kRepeats; value += 3) {
    const VkSemaphoreSignalInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, timeline,
                                       value};
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.SignalSemaphore(gpu_.device, PutAbsent(signal)));

    // A submission of which each struct and each array is to be fetched for itself.
    VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.signalSemaphoreValueCount = 1;
    values.pSignalSemaphoreValues = PutAbsent(value + 1, 2);
    VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.signalSemaphoreCount = 1;
    submit.pSignalSemaphores = PutAbsent(*timeline.address(), 4);
    submit.pNext = PutAbsent(values, 6);
    const VkSubmitInfo* absent_submit = PutAbsent(submit, 8);
    {
      const std::lock_guard lock(queue_mutex_);
      ASSERT_EQ(VK_SUCCESS, gpu_.vk.QueueSubmit(gpu_.queue, 1, absent_submit, VK_NULL_HANDLE));
    }

    VkSemaphoreWaitInfo wait{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
    wait.semaphoreCount = 1;
    wait.pSemaphores = PutAbsent(*timeline.address(), 10);
    wait.pValues = PutAbsent(value + 1, 12);
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.WaitSemaphores(gpu_.device, PutAbsent(wait, 14), kWaitLimitNs));

    uint64_t* const counter = PutAbsent(uint64_t{55});
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.GetSemaphoreCounterValue(gpu_.device, timeline, counter));
    EXPECT_EQ(value + 1, *counter);
  }
}

}  // namespace
}  // namespace vesper::tests
