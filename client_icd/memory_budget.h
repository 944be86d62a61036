// SPDX-License-Identifier: Apache-2.0
//
// How much memory there is and how much is used (VK_EXT_memory_budget). Programs ask in each frame.
// While they do, the guest has asked the host already: each question is answered from the last
// answer, corrected by what this process has allocated and freed since that was asked for, and at
// most so often a new one is asked for without waiting. Nothing that is older than a second is
// told: who asks rarely is told what is true now, by a call.
#pragma once

#include <vulkan/vulkan_core.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>

#include "client_icd/questions.h"

namespace vesper::client {

class Session;

/// The budget of one physical device. Thread-safe. Sizes are in bytes.
class MemoryBudget {
 public:
  MemoryBudget(Session& session, VkPhysicalDevice device) : session_(session), device_(device) {}

  void NoteAllocation(uint32_t heap, uint64_t size) { used_[heap].fetch_add(size); }
  void NoteFree(uint32_t heap, uint64_t size) { used_[heap].fetch_sub(size); }

  /// Heaps and types are left alone. False if the session is lost; `budget` is then untouched, too.
  bool Get(VkPhysicalDeviceMemoryBudgetPropertiesEXT* budget);

 private:
  using Clock = std::chrono::steady_clock;
  using Sizes = std::array<uint64_t, VK_MAX_MEMORY_HEAPS>;

  /// What the host says about one moment.
  struct Account {
    Clock::time_point at;
    Sizes own;  // what this process uses, as the guest counts
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget;
  };

  Account Begin() const;
  bool Call(Account& account);
  void Ask();
  void TakeNews();

  Session& session_;
  const VkPhysicalDevice device_;
  std::array<std::atomic<uint64_t>, VK_MAX_MEMORY_HEAPS> used_{};
  std::mutex mutex_;  // what follows
  bool is_known_ = false;
  Account known_{};
  std::shared_ptr<Question> question_;  // that is under way
  Account asked_{};                     // for it; the budget is not there yet
};

}  // namespace vesper::client
