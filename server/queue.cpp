// SPDX-License-Identifier: Apache-2.0
#include "server/queue.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "proto/records_gen.h"
#include "server/chain.h"
#include "server/device.h"

namespace vesper::server {
namespace {

/// How long the watcher waits in the driver before it looks whether it should stop (nanoseconds).
constexpr uint64_t kWatchSlice = 100'000'000;

/// Copies of arrays without the elements that the guest names but the host does not have.
template <typename Handle, typename Also>
void KeepPresent(std::vector<Handle>& handles, std::vector<Also>& also) {
  size_t kept = 0;
  for (size_t i = 0; i < handles.size(); ++i) {
    if (handles[i] != VK_NULL_HANDLE) {
      handles[kept] = handles[i];
      if (i < also.size()) {
        also[kept] = also[i];
      }
      ++kept;
    }
  }
  handles.resize(kept);
  also.resize(std::min(also.size(), kept));
}

/// Batches in the form of vkQueueSubmit and vkQueueBindSparse: semaphores and, in the chain, the
/// timeline values that go with them.
class Semaphores {
 public:
  template <typename Batch>
  Semaphores(const Batch& batch, VkSemaphore timeline, uint64_t number)
      : waits_(batch.pWaitSemaphores, batch.pWaitSemaphores + batch.waitSemaphoreCount),
        signals_(batch.pSignalSemaphores, batch.pSignalSemaphores + batch.signalSemaphoreCount) {
    auto* old = FindInChain<VkTimelineSemaphoreSubmitInfo>(
        batch.pNext, VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
    wait_values_.resize(waits_.size(), 0);
    signal_values_.resize(signals_.size(), 0);
    if (old != nullptr) {
      if (old->pWaitSemaphoreValues != nullptr) {
        std::copy_n(old->pWaitSemaphoreValues,
                    std::min<size_t>(old->waitSemaphoreValueCount, waits_.size()),
                    wait_values_.begin());
      }
      if (old->pSignalSemaphoreValues != nullptr) {
        std::copy_n(old->pSignalSemaphoreValues,
                    std::min<size_t>(old->signalSemaphoreValueCount, signals_.size()),
                    signal_values_.begin());
      }
    }
    KeepPresent(signals_, signal_values_);
    signals_.push_back(timeline);
    signal_values_.push_back(number);
    values_.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
    if (old != nullptr) {
      replaced_ = old;
    } else {
      values_.pNext = batch.pNext;
    }
  }

  std::vector<VkSemaphore>& waits() { return waits_; }
  std::vector<uint64_t>& wait_values() { return wait_values_; }

  template <typename Batch>
  void Apply(Batch& batch) {
    batch.waitSemaphoreCount = static_cast<uint32_t>(waits_.size());
    batch.pWaitSemaphores = waits_.data();
    batch.signalSemaphoreCount = static_cast<uint32_t>(signals_.size());
    batch.pSignalSemaphores = signals_.data();
    VkTimelineSemaphoreSubmitInfo& values = replaced_ != nullptr ? *replaced_ : values_;
    values.waitSemaphoreValueCount = static_cast<uint32_t>(wait_values_.size());
    values.pWaitSemaphoreValues = wait_values_.data();
    values.signalSemaphoreValueCount = static_cast<uint32_t>(signal_values_.size());
    values.pSignalSemaphoreValues = signal_values_.data();
    if (replaced_ == nullptr) {
      batch.pNext = &values_;
    }
  }

 private:
  std::vector<VkSemaphore> waits_;
  std::vector<VkSemaphore> signals_;
  std::vector<uint64_t> wait_values_;
  std::vector<uint64_t> signal_values_;
  VkTimelineSemaphoreSubmitInfo values_{};
  VkTimelineSemaphoreSubmitInfo* replaced_ = nullptr;
};

VkCommandBuffer HandleOf(VkCommandBuffer buffer) { return buffer; }
VkCommandBuffer HandleOf(const VkCommandBufferSubmitInfo& info) { return info.commandBuffer; }

/// What a batch says for each of its semaphores and command buffers about the devices of a group.
/// Drivers take these arrays to be as long as the batch's own, so they follow what is left out and
/// what is added there.
class GroupArrays {
 public:
  GroupArrays(const VkSubmitInfo& batch, VkDeviceGroupSubmitInfo& group) {
    Keep(batch.pWaitSemaphores, batch.waitSemaphoreCount, group.pWaitSemaphoreDeviceIndices,
         group.waitSemaphoreCount, 0, waits_);
    Keep(batch.pCommandBuffers, batch.commandBufferCount, group.pCommandBufferDeviceMasks,
         group.commandBufferCount, 1, masks_);
    Keep(batch.pSignalSemaphores, batch.signalSemaphoreCount, group.pSignalSemaphoreDeviceIndices,
         group.signalSemaphoreCount, 0, signals_);
    signals_.push_back(0);  // the worker's own timeline
    group.waitSemaphoreCount = static_cast<uint32_t>(waits_.size());
    group.pWaitSemaphoreDeviceIndices = waits_.data();
    group.commandBufferCount = static_cast<uint32_t>(masks_.size());
    group.pCommandBufferDeviceMasks = masks_.data();
    group.signalSemaphoreCount = static_cast<uint32_t>(signals_.size());
    group.pSignalSemaphoreDeviceIndices = signals_.data();
  }

