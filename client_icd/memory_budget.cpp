// SPDX-License-Identifier: Apache-2.0
#include "client_icd/memory_budget.h"

#include <algorithm>

#include "client_icd/session.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

constexpr uint16_t kCommand = proto::command_number::vkGetPhysicalDeviceMemoryProperties2;

/// An older answer is not told.
constexpr std::chrono::milliseconds kLongest{1000};
/// Questions are asked ahead no more often.
constexpr std::chrono::milliseconds kShortest{20};

/// A command's arguments with the structs that they point to.
struct Arguments {
  explicit Arguments(VkPhysicalDevice device) : args{device, &properties} {}

  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
  VkPhysicalDeviceMemoryProperties2 properties{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, &budget, {}};
  proto::Args_vkGetPhysicalDeviceMemoryProperties2 args;
};

void Copy(const VkPhysicalDeviceMemoryBudgetPropertiesEXT& from,
          VkPhysicalDeviceMemoryBudgetPropertiesEXT* to) {
  std::copy_n(from.heapBudget, VK_MAX_MEMORY_HEAPS, to->heapBudget);
  std::copy_n(from.heapUsage, VK_MAX_MEMORY_HEAPS, to->heapUsage);
}

}  // namespace

MemoryBudget::Account MemoryBudget::Begin() const {
  Account account{Clock::now(), {}, {}};
  for (size_t heap = 0; heap < account.own.size(); ++heap) {
    account.own[heap] = used_[heap].load();
  }
  return account;
}

bool MemoryBudget::Call(Account& account) {
  Arguments arguments(device_);
  account = Begin();
  if (!session_.Call(kCommand, &arguments.args)) {
    return false;
  }
  account.budget = arguments.budget;
  return true;
}

void MemoryBudget::Ask() {
  const Arguments arguments(device_);
  asked_ = Begin();
  question_ = session_.AskAhead(kCommand, &arguments.args);
  session_.Flush();
}

void MemoryBudget::TakeNews() {
  if (question_ == nullptr || !session_.IsAnswered(*question_)) {
    return;
  }
  Arguments arguments(device_);
  if (session_.TakeAnswer(*question_, &arguments.args) && asked_.at > known_.at) {
    known_ = asked_;
    known_.budget = arguments.budget;
  }
  question_.reset();
}

bool MemoryBudget::Get(VkPhysicalDeviceMemoryBudgetPropertiesEXT* budget) {
  Account told{};
  if (!session_.Pushes(kPushBudget)) {
    if (!Call(told)) {
      return false;
    }
    Copy(told.budget, budget);
    return true;
  }
  {
    const std::lock_guard lock(mutex_);
    if (session_.IsLost()) {
      return false;
    }
    TakeNews();
    const Clock::time_point now = Clock::now();
    if (!is_known_ || now - known_.at > kLongest) {
      if (!Call(told)) {
        return false;
      }
      is_known_ = true;
      known_ = told;
    } else {
      told = known_;
      if (question_ == nullptr && now - std::max(known_.at, asked_.at) >= kShortest) {
        Ask();
      }
    }
  }
  const Account now = Begin();
  for (size_t heap = 0; heap < now.own.size(); ++heap) {
    const auto change = static_cast<int64_t>(now.own[heap] - told.own[heap]);
    VkDeviceSize& usage = told.budget.heapUsage[heap];
    // The driver may count otherwise: less than nothing is used of no heap.
    usage = static_cast<uint64_t>(std::max<int64_t>(static_cast<int64_t>(usage) + change, 0));
  }
  Copy(told.budget, budget);
  return true;
}

}  // namespace vesper::client
