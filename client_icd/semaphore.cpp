// SPDX-License-Identifier: Apache-2.0
//
// VkSemaphore. The guest knows a timeline's value without asking: it sees what the program signals
// itself and which submitted batches signal what, and the host pushes which batches are done.
#include "client_icd/semaphore.h"

#include <algorithm>
#include <vector>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/wait.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

constexpr uint32_t kErrors = kHostMemory | kDeviceMemory | kDeviceLost;

Semaphore* Find(Device& device, VkSemaphore semaphore) {
  return static_cast<Semaphore*>(device.session().store().State(ToId(semaphore)));
}

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateSemaphore(VkDevice device,
                                                 const VkSemaphoreCreateInfo* pCreateInfo,
                                                 const VkAllocationCallbacks* pAllocator,
                                                 VkSemaphore* pSemaphore) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  Semaphore* object = allocator.New<Semaphore>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  *pSemaphore = VK_NULL_HANDLE;
  if (object == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  object->allocator = allocator;
  for (auto* next = static_cast<const VkBaseInStructure*>(pCreateInfo->pNext); next != nullptr;
       next = next->pNext) {
    if (next->sType == VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO) {
      const auto* type = reinterpret_cast<const VkSemaphoreTypeCreateInfo*>(next);
      object->is_timeline = type->semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE;
      object->value = object->is_timeline ? type->initialValue : 0;
    }
  }
  proto::Args_vkCreateSemaphore args{device, pCreateInfo, nullptr, pSemaphore};
  const VkResult result =
      CreateObjects(owner, Send::kPost, proto::command_number::vkCreateSemaphore, &args, &args.ret,
                    proto::HandleType::kSemaphore, reinterpret_cast<uint64_t*>(pSemaphore), 1,
                    kHostMemory | kDeviceMemory);
  if (result != VK_SUCCESS) {
    allocator.Delete(object);
    return result;
  }
  owner.session().store().SetState(ToId(*pSemaphore), object);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroySemaphore(VkDevice device, VkSemaphore semaphore,
                                              const VkAllocationCallbacks*) {
  if (semaphore == VK_NULL_HANDLE) {
    return;
  }
  Device& owner = Device::From(device);
  const proto::Args_vkDestroySemaphore args{device, semaphore, nullptr};
  owner.session().Post(proto::command_number::vkDestroySemaphore, &args);
  Semaphore* object = nullptr;
  {
    // The reader looks semaphores up under this lock.
    const std::lock_guard lock(owner.session().progress_mutex());
    object = Find(owner, semaphore);
    owner.session().store().Free(ToId(semaphore));
  }
  if (object != nullptr) {
    if (object->is_acquired) {
      --owner.acquired_semaphores();
    }
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetSemaphoreCounterValue(VkDevice device, VkSemaphore semaphore,
                                                          uint64_t* pValue) {
  Device& owner = Device::From(device);
  if (owner.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  owner.session().Flush();
  uint64_t value = 0;
  {
    const std::lock_guard lock(owner.session().progress_mutex());
    owner.session().LookAtProgress();
    const Semaphore* object = Find(owner, semaphore);
    value = object == nullptr ? 0 : object->value;
  }
  *pValue = value;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkWaitSemaphores(VkDevice device,
                                                const VkSemaphoreWaitInfo* pWaitInfo,
                                                uint64_t timeout) {
  Device& owner = Device::From(device);
  // Looked at with a lock held, as the program's own arrays must not be (downloads.h).
  const size_t total = pWaitInfo->semaphoreCount;
  const std::vector<VkSemaphore> semaphores(pWaitInfo->pSemaphores, pWaitInfo->pSemaphores + total);
  const std::vector<uint64_t> values(pWaitInfo->pValues, pWaitInfo->pValues + total);
  const bool any = (pWaitInfo->flags & VK_SEMAPHORE_WAIT_ANY_BIT) != 0;
  const auto reached = [&] {
    size_t count = 0;
    for (size_t i = 0; i < total; ++i) {
      const Semaphore* object = Find(owner, semaphores[i]);
      count += object != nullptr && object->value >= values[i] ? 1 : 0;
    }
    return any ? count > 0 : count == total;
  };
  return WaitOnDevice(owner, timeout, reached);
}

namespace written {

VKAPI_ATTR VkResult VKAPI_CALL vkSignalSemaphore(VkDevice device,
                                                 const VkSemaphoreSignalInfo* pSignalInfo) {
  Device& owner = Device::From(device);
  proto::Args_vkSignalSemaphore args{device, pSignalInfo};
  const VkResult result = PostResult(owner, proto::command_number::vkSignalSemaphore, &args,
                                     &args.ret, kErrors & ~kDeviceLost);
  owner.session().Flush();
  if (result == VK_SUCCESS) {
    const VkSemaphoreSignalInfo info = *pSignalInfo;
    const std::lock_guard lock(owner.session().progress_mutex());
    if (Semaphore* object = Find(owner, info.semaphore)) {
      object->value = std::max(object->value, info.value);
    }
    owner.session().NotifyProgress();
  }
  return result;
}

}  // namespace written
}  // namespace entry
}  // namespace vesper::client