 private:
  template <typename Handle>
  static void Keep(const Handle* handles, uint32_t handle_count, const uint32_t* values,
                   uint32_t value_count, uint32_t otherwise, std::vector<uint32_t>& kept) {
    for (uint32_t i = 0; i < handle_count; ++i) {
      if (handles[i] != VK_NULL_HANDLE) {
        kept.push_back(values != nullptr && i < value_count ? values[i] : otherwise);
      }
    }
  }

  std::vector<uint32_t> waits_;
  std::vector<uint32_t> masks_;
  std::vector<uint32_t> signals_;
};

}  // namespace

std::unique_ptr<HostQueue> HostQueue::Create(proto::ObjectId id, VkQueue handle,
                                             HostDevice& device) {
  const VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, nullptr,
                                       VK_SEMAPHORE_TYPE_TIMELINE, 0};
  const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
  VkSemaphore timeline = VK_NULL_HANDLE;
  if (device.table().vkCreateSemaphore(device.handle(), &info, nullptr, &timeline) != VK_SUCCESS) {
    return nullptr;
  }
  return std::unique_ptr<HostQueue>(new HostQueue(id, handle, device, timeline));
}

HostQueue::HostQueue(proto::ObjectId id, VkQueue handle, HostDevice& device, VkSemaphore timeline)
    : id_(id),
      handle_(handle),
      device_(device),
      timeline_(timeline),
      slot_(device.outbox().progress_slots().Take(id)),
      spin_(device.spinning()),
      work_spin_(device.spinning()),
      watcher_([this] { Watch(); }) {}

HostQueue::~HostQueue() {
  Stop();
  if (slot_) {
    device_.outbox().progress_slots().Give(*slot_);
  }
  device_.table().vkDestroySemaphore(device_.handle(), timeline_, nullptr);
}

void HostQueue::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (watcher_.joinable()) {
    watcher_.join();
  }
}

void HostQueue::Collect(uint64_t up_to, std::vector<SubmittedWrites>& sets) {
  const std::lock_guard lock(mutex_);
  for (const Batch& batch : unpushed_) {
    if (batch.number > up_to) {
      break;
    }
    sets.insert(sets.end(), batch.writes.begin(), batch.writes.end());
  }
}

uint64_t HostQueue::SignalledThrough() {
  const std::lock_guard lock(mutex_);
  return signals_through_;
}

template <typename Buffers>
void HostQueue::Note(size_t index, const Buffers& buffers, bool signals, Noted& noted) {
  const uint64_t number = next_ + index;
  ++noted.count;
  if (signals) {
    noted.signals_through = number;
  }
  Batch batch{number, {}};
  for (const auto& buffer : buffers) {
    if (auto writes = device_.recorded_writes().Submitted(HandleOf(buffer))) {
      batch.writes.push_back({std::move(writes), noted.position});
    }
  }
  if (!batch.writes.empty()) {
    noted.batches.push_back(std::move(batch));
  }
}

bool HostQueue::IsIdle() {
  const std::lock_guard lock(mutex_);
  return done_ == submitted_;
}

bool HostQueue::HasWork() {
  const std::lock_guard lock(mutex_);
  return done_ != begun_;
}

std::pair<VkSemaphore, uint64_t> HostQueue::reached() {
  const std::lock_guard lock(mutex_);
  return {timeline_, done_};
}

std::unique_lock<std::mutex> HostQueue::WaitForReaders(const Noted& noted) {
  const bool matters =
      device_.physical().WaitsInQueryResults() ||
      std::ranges::any_of(noted.batches, [](const Batch& batch) {
        return std::ranges::any_of(batch.writes, [](const SubmittedWrites& writes) {
          return !writes.set->queries().empty();
        });
      });
  return matters && device_.query_results().IsWatching() ? device_.query_results().Lock()
                                                         : std::unique_lock<std::mutex>();
}

