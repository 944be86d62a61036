// SPDX-License-Identifier: Apache-2.0
//
// A queue on the real driver. Every batch of the guest also signals the queue's own timeline
// semaphore with the batch's number, counted as the guest counts. A watcher thread waits for it and
// then pushes, in this order, the memory that the device changed and how far the queue has come:
// data first, then the fact that releases the guest's waiters. The session's thread never waits.
#pragma once

#include <vulkan/vulkan_core.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "proto/object_id.h"

namespace vesper::server {

class HostDevice;

class HostQueue {
 public:
  /// Null if the driver has no timeline semaphore for it.
  static std::unique_ptr<HostQueue> Create(proto::ObjectId id, VkQueue handle, HostDevice& device);
  ~HostQueue();
  HostQueue(const HostQueue&) = delete;
  HostQueue& operator=(const HostQueue&) = delete;

  VkQueue handle() const { return handle_; }
  /// True when everything that was submitted is known to be done. Any thread.
  bool IsIdle();
  /// Lets the driver give up what the work that is done has used: some do so only after they have
  /// signalled its end, and a program that has waited for the queue may destroy it all. Never waits
  /// for work: does nothing while there is some.
  VkResult LetGo();

  // Null command buffers and semaphores (dead or poisoned ones) are left out. A driver's failure
  // ends the device.
  void Submit(const VkSubmitInfo* submits, uint32_t count);
  void Submit2(const VkSubmitInfo2* submits, uint32_t count);
  void BindSparse(const VkBindSparseInfo* binds, uint32_t count);

 private:
  HostQueue(proto::ObjectId id, VkQueue handle, HostDevice& device, VkSemaphore timeline);

  /// Around the driver's submission of so many batches.
  void Begin(uint64_t batches);
  void Finish(VkResult result, uint64_t batches);
  void Watch();

  const proto::ObjectId id_;
  const VkQueue handle_;
  HostDevice& device_;
  const VkSemaphore timeline_;
  uint64_t next_ = 1;  // number of the next batch; the session's thread only

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t begun_ = 0;      // the last batch that the driver may know
  uint64_t submitted_ = 0;  // the last batch that the driver has taken
  uint64_t done_ = 0;
  bool stopping_ = false;
  std::thread watcher_;  // keep last
};

}  // namespace vesper::server
