// SPDX-License-Identifier: Apache-2.0
//
// VkBuffer: creation, the older forms of its commands, and binding. The guest remembers what each
// buffer may be used for: from that follows which submissions can reach the memory that it is bound
// to, and whether the device may write there. Creating and binding are posted, but where the driver
// may refuse for other reasons than that memory is out. An address of the device's is asked for as
// soon as there is one.
#include <algorithm>

#include "client_icd/bind_status.h"
#include "client_icd/buffer_requirements.h"
#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/device_memory.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/physical_device.h"
#include "client_icd/reach.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

constexpr VkBufferUsageFlags2 kCopyUses =
    VK_BUFFER_USAGE_2_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_2_TRANSFER_DST_BIT;

/// To get at a buffer with no other use, commands name it, or a descriptor that they name does.
/// Texel buffers are named by views, which are not followed.
constexpr VkBufferUsageFlags2 kNamedUses =
    VK_BUFFER_USAGE_2_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_2_STORAGE_BUFFER_BIT |
    VK_BUFFER_USAGE_2_INDEX_BUFFER_BIT | VK_BUFFER_USAGE_2_VERTEX_BUFFER_BIT |
    VK_BUFFER_USAGE_2_INDIRECT_BUFFER_BIT;

/// A buffer with no other use cannot be written by the device. (Indirect buffers can: generated
/// commands are prepared there.)
constexpr VkBufferUsageFlags2 kReadOnlyUses =
    VK_BUFFER_USAGE_2_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_2_UNIFORM_TEXEL_BUFFER_BIT |
    VK_BUFFER_USAGE_2_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_2_INDEX_BUFFER_BIT |
    VK_BUFFER_USAGE_2_VERTEX_BUFFER_BIT;

struct Buffer {
  VkBufferUsageFlags2 usage = 0;
  uint64_t size = 0;
  proto::ObjectId memory = 0;
  Send send = Send::kPost;  // how it was created, and is bound
  BufferCreation creation;
  std::shared_ptr<Question> address;  // null: not asked
  Allocator allocator;
};

/// Whether the driver can make such a buffer is known unless it is sparse (then it takes of the
/// device's addresses), at an address that was captured, protected, or larger than any need be.
Send SendOf(const Device& device, const VkBufferCreateInfo& info) {
  return info.flags == 0 && info.size <= device.physical_device().max_buffer_size() ? Send::kPost
                                                                                    : Send::kCall;
}

Buffer* Find(Device& device, VkBuffer buffer) {
  return static_cast<Buffer*>(device.session().store().State(ToId(buffer)));
}

void NoteBufferBind(Device& device, VkBuffer handle, VkDeviceMemory memory, uint64_t offset) {
  if (Buffer* buffer = Find(device, handle)) {
    buffer->memory = ToId(memory);
    NoteBind(device, memory, ReachOfBuffer(buffer->usage), IsWrittenByDevice(buffer->usage), offset,
             buffer->size);
  }
}

/// The buffer has been bound, as far as the guest can tell.
void AskForAddress(Device& device, VkBuffer handle) {
  Buffer* buffer = Find(device, handle);
  if (buffer == nullptr || !device.gives_buffer_addresses() ||
      (buffer->usage & VK_BUFFER_USAGE_2_SHADER_DEVICE_ADDRESS_BIT) == 0 ||
      !device.session().Pushes(kPushAddresses)) {
    return;
  }
  const VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, nullptr,
                                       handle};
  const proto::Args_vkGetBufferDeviceAddress args{device.handle(), &info};
  buffer->address =
      device.session().AskAhead(proto::command_number::vkGetBufferDeviceAddress, &args);
}

}  // namespace

uint32_t ReachOfBuffer(VkBufferUsageFlags2 usage) {
  return ((usage & kCopyUses) != 0 ? kReachCopies : kReachNothing) |
         ((usage & kNamedUses) != 0 ? kReachNamed : kReachNothing) |
         ((usage & ~(kCopyUses | kNamedUses)) != 0 ? kReachShaders : kReachNothing);
}

proto::ObjectId MemoryOf(const ObjectStore& store, VkBuffer handle) {
  const auto* buffer = static_cast<const Buffer*>(store.State(ToId(handle)));
  return buffer == nullptr ? 0 : buffer->memory;
}

BufferCreation CreationOf(Device& device, VkBuffer handle) {
  const auto* buffer = static_cast<const Buffer*>(device.session().store().State(ToId(handle)));
  return buffer == nullptr ? BufferCreation() : buffer->creation;
}