template <typename Driver>
void HostQueue::Give(const Noted& noted, const Driver& driver) {
  const uint64_t last = next_ - 1 + noted.count;
  next_ = last + 1;
  if (device_.IsLost()) {
    return;
  }
  {
    const std::unique_lock reading = WaitForReaders(noted);
    const std::lock_guard lock(mutex_);
    begun_ = last;
    signals_through_ = std::max(signals_through_, noted.signals_through);
    unpushed_.insert(unpushed_.end(), noted.batches.begin(), noted.batches.end());
  }
  const VkResult result = driver();
  if (result != VK_SUCCESS) {
    // The guest has gone on as if the work were under way; only a lost device is true now.
    device_.ReportLost(result);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    submitted_ = last;
  }
  changed_.notify_all();
}

VkResult HostQueue::LetGo() {
  return IsIdle() ? device_.table().vkQueueWaitIdle(handle_) : VK_SUCCESS;
}

void HostQueue::Submit(const VkSubmitInfo* submits, uint32_t count, uint64_t position) {
  std::vector<VkSubmitInfo> batches(submits, submits + count);
  if (batches.empty()) {
    batches.push_back({VK_STRUCTURE_TYPE_SUBMIT_INFO});
  }
  std::deque<Semaphores> semaphores;
  std::deque<GroupArrays> groups;
  std::deque<std::vector<VkPipelineStageFlags>> stages;
  std::deque<std::vector<VkCommandBuffer>> buffers;
  Noted noted{position, 0, 0, {}};
  for (size_t i = 0; i < batches.size(); ++i) {
    VkSubmitInfo& batch = batches[i];
    const bool signals = batch.signalSemaphoreCount != 0;
    if (auto* group = FindInChain<VkDeviceGroupSubmitInfo>(
            batch.pNext, VK_STRUCTURE_TYPE_DEVICE_GROUP_SUBMIT_INFO)) {
      groups.emplace_back(batch, *group);
    }
    Semaphores& batch_semaphores = semaphores.emplace_back(batch, timeline_, next_ + i);
    std::vector<VkPipelineStageFlags>& batch_stages = stages.emplace_back(
        batch.pWaitDstStageMask, batch.pWaitDstStageMask + batch.waitSemaphoreCount);
    // Values and stage masks go with the semaphores that are left out.
    std::vector<VkSemaphore> waits = batch_semaphores.waits();
    KeepPresent(waits, batch_stages);
    KeepPresent(batch_semaphores.waits(), batch_semaphores.wait_values());
    batch_semaphores.Apply(batch);
    batch.pWaitDstStageMask = batch_stages.data();
    std::vector<VkCommandBuffer>& batch_buffers = buffers.emplace_back(
        batch.pCommandBuffers, batch.pCommandBuffers + batch.commandBufferCount);
    std::erase(batch_buffers, VkCommandBuffer{VK_NULL_HANDLE});
    batch.commandBufferCount = static_cast<uint32_t>(batch_buffers.size());
    batch.pCommandBuffers = batch_buffers.data();
    Note(i, batch_buffers, signals, noted);
  }
  Give(noted, [&] {
    return device_.table().vkQueueSubmit(handle_, static_cast<uint32_t>(batches.size()),
                                         batches.data(), VK_NULL_HANDLE);
  });
}

