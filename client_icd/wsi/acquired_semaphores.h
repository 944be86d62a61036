// SPDX-License-Identifier: Apache-2.0
//
// Semaphores that acquiring an image signals. vkAcquireNextImageKHR returns when the image is free:
// what was copied from it is copied, and the guest knows. So there is nothing left that a wait for
// such a semaphore could wait for, and the host is not told of it: the guest remembers that the
// semaphore is signalled, and leaves the wait out of the submission that has it. That takes nothing
// of the host's driver, holds up no queue, and a submission comes after what the guest knew when it
// was posted, in any case.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <deque>
#include <vector>

namespace vesper::client {

class Device;
struct Semaphore;

/// Vulkan has the program synchronise a semaphore that it acquires with, waits for or destroys.
void SignalByAcquiring(Device& device, VkSemaphore semaphore);

/// Batches for the host, without the waits that are over. The semaphores are no longer signalled,
/// unless the batches turn out not to be submitted.
template <typename Batch>
class HostBatches {
 public:
  HostBatches(Device& device, const Batch* batches, uint32_t count);
  HostBatches(const HostBatches&) = delete;
  HostBatches& operator=(const HostBatches&) = delete;

  const Batch* data() const { return batches_; }
  /// They were not submitted.
  void TakeBack();

 private:
  Device& device_;
  const Batch* batches_;
  std::vector<Batch> changed_;
  /// VkSemaphore, or VkSemaphoreSubmitInfo: with null for those that are over, since other arrays
  /// say something about each.
  std::deque<std::vector<VkSemaphore>> semaphores_;
  std::deque<std::vector<VkSemaphoreSubmitInfo>> infos_;
  std::vector<Semaphore*> taken_;
};

}  // namespace vesper::client
