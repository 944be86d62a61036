// SPDX-License-Identifier: Apache-2.0
//
// VkDevice: created by a call, since a missing feature is an answer that programs act on. Queues
// are made known to the host at once, so vkGetDeviceQueue is a look-up.
#include "client_icd/device.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "client_icd/answers.h"
#include "client_icd/chain.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/instance.h"
#include "client_icd/physical_device.h"
#include "client_icd/proc_table.h"
#include "client_icd/queue.h"
#include "proto/records_gen.h"

namespace vesper::client {

namespace {

/// What the program enables without what the guest implements alone.
std::vector<const char*> HostExtensions(const VkDeviceCreateInfo& create_info) {
  std::vector<const char*> names;
  for (uint32_t i = 0; i < create_info.enabledExtensionCount; ++i) {
    const char* name = create_info.ppEnabledExtensionNames[i];
    if (!proto::Extensions()[static_cast<size_t>(proto::ExtensionIndex(name))].is_guest) {
      names.push_back(name);
    }
  }
  return names;
}

}  // namespace

Device::Device(proto::ObjectId object_id, PhysicalDevice& physical_device,
               std::vector<bool> enabled_extensions,
               const std::optional<proto::Hash128>& answer_scope, const Allocator& allocator)
    : Dispatchable(object_id),
      physical_device_(physical_device),
      session_(physical_device.session()),
      allocator_(allocator),
      enabled_extensions_(std::move(enabled_extensions)),
      answer_scope_(answer_scope),
      state_(session_.AddDevice(id)),
      calibration_(*this) {}

Device::~Device() {
  session_.RemoveDevice(id);
  for (const auto& queue : queues_) {
    session_.RemoveQueue(queue->id);
  }
}

VkResult Device::TakePendingError(uint32_t reportable) {
  std::atomic<uint32_t>& pending = state_->pending_errors;
  if (pending.load(std::memory_order_relaxed) == 0) {
    return VK_SUCCESS;
  }
  for (const VkResult error :
       {VK_ERROR_DEVICE_LOST, VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_OUT_OF_DEVICE_MEMORY}) {
    const VkResult result = Reportable(error, reportable);
    const uint32_t bit = ErrorBit(error);
    if (result != VK_SUCCESS && (pending.fetch_and(~bit) & bit) != 0) {
      return result;
    }
  }
  return VK_SUCCESS;
}

void Device::NoteFeatures(const VkDeviceCreateInfo& create_info) {
  const auto* core = FindInChain<VkPhysicalDeviceVulkan12Features>(
      create_info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
  const auto* own = FindInChain<VkPhysicalDeviceBufferDeviceAddressFeatures>(
      create_info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES);
  const auto* older = FindInChain<VkPhysicalDeviceBufferDeviceAddressFeaturesEXT>(
      create_info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES_EXT);
  gives_buffer_addresses_ = (core != nullptr && core->bufferDeviceAddress == VK_TRUE) ||
                            (own != nullptr && own->bufferDeviceAddress == VK_TRUE) ||
                            (older != nullptr && older->bufferDeviceAddress == VK_TRUE);
}

bool Device::MakeQueues(const VkDeviceCreateInfo& create_info) {
  for (uint32_t i = 0; i < create_info.queueCreateInfoCount; ++i) {
    const VkDeviceQueueCreateInfo& info = create_info.pQueueCreateInfos[i];
    for (uint32_t index = 0; index < info.queueCount; ++index) {
      const proto::ObjectId queue_id = session_.store().Allocate(proto::HandleType::kQueue);
      if (queue_id == 0) {
        return false;
      }
      try {
        queues_.push_back(
            std::make_unique<Queue>(queue_id, *this, info.queueFamilyIndex, index, info.flags));
      } catch (const std::bad_alloc&) {
        session_.store().Free(queue_id);
        return false;
      }
      session_.AddQueue(queue_id, queues_.back()->progress());
      const proto::Args_vesperGetQueue args{handle(), info.flags, info.queueFamilyIndex, index,
                                            queue_id};
      session_.Post(proto::command_number::vesperGetQueue, &args);
    }
  }
  return true;
}

Queue* Device::FindQueue(uint32_t family, uint32_t index, VkDeviceQueueCreateFlags flags) {
  for (const auto& queue : queues_) {
    if (queue->family() == family && queue->index() == index && queue->flags() == flags) {
      return queue.get();
    }
  }
  return nullptr;
}

void Device::ReleaseMemory(const Reached& reached) {
  ++releases_;
  // Taken and given back with the mutex held: who counts its owners relies on that.
  class Reading {
   public:
    explicit Reading(Device& device) : device_(device) {
      const std::lock_guard lock(device_.mapped_mutex_);
      mapped_ = device_.mapped_;
    }
    ~Reading() {
      const std::lock_guard lock(device_.mapped_mutex_);
      mapped_.reset();
    }
    const Mapped* get() const { return mapped_.get(); }

   private:
    Device& device_;
    std::shared_ptr<const Mapped> mapped_;
  };
  const Reading mapped(*this);
  if (mapped.get() != nullptr && !mapped.get()->empty()) {
    session_.shadows().Collect(session_, handle(), *mapped.get(), reached);
  }
}

bool Device::IsIdle() {
  const std::lock_guard lock(session_.progress_mutex());
  session_.LookAtProgress();
  return std::ranges::all_of(queues_, [](const auto& queue) {
    return queue->progress()->reached.load() >= queue->progress()->submitted;
  });
}

Device::Mapped& Device::OwnMapped() {
  if (mapped_ == nullptr) {
    mapped_ = std::make_shared<Mapped>();
  } else if (mapped_.use_count() != 1) {
    mapped_ = std::make_shared<Mapped>(*mapped_);  // submissions go on with what there was
  }
  return *mapped_;
}

void Device::AddMapped(std::shared_ptr<Shadow> shadow) {
  const std::lock_guard lock(mapped_mutex_);
  OwnMapped().push_back(std::move(shadow));
}

void Device::RemoveMapped(const Shadow* shadow) {
  const std::lock_guard lock(mapped_mutex_);
  if (mapped_ == nullptr) {
    return;
  }
  try {
    std::erase_if(OwnMapped(), [shadow](const auto& mapped) { return mapped.get() == shadow; });
  } catch (const std::bad_alloc&) {
    // It is looked at in vain until the device goes.
  }
}

namespace entry {

namespace {

class ExpectedDevice {
 public:
  explicit ExpectedDevice(Session& session) : session_(session) { session_.ExpectDevice(); }
  ~ExpectedDevice() { session_.StopExpectingDevice(); }
  ExpectedDevice(const ExpectedDevice&) = delete;
  ExpectedDevice& operator=(const ExpectedDevice&) = delete;

 private:
  Session& session_;
};

}  // namespace

VKAPI_ATTR VkResult VKAPI_CALL vkCreateDevice(VkPhysicalDevice physicalDevice,
                                              const VkDeviceCreateInfo* pCreateInfo,
                                              const VkAllocationCallbacks* pAllocator,
                                              VkDevice* pDevice) {
  PhysicalDevice& physical_device = PhysicalDevice::From(physicalDevice);
  Session& session = physical_device.session();
  *pDevice = VK_NULL_HANDLE;
  std::vector<bool> enabled(proto::Extensions().size(), false);
  for (uint32_t i = 0; i < pCreateInfo->enabledExtensionCount; ++i) {
    const char* name = pCreateInfo->ppEnabledExtensionNames[i];
    if (!physical_device.Offers(name)) {
      return VK_ERROR_EXTENSION_NOT_PRESENT;
    }
    enabled[static_cast<size_t>(proto::ExtensionIndex(name))] = true;
  }
  // Device layers are deprecated and must be ignored.
  VkDeviceCreateInfo create_info = *pCreateInfo;
  create_info.enabledLayerCount = 0;
  create_info.ppEnabledLayerNames = nullptr;
  const std::vector<const char*> host_extensions = HostExtensions(create_info);
  create_info.enabledExtensionCount = static_cast<uint32_t>(host_extensions.size());
  create_info.ppEnabledExtensionNames = host_extensions.data();

  std::optional<proto::Hash128> answer_scope;
  if (session.answers() != nullptr) {
    answer_scope = HashOfStruct(session, proto::record_index::VkDeviceCreateInfo, &create_info,
                                *physical_device.answer_scope());
  }
  constexpr uint32_t kErrors = kHostMemory | kDeviceMemory | kInitialization;
  const ExpectedDevice expected(session);
  proto::ObjectId id = 0;
  VkDevice wire_handle = VK_NULL_HANDLE;
  proto::Args_vkCreateDevice args{physicalDevice, &create_info, nullptr, &wire_handle};
  const VkResult result = CreateObjects(
      session, session.IsLost() ? LostResult(kErrors) : VK_SUCCESS, Send::kCall,
      proto::command_number::vkCreateDevice, &args, &args.ret, proto::HandleType::kDevice,
      reinterpret_cast<uint64_t*>(&wire_handle), 1, kErrors);
  if (result != VK_SUCCESS) {
    return result;
  }
  id = ToId(wire_handle);
  const Allocator allocator(pAllocator, physical_device.instance().allocator());
  Device* device = allocator.New<Device>(VK_SYSTEM_ALLOCATION_SCOPE_DEVICE, id, physical_device,
                                         std::move(enabled), answer_scope, allocator);
  if (device == nullptr) {
    // The host has a device that the guest cannot keep: take it back.
    Dispatchable stand_in(id);
    const proto::Args_vkDestroyDevice destroy{reinterpret_cast<VkDevice>(&stand_in), nullptr};
    session.Post(proto::command_number::vkDestroyDevice, &destroy);
    session.store().Free(id);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  device->NoteFeatures(*pCreateInfo);
  bool has_queues = false;
  try {
    has_queues = device->MakeQueues(*pCreateInfo);
  } catch (const std::bad_alloc&) {
    // What there is of the device goes.
  }
  if (!has_queues) {
    vkDestroyDevice(device->handle(), pAllocator);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  *pDevice = device->handle();
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyDevice(VkDevice device, const VkAllocationCallbacks*) {
  if (device == VK_NULL_HANDLE) {
    return;
  }
  Device& object = Device::From(device);
  Session& session = object.session();
  if (Downloads* downloads = session.shadows().downloads()) {
    downloads->ForgetDevice(object.id);
  }
  const proto::Args_vkDestroyDevice args{device, nullptr};
  session.Post(proto::command_number::vkDestroyDevice, &args);
  session.Flush();
  session.store().Free(object.id);
  for (const auto& queue : object.queues()) {
    session.store().Free(queue->id);
  }
  const Allocator allocator = object.allocator();
  allocator.Delete(&object);
}

VKAPI_ATTR void VKAPI_CALL vkGetDeviceQueue(VkDevice device, uint32_t queueFamilyIndex,
                                            uint32_t queueIndex, VkQueue* pQueue) {
  *pQueue =
      reinterpret_cast<VkQueue>(Device::From(device).FindQueue(queueFamilyIndex, queueIndex, 0));
}

VKAPI_ATTR void VKAPI_CALL vkGetDeviceQueue2(VkDevice device, const VkDeviceQueueInfo2* pQueueInfo,
                                             VkQueue* pQueue) {
  *pQueue = reinterpret_cast<VkQueue>(Device::From(device).FindQueue(
      pQueueInfo->queueFamilyIndex, pQueueInfo->queueIndex, pQueueInfo->flags));
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetDeviceProcAddr(VkDevice device, const char* pName) {
  const Proc* proc = pName == nullptr ? nullptr : FindProc(pName);
  if (proc == nullptr ||
      (proc->level != ProcLevel::kDevice && std::strcmp(pName, "vkGetDeviceProcAddr") != 0)) {
    return nullptr;
  }
  Device& object = Device::From(device);
  // Core commands up to the version that the program asked for, commands of enabled extensions.
  // An instance extension that is enabled brings its device commands too (VK_EXT_debug_utils).
  Instance& instance = object.physical_device().instance();
  const uint32_t version =
      std::min(instance.api_version(),
               object.physical_device().snapshot().properties->properties.apiVersion);
  const bool provided = IsProvided(*proc, version, [&](uint16_t extension) {
    return object.IsExtensionEnabled(extension) || instance.IsExtensionEnabled(extension);
  });
  return provided ? proc->function() : nullptr;
}

}  // namespace entry
}  // namespace vesper::client
