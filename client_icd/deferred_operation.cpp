// SPDX-License-Identifier: Apache-2.0
//
// VK_KHR_deferred_host_operations. No operation is deferred: commands that take one do their work
// at once and say VK_OPERATION_NOT_DEFERRED_KHR, which the specification allows at any time. An
// operation that was never deferred is complete.
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"

namespace vesper::client {
namespace {

struct DeferredOperation {
  Allocator allocator;
};

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL
vkCreateDeferredOperationKHR(VkDevice device, const VkAllocationCallbacks* pAllocator,
                             VkDeferredOperationKHR* pDeferredOperation) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  auto* operation = allocator.New<DeferredOperation>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  *pDeferredOperation = VK_NULL_HANDLE;
  if (operation == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  operation->allocator = allocator;
  *pDeferredOperation = FromId<VkDeferredOperationKHR>(
      owner.session().store().Allocate(proto::HandleType::kDeferredOperationKHR, operation));
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyDeferredOperationKHR(VkDevice device,
                                                         VkDeferredOperationKHR operation,
                                                         const VkAllocationCallbacks*) {
  ObjectStore& store = Device::From(device).session().store();
  auto* object = static_cast<DeferredOperation*>(store.State(ToId(operation)));
  if (object != nullptr) {
    store.Free(ToId(operation));
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

VKAPI_ATTR uint32_t VKAPI_CALL vkGetDeferredOperationMaxConcurrencyKHR(VkDevice,
                                                                       VkDeferredOperationKHR) {
  return 0;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetDeferredOperationResultKHR(VkDevice, VkDeferredOperationKHR) {
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkDeferredOperationJoinKHR(VkDevice, VkDeferredOperationKHR) {
  return VK_SUCCESS;
}

}  // namespace entry
}  // namespace vesper::client
