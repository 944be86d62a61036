// SPDX-License-Identifier: Apache-2.0
//
// VkAccelerationStructureKHR. Its address is asked for as soon as it is created: what uses a
// structure as an instance of another needs it.
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

namespace command = proto::command_number;

struct AccelerationStructure : AllocatedObject {
  using AllocatedObject::AllocatedObject;

  std::shared_ptr<Question> address;  // null: not asked
};

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateAccelerationStructureKHR(
    VkDevice device, const VkAccelerationStructureCreateInfoKHR* pCreateInfo,
    const VkAllocationCallbacks* pAllocator, VkAccelerationStructureKHR* pAccelerationStructure) {
  Device& owner = Device::From(device);
  Session& session = owner.session();
  const Allocator allocator(pAllocator, owner.allocator());
  *pAccelerationStructure = VK_NULL_HANDLE;
  auto* object = allocator.New<AccelerationStructure>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, allocator);
  if (object == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  constexpr VkAccelerationStructureCreateFlagsKHR kCaptured =
      VK_ACCELERATION_STRUCTURE_CREATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT_KHR;
  proto::Args_vkCreateAccelerationStructureKHR args{device, pCreateInfo, nullptr,
                                                    pAccelerationStructure};
  const VkResult result =
      CreateObjects(owner, (pCreateInfo->createFlags & kCaptured) != 0 ? Send::kCall : Send::kPost,
                    command::vkCreateAccelerationStructureKHR, &args, &args.ret,
                    proto::HandleType::kAccelerationStructureKHR,
                    reinterpret_cast<uint64_t*>(pAccelerationStructure), 1, kHostMemory);
  if (result != VK_SUCCESS) {
    allocator.Delete(object);
    return result;
  }
  if (session.Pushes(kPushAddresses)) {
    const VkAccelerationStructureDeviceAddressInfoKHR info{
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_DEVICE_ADDRESS_INFO_KHR, nullptr,
        *pAccelerationStructure};
    const proto::Args_vkGetAccelerationStructureDeviceAddressKHR question{device, &info};
    object->address =
        session.AskAhead(command::vkGetAccelerationStructureDeviceAddressKHR, &question);
  }
  session.store().SetState(ToId(*pAccelerationStructure), static_cast<AllocatedObject*>(object));
  return VK_SUCCESS;
}

VKAPI_ATTR VkDeviceAddress VKAPI_CALL vkGetAccelerationStructureDeviceAddressKHR(
    VkDevice device, const VkAccelerationStructureDeviceAddressInfoKHR* pInfo) {
  Session& session = Device::From(device).session();
  proto::Args_vkGetAccelerationStructureDeviceAddressKHR args{device, pInfo};
  const auto* object = static_cast<AccelerationStructure*>(
      static_cast<AllocatedObject*>(session.store().State(ToId(pInfo->accelerationStructure))));
  if (object != nullptr && object->address != nullptr) {
    session.TakeAnswer(*object->address, &args);
  } else {
    session.Call(command::vkGetAccelerationStructureDeviceAddressKHR, &args);
  }
  return args.ret;
}

}  // namespace entry
}  // namespace vesper::client
