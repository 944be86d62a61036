// SPDX-License-Identifier: Apache-2.0
#include "server/device.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "proto/records_gen.h"
#include "server/queue.h"

namespace vesper::server {

HostDevice::HostDevice(proto::ObjectId id, VkDevice handle,
                       const HostInstance::PhysicalDevice& physical, PFN_vkGetDeviceProcAddr get,
                       Outbox& outbox, std::atomic<bool>& any_lost, bool compares_all_memory)
    : id_(id),
      handle_(handle),
      physical_(physical),
      outbox_(outbox),
      any_lost_(any_lost),
      compares_all_memory_(compares_all_memory) {
  table_.Load(get, handle);
}

HostDevice::~HostDevice() {
  if (!IsLost()) {
    table_.vkDeviceWaitIdle(handle_);
  }
  for (const auto& queue : queues_) {
    queue->Stop();  // before any of them goes: watchers look at each other's queues
  }
  for (const std::shared_ptr<HostMemory>& memory : memories_.All()) {
    memory->Retire();
  }
  reader_.reset();
  queues_.clear();
  table_.vkDestroyDevice(handle_, nullptr);
}

void HostDevice::SetSpareQueue(const SpareQueue& queue) {
  reader_ = std::make_unique<GpuReader>(
      table_, GpuReader::Config{handle_, &physical_.memory, queue.family, queue.index,
                                [this] { return ReachedTimelines(); },
                                [this] { ReportLost(VK_ERROR_DEVICE_LOST); }});
}

std::vector<Reached> HostDevice::ReachedTimelines() {
  std::vector<Reached> reached;
  const std::lock_guard lock(queues_mutex_);
  for (const auto& queue : queues_) {
    if (const Reached each = queue->reached(); each.second != 0) {
      reached.push_back(each);
    }
  }
  return reached;
}

void HostDevice::NoteQueues(const VkDeviceCreateInfo& info) {
  for (uint32_t i = 0; i < info.queueCreateInfoCount; ++i) {
    const VkDeviceQueueCreateInfo& queues = info.pQueueCreateInfos[i];
    created_queues_.push_back({queues.queueFamilyIndex, queues.queueCount, queues.flags});
  }
}

bool HostDevice::HasQueue(uint32_t family, uint32_t index, VkDeviceQueueCreateFlags flags) const {
  return std::any_of(
      created_queues_.begin(), created_queues_.end(), [&](const CreatedQueues& queues) {
        return queues.family == family && index < queues.count && queues.flags == flags;
      });
}

HostQueue* HostDevice::AddQueue(proto::ObjectId id, uint32_t family, uint32_t index,
                                VkDeviceQueueCreateFlags flags) {
  // Any other family or index would reach past the driver's own tables.
  if (!HasQueue(family, index, flags)) {
    return nullptr;
  }
  const VkDeviceQueueInfo2 info{VK_STRUCTURE_TYPE_DEVICE_QUEUE_INFO_2, nullptr, flags, family,
                                index};
  VkQueue queue = VK_NULL_HANDLE;
  if (flags == 0) {
    table_.vkGetDeviceQueue(handle_, family, index, &queue);
  } else {
    table_.vkGetDeviceQueue2(handle_, &info, &queue);
  }
  if (queue == VK_NULL_HANDLE || FindQueue(queue) != nullptr) {
    return nullptr;
  }
  auto made = HostQueue::Create(id, queue, *this);
  if (made == nullptr) {
    return nullptr;
  }
  const std::lock_guard lock(queues_mutex_);
  queues_.push_back(std::move(made));
  return queues_.back().get();
}

HostQueue* HostDevice::FindQueue(VkQueue handle) {
  const std::lock_guard lock(queues_mutex_);
  for (const auto& queue : queues_) {
    if (queue->handle() == handle) {
      return queue.get();
    }
  }
  return nullptr;
}

void HostDevice::NoteSemaphore(VkSemaphore semaphore, bool is_timeline) {
  if (is_timeline) {
    timelines_.insert(semaphore);
  } else {
    timelines_.erase(semaphore);  // one that is gone had the same handle
  }
}

bool HostDevice::IsIdle() {
  return std::all_of(queues_.begin(), queues_.end(),
                     [](const auto& queue) { return queue->IsIdle(); });
}

void HostDevice::ReportLost(VkResult result) {
  if (!lost_.exchange(true)) {
    any_lost_.store(true);
    spdlog::warn("the device '{}' was lost: the driver said VkResult {}",
                 physical_.properties.deviceName, static_cast<int>(result));
    const proto::Args_vesperDeviceLost args{id_, result};
    outbox_.Push(proto::command_number::vesperDeviceLost, &args);
  }
}

void HostDevice::PushFinished(HostQueue& queue, uint64_t reached) {
  WriteSets sets;
  {
    const std::lock_guard lock(queues_mutex_);
    for (const auto& each : queues_) {
      each->Collect(each.get() == &queue ? reached : each->SignalledThrough(), sets);
    }
  }
  Push(sets, {});
  TellQueries(queue, reached);
  watched_events_.Tell();
}

HostDevice::WriteSets HostDevice::Unfinished() {
  WriteSets sets;
  const std::lock_guard lock(queues_mutex_);
  for (const auto& queue : queues_) {
    queue->Collect(UINT64_MAX, sets);
  }
  return sets;
}

void HostDevice::PushUnfinished(const WriteSet& also) {
  PushWork(also);
  watched_events_.Tell();
}

void HostDevice::PushWork(const WriteSet& also) {
  QueryResults::Sightings seen;
  // An event that is told here was looked at before, and another may be set by what is seen now.
  if (query_results_.HasPolled() && !watched_events_.IsWatching()) {
    const std::unique_lock reading = query_results_.Lock();
    seen = query_results_.Sight(QueryWork());
  }
  Push(Unfinished(), also);
  if (query_results_.IsWatching()) {
    const std::unique_lock telling = query_results_.Lock();
    query_results_.Tell({}, QueryWork().touches, seen);
  }
}

void HostDevice::LookAtQueries(VkQueryPool pool, uint32_t first, uint32_t count) {
  if (!query_results_.IsWatching()) {
    return;
  }
  {
    const std::unique_lock reading = query_results_.Lock();
    if (!query_results_.Look(pool, first, count, QueryWork())) {
      return;
    }
  }
  PushUnfinished();
}

QueryResults::Work HostDevice::QueryWork() {
  QueryResults::Work work;
  bool is_idle = true;
  const std::lock_guard lock(queues_mutex_);
  for (const auto& queue : queues_) {
    is_idle = is_idle && !queue->HasWork();
    WriteSets sets;
    queue->Collect(UINT64_MAX, sets);
    for (const SubmittedWrites& writes : sets) {
      AddQueries(writes.set->queries(), work.touches);
    }
  }
  // Else asking would mean to wait for work that may wait for what is to be told.
  work.is_readable = is_idle || !physical_.WaitsInQueryResults();
  return work;
}

void HostDevice::TellQueries(HostQueue& queue, uint64_t reached) {
  if (!query_results_.IsWatching()) {
    return;
  }
  const std::unique_lock telling = query_results_.Lock();
  WriteSets done;          // of the queue
  WriteSets perhaps_done;  // of others: their watchers know
  WriteSets under_way;
  bool is_idle = true;
  {
    const std::lock_guard lock(queues_mutex_);
    for (const auto& each : queues_) {
      is_idle = is_idle && !each->HasWork();
      if (each.get() == &queue) {
        each->Collect(reached, done);
        WriteSets all;
        each->Collect(UINT64_MAX, all);
        under_way.insert(under_way.end(), all.begin() + static_cast<ptrdiff_t>(done.size()),
                         all.end());
      } else {
        each->Collect(each->SignalledThrough(), perhaps_done);
        each->Collect(UINT64_MAX, under_way);
      }
    }
  }
  const auto queries_of = [](const WriteSets& sets) {
    TouchedQueries queries;
    for (const SubmittedWrites& writes : sets) {
      AddQueries(writes.set->queries(), queries);
    }
    return queries;
  };
  const TouchedQueries finished = queries_of(done);
  TouchedQueries unknown = queries_of(perhaps_done);
  for (const auto& [pool, ranges] : queries_of(under_way)) {
    if (const auto found = finished.find(pool); found != finished.end()) {
      unknown[pool].Add(found->second.And(ranges));
    }
  }
  if (physical_.WaitsInQueryResults() && !is_idle) {
    // Reading any query would mean to wait for work that may wait for what is to be told here.
    AddQueries(finished, unknown);
  }
  query_results_.Tell(finished, unknown);
}

uint64_t HostDevice::Merge(const WriteSets& sets, WriteSet& merged) {
  uint64_t last = 0;
  for (const SubmittedWrites& writes : sets) {
    merged.Add(*writes.set);
    if (writes.set->shader_work() || writes.set->everything()) {
      last = std::max(last, writes.submission);
    }
  }
  return last;
}

WrittenParts HostDevice::PartsOf(const WriteSet& set, const HostMemory& memory,
                                 uint64_t submission) {
  const auto found = set.exact().find(&memory);
  WrittenParts parts;
  parts.exact = found == set.exact().end() ? nullptr : &found->second.ranges;
  parts.by_shaders = set.shader_work();
  parts.by_descriptors = set.shader_work() && set.unknown_descriptors();
  parts.everything = set.everything();
  parts.submission = submission;
  return parts;
}

void HostDevice::Push(const WriteSets& sets, const WriteSet& also) {
  WriteSet all = also;
  uint64_t submission = Merge(sets, all);
  if (also.shader_work() || also.everything()) {
    submission = UINT64_MAX;
  }
  if (!all.everything() && !all.shader_work() && !compares_all_memory_) {
    for (const auto& [memory, entry] : all.exact()) {
      entry.memory->PushWritten({&entry.ranges}, outbox_);
    }
    return;
  }
  for (const std::shared_ptr<HostMemory>& memory : memories_.All()) {
    memory->PushWritten(PartsOf(all, *memory, submission), outbox_);
  }
}

VkResult HostDevice::Map(HostMemory& memory) {
  WriteSet all;
  const uint64_t submission = Merge(Unfinished(), all);
  return memory.Map(PartsOf(all, memory, submission), outbox_);
}

}  // namespace vesper::server