bool IsWrittenByDevice(VkBufferUsageFlags2 usage) { return (usage & ~kReadOnlyUses) != 0; }

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateBuffer(VkDevice device,
                                              const VkBufferCreateInfo* pCreateInfo,
                                              const VkAllocationCallbacks* pAllocator,
                                              VkBuffer* pBuffer) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  *pBuffer = VK_NULL_HANDLE;
  Buffer* buffer = allocator.New<Buffer>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  if (buffer == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  buffer->usage = pCreateInfo->usage;
  if (const auto* flags = FindInChain<VkBufferUsageFlags2CreateInfo>(
          pCreateInfo->pNext, VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO)) {
    buffer->usage = flags->usage;
  }
  buffer->size = pCreateInfo->size;
  buffer->send = SendOf(owner, *pCreateInfo);
  buffer->creation = NoteCreation(owner, *pCreateInfo);
  buffer->allocator = allocator;
  proto::Args_vkCreateBuffer args{device, pCreateInfo, nullptr, pBuffer};
  const VkResult result =
      CreateObjects(owner, buffer->send, proto::command_number::vkCreateBuffer, &args, &args.ret,
                    proto::HandleType::kBuffer, reinterpret_cast<uint64_t*>(pBuffer), 1,
                    kHostMemory | kDeviceMemory);
  if (result != VK_SUCCESS) {
    allocator.Delete(buffer);
    return result;
  }
  owner.session().store().SetState(ToId(*pBuffer), buffer);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyBuffer(VkDevice device, VkBuffer buffer,
                                           const VkAllocationCallbacks*) {
  if (buffer == VK_NULL_HANDLE) {
    return;
  }
  Device& owner = Device::From(device);
  const proto::Args_vkDestroyBuffer args{device, buffer, nullptr};
  owner.session().Post(proto::command_number::vkDestroyBuffer, &args);
  if (auto* object = static_cast<Buffer*>(owner.session().store().Free(ToId(buffer)))) {
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

VKAPI_ATTR void VKAPI_CALL vkGetBufferMemoryRequirements(
    VkDevice device, VkBuffer buffer, VkMemoryRequirements* pMemoryRequirements) {
  const VkBufferMemoryRequirementsInfo2 info{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2,
                                             nullptr, buffer};
  VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, nullptr, {}};
  vkGetBufferMemoryRequirements2(device, &info, &requirements);
  *pMemoryRequirements = requirements.memoryRequirements;
}

VKAPI_ATTR VkResult VKAPI_CALL vkBindBufferMemory(VkDevice device, VkBuffer buffer,
                                                  VkDeviceMemory memory,
                                                  VkDeviceSize memoryOffset) {
  Device& owner = Device::From(device);
  proto::Args_vkBindBufferMemory args{device, buffer, memory, memoryOffset};
  const Buffer* object = Find(owner, buffer);
  const VkResult result = SendResult(owner, object == nullptr ? Send::kCall : object->send,
                                     proto::command_number::vkBindBufferMemory, &args, &args.ret,
                                     kHostMemory | kDeviceMemory);
  NoteBufferBind(owner, buffer, memory, memoryOffset);
  if (result == VK_SUCCESS) {
    AskForAddress(owner, buffer);
  }
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL vkBindBufferMemory2(VkDevice device, uint32_t bindInfoCount,
                                                   const VkBindBufferMemoryInfo* pBindInfos) {
  Device& owner = Device::From(device);
  proto::Args_vkBindBufferMemory2 args{device, bindInfoCount, pBindInfos};
  const bool asks = WantsStatus(pBindInfos, bindInfoCount) ||
                    std::any_of(pBindInfos, pBindInfos + bindInfoCount, [&](const auto& info) {
                      const Buffer* object = Find(owner, info.buffer);
                      return object == nullptr || object->send == Send::kCall;
                    });
  const VkResult result = SendResult(owner, asks ? Send::kCall : Send::kPost,
                                     proto::command_number::vkBindBufferMemory2, &args, &args.ret,
                                     kHostMemory | kDeviceMemory);
  WriteBindStatus(pBindInfos, bindInfoCount, result);
  for (uint32_t i = 0; i < bindInfoCount; ++i) {
    NoteBufferBind(owner, pBindInfos[i].buffer, pBindInfos[i].memory, pBindInfos[i].memoryOffset);
    if (result == VK_SUCCESS) {
      AskForAddress(owner, pBindInfos[i].buffer);
    }
  }
  return result;
}

VKAPI_ATTR VkDeviceAddress VKAPI_CALL
vkGetBufferDeviceAddress(VkDevice device, const VkBufferDeviceAddressInfo* pInfo) {
  Device& owner = Device::From(device);
  proto::Args_vkGetBufferDeviceAddress args{device, pInfo};
  const Buffer* buffer = Find(owner, pInfo->buffer);
  if (buffer != nullptr && buffer->address != nullptr) {
    owner.session().TakeAnswer(*buffer->address, &args);
  } else {
    owner.session().Call(proto::command_number::vkGetBufferDeviceAddress, &args);
  }
  return args.ret;
}

VKAPI_ATTR VkResult VKAPI_CALL
vkBindAccelerationStructureMemoryNV(VkDevice device, uint32_t bindInfoCount,
                                    const VkBindAccelerationStructureMemoryInfoNV* pBindInfos) {
  Device& owner = Device::From(device);
  proto::Args_vkBindAccelerationStructureMemoryNV args{device, bindInfoCount, pBindInfos};
  const VkResult result =
      PostResult(owner, proto::command_number::vkBindAccelerationStructureMemoryNV, &args,
                 &args.ret, kHostMemory | kDeviceMemory);
  for (uint32_t i = 0; i < bindInfoCount; ++i) {
    NoteBind(owner, pBindInfos[i].memory, kReachEverything, true, pBindInfos[i].memoryOffset,
             VK_WHOLE_SIZE);
  }
  return result;
}

}  // namespace entry
}  // namespace vesper::client
