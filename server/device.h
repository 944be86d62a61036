// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proto/object_id.h"
#include "server/device_memory.h"
#include "server/host_tables_gen.h"
#include "server/host_vulkan.h"
#include "server/outbox.h"

namespace vesper::server {

class HostQueue;

/// What the worker remembers of an image, for host copies.
struct ImageInfo {
  VkFormat format = VK_FORMAT_UNDEFINED;
  uint32_t layers = 0;
};

/// A VkDevice of the guest on the real driver.
class HostDevice {
 public:
  HostDevice(proto::ObjectId id, VkDevice handle, const HostInstance::PhysicalDevice& physical,
             PFN_vkGetDeviceProcAddr get, Outbox& outbox, std::atomic<bool>& any_lost);
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

  /// Remembers what queues the device was created with.
  void NoteQueues(const VkDeviceCreateInfo& info);
  /// True if the device was created with this queue.
  bool HasQueue(uint32_t family, uint32_t index, VkDeviceQueueCreateFlags flags) const;
  /// Makes a queue of HasQueue() known; null if the driver doesn't give it, or is asked again.
  HostQueue* AddQueue(proto::ObjectId id, uint32_t family, uint32_t index,
                      VkDeviceQueueCreateFlags flags);
  HostQueue* FindQueue(VkQueue handle);
  /// True when no queue has work that is not known to be done.
  bool IsIdle();

  /// Tells the guest and the log that the device is gone, once; `any_lost` becomes true.
  void ReportLost(VkResult result);
  bool IsLost() const { return lost_.load(); }
  /// Pushes what the device wrote to memory that the guest has mapped.
  void PushMemory();
  /// How often work was given to the device or done for it on the host: whether memory that was
  /// allocated at some point can have been written since.
  uint64_t submissions() const { return submissions_; }
  void CountSubmission() { ++submissions_; }

  // Only the session's thread uses these.
  std::unordered_map<VkBuffer, VkBufferUsageFlags2>& buffer_usage() { return buffer_usage_; }
  std::unordered_map<VkImage, ImageInfo>& images() { return images_; }
  /// Bytes of one result, of pools of performance queries.
  std::unordered_map<VkQueryPool, uint64_t>& query_bytes() { return query_bytes_; }

 private:
  struct CreatedQueues {
    uint32_t family;
    uint32_t count;
    VkDeviceQueueCreateFlags flags;
  };

  const proto::ObjectId id_;
  const VkDevice handle_;
  const HostInstance::PhysicalDevice& physical_;
  Outbox& outbox_;
  DeviceTable table_;
  HostMemories memories_;
  std::atomic<bool>& any_lost_;
  std::atomic<bool> lost_{false};
  uint64_t submissions_ = 0;
  std::unordered_map<VkBuffer, VkBufferUsageFlags2> buffer_usage_;
  std::unordered_map<VkImage, ImageInfo> images_;
  std::unordered_map<VkQueryPool, uint64_t> query_bytes_;
  std::vector<CreatedQueues> created_queues_;
  std::vector<std::unique_ptr<HostQueue>> queues_;  // keep last: their threads use the rest
};

}  // namespace vesper::server
