// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "proto/object_id.h"
#include "server/descriptors.h"
#include "server/device_memory.h"
#include "server/gpu_reader.h"
#include "server/host_tables_gen.h"
#include "server/host_vulkan.h"
#include "server/memory_leases.h"
#include "server/outbox.h"
#include "server/query_results.h"
#include "server/recorded_writes.h"
#include "server/resources.h"
#include "server/shared_memory.h"
#include "server/watched_events.h"
#include "server/write_set.h"
#include "transport/spin.h"

namespace vesper::server {

class HostQueue;

/// A VkDevice of the guest on the real driver.
class HostDevice {
 public:
  HostDevice(proto::ObjectId id, VkDevice handle, const HostInstance::PhysicalDevice& physical,
             PFN_vkGetDeviceProcAddr get, Outbox& outbox, std::atomic<bool>& any_lost,
             bool compares_all_memory);
  /// Waits for the queues' watchers, then destroys the device.
  ~HostDevice();
  HostDevice(const HostDevice&) = delete;
  HostDevice& operator=(const HostDevice&) = delete;

  proto::ObjectId id() const { return id_; }
  VkDevice handle() const { return handle_; }
  const DeviceTable& table() const { return table_; }
  const HostInstance::PhysicalDevice& physical() const { return physical_; }
  HostMemories& memories() { return memories_; }
  Outbox& outbox() { return outbox_; }
  /// Whether the queues' watchers may spin; before the queues are added.
  void SetSpinning(transport::Spinning spinning) { spinning_ = spinning; }
  transport::Spinning spinning() const { return spinning_; }

  /// The worker has this queue for itself: the GPU reads with it what is slow for the CPU.
  void SetSpareQueue(const SpareQueue& queue);
  /// Memory may be made of the guest's pages.
  void ShareMemory(std::unique_ptr<SharedMemories> shared) { shared_ = std::move(shared); }
  /// Null if it may not.
  SharedMemories* shared() { return shared_.get(); }
  ExternalResources<VkBuffer>& external_buffers() { return external_buffers_; }
  ExternalResources<VkImage>& external_images() { return external_images_; }
  /// Null without a spare queue.
  GpuReader* reader() { return reader_.get(); }

  /// Remembers what queues the device was created with.
  void NoteQueues(const VkDeviceCreateInfo& info);
  /// True if the device was created with this queue.
  bool HasQueue(uint32_t family, uint32_t index, VkDeviceQueueCreateFlags flags) const;
  /// Makes a queue of HasQueue() known; null if the driver doesn't give it, or is asked again.
  HostQueue* AddQueue(proto::ObjectId id, uint32_t family, uint32_t index,
                      VkDeviceQueueCreateFlags flags);
  /// Any thread.
  HostQueue* FindQueue(VkQueue handle);
  const std::vector<std::unique_ptr<HostQueue>>& queues() const { return queues_; }
  /// True when no queue has work that is not known to be done.
  bool IsIdle();

  /// Tells the guest and the log that the device is gone, once; `any_lost` becomes true.
  void ReportLost(VkResult result);
  bool IsLost() const { return lost_.load(); }

  // What the device wrote to memory that the guest has mapped is pushed. Any thread.

  /// What the queue's work up to batch `reached`, which is done, may have written. And what other
  /// queues' work may have: a program that waited for this queue may know that theirs is done, too,
  /// through semaphores, before the watcher of the other queue does.
  void PushFinished(HostQueue& queue, uint64_t reached);
  /// What any work may have written that is not known to be done, and `also`.
  void PushUnfinished(const WriteSet& also = {});
  /// The guest polls queries.
  void LookAtQueries(VkQueryPool pool, uint32_t first, uint32_t count);
  /// The guest maps memory.
  VkResult Map(HostMemory& memory);

  // Only the session's thread uses these two.

  /// A semaphore was made.
  void NoteSemaphore(VkSemaphore semaphore, bool is_timeline);
  bool IsTimeline(VkSemaphore semaphore) const { return timelines_.contains(semaphore); }

  // These have locks of their own.

  MemoryLeases& leases() { return leases_; }
  HostResources& resources() { return resources_; }
  HostDescriptors& descriptors() { return descriptors_; }
  /// Any thread.
  WatchedEvents& watched_events() { return watched_events_; }
  QueryResults& query_results() { return query_results_; }
  RecordedWrites& recorded_writes() { return recorded_writes_; }
  bool compares_all_memory() const { return compares_all_memory_; }

 private:
  struct CreatedQueues {
    uint32_t family;
    uint32_t count;
    VkDeviceQueueCreateFlags flags;
  };

  using WriteSets = std::vector<SubmittedWrites>;

  WriteSets Unfinished();
  /// The sets as one, and the last of the submissions that do more than exact writes.
  static uint64_t Merge(const WriteSets& sets, WriteSet& merged);
  std::vector<Reached> ReachedTimelines();
  /// What a set says of one allocation.
  static WrittenParts PartsOf(const WriteSet& set, const HostMemory& memory, uint64_t submission);
  void Push(const WriteSets& sets, const WriteSet& also);
  /// Pushes what any work may have done, but for events.
  void PushWork(const WriteSet& also = {});
  /// Tells the guest what the queue's work up to batch `reached` has done to queries that it reads.
  void TellQueries(HostQueue& queue, uint64_t reached);
  /// What work under way does to queries. Under the lock of query_results_.
  QueryResults::Work QueryWork();

  const proto::ObjectId id_;
  const VkDevice handle_;
  const HostInstance::PhysicalDevice& physical_;
  Outbox& outbox_;
  transport::Spinning spinning_ = transport::Spinning::kNever;
  DeviceTable table_;
  HostMemories memories_;
  std::unique_ptr<SharedMemories> shared_;
  ExternalResources<VkBuffer> external_buffers_;
  ExternalResources<VkImage> external_images_;
  std::atomic<bool>& any_lost_;
  std::atomic<bool> lost_{false};
  const bool compares_all_memory_;
  std::unordered_set<VkSemaphore> timelines_;
  MemoryLeases leases_;
  HostResources resources_{table_, handle_};
  HostDescriptors descriptors_{resources_};
  QueryResults query_results_{table_, handle_, outbox_};
  WatchedEvents watched_events_{table_, handle_, outbox_, [this] { PushWork(); }};
  RecordedWrites recorded_writes_{resources_, descriptors_};
  std::unique_ptr<GpuReader> reader_;
  std::vector<CreatedQueues> created_queues_;
  std::mutex queues_mutex_;                         // for those who are not the session's thread
  std::vector<std::unique_ptr<HostQueue>> queues_;  // keep last: their threads use the rest
};

}  // namespace vesper::server
