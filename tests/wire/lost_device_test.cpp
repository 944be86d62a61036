// SPDX-License-Identifier: Apache-2.0
// The device is lost while threads of the program wait in every way in which one can: all of them
// come back, with what Vulkan lets them say, and everything can be destroyed afterwards.
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "tests/wire/tasks.h"

namespace vesper::tests {
namespace {

using std::chrono::seconds;

/// How the device gets lost.
enum class Loss { kSubmit, kWait, kKilled, kCompiling };

class LostDevice : public Tasks, public testing::WithParamInterface<Loss> {
 protected:
  struct Waiter {
    const char* name;
    std::function<VkResult()> call;
    int threads = 2;           // at once; what Vulkan wants synchronised is called by one
    bool may_succeed = false;  // does not depend on the device
  };

  void SetUp() override {
    host_may_complain_ = true;
    Tasks::SetUp();
    vk::vkGetDeviceQueue(device_, 0, 1, &second_);
    fence_ = CreateFence();
    timeline_ = CreateTimeline(0);
    const VkEventCreateInfo event{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
    ASSERT_EQ(vk::vkCreateEvent(device_, &event, nullptr, &event_), VK_SUCCESS);
    const VkQueryPoolCreateInfo queries{
        VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, nullptr, 0, VK_QUERY_TYPE_TIMESTAMP, 4, 0};
    ASSERT_EQ(vk::vkCreateQueryPool(device_, &queries, nullptr, &queries_), VK_SUCCESS);
    ASSERT_EQ(vk::vkCreateDeferredOperationKHR(device_, nullptr, &operation_), VK_SUCCESS);
    // Nothing that is asked for comes.
    mock_.On(number::vkGetQueryPoolResults, [](void* args) {
      static_cast<proto::Args_vkGetQueryPoolResults*>(args)->ret = VK_NOT_READY;
    });
    mock_.On(number::vkGetEventStatus, [](void* args) {
      static_cast<proto::Args_vkGetEventStatus*>(args)->ret = VK_EVENT_RESET;
    });
    mock_.On(number::vkAcquireProfilingLockKHR, [](void* args) {
      static_cast<proto::Args_vkAcquireProfilingLockKHR*>(args)->ret = VK_TIMEOUT;
    });
    memory_ = Allocate(4096, kMockCoherent);
    unmapped_ = Allocate(4096, kMockCoherent);
    void* data = nullptr;
    ASSERT_EQ(vk::vkMapMemory(device_, memory_, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    Sync();
  }

  std::vector<Waiter> Waiters() {
    return {
        {"vkWaitForFences", [this] { return Wait(fence_, UINT64_MAX); }},
        {"vkGetFenceStatus",
         [this] {
           return Poll([this] { return vk::vkGetFenceStatus(device_, fence_); }, VK_NOT_READY);
         }},
        {"vkWaitSemaphores",
         [this] {
           const uint64_t value = 7;
           const VkSemaphoreWaitInfo info{
               VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, nullptr, 0, 1, &timeline_, &value};
           return vk::vkWaitSemaphores(device_, &info, UINT64_MAX);
         }},
        {"vkGetSemaphoreCounterValue",
         [this] {
           uint64_t value = 0;
           return Poll([&] { return vk::vkGetSemaphoreCounterValue(device_, timeline_, &value); },
                       VK_SUCCESS);
         }},
        {"vkQueueWaitIdle", [this] { return vk::vkQueueWaitIdle(queue_); }, 1},
        {"vkDeviceWaitIdle", [this] { return vk::vkDeviceWaitIdle(device_); }, 1},
        {"vkGetQueryPoolResults",
         [this] {
           std::array<uint64_t, 4> results{};
           return vk::vkGetQueryPoolResults(device_, queries_, 0, 4, sizeof(results),
                                            results.data(), sizeof(results[0]),
                                            VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
         }},
        {"vkGetEventStatus",
         [this] {
           return Poll([this] { return vk::vkGetEventStatus(device_, event_); }, VK_EVENT_RESET);
         }},
        {"vkAcquireProfilingLockKHR",
         [this] {
           const VkAcquireProfilingLockInfoKHR info{
               VK_STRUCTURE_TYPE_ACQUIRE_PROFILING_LOCK_INFO_KHR, nullptr, 0, UINT64_MAX};
           const VkResult result = vk::vkAcquireProfilingLockKHR(device_, &info);
           // It has no way to say that the device is lost.
           return result == VK_ERROR_OUT_OF_HOST_MEMORY ? VK_ERROR_DEVICE_LOST : result;
         },
         1},
        {"vkDeferredOperationJoinKHR",
         [this] { return vk::vkDeferredOperationJoinKHR(device_, operation_); }, 2, true},
        {"vkMapMemory",
         [this] {
           return Poll(
               [this] {
                 void* data = nullptr;
                 const VkResult result =
                     vk::vkMapMemory(device_, unmapped_, 0, VK_WHOLE_SIZE, 0, &data);
                 if (result == VK_SUCCESS) {
                   vk::vkUnmapMemory(device_, unmapped_);
                 }
                 // It has no way to say that the device is lost, and need not notice.
                 return lost_.load() || result == VK_ERROR_MEMORY_MAP_FAILED ||
                                result == VK_ERROR_OUT_OF_HOST_MEMORY
                            ? VK_ERROR_DEVICE_LOST
                            : result;
               },
               VK_SUCCESS);
         },
         1},
        {"vkQueueSubmit",
         [this] {
           return Poll([this] { return vk::vkQueueSubmit(second_, 0, nullptr, VK_NULL_HANDLE); },
                       VK_SUCCESS);
         },
         1},
    };
  }
  // Asks until the answer is another one.
  VkResult Poll(const std::function<VkResult()>& ask, VkResult again) {
    VkResult result = again;
    while ((result = ask()) == again) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return result;
  }

  void Lose() {
    switch (GetParam()) {
      case Loss::kSubmit:
        mock_.FailNext(number::vkQueueSubmit2, VK_ERROR_DEVICE_LOST);
        vk::vkQueueSubmit2(third_, 0, nullptr, VK_NULL_HANDLE);
        break;
      case Loss::kWait:
      case Loss::kCompiling:
        mock_.LoseDevice();
        break;
      case Loss::kKilled:
        host_->Kill();
        break;
    }
  }

  VkQueue second_ = VK_NULL_HANDLE;
  VkQueue third_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  VkSemaphore timeline_ = VK_NULL_HANDLE;
  VkEvent event_ = VK_NULL_HANDLE;
  VkQueryPool queries_ = VK_NULL_HANDLE;
  VkDeferredOperationKHR operation_ = VK_NULL_HANDLE;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  VkDeviceMemory unmapped_ = VK_NULL_HANDLE;
  std::atomic<bool> lost_{false};
};

TEST_P(LostDevice, EndsEveryWait) {
  vk::vkGetDeviceQueue(device_, 1, 0, &third_);
  mock_.Hold(true);
  // Work that never ends, or that does not even begin: its pipeline is not there.
  VkCommandBuffer work = VK_NULL_HANDLE;
  if (GetParam() == Loss::kCompiling) {
    mock_.On(number::vkCreateComputePipelines, [this](void*) { door_.Pass(); });
    module_ = CreateModule();
    layout_ = CreateLayout();
    ASSERT_EQ(CreatePipeline(module_, layout_, &pipeline_), VK_SUCCESS);
    ASSERT_EQ(vk::vkQueueSubmit(second_, 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
    work = Begin();
    vk::vkCmdBindPipeline(work, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
    ASSERT_EQ(vk::vkEndCommandBuffer(work), VK_SUCCESS);
  } else {
    work = ShaderWork();
  }
  const uint64_t seven = 7;
  const VkTimelineSemaphoreSubmitInfo values{
      VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO, nullptr, 0, nullptr, 1, &seven};
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO, &values};
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &work;
  submit.signalSemaphoreCount = 1;
  submit.pSignalSemaphores = &timeline_;
  ASSERT_EQ(vk::vkQueueSubmit(queue_, 1, &submit, fence_), VK_SUCCESS);
  PassStream();

  const std::vector<Waiter> waiters = Waiters();
  std::vector<std::future<VkResult>> results;
  for (const Waiter& waiter : waiters) {
    for (int thread = 0; thread < waiter.threads; ++thread) {
      results.push_back(std::async(std::launch::async, waiter.call));
    }
    if (!waiter.may_succeed) {
      EXPECT_EQ(results.back().wait_for(std::chrono::milliseconds(2)), std::future_status::timeout)
          << waiter.name << " did not wait";
    }
  }
  Lose();
  EXPECT_EQ(results.front().get(), VK_ERROR_DEVICE_LOST);
  lost_ = true;
  size_t next = 1;
  for (const Waiter& waiter : waiters) {
    for (int thread = &waiter == &waiters.front() ? 1 : 0; thread < waiter.threads; ++thread) {
      std::future<VkResult>& result = results[next++];
      ASSERT_EQ(result.wait_for(seconds(20)), std::future_status::ready) << waiter.name;
      EXPECT_EQ(result.get(), waiter.may_succeed ? VK_SUCCESS : VK_ERROR_DEVICE_LOST)
          << waiter.name;
    }
  }
  // And once more, when it is known.
  for (const Waiter& waiter : waiters) {
    EXPECT_EQ(waiter.call(), waiter.may_succeed ? VK_SUCCESS : VK_ERROR_DEVICE_LOST) << waiter.name;
  }

  vk::vkUnmapMemory(device_, memory_);
  vk::vkFreeMemory(device_, memory_, nullptr);
  vk::vkFreeMemory(device_, unmapped_, nullptr);
  vk::vkDestroyFence(device_, fence_, nullptr);
  vk::vkDestroySemaphore(device_, timeline_, nullptr);
  vk::vkDestroyEvent(device_, event_, nullptr);
  vk::vkDestroyQueryPool(device_, queries_, nullptr);
  vk::vkDestroyDeferredOperationKHR(device_, operation_, nullptr);
  vk::vkFreeCommandBuffers(device_, pool_, 1, &work);
  vk::vkDestroyPipeline(device_, pipeline_, nullptr);
  vk::vkDestroyShaderModule(device_, module_, nullptr);
  vk::vkDestroyPipelineLayout(device_, layout_, nullptr);
  std::thread opener([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    door_.Open();
  });
  DestroyAll();
  opener.join();
  const std::string& complaint = host_->Finish();
  EXPECT_EQ(complaint, "");
  if (GetParam() != Loss::kKilled) {
    EXPECT_EQ(mock_.Live(), 0u) << "all of it was destroyed on the host, too";
  }
}

INSTANTIATE_TEST_SUITE_P(By, LostDevice,
                         testing::Values(Loss::kSubmit, Loss::kWait, Loss::kKilled,
                                         Loss::kCompiling),
                         [](const testing::TestParamInfo<Loss>& loss) {
                           switch (loss.param) {
                             case Loss::kSubmit:
                               return "ASubmission";
                             case Loss::kWait:
                               return "AWaitOnTheHost";
                             case Loss::kKilled:
                               return "AServerThatIsKilled";
                             case Loss::kCompiling:
                               return "AWaitWhileOthersCompile";
                           }
                           return "";
                         });

}  // namespace
}  // namespace vesper::tests
