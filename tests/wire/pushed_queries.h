// SPDX-License-Identifier: Apache-2.0
//
// Tests of queries whose results are pushed: a mock whose queries are what the test says.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "tests/framework/door.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {

inline constexpr VkQueryResultFlags kHostsOwn =
    VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT;

// The mock's queries are what the test says; those of which it says nothing are not available.
class PushedQueries : public WireTest {
 protected:
  void SetUp() override {
    mock_.On(number::vkGetQueryPoolResults, [this](void* args) {
      Answer(*static_cast<proto::Args_vkGetQueryPoolResults*>(args));
    });
    mock_.On(number::vkResetQueryPool, [this](void* args) {
      const auto& a = *static_cast<proto::Args_vkResetQueryPool*>(args);
      const std::lock_guard lock(driver_mutex_);
      for (uint32_t i = a.firstQuery; i < a.firstQuery + a.queryCount; ++i) {
        driver_.erase(i);
      }
    });
    Open();
    query_pool_ = MakePool();
    fence_ = CreateFence();
  }
  ~PushedQueries() override {
    door_.Open();
    mock_.Hold(false);
    mock_.HoldQueue(VK_NULL_HANDLE);
    vk::vkDestroyFence(device_, fence_, nullptr);
    vk::vkDestroyQueryPool(device_, query_pool_, nullptr);
    DestroyAll();
    host_->Finish();  // whose threads use what is below
  }

  VkQueryPool MakePool(VkQueryType type = VK_QUERY_TYPE_TIMESTAMP,
                       VkQueryPipelineStatisticFlags statistics = 0) {
    const VkQueryPoolCreateInfo info{
        VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, nullptr, 0, type, 16, statistics};
    VkQueryPool pool = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateQueryPool(device_, &info, nullptr, &pool), VK_SUCCESS);
    return pool;
  }
  void Answer(proto::Args_vkGetQueryPoolResults& a) {
    if ((a.flags & ~VkQueryResultFlags{VK_QUERY_RESULT_WAIT_BIT}) != kHostsOwn) {
      ++guests_;
    } else if (stops_host_) {
      door_.Pass();
    }
    if (before_reading_) {
      before_reading_(a.firstQuery);
    }
    const std::lock_guard lock(driver_mutex_);
    a.ret = VK_SUCCESS;
    const size_t bytes = (a.flags & VK_QUERY_RESULT_64_BIT) != 0 ? 8 : 4;
    for (uint32_t i = 0; i < a.queryCount; ++i) {
      auto* target = static_cast<std::byte*>(a.pData) + i * a.stride;
      const auto found = driver_.find(a.firstQuery + i);
      const bool available = found != driver_.end();
      for (size_t k = 0; available && k < found->second.size(); ++k) {
        std::memcpy(target + k * bytes, &found->second[k], bytes);
      }
      if ((a.flags & VK_QUERY_RESULT_WITH_AVAILABILITY_BIT) != 0) {
        const uint64_t one = available ? 1 : 0;
        std::memcpy(target + values_ * bytes, &one, bytes);
      }
      a.ret = available ? a.ret : VK_NOT_READY;
    }
  }
  void Driver(uint32_t query, std::optional<std::vector<uint64_t>> values) {
    const std::lock_guard lock(driver_mutex_);
    if (values.has_value()) {
      driver_[query] = *values;
    } else {
      driver_.erase(query);
    }
  }
  VkCommandBuffer Record(const std::function<void(VkCommandBuffer)>& commands) {
    VkCommandBuffer buffer = Begin();
    commands(buffer);
    EXPECT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
    return buffer;
  }
  VkCommandBuffer Timestamps(uint32_t first, uint32_t count) {
    return Record([&](VkCommandBuffer buffer) {
      for (uint32_t i = first; i < first + count; ++i) {
        vk::vkCmdWriteTimestamp(buffer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, query_pool_, i);
      }
    });
  }
  void RunAndWait(VkCommandBuffer buffer) {
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
    ASSERT_EQ(Submit(buffer, fence_), VK_SUCCESS);
    ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  }
  VkResult Get(uint32_t query, uint64_t* value, VkQueryResultFlags flags = 0) {
    return vk::vkGetQueryPoolResults(device_, query_pool_, query, 1, 8, value, 8,
                                     flags | VK_QUERY_RESULT_64_BIT);
  }
  // Asks until the query is available.
  uint64_t Poll(uint32_t query) {
    uint64_t value = 0;
    VkResult result = VK_NOT_READY;
    while (result == VK_NOT_READY) {
      result = Get(query, &value);
    }
    EXPECT_EQ(result, VK_SUCCESS);
    return value;
  }
  // Queries from 0 on that the guest knows not to be available, and work under way that will write
  // them.
  void SubmitHeld(uint32_t count) {
    AskOnce();
    const VkCommandBuffer work = Timestamps(0, count);
    RunAndWait(work);
    mock_.Hold(true);
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
    ASSERT_EQ(Submit(work, fence_), VK_SUCCESS);
    Sync();
  }
  void Finish() {
    mock_.Hold(false);
    ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  }
  // The program has asked about the pool: it is watched.
  void AskOnce() {
    uint64_t value = 0;
    Get(0, &value);
    Sync();
    guests_ = 0;
  }

  VkQueryPool query_pool_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  std::mutex driver_mutex_;
  std::map<uint32_t, std::vector<uint64_t>> driver_;
  size_t values_ = 1;           // of each query
  std::atomic<int> guests_{0};  // questions that are not the host's own
  std::atomic<bool> stops_host_{false};
  std::function<void(uint32_t query)> before_reading_;
  Door door_;
};

}  // namespace vesper::tests
