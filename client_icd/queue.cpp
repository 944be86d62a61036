// SPDX-License-Identifier: Apache-2.0
//
// VkQueue. Submitting is a post. Every batch gets a number (progress.h); the host signals it when
// the batch is done, which is all that fences, timeline semaphores and idle waits in the guest
// need.
#include "client_icd/queue.h"

#include <utility>
#include <vector>

#include "client_icd/command_buffer.h"
#include "client_icd/device.h"
#include "client_icd/device_memory.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/fence.h"
#include "client_icd/generated_support.h"
#include "client_icd/reach.h"
#include "client_icd/semaphore.h"
#include "client_icd/wait.h"
#include "client_icd/wsi/acquired_semaphores.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

constexpr uint32_t kErrors = kHostMemory | kDeviceMemory | kDeviceLost;

struct Signal {
  VkSemaphore semaphore;
  uint64_t value;
};

/// Calls `visit(batch index, signal)` for the semaphores that the batches signal.
template <typename Visit>
void ForEachSignal(const VkSubmitInfo* submits, uint32_t count, const Visit& visit) {
  for (uint32_t i = 0; i < count; ++i) {
    const VkTimelineSemaphoreSubmitInfo* values = nullptr;
    for (auto* next = static_cast<const VkBaseInStructure*>(submits[i].pNext); next != nullptr;
         next = next->pNext) {
      if (next->sType == VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO) {
        values = reinterpret_cast<const VkTimelineSemaphoreSubmitInfo*>(next);
      }
    }
    for (uint32_t s = 0; values != nullptr && s < submits[i].signalSemaphoreCount &&
                         s < values->signalSemaphoreValueCount;
         ++s) {
      visit(i, Signal{submits[i].pSignalSemaphores[s], values->pSignalSemaphoreValues[s]});
    }
  }
}

template <typename Visit>
void ForEachSignal(const VkSubmitInfo2* submits, uint32_t count, const Visit& visit) {
  for (uint32_t i = 0; i < count; ++i) {
    for (uint32_t s = 0; s < submits[i].signalSemaphoreInfoCount; ++s) {
      const VkSemaphoreSubmitInfo& info = submits[i].pSignalSemaphoreInfos[s];
      visit(i, Signal{info.semaphore, info.value});
    }
  }
}

template <typename Visit>
void ForEachSignal(const VkBindSparseInfo* binds, uint32_t count, const Visit& visit) {
  for (uint32_t i = 0; i < count; ++i) {
    for (auto* next = static_cast<const VkBaseInStructure*>(binds[i].pNext); next != nullptr;
         next = next->pNext) {
      if (next->sType != VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO) {
        continue;
      }
      const auto* values = reinterpret_cast<const VkTimelineSemaphoreSubmitInfo*>(next);
      for (uint32_t s = 0;
           s < binds[i].signalSemaphoreCount && s < values->signalSemaphoreValueCount; ++s) {
        visit(i, Signal{binds[i].pSignalSemaphores[s], values->pSignalSemaphoreValues[s]});
      }
    }
  }
}

/// How a command buffer reaches memory; the allocations that it names are appended.
uint32_t ReachOfRecording(const CommandBuffer& buffer, std::vector<proto::ObjectId>& memories) {
  const uint32_t reach = buffer.reach();
  // Without work of that kind, what is bound doesn't count.
  return (reach & kReachShaders) != 0 && (reach & kReachNamed) == 0 &&
                 !buffer.named().AppendTo(memories)
             ? reach | kReachNamed
             : reach;
}

uint32_t ReachOfBatch(const VkSubmitInfo& batch, std::vector<proto::ObjectId>& memories) {
  uint32_t reach = kReachNothing;
  for (uint32_t i = 0; i < batch.commandBufferCount; ++i) {
    reach |= ReachOfRecording(CommandBuffer::From(batch.pCommandBuffers[i]), memories);
  }
  return reach;
}

