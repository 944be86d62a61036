// SPDX-License-Identifier: Apache-2.0
#include "server/device.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "proto/records_gen.h"
#include "server/queue.h"

namespace vesper::server {

HostDevice::HostDevice(proto::ObjectId id, VkDevice handle,
                       const HostInstance::PhysicalDevice& physical, PFN_vkGetDeviceProcAddr get,
                       Outbox& outbox, std::atomic<bool>& any_lost)
    : id_(id), handle_(handle), physical_(physical), outbox_(outbox), any_lost_(any_lost) {
  table_.Load(get, handle);
}

HostDevice::~HostDevice() {
  if (!IsLost()) {
    table_.vkDeviceWaitIdle(handle_);
  }
  queues_.clear();
  table_.vkDestroyDevice(handle_, nullptr);
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
    any_lost_.store(true);
    spdlog::warn("the device '{}' was lost: the driver said VkResult {}",
                 physical_.properties.deviceName, static_cast<int>(result));
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
