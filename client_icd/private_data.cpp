// SPDX-License-Identifier: Apache-2.0
//
// Private data (Vulkan 1.3): the program's own numbers, kept in the guest. Keys are object ids,
// whose generation makes them unique for an object's life.
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "proto/record.h"

namespace vesper::client {
namespace {

uint64_t Key(VkObjectType type, uint64_t handle) {
  return IdOfHandle(proto::HandleTypeOf(type), handle);
}

struct PrivateDataSlot {
  Allocator allocator;
};

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreatePrivateDataSlot(VkDevice device,
                                                       const VkPrivateDataSlotCreateInfo*,
                                                       const VkAllocationCallbacks* pAllocator,
                                                       VkPrivateDataSlot* pPrivateDataSlot) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  *pPrivateDataSlot = VK_NULL_HANDLE;
  auto* slot = allocator.New<PrivateDataSlot>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  if (slot == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  slot->allocator = allocator;
  const proto::ObjectId id =
      owner.session().store().Allocate(proto::HandleType::kPrivateDataSlot, slot);
  if (id == 0) {
    allocator.Delete(slot);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  *pPrivateDataSlot = FromId<VkPrivateDataSlot>(id);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyPrivateDataSlot(VkDevice device,
                                                    VkPrivateDataSlot privateDataSlot,
                                                    const VkAllocationCallbacks*) {
  Device& owner = Device::From(device);
  ObjectStore& store = owner.session().store();
  auto* slot = static_cast<PrivateDataSlot*>(store.State(ToId(privateDataSlot)));
  if (slot == nullptr) {
    return;
  }
  store.Free(ToId(privateDataSlot));
  {
    const std::lock_guard lock(owner.private_data_mutex());
    owner.private_data().erase(ToId(privateDataSlot));
  }
  const Allocator allocator = slot->allocator;
  allocator.Delete(slot);
}

VKAPI_ATTR VkResult VKAPI_CALL vkSetPrivateData(VkDevice device, VkObjectType objectType,
                                                uint64_t objectHandle,
                                                VkPrivateDataSlot privateDataSlot, uint64_t data) {
  Device& owner = Device::From(device);
  const std::lock_guard lock(owner.private_data_mutex());
  owner.private_data()[ToId(privateDataSlot)][Key(objectType, objectHandle)] = data;
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkGetPrivateData(VkDevice device, VkObjectType objectType,
                                            uint64_t objectHandle,
                                            VkPrivateDataSlot privateDataSlot, uint64_t* pData) {
  Device& owner = Device::From(device);
  const std::lock_guard lock(owner.private_data_mutex());
  const auto& slot = owner.private_data()[ToId(privateDataSlot)];
  const auto found = slot.find(Key(objectType, objectHandle));
  *pData = found == slot.end() ? 0 : found->second;
}

}  // namespace entry
}  // namespace vesper::client