uint32_t ReachOfBatch(const VkSubmitInfo2& batch, std::vector<proto::ObjectId>& memories) {
  uint32_t reach = kReachNothing;
  for (uint32_t i = 0; i < batch.commandBufferInfoCount; ++i) {
    reach |=
        ReachOfRecording(CommandBuffer::From(batch.pCommandBufferInfos[i].commandBuffer), memories);
  }
  return reach;
}

bool Waits(const VkSubmitInfo& batch) { return batch.waitSemaphoreCount != 0; }
bool Waits(const VkSubmitInfo2& batch) { return batch.waitSemaphoreInfoCount != 0; }
bool Signals(const VkSubmitInfo& batch) { return batch.signalSemaphoreCount != 0; }
bool Signals(const VkSubmitInfo2& batch) { return batch.signalSemaphoreInfoCount != 0; }

/// A batch that signals a semaphore also releases memory to whatever waits for it, which may have
/// been submitted before: batches that wait themselves, and all that may be queued behind one. What
/// those name is not remembered.
template <typename Batch>
Reached ReachOfBatches(Device& device, const Batch* batches, uint32_t count) {
  Reached reached(kReachNothing);
  uint32_t waiting = device.waiting_reach().load();
  bool signals = false;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t own = ReachOfBatch(batches[i], reached.memories);
    reached.ways |= own;
    if (Waits(batches[i]) || (waiting & kHasWaited) != 0) {
      waiting |= own | kHasWaited | ((own & kReachShaders) != 0 ? kReachNamed : kReachNothing);
    }
    signals |= Signals(batches[i]);
  }
  const uint32_t all_waiting = device.waiting_reach().fetch_or(waiting) | waiting;
  if (signals) {
    reached.ways |= all_waiting & kReachEverything;
  }
  std::ranges::sort(reached.memories);
  return reached;
}

/// Everything that the three kinds of submission have in common. `args` must not name the fence,
/// which the host does not know.
template <typename Batch>
VkResult Submit(Queue& queue, uint16_t number, const void* args, HostBatches<Batch>& batches,
                uint32_t count, VkFence fence) {
  Device& device = queue.device();
  Session& session = queue.session();
  if (device.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  if (const VkResult pending = device.TakePendingError(kErrors)) {
    batches.TakeBack();
    return pending;
  }
  // What the program points to is read without the lock: it may have to be fetched (downloads.h).
  std::vector<PendingSignal> signals;
  ForEachSignal(batches.data(), count, [&](uint32_t batch, const Signal& signal) {
    signals.push_back({batch, ToId(signal.semaphore), signal.value});
  });
  {
    const std::lock_guard lock(session.progress_mutex());
    session.LookAtProgress();  // what is done is forgotten
    QueueProgress& progress = *queue.progress();
    const uint64_t first = progress.submitted + 1;
    for (const PendingSignal& signal : signals) {
      const auto* semaphore =
          static_cast<const Semaphore*>(session.store().State(signal.semaphore));
      if (semaphore != nullptr && semaphore->is_timeline) {
        progress.signals.push_back({first + signal.batch, signal.semaphore, signal.value});
      }
    }
    // A submission without batches still counts: its fence waits for what came before.
    progress.submitted += count == 0 ? 1 : count;
    AttachFence(session, fence, queue.progress(), progress.submitted);
  }
  session.Post(number, args);
  session.FlushSoon();
  return device.IsLost() ? VK_ERROR_DEVICE_LOST : VK_SUCCESS;
}

}  // namespace

Session& Queue::session() { return device_.session(); }
bool Queue::IsLost() { return device_.IsLost(); }
VkResult Queue::TakePendingError(uint32_t reportable) {
  return device_.TakePendingError(reportable);
}
void Queue::ReleaseMemory(const Reached& reached) { device_.ReleaseMemory(reached); }

