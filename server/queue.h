// SPDX-License-Identifier: Apache-2.0
//
// A queue on the real driver. Every batch of the guest also signals the queue's own timeline
// semaphore with the batch's number, counted as the guest counts. A watcher thread waits for it and
// then pushes, in this order, what the work changed in memory (write_set.h) and how far the queue
// has come: data first, then the fact that releases the guest's waiters. The session's thread never
// waits.
//
// Submissions come from the session's thread or from a task, one at a time and in the guest's
// order. Those for a lost device count, but do not reach the driver: what they name may be gone.
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "proto/object_id.h"
#include "server/write_set.h"
#include "transport/spin.h"

namespace vesper::server {

class HostDevice;

class HostQueue {
 public:
  /// Null if the driver has no timeline semaphore for it.
  static std::unique_ptr<HostQueue> Create(proto::ObjectId id, VkQueue handle, HostDevice& device);
  ~HostQueue();
  HostQueue(const HostQueue&) = delete;
  HostQueue& operator=(const HostQueue&) = delete;

  proto::ObjectId id() const { return id_; }
  VkQueue handle() const { return handle_; }
  /// Ends the watcher, and waits for it. No submission may follow.
  void Stop();
  /// True when everything that was submitted is known to be done. Any thread.
  bool IsIdle();
  /// True while the driver may have work that is not known to be done. Any thread.
  bool HasWork();
  /// The queue's timeline and how far it is known to have come. Any thread.
  std::pair<VkSemaphore, uint64_t> reached();
  /// Lets the driver give up what the work that is done has used: some do so only after they have
  /// signalled its end, and a program that has waited for the queue may destroy it all. Never waits
  /// for work: does nothing while there is some.
  VkResult LetGo();

  // Null command buffers and semaphores (dead or poisoned ones) are left out. A driver's failure
  // ends the device. `position`: of the command in the stream, which may have come here since. One
  // thread at a time.
  void Submit(const VkSubmitInfo* submits, uint32_t count, uint64_t position);
  void Submit2(const VkSubmitInfo2* submits, uint32_t count, uint64_t position);
  void BindSparse(const VkBindSparseInfo* binds, uint32_t count, uint64_t position);

  /// Appends what the batches up to `up_to` may write whose memory has not been pushed. Any thread.
  void Collect(uint64_t up_to, std::vector<SubmittedWrites>& sets);
  /// The last batch that signals a semaphore, and so may tell others how far the queue has come.
  /// Any thread.
  uint64_t SignalledThrough();

 private:
  /// What a batch that may write does to memory.
  struct Batch {
    uint64_t number;
    std::vector<SubmittedWrites> writes;
  };
  /// What is noted of the batches of one submission.
  struct Noted {
    uint64_t position = 0;
    uint64_t count = 0;
    uint64_t signals_through = 0;  // 0: none does
    std::vector<Batch> batches;    // without those that write nothing
  };

  HostQueue(proto::ObjectId id, VkQueue handle, HostDevice& device, VkSemaphore timeline);

  /// Notes batch `index` of a submission: its command buffers, and whether the guest has it signal.
  template <typename Buffers>
  void Note(size_t index, const Buffers& buffers, bool signals, Noted& noted);
  /// Nobody may be reading queries that the batches are going to touch, or, with some drivers, any,
  /// while they are added to what is under way.
  std::unique_lock<std::mutex> WaitForReaders(const Noted& noted);
  /// Around the driver's submission of what was noted.
  template <typename Driver>
  void Give(const Noted& noted, const Driver& driver);
  void Watch();

  const proto::ObjectId id_;
  const VkQueue handle_;
  HostDevice& device_;
  const VkSemaphore timeline_;
  const std::optional<size_t> slot_;  // where its progress is shown
  uint64_t next_ = 1;                 // number of the next batch; for whoever submits

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t begun_ = 0;                  // the last batch that the driver may know
  std::atomic<uint64_t> submitted_{0};  // the last batch that the driver has taken
  uint64_t done_ = 0;
  uint64_t signals_through_ = 0;
  std::deque<Batch> unpushed_;  // in order
  bool stopping_ = false;
  transport::AdaptiveSpin spin_;       // the watcher's, until there is work
  transport::AdaptiveSpin work_spin_;  // and until it is done
  std::thread watcher_;                // keep last
};

}  // namespace vesper::server
