// SPDX-License-Identifier: Apache-2.0
// Threads of a program do at random what programs do, over a link that delays at random, to a
// driver that takes its time at random; and the host's order is checked (order_checker.h).
#include <array>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/framework/order_checker.h"
#include "tests/framework/random.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::IsEmpty;

constexpr int kThreads = 5;
constexpr int kRounds = 60;

// Sleeps now and then; any thread.
class Laggard {
 public:
  explicit Laggard(uint64_t seed) : random_(seed) {}
  void Lag() {
    uint64_t microseconds = 0;
    {
      const std::lock_guard lock(mutex_);
      microseconds = random_.OneIn(4) ? random_.Below(400) : 0;
    }
    if (microseconds != 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
    }
  }

 private:
  std::mutex mutex_;
  Random random_;
};

class Order : public WireTest, public testing::WithParamInterface<uint64_t> {
 protected:
  void SetUp() override {
    host_threads_ = 3;
    host_observer_ = &checker_;
    mock_.SetExtensions(false);
    transport::Faults link;  // late, and in pieces
    link.delay = std::chrono::microseconds(GetParam() * 100);
    link.max_read = 100 + 1000 * GetParam();
    Open(link, link);
    for (const uint16_t slow :
         {number::vkCreateComputePipelines, number::vkCreateShaderModule, number::vkCmdDispatch,
          number::vkCmdFillBuffer, number::vkCmdExecuteCommands, number::vkCmdBindDescriptorSets,
          number::vkEndCommandBuffer, number::vkDestroyPipelineLayout,
          number::vkResetCommandPool}) {
      mock_.On(slow, [this](void*) { laggard_.Lag(); });
    }
    for (uint32_t i = 0; i < queues_.size(); ++i) {
      vk::vkGetDeviceQueue(device_, i / 2, i % 2, &queues_[i]);
    }
    const VkPipelineCacheCreateInfo cache{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    ASSERT_EQ(vk::vkCreatePipelineCache(device_, &cache, nullptr, &cache_), VK_SUCCESS);
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                               VK_SHADER_STAGE_ALL, nullptr};
    const VkDescriptorSetLayoutCreateInfo layout{
        VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, 1, &binding};
    ASSERT_EQ(vk::vkCreateDescriptorSetLayout(device_, &layout, nullptr, &set_layout_), VK_SUCCESS);
  }

  ~Order() override {
    DestroyAll();
    host_->Finish();  // which uses what is below
  }

  // A thread of the program, with pools of its own.
  class Program {
   public:
    Program(Order& test, uint64_t seed) : test_(test), device_(test.device_), random_(seed) {
      const VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr,
                                         VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, 0};
      for (VkCommandPool& pool : pools_) {
        EXPECT_EQ(vk::vkCreateCommandPool(device_, &info, nullptr, &pool), VK_SUCCESS);
      }
      const VkDescriptorPoolCreateInfo sets{
          VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, 8, 0, nullptr};
      EXPECT_EQ(vk::vkCreateDescriptorPool(device_, &sets, nullptr, &set_pool_), VK_SUCCESS);
      const VkFenceCreateInfo fence{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
      EXPECT_EQ(vk::vkCreateFence(device_, &fence, nullptr, &fence_), VK_SUCCESS);
      timeline_ = test.CreateTimeline(0);
      test.checker_.AddTimeline(reinterpret_cast<uint64_t>(timeline_));
    }

    void Run() {
      for (int round = 0; round < kRounds; ++round) {
        Frame();
      }
      for (const VkCommandPool pool : pools_) {
        vk::vkDestroyCommandPool(device_, pool, nullptr);
      }
      vk::vkDestroyDescriptorPool(device_, set_pool_, nullptr);
      vk::vkDestroySemaphore(device_, timeline_, nullptr);
      vk::vkDestroyFence(device_, fence_, nullptr);
    }

