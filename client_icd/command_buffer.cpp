// SPDX-License-Identifier: Apache-2.0
#include "client_icd/command_buffer.h"

#include <algorithm>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

/// A cleared stream keeps this much memory for the next recording.
constexpr size_t kKeptBytes = 1u << 20;

CommandPool* Find(Device& device, VkCommandPool pool) {
  return static_cast<CommandPool*>(device.session().store().State(ToId(pool)));
}

void DeleteBuffer(CommandPool& pool, CommandBuffer* buffer) {
  pool.device.session().store().Free(buffer->id);
  pool.allocator.Delete(buffer);
}

}  // namespace

void CommandBuffer::Clear() {
  stream_.Clear();
  stream_.Shrink(kKeptBytes);
  complete_ = true;
  has_parts_ = false;
}

bool CommandBuffer::Send() {
  const bool complete = complete_;
  const bool is_open = has_parts_ && !complete;
  if (complete) {
    session_.PostEncoded(stream_.Bytes());
    session_.statistics().NoteRecording();
  }
  Clear();
  if (is_open) {
    // The host has a part of it. Nobody may submit that, but it must come to its end.
    const proto::Args_vkEndCommandBuffer args{reinterpret_cast<VkCommandBuffer>(this)};
    session_.Post(proto::command_number::vkEndCommandBuffer, &args);
  }
  return complete;
}