VkResult Queue::SubmitForPresenting(const VkSubmitInfo& batch, uint64_t* number) {
  ReleaseMemory(Reached(kReachNothing));
  const auto queue = reinterpret_cast<VkQueue>(this);
  const VkResult result = entry::written::vkQueueSubmit(queue, 1, &batch, VK_NULL_HANDLE);
  if (result == VK_SUCCESS) {
    // Vulkan has the program synchronise the queue: nobody has submitted anything since.
    const std::lock_guard lock(session().progress_mutex());
    *number = progress_->submitted;
  }
  return result;
}

void Queue::LetGo() {
  {
    const std::lock_guard lock(session().progress_mutex());
    if (std::exchange(let_go_, progress_->submitted) == progress_->submitted) {
      return;
    }
  }
  const proto::Args_vkQueueWaitIdle args{reinterpret_cast<VkQueue>(this)};
  session().Post(proto::command_number::vkQueueWaitIdle, &args);
}

Reached ReachOf(VkQueue queue, uint32_t count, const VkSubmitInfo* submits, VkFence) {
  return ReachOfBatches(Queue::From(queue).device(), submits, count);
}

Reached ReachOf(VkQueue queue, uint32_t count, const VkSubmitInfo2* submits, VkFence) {
  return ReachOfBatches(Queue::From(queue).device(), submits, count);
}

namespace entry {
namespace written {

VKAPI_ATTR VkResult VKAPI_CALL vkQueueSubmit(VkQueue queue, uint32_t submitCount,
                                             const VkSubmitInfo* pSubmits, VkFence fence) {
  HostBatches submits(Queue::From(queue).device(), pSubmits, submitCount);
  const proto::Args_vkQueueSubmit args{queue, submitCount, submits.data(), VK_NULL_HANDLE};
  return Submit(Queue::From(queue), proto::command_number::vkQueueSubmit, &args, submits,
                submitCount, fence);
}

VKAPI_ATTR VkResult VKAPI_CALL vkQueueSubmit2(VkQueue queue, uint32_t submitCount,
                                              const VkSubmitInfo2* pSubmits, VkFence fence) {
  HostBatches submits(Queue::From(queue).device(), pSubmits, submitCount);
  const proto::Args_vkQueueSubmit2 args{queue, submitCount, submits.data(), VK_NULL_HANDLE};
  return Submit(Queue::From(queue), proto::command_number::vkQueueSubmit2, &args, submits,
                submitCount, fence);
}

VKAPI_ATTR VkResult VKAPI_CALL vkQueueBindSparse(VkQueue queue, uint32_t bindInfoCount,
                                                 const VkBindSparseInfo* pBindInfo, VkFence fence) {
  NoteSparseBinds(Queue::From(queue).device(), bindInfoCount, pBindInfo);
  HostBatches binds(Queue::From(queue).device(), pBindInfo, bindInfoCount);
  const proto::Args_vkQueueBindSparse args{queue, bindInfoCount, binds.data(), VK_NULL_HANDLE};
  return Submit(Queue::From(queue), proto::command_number::vkQueueBindSparse, &args, binds,
                bindInfoCount, fence);
}

}  // namespace written

VKAPI_ATTR VkResult VKAPI_CALL vkQueueWaitIdle(VkQueue queue) {
  Queue& object = Queue::From(queue);
  QueueProgress& progress = *object.progress();
  const VkResult result = WaitOnDevice(
      object.device(), UINT64_MAX, [&] { return progress.reached.load() >= progress.submitted; });
  if (result == VK_SUCCESS) {
    object.LetGo();
  }
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL vkDeviceWaitIdle(VkDevice device) {
  Device& object = Device::From(device);
  const VkResult result = WaitOnDevice(object, UINT64_MAX, [&] {
    for (const auto& queue : object.queues()) {
      const QueueProgress& progress = *queue->progress();
      if (progress.reached.load() < progress.submitted) {
        return false;
      }
    }
    return true;
  });
  if (result == VK_SUCCESS) {
    for (const auto& queue : object.queues()) {
      queue->LetGo();
    }
  }
  return result;
}

}  // namespace entry
}  // namespace vesper::client
