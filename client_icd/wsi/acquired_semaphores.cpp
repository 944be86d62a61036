// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/acquired_semaphores.h"

#include "client_icd/device.h"
#include "client_icd/semaphore.h"

namespace vesper::client {
namespace {

Semaphore* Find(Device& device, VkSemaphore semaphore) {
  return static_cast<Semaphore*>(device.session().store().State(ToId(semaphore)));
}

VkSemaphore& HandleOf(VkSemaphore& semaphore) { return semaphore; }
VkSemaphore& HandleOf(VkSemaphoreSubmitInfo& info) { return info.semaphore; }

template <typename Batch>
std::vector<VkSemaphore> WaitsOf(const Batch& batch) {
  return {batch.pWaitSemaphores, batch.pWaitSemaphores + batch.waitSemaphoreCount};
}
std::vector<VkSemaphoreSubmitInfo> WaitsOf(const VkSubmitInfo2& batch) {
  return {batch.pWaitSemaphoreInfos, batch.pWaitSemaphoreInfos + batch.waitSemaphoreInfoCount};
}

template <typename Batch>
void Replace(Batch& batch, const std::vector<VkSemaphore>& waits) {
  batch.pWaitSemaphores = waits.data();
}
void Replace(VkSubmitInfo2& batch, const std::vector<VkSemaphoreSubmitInfo>& waits) {
  batch.pWaitSemaphoreInfos = waits.data();
}

}  // namespace

void SignalByAcquiring(Device& device, VkSemaphore semaphore) {
  if (Semaphore* object = Find(device, semaphore)) {
    object->is_acquired = true;
    ++device.acquired_semaphores();
  }
}

template <typename Batch>
HostBatches<Batch>::HostBatches(Device& device, const Batch* batches, uint32_t count)
    : device_(device), batches_(batches) {
  if (device.acquired_semaphores().load() == 0) {
    return;  // as ever in a program without windows
  }
  changed_.assign(batches, batches + count);
  for (Batch& batch : changed_) {
    auto waits = WaitsOf(batch);
    for (auto& wait : waits) {
      Semaphore* semaphore = Find(device, HandleOf(wait));
      if (semaphore != nullptr && semaphore->is_acquired) {
        semaphore->is_acquired = false;
        --device.acquired_semaphores();
        taken_.push_back(semaphore);
        HandleOf(wait) = VK_NULL_HANDLE;
      }
    }
    if constexpr (std::is_same_v<Batch, VkSubmitInfo2>) {
      infos_.push_back(std::move(waits));
      Replace(batch, infos_.back());
    } else {
      semaphores_.push_back(std::move(waits));
      Replace(batch, semaphores_.back());
    }
  }
  batches_ = changed_.data();
}

template <typename Batch>
void HostBatches<Batch>::TakeBack() {
  for (Semaphore* semaphore : taken_) {
    semaphore->is_acquired = true;
    ++device_.acquired_semaphores();
  }
}

template class HostBatches<VkSubmitInfo>;
template class HostBatches<VkSubmitInfo2>;
template class HostBatches<VkBindSparseInfo>;

}  // namespace vesper::client