void CommandBuffer::SendPart() {
  if (!complete_ || !session_.SendsParts()) {
    return;
  }
  session_.PostEncoded(stream_.Bytes());
  session_.Flush();
  stream_.Clear();
  has_parts_ = true;
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateCommandPool(VkDevice device,
                                                   const VkCommandPoolCreateInfo* pCreateInfo,
                                                   const VkAllocationCallbacks* pAllocator,
                                                   VkCommandPool* pCommandPool) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  *pCommandPool = VK_NULL_HANDLE;
  CommandPool* pool =
      allocator.New<CommandPool>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, owner, allocator);
  if (pool == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  proto::Args_vkCreateCommandPool args{device, pCreateInfo, nullptr, pCommandPool};
  const VkResult result =
      CreateObjects(owner, Send::kPost, proto::command_number::vkCreateCommandPool, &args,
                    &args.ret, proto::HandleType::kCommandPool,
                    reinterpret_cast<uint64_t*>(pCommandPool), 1, kHostMemory | kDeviceMemory);
  if (result != VK_SUCCESS) {
    allocator.Delete(pool);
    return result;
  }
  owner.session().store().SetState(ToId(*pCommandPool), pool);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyCommandPool(VkDevice device, VkCommandPool commandPool,
                                                const VkAllocationCallbacks*) {
  if (commandPool == VK_NULL_HANDLE) {
    return;
  }
  Device& owner = Device::From(device);
  const proto::Args_vkDestroyCommandPool args{device, commandPool, nullptr};
  owner.session().Post(proto::command_number::vkDestroyCommandPool, &args);
  CommandPool* pool = Find(owner, commandPool);
  owner.session().store().Free(ToId(commandPool));
  if (pool != nullptr) {
    for (CommandBuffer* buffer : pool->buffers) {
      DeleteBuffer(*pool, buffer);
    }
    const Allocator allocator = pool->allocator;
    allocator.Delete(pool);
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkResetCommandPool(VkDevice device, VkCommandPool commandPool,
                                                  VkCommandPoolResetFlags flags) {
  Device& owner = Device::From(device);
  if (CommandPool* pool = Find(owner, commandPool)) {
    for (CommandBuffer* buffer : pool->buffers) {
      buffer->Clear();
    }
  }
  proto::Args_vkResetCommandPool args{device, commandPool, flags};
  return PostResult(owner, proto::command_number::vkResetCommandPool, &args, &args.ret,
                    kDeviceMemory);
}

VKAPI_ATTR VkResult VKAPI_CALL
vkAllocateCommandBuffers(VkDevice device, const VkCommandBufferAllocateInfo* pAllocateInfo,
                         VkCommandBuffer* pCommandBuffers) {
  Device& owner = Device::From(device);
  Session& session = owner.session();
  CommandPool* pool = Find(owner, pAllocateInfo->commandPool);
  const uint32_t count = pAllocateInfo->commandBufferCount;
  std::fill_n(pCommandBuffers, count, VkCommandBuffer{VK_NULL_HANDLE});
  if (owner.IsLost() || pool == nullptr) {
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  }
  if (const VkResult pending = owner.TakePendingError(kHostMemory | kDeviceMemory)) {
    return pending;
  }
  std::vector<uint64_t> ids(count);
  MakeRoom(pool->buffers, count);
  uint32_t made = 0;
  for (; made < count; ++made) {
    ids[made] = session.store().Allocate(proto::HandleType::kCommandBuffer);
    CommandBuffer* buffer = ids[made] == 0
                                ? nullptr
                                : pool->allocator.New<CommandBuffer>(
                                      VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, ids[made], *pool, session,
                                      pAllocateInfo->level == VK_COMMAND_BUFFER_LEVEL_PRIMARY);
    if (buffer == nullptr) {
      session.store().Free(ids[made]);
      break;
    }
    pCommandBuffers[made] = reinterpret_cast<VkCommandBuffer>(buffer);
  }
  // The wire carries the ids where the program gets pointers.
  proto::Args_vkAllocateCommandBuffers args{device, pAllocateInfo,
                                            reinterpret_cast<VkCommandBuffer*>(ids.data())};
  VkResult result = VK_SUCCESS;
  if (made < count) {
    result = VK_ERROR_OUT_OF_HOST_MEMORY;
  } else if (session.Posts(proto::command_number::vkAllocateCommandBuffers)) {
    session.Post(proto::command_number::vkAllocateCommandBuffers, &args);
  } else {
    result = session.Call(proto::command_number::vkAllocateCommandBuffers, &args)
                 ? args.ret
                 : VK_ERROR_OUT_OF_DEVICE_MEMORY;
  }
  if (result != VK_SUCCESS) {
    for (uint32_t i = 0; i < made; ++i) {
      DeleteBuffer(*pool, &CommandBuffer::From(pCommandBuffers[i]));
      pCommandBuffers[i] = VK_NULL_HANDLE;
    }
    return result;
  }
  for (uint32_t i = 0; i < count; ++i) {
    pool->buffers.push_back(&CommandBuffer::From(pCommandBuffers[i]));
  }
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkFreeCommandBuffers(VkDevice device, VkCommandPool commandPool,
                                                uint32_t commandBufferCount,
                                                const VkCommandBuffer* pCommandBuffers) {
  Device& owner = Device::From(device);
  const proto::Args_vkFreeCommandBuffers args{device, commandPool, commandBufferCount,
                                              pCommandBuffers};
  owner.session().Post(proto::command_number::vkFreeCommandBuffers, &args);
  for (uint32_t i = 0; i < commandBufferCount; ++i) {
    if (pCommandBuffers[i] != VK_NULL_HANDLE) {
      CommandBuffer* buffer = &CommandBuffer::From(pCommandBuffers[i]);
      CommandPool& pool = buffer->pool();
      std::erase(pool.buffers, buffer);
      DeleteBuffer(pool, buffer);
    }
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkBeginCommandBuffer(VkCommandBuffer commandBuffer,
                                                    const VkCommandBufferBeginInfo* pBeginInfo) {
  CommandBuffer& buffer = CommandBuffer::From(commandBuffer);
  VkCommandBufferBeginInfo info = *pBeginInfo;
  if (buffer.is_primary()) {
    info.pInheritanceInfo = nullptr;  // ignored, so it may be garbage
  }
  buffer.Clear();
  buffer.ForgetReach();
  proto::Args_vkBeginCommandBuffer args{commandBuffer, &info};
  if (buffer.session().IsSync()) {
    return CallResult(buffer.pool().device, proto::command_number::vkBeginCommandBuffer, &args,
                      &args.ret, kHostMemory | kDeviceMemory);
  }
  buffer.Record(proto::command_number::vkBeginCommandBuffer, &args, kReachNothing);
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkEndCommandBuffer(VkCommandBuffer commandBuffer) {
  CommandBuffer& buffer = CommandBuffer::From(commandBuffer);
  proto::Args_vkEndCommandBuffer args{commandBuffer};
  if (buffer.session().IsSync()) {
    // What was recorded goes first. Whatever went wrong with it is told here.
    return buffer.Send()
               ? CallResult(buffer.pool().device, proto::command_number::vkEndCommandBuffer, &args,
                            &args.ret, kHostMemory | kDeviceMemory)
               : VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  buffer.Record(proto::command_number::vkEndCommandBuffer, &args, kReachNothing);
  return buffer.Send() ? VK_SUCCESS : VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR VkResult VKAPI_CALL vkResetCommandBuffer(VkCommandBuffer commandBuffer,
                                                    VkCommandBufferResetFlags flags) {
  CommandBuffer& buffer = CommandBuffer::From(commandBuffer);
  buffer.Clear();
  proto::Args_vkResetCommandBuffer args{commandBuffer, flags};
  return PostResult(buffer.pool().device, proto::command_number::vkResetCommandBuffer, &args,
                    &args.ret, kDeviceMemory);
}

VKAPI_ATTR void VKAPI_CALL vkCmdExecuteCommands(VkCommandBuffer commandBuffer,
                                                uint32_t commandBufferCount,
                                                const VkCommandBuffer* pCommandBuffers) {
  uint32_t reach = kReachNothing;
  for (uint32_t i = 0; i < commandBufferCount; ++i) {
    const CommandBuffer& secondary = CommandBuffer::From(pCommandBuffers[i]);
    reach |= secondary.reach();
    CommandBuffer::From(commandBuffer).NameAllOf(secondary);
  }
  const proto::Args_vkCmdExecuteCommands args{commandBuffer, commandBufferCount, pCommandBuffers};
  CommandBuffer::From(commandBuffer)
      .Record(proto::command_number::vkCmdExecuteCommands, &args, reach);
}

// -- draws whose parameters lie in the program's own records ------------------------------------

VKAPI_ATTR void VKAPI_CALL vkCmdDrawMultiEXT(VkCommandBuffer commandBuffer, uint32_t drawCount,
                                             const VkMultiDrawInfoEXT* pVertexInfo,
                                             uint32_t instanceCount, uint32_t firstInstance,
                                             uint32_t stride) {
  std::vector<VkMultiDrawInfoEXT> draws(drawCount);
  for (uint32_t i = 0; i < drawCount; ++i) {
    std::memcpy(&draws[i], reinterpret_cast<const std::byte*>(pVertexInfo) + size_t{i} * stride,
                sizeof(draws[i]));
  }
  const proto::Args_vkCmdDrawMultiEXT args{commandBuffer, drawCount,     draws.data(),
                                           instanceCount, firstInstance, sizeof(draws[0])};
  CommandBuffer::From(commandBuffer).Record(proto::command_number::vkCmdDrawMultiEXT, &args);
}

VKAPI_ATTR void VKAPI_CALL vkCmdDrawMultiIndexedEXT(VkCommandBuffer commandBuffer,
                                                    uint32_t drawCount,
                                                    const VkMultiDrawIndexedInfoEXT* pIndexInfo,
                                                    uint32_t instanceCount, uint32_t firstInstance,
                                                    uint32_t stride, const int32_t* pVertexOffset) {
  std::vector<VkMultiDrawIndexedInfoEXT> draws(drawCount);
  for (uint32_t i = 0; i < drawCount; ++i) {
    std::memcpy(&draws[i], reinterpret_cast<const std::byte*>(pIndexInfo) + size_t{i} * stride,
                sizeof(draws[i]));
  }
  const proto::Args_vkCmdDrawMultiIndexedEXT args{commandBuffer, drawCount,     draws.data(),
                                                  instanceCount, firstInstance, sizeof(draws[0]),
                                                  pVertexOffset};
  CommandBuffer::From(commandBuffer).Record(proto::command_number::vkCmdDrawMultiIndexedEXT, &args);
}

}  // namespace entry
}  // namespace vesper::client