   private:
    VkCommandBuffer Allocate(VkCommandPool pool, VkCommandBufferLevel level) {
      const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                             nullptr, pool, level, 1};
      VkCommandBuffer buffer = VK_NULL_HANDLE;
      EXPECT_EQ(vk::vkAllocateCommandBuffers(device_, &info, &buffer), VK_SUCCESS);
      return buffer;
    }
    static void Begin(VkCommandBuffer commands) {
      const VkCommandBufferInheritanceInfo inherited{
          VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
      const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, 0,
                                           &inherited};
      EXPECT_EQ(vk::vkBeginCommandBuffer(commands, &begin), VK_SUCCESS);
    }
    VkPipeline Compile() {
      const uint32_t code[] = {0x07230203, 0x00010000, 0, 1, 0};
      const VkShaderModuleCreateInfo module_info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                                 nullptr, 0, sizeof(code), code};
      VkShaderModule module = VK_NULL_HANDLE;
      EXPECT_EQ(vk::vkCreateShaderModule(device_, &module_info, nullptr, &module), VK_SUCCESS);
      const VkPipelineLayoutCreateInfo layout_info{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
      VkPipelineLayout layout = VK_NULL_HANDLE;
      EXPECT_EQ(vk::vkCreatePipelineLayout(device_, &layout_info, nullptr, &layout), VK_SUCCESS);
      const VkComputePipelineCreateInfo info{
          VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
          nullptr,
          0,
          {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, nullptr, 0,
           VK_SHADER_STAGE_COMPUTE_BIT, module, "main", nullptr},
          layout,
          VK_NULL_HANDLE,
          0};
      VkPipeline pipeline = VK_NULL_HANDLE;
      EXPECT_EQ(vk::vkCreateComputePipelines(device_, test_.cache_, 1, &info, nullptr, &pipeline),
                VK_SUCCESS);
      vk::vkDestroyShaderModule(device_, module, nullptr);
      vk::vkDestroyPipelineLayout(device_, layout, nullptr);
      return pipeline;
    }
    void Record(VkCommandBuffer commands, VkPipeline pipeline, VkBuffer buffer) {
      if (pipeline != VK_NULL_HANDLE) {
        vk::vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
      }
      vk::vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, VK_NULL_HANDLE, 0, 1,
                                  &set_, 0, nullptr);
      for (uint64_t i = random_.Below(6); i != 0; --i) {
        vk::vkCmdDispatch(commands, 1, 1, 1);
        vk::vkCmdFillBuffer(commands, buffer, 0, 64, 7);
      }
    }

    // A submission to one of the queues; `wait` and `signal` may be null.
    void Submit(VkCommandBuffer commands, VkSemaphore wait, VkSemaphore signal, VkFence fence) {
      const VkCommandBufferSubmitInfo buffer{VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO, nullptr,
                                             commands, 0};
      const VkSemaphoreSubmitInfo waits{
          VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO, nullptr, wait, value_,
          VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,    0};
      const VkSemaphoreSubmitInfo signals{
          VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO, nullptr, signal, value_,
          VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,    0};
      VkSubmitInfo2 info{VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
      info.waitSemaphoreInfoCount = wait == VK_NULL_HANDLE ? 0 : 1;
      info.pWaitSemaphoreInfos = &waits;
      info.commandBufferInfoCount = commands == VK_NULL_HANDLE ? 0 : 1;
      info.pCommandBufferInfos = &buffer;
      info.signalSemaphoreInfoCount = signal == VK_NULL_HANDLE ? 0 : 1;
      info.pSignalSemaphoreInfos = &signals;
      const size_t queue = random_.Below(test_.queues_.size());
      const std::lock_guard lock(test_.queue_mutexes_[queue]);
      EXPECT_EQ(vk::vkQueueSubmit2(test_.queues_[queue], 1, &info, fence), VK_SUCCESS);
    }
    // A chain of submissions: each waits for the one before it. `second` may be null.
    void SubmitAndWait(VkCommandBuffer first, VkCommandBuffer second) {
      const bool is_binary = random_.OneIn(2);
      VkSemaphore semaphore = timeline_;
      if (is_binary) {
        const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
        EXPECT_EQ(vk::vkCreateSemaphore(device_, &info, nullptr, &semaphore), VK_SUCCESS);
      }
      ++value_;
      Submit(first, VK_NULL_HANDLE, semaphore, VK_NULL_HANDLE);
      if (is_binary) {
        for (uint64_t i = random_.Below(3); i != 0; --i) {
          Submit(VK_NULL_HANDLE, semaphore, VK_NULL_HANDLE, VK_NULL_HANDLE);
          Submit(VK_NULL_HANDLE, VK_NULL_HANDLE, semaphore, VK_NULL_HANDLE);
        }
      }
      Submit(second, semaphore, VK_NULL_HANDLE, fence_);
      EXPECT_EQ(test_.Wait(fence_, UINT64_MAX), VK_SUCCESS);
      // The mock's device looks at no semaphore.
      for (size_t queue = 0; queue < test_.queues_.size(); ++queue) {
        const std::lock_guard lock(test_.queue_mutexes_[queue]);
        EXPECT_EQ(vk::vkQueueWaitIdle(test_.queues_[queue]), VK_SUCCESS);
      }
      EXPECT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
      if (is_binary) {
        vk::vkDestroySemaphore(device_, semaphore, nullptr);
      }
    }

    void Frame() {
      const VkBufferCreateInfo buffer_info{
          VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
          nullptr,
          0,
          64,
          VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
          VK_SHARING_MODE_EXCLUSIVE};
      VkBuffer buffer = VK_NULL_HANDLE;
      EXPECT_EQ(vk::vkCreateBuffer(device_, &buffer_info, nullptr, &buffer), VK_SUCCESS);
      const VkMemoryAllocateInfo memory_info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, 64,
                                             kMockDeviceLocal};
      VkDeviceMemory memory = VK_NULL_HANDLE;
      EXPECT_EQ(vk::vkAllocateMemory(device_, &memory_info, nullptr, &memory), VK_SUCCESS);
      EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_SUCCESS);
      if (set_ == VK_NULL_HANDLE || random_.OneIn(3)) {
        vk::vkResetDescriptorPool(device_, set_pool_, 0);
        const VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                               nullptr, set_pool_, 1, &test_.set_layout_};
        EXPECT_EQ(vk::vkAllocateDescriptorSets(device_, &info, &set_), VK_SUCCESS);
      }
      const VkDescriptorBufferInfo in_set{buffer, 0, 64};
      const VkWriteDescriptorSet write{
          VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, nullptr, set_,    0,      0, 1,
          VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,      nullptr, &in_set, nullptr};
      vk::vkUpdateDescriptorSets(device_, 1, &write, 0, nullptr);
      const VkPipeline pipeline = random_.OneIn(2) ? Compile() : VK_NULL_HANDLE;

      const VkCommandBuffer primary = Allocate(pools_[0], VK_COMMAND_BUFFER_LEVEL_PRIMARY);
      const VkCommandBuffer other = Allocate(pools_[0], VK_COMMAND_BUFFER_LEVEL_PRIMARY);
      Begin(primary);
      Record(primary, pipeline, buffer);
      VkCommandBuffer secondary = VK_NULL_HANDLE;
      if (random_.OneIn(3)) {
        secondary = Allocate(pools_[1], VK_COMMAND_BUFFER_LEVEL_SECONDARY);
        Begin(secondary);
        Record(secondary, pipeline, buffer);
        EXPECT_EQ(vk::vkEndCommandBuffer(secondary), VK_SUCCESS);
        vk::vkCmdExecuteCommands(primary, 1, &secondary);
      }
      EXPECT_EQ(vk::vkEndCommandBuffer(primary), VK_SUCCESS);
      Begin(other);
      Record(other, pipeline, buffer);
      EXPECT_EQ(vk::vkEndCommandBuffer(other), VK_SUCCESS);
      if (random_.OneIn(2)) {
        SubmitAndWait(primary, random_.OneIn(2) ? other : VK_NULL_HANDLE);
      }
      // Everything goes at once; what was not submitted never will be.
      if (secondary != VK_NULL_HANDLE) {
        vk::vkFreeCommandBuffers(device_, pools_[1], 1, &secondary);
      }
      vk::vkDestroyBuffer(device_, buffer, nullptr);
      vk::vkFreeMemory(device_, memory, nullptr);
      if (pipeline != VK_NULL_HANDLE) {
        vk::vkDestroyPipeline(device_, pipeline, nullptr);
      }
      if (random_.OneIn(2)) {
        vk::vkResetCommandPool(device_, pools_[0], 0);
      }
      const VkCommandBuffer both[] = {primary, other};
      vk::vkFreeCommandBuffers(device_, pools_[0], 2, both);
    }

    Order& test_;
    const VkDevice device_;
    Random random_;
    std::array<VkCommandPool, 2> pools_{};
    VkDescriptorPool set_pool_ = VK_NULL_HANDLE;
    VkDescriptorSet set_ = VK_NULL_HANDLE;
    VkFence fence_ = VK_NULL_HANDLE;
    VkSemaphore timeline_ = VK_NULL_HANDLE;
    uint64_t value_ = 0;  // that it was last told to signal
  };

  OrderChecker checker_;
  Laggard laggard_{GetParam() + 1000};
  std::array<VkQueue, 3> queues_{};
  std::array<std::mutex, 3> queue_mutexes_;  // the program's own duty
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  VkDescriptorSetLayout set_layout_ = VK_NULL_HANDLE;
};