void HostQueue::Submit2(const VkSubmitInfo2* submits, uint32_t count, uint64_t position) {
  std::vector<VkSubmitInfo2> batches(submits, submits + count);
  if (batches.empty()) {
    batches.push_back({VK_STRUCTURE_TYPE_SUBMIT_INFO_2});
  }
  std::deque<std::vector<VkSemaphoreSubmitInfo>> semaphores;
  std::deque<std::vector<VkCommandBufferSubmitInfo>> buffers;
  Noted noted{position, 0, 0, {}};
  const auto is_gone = [](const VkSemaphoreSubmitInfo& info) {
    return info.semaphore == VK_NULL_HANDLE;
  };
  for (size_t i = 0; i < batches.size(); ++i) {
    VkSubmitInfo2& batch = batches[i];
    std::vector<VkSemaphoreSubmitInfo>& waits = semaphores.emplace_back(
        batch.pWaitSemaphoreInfos, batch.pWaitSemaphoreInfos + batch.waitSemaphoreInfoCount);
    std::erase_if(waits, is_gone);
    batch.waitSemaphoreInfoCount = static_cast<uint32_t>(waits.size());
    batch.pWaitSemaphoreInfos = waits.data();
    std::vector<VkSemaphoreSubmitInfo>& signals = semaphores.emplace_back(
        batch.pSignalSemaphoreInfos, batch.pSignalSemaphoreInfos + batch.signalSemaphoreInfoCount);
    std::erase_if(signals, is_gone);
    const bool tells_others = !signals.empty();
    signals.push_back({VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO, nullptr, timeline_, next_ + i,
                       VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, 0});
    batch.signalSemaphoreInfoCount = static_cast<uint32_t>(signals.size());
    batch.pSignalSemaphoreInfos = signals.data();
    std::vector<VkCommandBufferSubmitInfo>& batch_buffers = buffers.emplace_back(
        batch.pCommandBufferInfos, batch.pCommandBufferInfos + batch.commandBufferInfoCount);
    std::erase_if(batch_buffers, [](const VkCommandBufferSubmitInfo& info) {
      return info.commandBuffer == VK_NULL_HANDLE;
    });
    batch.commandBufferInfoCount = static_cast<uint32_t>(batch_buffers.size());
    batch.pCommandBufferInfos = batch_buffers.data();
    Note(i, batch_buffers, tells_others, noted);
  }
  Give(noted, [&] {
    return device_.table().vkQueueSubmit2(handle_, static_cast<uint32_t>(batches.size()),
                                          batches.data(), VK_NULL_HANDLE);
  });
}

void HostQueue::BindSparse(const VkBindSparseInfo* binds, uint32_t count, uint64_t position) {
  std::vector<VkBindSparseInfo> batches(binds, binds + count);
  if (batches.empty()) {
    batches.push_back({VK_STRUCTURE_TYPE_BIND_SPARSE_INFO});
  }
  std::deque<Semaphores> semaphores;
  Noted noted{position, 0, 0, {}};
  for (size_t i = 0; i < batches.size(); ++i) {
    Note(i, std::vector<VkCommandBuffer>(), batches[i].signalSemaphoreCount != 0, noted);
    Semaphores& batch_semaphores = semaphores.emplace_back(batches[i], timeline_, next_ + i);
    KeepPresent(batch_semaphores.waits(), batch_semaphores.wait_values());
    batch_semaphores.Apply(batches[i]);
  }
  Give(noted, [&] {
    return device_.table().vkQueueBindSparse(handle_, static_cast<uint32_t>(batches.size()),
                                             batches.data(), VK_NULL_HANDLE);
  });
}

void HostQueue::Watch() {
  uint64_t reached = 0;
  const DeviceTable& vk = device_.table();
  for (;;) {
    // A program that submits and waits submits again soon.
    spin_.Until([&] { return submitted_.load() > reached; });
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || submitted_ > reached; });
      if (stopping_ && (submitted_ <= reached || device_.IsLost())) {
        return;
      }
    }
    const uint64_t wanted = reached + 1;
    const VkSemaphoreWaitInfo wait{
        VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, nullptr, 0, 1, &timeline_, &wanted};
    // A driver's own waiting ends with an interrupt, which takes longer than short work does.
    const bool is_done = work_spin_.Until([&] {
      uint64_t now = 0;
      return vk.vkGetSemaphoreCounterValue(device_.handle(), timeline_, &now) == VK_SUCCESS &&
             now >= wanted;
    });
    const VkResult result =
        is_done ? VK_SUCCESS : vk.vkWaitSemaphores(device_.handle(), &wait, kWatchSlice);
    if (result == VK_TIMEOUT) {
      const std::lock_guard lock(mutex_);
      if (stopping_) {
        return;
      }
      continue;
    }
    uint64_t value = wanted;
    if (result != VK_SUCCESS ||
        vk.vkGetSemaphoreCounterValue(device_.handle(), timeline_, &value) != VK_SUCCESS) {
      device_.ReportLost(VK_ERROR_DEVICE_LOST);
      return;
    }
    {
      // A lost device may show any value; only what was submitted can have been done.
      const std::lock_guard lock(mutex_);
      if (value > begun_) {
        device_.ReportLost(VK_ERROR_DEVICE_LOST);
        return;
      }
      reached = std::max(wanted, value);
      done_ = reached;
    }
    device_.PushFinished(*this, reached);
    {
      const std::lock_guard lock(mutex_);
      while (!unpushed_.empty() && unpushed_.front().number <= reached) {
        unpushed_.pop_front();
      }
    }
    device_.outbox().TellProgress(id_, slot_, reached);
  }
}

}  // namespace vesper::server
