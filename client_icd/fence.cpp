// SPDX-License-Identifier: Apache-2.0
//
// VkFence. A fence is a place in a queue's progress and lives in the guest alone: the host never
// sees one. Asking for its status is a comparison; waiting is sleeping until the host pushes enough
// progress. Memory that the work wrote was pushed before that.
#include "client_icd/fence.h"

#include <vector>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/wait.h"

namespace vesper::client {
namespace {

Fence* Find(Device& device, VkFence fence) {
  return static_cast<Fence*>(device.session().store().State(ToId(fence)));
}

}  // namespace

void AttachFence(Session& session, VkFence fence, const std::shared_ptr<QueueProgress>& queue,
                 uint64_t batch) {
  if (fence == VK_NULL_HANDLE) {
    return;
  }
  if (auto* object = static_cast<Fence*>(session.store().State(ToId(fence)))) {
    object->queue = queue;
    object->batch = batch;
  }
}

void SignalFence(Device& device, VkFence fence) {
  const std::lock_guard lock(device.session().progress_mutex());
  if (Fence* object = Find(device, fence)) {
    object->signaled = true;
    device.session().NotifyProgress();
  }
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateFence(VkDevice device, const VkFenceCreateInfo* pCreateInfo,
                                             const VkAllocationCallbacks* pAllocator,
                                             VkFence* pFence) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  Fence* object = allocator.New<Fence>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  *pFence = VK_NULL_HANDLE;
  if (object == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  object->allocator = allocator;
  object->signaled = (pCreateInfo->flags & VK_FENCE_CREATE_SIGNALED_BIT) != 0;
  const proto::ObjectId id = owner.session().store().Allocate(proto::HandleType::kFence, object);
  if (id == 0) {
    allocator.Delete(object);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  *pFence = FromId<VkFence>(id);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyFence(VkDevice device, VkFence fence,
                                          const VkAllocationCallbacks*) {
  Device& owner = Device::From(device);
  if (Fence* object = Find(owner, fence)) {
    owner.session().store().Free(ToId(fence));
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkResetFences(VkDevice device, uint32_t fenceCount,
                                             const VkFence* pFences) {
  Device& owner = Device::From(device);
  const std::vector<VkFence> fences(pFences, pFences + fenceCount);
  const std::lock_guard lock(owner.session().progress_mutex());
  for (const VkFence fence : fences) {
    if (Fence* object = Find(owner, fence)) {
      object->signaled = false;
      object->queue.reset();
    }
  }
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetFenceStatus(VkDevice device, VkFence fence) {
  Device& owner = Device::From(device);
  if (owner.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  // A program that polls must see progress: what it submitted has to be on its way.
  owner.session().Flush();
  const std::lock_guard lock(owner.session().progress_mutex());
  owner.session().LookAtProgress();
  const Fence* object = Find(owner, fence);
  return object != nullptr && object->IsSignaled() ? VK_SUCCESS : VK_NOT_READY;
}

VKAPI_ATTR VkResult VKAPI_CALL vkWaitForFences(VkDevice device, uint32_t fenceCount,
                                               const VkFence* pFences, VkBool32 waitAll,
                                               uint64_t timeout) {
  Device& owner = Device::From(device);
  // Looked at with a lock held, as the program's own array must not be (downloads.h).
  const std::vector<VkFence> fences(pFences, pFences + fenceCount);
  const auto signaled = [&] {
    uint32_t count = 0;
    for (const VkFence fence : fences) {
      const Fence* object = Find(owner, fence);
      count += object != nullptr && object->IsSignaled() ? 1 : 0;
    }
    return waitAll == VK_TRUE || fenceCount == 0 ? count == fenceCount : count > 0;
  };
  return WaitOnDevice(owner, timeout, signaled);
}

}  // namespace entry
}  // namespace vesper::client