TEST_P(Order, IsTheGuests) {
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([this, i] { Program(*this, GetParam() * kThreads + i).Run(); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  vk::vkDestroyDescriptorSetLayout(device_, set_layout_, nullptr);
  vk::vkDestroyPipelineCache(device_, cache_, nullptr);
  Sync();
  EXPECT_THAT(checker_.Complaints(), IsEmpty());
  EXPECT_GT(checker_.commands(), size_t{kThreads} * kRounds * 10) << "it was there to see";
}

INSTANTIATE_TEST_SUITE_P(Seeds, Order, testing::Range(uint64_t{1}, uint64_t{5}));

// The checker itself: it would be quiet if it saw nothing.
class OrderCheckerTest : public testing::Test {
 protected:
  using Ids = std::vector<proto::ObjectId>;
  void Execute(uint64_t position, uint16_t command, const Ids& named, const Ids& made = {},
               const Ids& destroyed = {}) {
    Begin(position, command, named, made, destroyed);
    checker_.End({position, command, named, made, destroyed, 0});
  }
  void Begin(uint64_t position, uint16_t command, const Ids& named, const Ids& made = {},
             const Ids& destroyed = {}) {
    checker_.Begin({position, command, named, made, destroyed, 0});
  }

  static constexpr proto::ObjectId kId = proto::MakeObjectId(proto::HandleType::kImage, 1, 0);
  OrderChecker checker_;
};

TEST_F(OrderCheckerTest, UsesMayBeInAnyOrder) {
  Execute(1, number::vkCreateImage, {}, {kId});
  Execute(3, number::vkCreateImageView, {kId});
  Execute(2, number::vkCreateImageView, {kId});
  Execute(4, number::vkDestroyImage, {kId}, {}, {kId});
  EXPECT_THAT(checker_.Complaints(), IsEmpty());
}

TEST_F(OrderCheckerTest, UsesComeAfterTheMaking) {
  Execute(2, number::vkCreateImageView, {kId});
  Execute(1, number::vkCreateImage, {}, {kId});
  EXPECT_EQ(checker_.Complaints().size(), 1u);
}

TEST_F(OrderCheckerTest, DestructionsComeAfterTheEndOfUses) {
  Execute(1, number::vkCreateImage, {}, {kId});
  Begin(2, number::vkCreateImageView, {kId});
  Execute(3, number::vkDestroyImage, {kId}, {}, {kId});
  checker_.End({2, number::vkCreateImageView, {}, {}, {}, 0});
  EXPECT_EQ(checker_.Complaints().size(), 1u);
}

TEST_F(OrderCheckerTest, SubmissionsKeepTheOrderOfTheirQueuesAndBinarySemaphores) {
  constexpr proto::ObjectId kFirst = proto::MakeObjectId(proto::HandleType::kQueue, 1, 0);
  constexpr proto::ObjectId kSecond = proto::MakeObjectId(proto::HandleType::kQueue, 1, 1);
  constexpr proto::ObjectId kBinary = proto::MakeObjectId(proto::HandleType::kSemaphore, 1, 0);
  constexpr proto::ObjectId kTimeline = proto::MakeObjectId(proto::HandleType::kSemaphore, 1, 1);
  checker_.AddTimeline(kTimeline);
  Execute(2, number::vkQueueSubmit, {kSecond, kTimeline});
  Execute(1, number::vkQueueSubmit, {kFirst, kTimeline});
  EXPECT_THAT(checker_.Complaints(), IsEmpty());
  Execute(4, number::vkQueueSubmit, {kSecond, kBinary});
  Execute(3, number::vkQueueSubmit, {kFirst, kBinary});
  EXPECT_EQ(checker_.Complaints().size(), 1u);
  Execute(6, number::vkQueueBindSparse, {kSecond});
  Execute(5, number::vkQueueSubmit, {kSecond});
  EXPECT_EQ(checker_.Complaints().size(), 2u);
}

}  // namespace
}  // namespace vesper::tests
