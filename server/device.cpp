// SPDX-License-Identifier: Apache-2.0
#include "server/device.h"

#include <algorithm>

#include "proto/records_gen.h"
#include "server/queue.h"

namespace vesper::server {

HostDevice::HostDevice(proto::ObjectId id, VkDevice handle,
                       const HostInstance::PhysicalDevice& physical, PFN_vkGetDeviceProcAddr get,
                       Outbox& outbox)
    : id_(id), handle_(handle), physical_(physical), outbox_(outbox) {
  table_.Load(get, handle);
}

HostDevice::~HostDevice() {
  if (!IsLost()) {
    table_.vkDeviceWaitIdle(handle_);
  }
  queues_.clear();
  table_.vkDestroyDevice(handle_, nullptr);
}

HostQueue* HostDevice::AddQueue(proto::ObjectId id, uint32_t family, uint32_t index,
                                VkDeviceQueueCreateFlags flags) {
  // A family or index out of range would reach past the driver's own tables.
  if (family >= physical_.queue_family_count || index >= physical_.queue_counts[family]) {
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
  queues_.push_back(std::move(made));
  return queues_.back().get();
}

HostQueue* HostDevice::FindQueue(VkQueue handle) {
  for (const auto& queue : queues_) {
    if (queue->handle() == handle) {
      return queue.get();
    }
  }
  return nullptr;
}

bool HostDevice::IsIdle() {
  return std::all_of(queues_.begin(), queues_.end(),
                     [](const auto& queue) { return queue->IsIdle(); });
}

void HostDevice::ReportLost(VkResult result) {
  if (!lost_.exchange(true)) {
    const proto::Args_vesperDeviceLost args{id_, result};
    outbox_.Push(proto::command_number::vesperDeviceLost, &args);
  }
}

void HostDevice::PushMemory() {
  for (const auto& memory : memories_.All()) {
    memory->PushChanges(table_, handle_, outbox_);
  }
}

}  // namespace vesper::server
