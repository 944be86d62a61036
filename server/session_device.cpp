// SPDX-License-Identifier: Apache-2.0
//
// The session's hand-written commands: devices, queues, queries, pools. Whatever becomes an index
// or a size in the driver is checked here, for drivers trust their callers.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "proto/walk.h"
#include "server/chain.h"
#include "server/queue.h"
#include "server/session.h"

namespace vesper::server {
namespace {

/// More queries than any pool that a driver makes.
constexpr uint32_t kMaxQueries = 1u << 24;
/// Threads that ask for query results; a guest's thread waits for each. More would be an attack.
constexpr size_t kMaxLateAnswers = 64;

/// View masks have 32 bits.
constexpr uint32_t kMaxViews = 32;

bool HasMultiview(const VkDeviceCreateInfo& info) {
  const auto* core = FindInChain<VkPhysicalDeviceVulkan11Features>(
      info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
  const auto* own = FindInChain<VkPhysicalDeviceMultiviewFeatures>(
      info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MULTIVIEW_FEATURES);
  return (core != nullptr && core->multiview == VK_TRUE) ||
         (own != nullptr && own->multiview == VK_TRUE);
}

/// True if the results fit where the arguments say; what the driver writes depends on it.
bool IsSensible(const proto::Args_vkGetQueryPoolResults& args) {
  uint64_t extent = 0;
  return args.queryCount != 0 && args.queryCount <= kMaxQueries &&
         !__builtin_mul_overflow(uint64_t{args.queryCount} - 1, args.stride, &extent) &&
         extent <= args.dataSize && args.pData != nullptr;
}

/// The driver gets room for the last query's result whatever kind of pool it is.
uint64_t RoomForResults(HostDevice& device, const proto::Args_vkGetQueryPoolResults& args) {
  return args.dataSize + device.resources().MaxQueryBytes(args.queryPool);
}

/// `data` holds `room` bytes (RoomForResults). The guest is told what it may ask for next.
void AskForResults(HostDevice& device, proto::Args_vkGetQueryPoolResults& args, void* data,
                   uint64_t room) {
  args.ret = device.table().vkGetQueryPoolResults(
      args.device, args.queryPool, args.firstQuery, args.queryCount, room, data, args.stride,
      args.flags & ~static_cast<VkQueryResultFlags>(VK_QUERY_RESULT_WAIT_BIT));
  // What the guest was told before must not be older than the answer.
  device.LookAtQueries(args.queryPool, args.firstQuery, args.queryCount);
}

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
  // A queue of the worker's own, if there is memory that the GPU is to read, and a queue to spare.
  bool wants_reader = false;
  for (uint32_t type = 0; type < physical->memory.memoryTypeCount; ++type) {
    wants_reader = wants_reader || IsReadByGpu(*physical, type);
  }
  SpareQueue spare{};
  std::optional<QueuesAndOneMore> queues;
  if (wants_reader && FindSpareQueue(info, physical->queue_counts, physical->queue_flags, &spare)) {
    queues.emplace(create_info, spare);
  }
  std::vector<const char*> extensions(info.ppEnabledExtensionNames,
                                      info.ppEnabledExtensionNames + info.enabledExtensionCount);
  const bool shares_memory = SharesMemory(*physical, info);
  if (shares_memory) {
    extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    create_info.ppEnabledExtensionNames = extensions.data();
    create_info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  }
  args.ret =
      instance_->table().vkCreateDevice(args.physicalDevice, &create_info, nullptr, args.pDevice);
  if (args.ret == VK_SUCCESS) {
    devices_[*args.pDevice] = std::make_unique<HostDevice>(
        stream_.decoder.new_ids().front(), *args.pDevice, *physical,
        instance_->get_device_proc_addr(), outbox_, any_device_lost_, hello_.compare_all_memory);
    devices_[*args.pDevice]->NoteQueues(info);
    devices_[*args.pDevice]->SetSpinning(spinning_);
    if (HasMultiview(info)) {
      devices_[*args.pDevice]->recorded_writes().SetViews(kMaxViews);
    }
    if (queues) {
      devices_[*args.pDevice]->SetSpareQueue(spare);
    }
    if (shares_memory) {
      ShareMemory(*devices_[*args.pDevice]);
    }
    // Ahead of the reply, so that the guest's first allocation can be posted.
    for (uint32_t heap = 0; heap < physical->memory.memoryHeapCount; ++heap) {
      RenewLease(*devices_[*args.pDevice], heap);
    }
  }
  return args.ret;
}

void Session::DestroyDevice(HostDevice& device) {
  const VkDevice handle = device.handle();
  late_answers_.clear();  // Waits for each.
  objects_.RemoveAllOf(&device);
  devices_.erase(handle);
}

bool Session::HasRoomForGroupHandles(HostDevice& device,
                                     const proto::Args_vkGetRayTracingShaderGroupHandlesKHR& args) {
  const uint64_t handle_bytes = device.physical().group_handle_bytes;
  return handle_bytes != 0 && args.dataSize >= args.groupCount * handle_bytes;
}

bool Session::GetQueue(HostDevice& device, const proto::Args_vesperGetQueue& args) {
  if (proto::ObjectTypeByte(args.queue) != static_cast<uint8_t>(proto::HandleType::kQueue) ||
      !device.HasQueue(args.queueFamilyIndex, args.queueIndex, args.flags)) {
    return false;
  }
  HostQueue* queue =
      device.AddQueue(args.queue, args.queueFamilyIndex, args.queueIndex, args.flags);
  if (queue == nullptr) {
    device.ReportLost(VK_ERROR_INITIALIZATION_FAILED);
    return true;
  }
  return objects_.Add(args.queue, reinterpret_cast<uint64_t>(queue->handle()), &device);
}

bool Session::GetQueryPoolResults(HostDevice& device, proto::Args_vkGetQueryPoolResults& args) {
  if (!IsSensible(args)) {
    return false;
  }
  const uint64_t room = RoomForResults(device, args);
  auto* scratch = static_cast<std::byte*>(stream_.arena.Allocate(room));
  if (scratch == nullptr) {
    return false;
  }
  std::memcpy(scratch, args.pData, args.dataSize);
  AskForResults(device, args, scratch, room);
  std::memcpy(args.pData, scratch, args.dataSize);
  return true;
}

bool Session::AnswerQueriesLater(const proto::Command& command,
                                 const proto::Args_vkGetQueryPoolResults& args) {
  HostDevice* device = stream_.resolver.device();
  if (device == nullptr || !device->physical().WaitsInQueryResults() || !IsSensible(args)) {
    return false;
  }
  // Such a driver waits for what it has been given, and no more: a query that is just being begun
  // it takes for available. So what is still to be given comes first.
  for (const auto& queue : device->queues()) {
    tasks_.Wait(queue->id(), /*exclusive=*/true);
  }
  if (device->IsIdle()) {
    return false;
  }
  std::erase_if(late_answers_, [](const std::future<void>& answer) {
    return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  if (late_answers_.size() >= kMaxLateAnswers) {
    return false;
  }
  std::vector<std::byte> data(RoomForResults(*device, args));
  std::memcpy(data.data(), args.pData, args.dataSize);
  late_answers_.push_back(
      std::async(std::launch::async, [this, device, answer = args, data = std::move(data),
                                      number = command.number, serial = command.serial]() mutable {
        AskForResults(*device, answer, data.data(), data.size());
        device->PushUnfinished();  // what the device wrote comes before what says that it has
        answer.pData = data.data();
        outbox_.Reply(number, serial, &answer);
      }));
  return true;
}

void Session::NoteChildren(uint64_t pool, const std::vector<proto::ObjectId>& ids,
                           VkResult result) {
  if (result == VK_SUCCESS) {
    const std::lock_guard lock(children_mutex_);
    std::vector<proto::ObjectId>& children = pool_children_[pool];
    children.insert(children.end(), ids.begin(), ids.end());
  }
}

std::vector<proto::ObjectId> Session::ChildrenOf(uint64_t pool) {
  const std::lock_guard lock(children_mutex_);
  const auto found = pool_children_.find(pool);
  return found == pool_children_.end() ? std::vector<proto::ObjectId>() : found->second;
}

void Session::ForgetChildren(uint64_t pool) {
  for (const proto::ObjectId id : ChildrenOf(pool)) {
    if (HostDevice* device = objects_.DeviceOf(id)) {
      const uint64_t handle = objects_.Handle(id);
      const auto type = static_cast<proto::HandleType>(proto::ObjectTypeByte(id));
      if (type == proto::HandleType::kCommandBuffer) {
        device->recorded_writes().Forget(reinterpret_cast<VkCommandBuffer>(handle));
      } else if (type == proto::HandleType::kDescriptorSet) {
        device->descriptors().Remove(reinterpret_cast<VkDescriptorSet>(handle));
      }
    }
    objects_.Remove(id);
  }
  const std::lock_guard lock(children_mutex_);
  pool_children_.erase(pool);
}

}  // namespace vesper::server
