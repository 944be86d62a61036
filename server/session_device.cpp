// SPDX-License-Identifier: Apache-2.0
//
// The session's hand-written commands: devices, queues, queries, pools. Whatever becomes an index
// or a size in the driver is checked here, for drivers trust their callers.
#include <algorithm>

#include "proto/walk.h"
#include "server/queue.h"
#include "server/session.h"

namespace vesper::server {
namespace {

template <typename T>
T* FindInChain(const void* next, VkStructureType type) {
  for (auto* element = static_cast<const VkBaseInStructure*>(next); element != nullptr;
       element = element->pNext) {
    if (element->sType == type) {
      // Decoded structs are the worker's own memory.
      return const_cast<T*>(reinterpret_cast<const T*>(element));
    }
  }
  return nullptr;
}

/// More queries than any pool that a driver makes.
constexpr uint32_t kMaxQueries = 1u << 24;
/// The most that one query's result takes: 16 counters, availability, 8 bytes each, rounded up.
constexpr uint64_t kMaxQueryBytes = 256;

}  // namespace

VkResult Session::CreateDevice(proto::Args_vkCreateDevice& args) {
  const HostInstance::PhysicalDevice* physical = instance_->Find(args.physicalDevice);
  const VkDeviceCreateInfo& info = *args.pCreateInfo;
  args.ret = VK_ERROR_INITIALIZATION_FAILED;
  if (physical == nullptr) {
    return args.ret;
  }
  for (uint32_t i = 0; i < info.enabledExtensionCount; ++i) {
    const int index = proto::ExtensionIndex(info.ppEnabledExtensionNames[i]);
    if (index < 0 || !physical->extensions[static_cast<size_t>(index)]) {
      return args.ret = VK_ERROR_EXTENSION_NOT_PRESENT;
    }
  }
  for (uint32_t i = 0; i < info.queueCreateInfoCount; ++i) {
    const VkDeviceQueueCreateInfo& queues = info.pQueueCreateInfos[i];
    if (queues.queueFamilyIndex >= physical->queue_family_count ||
        queues.queueCount > physical->queue_counts[queues.queueFamilyIndex]) {
      return args.ret;
    }
  }
  // Progress is told by timeline semaphores, whether or not the program uses them.
  VkDeviceCreateInfo create_info = info;
  VkPhysicalDeviceTimelineSemaphoreFeatures timeline{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES, const_cast<void*>(info.pNext),
      VK_TRUE};
  if (auto* core = FindInChain<VkPhysicalDeviceVulkan12Features>(
          info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES)) {
    core->timelineSemaphore = VK_TRUE;
  } else if (auto* own = FindInChain<VkPhysicalDeviceTimelineSemaphoreFeatures>(
                 info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES)) {
    own->timelineSemaphore = VK_TRUE;
  } else {
    create_info.pNext = &timeline;
  }
  args.ret =
      instance_->table().vkCreateDevice(args.physicalDevice, &create_info, nullptr, args.pDevice);
  if (args.ret == VK_SUCCESS) {
    devices_[*args.pDevice] =
        std::make_unique<HostDevice>(decoder_.new_ids().front(), *args.pDevice, *physical,
                                     instance_->get_device_proc_addr(), outbox_);
  }
  return args.ret;
}

void Session::DestroyDevice(HostDevice& device) {
  const VkDevice handle = device.handle();
  objects_.RemoveAllOf(&device);
  devices_.erase(handle);
}

bool Session::GetQueue(HostDevice& device, const proto::Args_vesperGetQueue& args) {
  HostQueue* queue =
      device.AddQueue(args.queue, args.queueFamilyIndex, args.queueIndex, args.flags);
  if (queue == nullptr) {
    device.ReportLost(VK_ERROR_INITIALIZATION_FAILED);
    return true;
  }
  return objects_.Add(args.queue, reinterpret_cast<uint64_t>(queue->handle()), &device);
}

bool Session::GetQueryPoolResults(HostDevice& device, proto::Args_vkGetQueryPoolResults& args) {
  uint64_t extent = 0;
  if (args.queryCount == 0 || args.queryCount > kMaxQueries ||
      __builtin_mul_overflow(uint64_t{args.queryCount} - 1, args.stride, &extent) ||
      extent > args.dataSize || args.pData == nullptr) {
    return false;
  }
  // The driver gets room for the last query's result whatever kind of pool it is.
  auto* scratch = static_cast<std::byte*>(arena_.Allocate(args.dataSize + kMaxQueryBytes));
  if (scratch == nullptr) {
    return false;
  }
  std::memcpy(scratch, args.pData, args.dataSize);
  args.ret = device.table().vkGetQueryPoolResults(
      args.device, args.queryPool, args.firstQuery, args.queryCount, args.dataSize + kMaxQueryBytes,
      scratch, args.stride,
      args.flags & ~static_cast<VkQueryResultFlags>(VK_QUERY_RESULT_WAIT_BIT));
  std::memcpy(args.pData, scratch, args.dataSize);
  return true;
}

void Session::NoteChildren(uint64_t pool, VkResult result) {
  if (result == VK_SUCCESS) {
    std::vector<proto::ObjectId>& children = pool_children_[pool];
    children.insert(children.end(), decoder_.new_ids().begin(), decoder_.new_ids().end());
  }
}

void Session::ForgetChildren(uint64_t pool) {
  const auto found = pool_children_.find(pool);
  if (found != pool_children_.end()) {
    for (const proto::ObjectId id : found->second) {
      objects_.Remove(id);
    }
    pool_children_.erase(found);
  }
}

}  // namespace vesper::server
