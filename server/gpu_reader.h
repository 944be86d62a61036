// SPDX-License-Identifier: Apache-2.0
//
// Reads memory that is slow to read for the CPU. Host-visible memory that is not cached, a GPU's
// own memory above all, is read by the CPU a thousand times slower than by the GPU. So the GPU
// copies what is to be compared to cached memory of the worker's own.
//
// The copies run on a queue of the worker's own, which it asks for beside the guest's when the
// device is created. The guest's queues would not do: what they were given may wait for something
// that the guest has still to say, and nobody listens to the guest while memory is compared. Before
// each copy the queue waits for the timelines of what is known to be done, which doesn't take time
// and makes those writes visible to it.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "server/byte_ranges.h"
#include "server/host_tables_gen.h"

namespace vesper::server {

/// A timeline semaphore and a value that it is known to have reached.
using Reached = std::pair<VkSemaphore, uint64_t>;

/// Thread-safe.
class GpuReader {
 public:
  struct Config {
    VkDevice device;
    const VkPhysicalDeviceMemoryProperties* memory;
    uint32_t family;
    uint32_t index;  ///< of a queue that nobody else uses
    /// What is done on other queues.
    std::function<std::vector<Reached>()> reached;
    /// The device doesn't copy any more.
    std::function<void()> on_lost;
  };
  GpuReader(const DeviceTable& vk, Config config) : vk_(vk), config_(std::move(config)) {}
  ~GpuReader();
  GpuReader(const GpuReader&) = delete;
  GpuReader& operator=(const GpuReader&) = delete;

  /// A buffer over all of an allocation but the last few bytes, for Read(): its size in `size`.
  /// Null if there can be none: buffers may not lie in every type of memory.
  VkBuffer MakeSource(VkDeviceMemory memory, uint32_t memory_type, uint64_t allocated,
                      uint64_t* size);
  /// Calls `consume` with the content of each range of the source, in order and in pieces; the
  /// bytes are good until it returns. False if there is nothing to copy to: then the CPU must read.
  bool Read(VkBuffer source, std::span<const ByteRange> ranges,
            const std::function<void(ByteRange piece, const std::byte* bytes)>& consume);

  /// Work that was submitted before may be about to go on and to read what the host wrote since: a
  /// semaphore or an event that the host signals releases it. What Read() has brought into the
  /// device's caches would then be old; a submission makes the host's writes visible to the device
  /// as a whole. Does nothing unless something was read since the last time.
  void Refresh();

 private:
  bool Prepare();
  VkResult Copy(VkBuffer source, const std::vector<VkBufferCopy>& regions);
  VkResult BeginCommands();
  /// Submits the commands and waits until they are done.
  VkResult RunCommands();

  const DeviceTable& vk_;
  const Config config_;
  std::mutex mutex_;
  bool cannot_read_ = false;
  bool is_lost_ = false;
  bool has_read_ = false;  // since the last Refresh
  VkQueue queue_ = VK_NULL_HANDLE;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
  VkSemaphore timeline_ = VK_NULL_HANDLE;
  uint64_t copies_ = 0;
  VkBuffer staging_ = VK_NULL_HANDLE;
  VkDeviceMemory staging_memory_ = VK_NULL_HANDLE;
  const std::byte* staged_ = nullptr;
  bool staging_is_coherent_ = false;
};

/// The family and index of a queue that a device may have beside those of `info`: one that copies
/// only, if there is such a family, since it gets in nobody's way. `counts` and `flags`: of the
/// families. Nothing if the guest takes them all.
struct SpareQueue {
  uint32_t family;
  uint32_t index;
};
bool FindSpareQueue(const VkDeviceCreateInfo& info, std::span<const uint32_t> counts,
                    std::span<const VkQueueFlags> flags, SpareQueue* spare);

/// The queues of a device, and one more.
class QueuesAndOneMore {
 public:
  /// Changes `info`, which must not outlive this, to ask for the spare queue as well.
  QueuesAndOneMore(VkDeviceCreateInfo& info, const SpareQueue& spare);

 private:
  std::vector<VkDeviceQueueCreateInfo> queues_;
  std::vector<float> priorities_;
};

}  // namespace vesper::server
