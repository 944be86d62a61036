// SPDX-License-Identifier: Apache-2.0
#include "server/session.h"

#include <cstring>

#include "proto/walk.h"
#include "server/chain.h"
#include "server/invoke.h"
#include "server/queue.h"

namespace vesper::server {
namespace {

namespace number = proto::command_number;

/// Drivers look into the device, queue or command buffer that they are called for.
bool IsNullOwner(const proto::Record& record, const void* args) {
  return !record.ops.empty() && record.ops[0].kind == proto::OpKind::kHandle &&
         record.ops[0].offset == 0 && proto::LoadField<uint64_t>(args, 0) == 0;
}

uint64_t* NewHandles(const proto::Record& record, void* args) {
  for (const proto::Op& op : record.ops) {
    if ((op.flags & proto::kNewIds) != 0) {
      return proto::LoadField<uint64_t*>(args, op.offset);
    }
  }
  return nullptr;
}

/// The beginning of every command that resets or destroys a pool.
struct PoolArguments {
  VkDevice device;
  uint64_t pool;
};

bool IsSubmission(uint16_t command) {
  return command == number::vkQueueSubmit || command == number::vkQueueSubmit2 ||
         command == number::vkQueueBindSparse;
}

}  // namespace

Session::Session(transport::Connection& connection, PFN_vkGetInstanceProcAddr get,
                 std::string device_selector, MemoryReading memory_reading, unsigned threads)
    : get_(get),
      device_selector_(std::move(device_selector)),
      memory_reading_(memory_reading),
      connection_(connection),
      outbox_(connection, statistics_),
      scanner_(objects_),
      tasks_(threads) {
  scanner_.resolver.SetCollecting(true);
}

Session::~Session() = default;

void Session::SayGoodbye(const char* reason) {
  const proto::Args_vesperGoodbye args{reason};
  outbox_.Push(number::vesperGoodbye, &args);
}

bool Session::HandleCommands(std::span<const std::byte> payload, std::string* error) {
  proto::CommandWalker walker(payload);
  const uint64_t before = stream_.position;
  uint64_t calls = 0;
  while (const std::optional<proto::Command> command = walker.Next()) {
    ++stream_.position;
    calls += statistics_.NoteCall(*command) ? 1 : 0;
    if (!Collect(*command)) {
      PostReplay();
      if (!Execute(*command, error)) {
        return false;
      }
    }
  }
  PostReplay();
  statistics_.NoteOthers(stream_.position - before - calls);
  if (walker.Failed()) {
    *error = "expected whole commands in a frame, got one that is cut";
    return false;
  }
  if (has_failed_.load()) {
    const std::lock_guard lock(tasks_mutex_);
    *error = failure_;
    return false;
  }
  return true;
}

bool Session::Decode(Context& context, const proto::Command& command, std::string* error) {
  if (!IsAllowed(command)) {
    *error = "expected a command of this protocol, got number " + std::to_string(command.number);
    return false;
  }
  context.record = proto::CommandRecord(command.number);
  context.arena.Reset();
  context.args = context.arena.Allocate(context.record->size);
  if (context.args == nullptr) {
    *error = "memory is out";
    return false;
  }
  context.recorded_into = RecordedInto(*context.record, command);
  if (command.number == number::vkBeginCommandBuffer) {
    objects_.SetBroken(context.recorded_into, false);
  }
  context.request = command.body;
  proto::Reader reader(command.body);
  const proto::DecodeResult decoded =
      context.decoder.Request(*context.record, reader, context.args);
  if (decoded == proto::DecodeResult::kMalformed || !reader.AtEnd()) {
    *error = std::string("expected a well-formed ") + context.record->name +
             ", got one whose sizes or handles do not fit";
    return false;
  }
  context.is_available =
      decoded != proto::DecodeResult::kUnavailable || IsSubmission(command.number);
  return true;
}

bool Session::Perform(Context& context, const proto::Command& command, std::string* error) {
  const proto::Record& record = *context.record;
  const HostCommand& host = *FindHostCommand(command.number);
  void* const args = context.args;
  if (!context.is_available) {
    if (context.recorded_into != 0) {
      objects_.SetBroken(context.recorded_into, true);
      context.resolver.Forget();
    } else if (command.number == number::vkUpdateDescriptorSets) {
      BreakTargets(*static_cast<const proto::Args_vkUpdateDescriptorSets*>(args));
    } else {
      BreakUnbound(command.number, args);
    }
    return SkipUnavailable(context, command);
  }
  if (IsNullOwner(record, args) && !IsSubmission(command.number)) {
    *error = std::string("expected ") + record.name + " to name its first object, got none";
    return false;
  }
  if (command.number == number::vkGetQueryPoolResults &&
      AnswerQueriesLater(command, *static_cast<proto::Args_vkGetQueryPoolResults*>(args))) {
    return true;
  }
  const ExecutedCommand seen{context.position,
                             command.number,
                             context.resolver.named(),
                             context.decoder.new_ids(),
                             context.decoder.consumed_ids(),
                             context.recorded_into};
  if (observer_ != nullptr) {
    observer_->Begin(seen);
  }
  VkResult result = VK_SUCCESS;
  const bool is_sensible = Run(context, command.number, args, &result);
  if (observer_ != nullptr) {
    observer_->End(seen);  // before anybody else can find what was made
  }
  if (!is_sensible) {
    *error = std::string("expected valid arguments of ") + record.name +
             ", got sizes or indices out of range";
    return false;
  }
  if (host.observes_memory && context.resolver.device() != nullptr) {
    context.resolver.device()->PushUnfinished(context.host_writes);
    context.host_writes = {};
  }
  const bool posted = (command.flags & proto::kWantsReply) == 0;
  if (command.number == number::vkAllocateMemory && result == VK_SUCCESS) {
    const auto& a = *static_cast<proto::Args_vkAllocateMemory*>(args);
    NoteAllocation(*context.resolver.device(), *a.pAllocateInfo, *a.pMemory, posted);
  } else if (command.number == number::vesperAllocateMemory && (result == VK_SUCCESS || posted)) {
    const auto& a = *static_cast<proto::Args_vesperAllocateMemory*>(args);
    HostDevice& device = *context.resolver.device();
    const VkDeviceMemory memory = result == VK_SUCCESS ? *a.pMemory : VK_NULL_HANDLE;
    if (memory != VK_NULL_HANDLE) {
      NoteAllocation(device, *a.pAllocateInfo, memory, posted);
    }
    TellShared(device, context.decoder.new_ids().front(),
               device.shared() != nullptr && device.shared()->Find(memory).has_value());
  }
  if (!Register(context, result, posted)) {
    *error = std::string("expected new object ids in ") + record.name + ", got malformed ones";
    return false;
  }
  if (result < 0 && context.recorded_into != 0) {
    objects_.SetBroken(context.recorded_into, true);
    context.resolver.Forget();
  }
  if (!posted) {
    outbox_.Reply(command.number, command.serial, args);
  } else if (result < 0) {
    BreakUnbound(command.number, args);
    ReportFailure(context, result);
  }
  return true;
}

bool Session::SkipUnavailable(Context& context, const proto::Command& command) {
  const bool posted = (command.flags & proto::kWantsReply) == 0;
  if (command.number == number::vesperAllocateMemory && posted &&
      context.resolver.device() != nullptr) {
    TellShared(*context.resolver.device(), context.decoder.new_ids().front(), false);
  }
  for (const proto::ObjectId id : context.decoder.new_ids()) {
    if (!posted) {
      objects_.Remove(id);  // it may have been pending
    } else if (!objects_.AddPoisoned(id)) {
      return false;
    }
  }
  for (const proto::ObjectId id : context.decoder.consumed_ids()) {
    objects_.Remove(id);
  }
  if (!posted) {
    const HostCommand& host = *FindHostCommand(command.number);
    if (host.result_offset != 0) {
      proto::StoreField(context.args, host.result_offset, VK_ERROR_OUT_OF_DEVICE_MEMORY);
    }
    MakeUpRequirements(context.resolver.device(), command.number, context.args);
    outbox_.Reply(command.number, command.serial, context.args, /*was_skipped=*/true);
  }
  return true;
}

bool Session::Register(Context& context, VkResult result, bool posted) {
  uint64_t* handles = NewHandles(*context.record, context.args);
  const std::vector<proto::ObjectId>& ids = context.decoder.new_ids();
  if (handles != nullptr && result < 0 && ids.size() == 1) {
    handles[0] = 0;  // undefined after a failure
  }
  for (size_t i = 0; handles != nullptr && i < ids.size(); ++i) {
    bool ok = true;
    if (handles[i] != 0) {
      // A device is its own owner; everything else belongs to the command's device.
      HostDevice* owner = context.resolver.device();
      if (proto::ObjectTypeByte(ids[i]) == static_cast<uint8_t>(proto::HandleType::kDevice)) {
        owner = devices_.at(reinterpret_cast<VkDevice>(handles[i])).get();
      }
      ok = objects_.Add(ids[i], handles[i], owner);
      handles[i] = ids[i];
    } else if (posted) {
      ok = objects_.AddPoisoned(ids[i]);
    } else {
      objects_.Remove(ids[i]);  // it may have been pending
    }
    if (!ok) {
      return false;
    }
  }
  for (const proto::ObjectId id : context.decoder.consumed_ids()) {
    objects_.Remove(id);
  }
  return true;
}

void Session::ReportFailure(Context& context, VkResult result) {
  HostDevice* device = context.resolver.device();
  if (result == VK_ERROR_DEVICE_LOST && device != nullptr) {
    device->ReportLost(result);
    return;
  }
  const std::vector<proto::ObjectId>& ids = context.decoder.new_ids();
  const proto::Args_vesperPoisoned args{device == nullptr ? 0 : device->id(),
                                        ids.empty() ? 0 : ids.front(), result};
  outbox_.Push(number::vesperPoisoned, &args);
}

bool Session::Run(Context& context, uint16_t command, void* args, VkResult* result) {
  const HostCommand& host = *FindHostCommand(command);
  if (host.on_instance != nullptr) {
    if (!IsInRange(command, args)) {
      return false;
    }
    host.on_instance(instance_->table(), args);
  } else if (command == number::vkCreateDevice) {
    *result = CreateDevice(*static_cast<proto::Args_vkCreateDevice*>(args));
    return true;
  } else {
    HostDevice* found = context.resolver.device();
    if (found == nullptr) {
      return false;
    }
    HostDevice& device = *found;
    const DeviceTable& vk = device.table();
    if (device.shared() != nullptr) {
      PrepareSharing(device, command, args);
    }
    switch (command) {
      case number::vkDestroyDevice:
        DestroyDevice(device);
        return true;
      case number::vkAllocateMemory:
        if (!AllocateMemory(device, *static_cast<proto::Args_vkAllocateMemory*>(args))) {
          return false;
        }
        break;
      case number::vesperAllocateMemory:
        if (!AllocateShared(device, *static_cast<proto::Args_vesperAllocateMemory*>(args))) {
          return false;
        }
        break;
      case number::vkFreeMemory:
        FreeMemory(device, *static_cast<proto::Args_vkFreeMemory*>(args));
        return true;
      case number::vkQueueSubmit: {
        const auto& a = *static_cast<proto::Args_vkQueueSubmit*>(args);
        HostQueue* queue = device.FindQueue(a.queue);
        return queue != nullptr ? (queue->Submit(a.pSubmits, a.submitCount, context.position), true)
                                : device.IsLost();
      }
      case number::vkQueueSubmit2: {
        const auto& a = *static_cast<proto::Args_vkQueueSubmit2*>(args);
        HostQueue* queue = device.FindQueue(a.queue);
        return queue != nullptr
                   ? (queue->Submit2(a.pSubmits, a.submitCount, context.position), true)
                   : device.IsLost();
      }
      case number::vkQueueBindSparse: {
        const auto& a = *static_cast<proto::Args_vkQueueBindSparse*>(args);
        HostQueue* queue = device.FindQueue(a.queue);
        NoteSparseBinds(device, a.pBindInfo, a.bindInfoCount);
        return queue != nullptr
                   ? (queue->BindSparse(a.pBindInfo, a.bindInfoCount, context.position), true)
                   : device.IsLost();
      }
      case number::vkQueueWaitIdle: {
        auto& a = *static_cast<proto::Args_vkQueueWaitIdle*>(args);
        HostQueue* queue = device.FindQueue(a.queue);
        a.ret = queue != nullptr ? queue->LetGo() : VK_SUCCESS;
        break;
      }
      case number::vkCreateBuffer: {
        auto& a = *static_cast<proto::Args_vkCreateBuffer*>(args);
        a.ret = vk.vkCreateBuffer(a.device, a.pCreateInfo, nullptr, a.pBuffer);
        if (a.ret == VK_SUCCESS) {
          device.resources().Add(*a.pBuffer, *a.pCreateInfo);
          NoteCreation(context, device, command, args);
        }
        break;
      }
      case number::vkDestroyBuffer: {
        const auto& a = *static_cast<proto::Args_vkDestroyBuffer*>(args);
        device.resources().Remove(a.buffer);
        vk.vkDestroyBuffer(a.device, a.buffer, nullptr);
        return true;
      }
      case number::vkCreateImage: {
        auto& a = *static_cast<proto::Args_vkCreateImage*>(args);
        a.ret = vk.vkCreateImage(a.device, a.pCreateInfo, nullptr, a.pImage);
        if (a.ret == VK_SUCCESS) {
          device.resources().Add(*a.pImage, *a.pCreateInfo);
          NoteCreation(context, device, command, args);
        }
        break;
      }
      case number::vkDestroyImage: {
        const auto& a = *static_cast<proto::Args_vkDestroyImage*>(args);
        device.resources().Remove(a.image);
        vk.vkDestroyImage(a.device, a.image, nullptr);
        return true;
      }
      case number::vkBindBufferMemory: {
        auto& a = *static_cast<proto::Args_vkBindBufferMemory*>(args);
        device.resources().Bind(a.buffer, device.memories().Find(a.memory), a.memoryOffset);
        a.ret = vk.vkBindBufferMemory(a.device, a.buffer, a.memory, a.memoryOffset);
        break;
      }
      case number::vkBindBufferMemory2: {
        auto& a = *static_cast<proto::Args_vkBindBufferMemory2*>(args);
        for (uint32_t i = 0; i < a.bindInfoCount; ++i) {
          const VkBindBufferMemoryInfo& info = a.pBindInfos[i];
          device.resources().Bind(info.buffer, device.memories().Find(info.memory),
                                  info.memoryOffset);
        }
        a.ret = vk.vkBindBufferMemory2(a.device, a.bindInfoCount, a.pBindInfos);
        break;
      }
      case number::vkBindImageMemory: {
        auto& a = *static_cast<proto::Args_vkBindImageMemory*>(args);
        device.resources().Bind(a.image, device.memories().Find(a.memory), a.memoryOffset);
        a.ret = vk.vkBindImageMemory(a.device, a.image, a.memory, a.memoryOffset);
        break;
      }
      case number::vkBindImageMemory2: {
        auto& a = *static_cast<proto::Args_vkBindImageMemory2*>(args);
        for (uint32_t i = 0; i < a.bindInfoCount; ++i) {
          const VkBindImageMemoryInfo& info = a.pBindInfos[i];
          device.resources().Bind(info.image, device.memories().Find(info.memory),
                                  info.memoryOffset);
        }
        a.ret = vk.vkBindImageMemory2(a.device, a.bindInfoCount, a.pBindInfos);
        break;
      }
      case number::vkSetDebugUtilsObjectNameEXT: {
        const auto& a = *static_cast<proto::Args_vkSetDebugUtilsObjectNameEXT*>(args);
        // Objects that live in the guest alone have no handle here.
        if (vk.vkSetDebugUtilsObjectNameEXT != nullptr && a.pNameInfo != nullptr &&
            a.pNameInfo->objectHandle != 0) {
          vk.vkSetDebugUtilsObjectNameEXT(a.device, a.pNameInfo);
        }
        return true;
      }
      case number::vkSetDebugUtilsObjectTagEXT: {
        const auto& a = *static_cast<proto::Args_vkSetDebugUtilsObjectTagEXT*>(args);
        if (vk.vkSetDebugUtilsObjectTagEXT != nullptr && a.pTagInfo != nullptr &&
            a.pTagInfo->objectHandle != 0) {
          vk.vkSetDebugUtilsObjectTagEXT(a.device, a.pTagInfo);
        }
        return true;
      }
      case number::vkCreateSemaphore: {
        auto& a = *static_cast<proto::Args_vkCreateSemaphore*>(args);
        host.on_device(vk, args);
        const auto* type = FindInChain<VkSemaphoreTypeCreateInfo>(
            a.pCreateInfo->pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
        device.NoteSemaphore(*a.pSemaphore,
                             type != nullptr && type->semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE);
        break;
      }
      case number::vkSignalSemaphore:
        if (GpuReader* reader = device.reader()) {
          reader->Refresh();
        }
        host.on_device(vk, args);
        break;
      case number::vkGetQueryPoolResults:
        return GetQueryPoolResults(device, *static_cast<proto::Args_vkGetQueryPoolResults*>(args));
      case number::vesperMapMemory:
        return MapMemory(device, *static_cast<proto::Args_vesperMapMemory*>(args));
      case number::vesperUnmapMemory: {
        const auto& a = *static_cast<proto::Args_vesperUnmapMemory*>(args);
        if (HostMemory* memory = FindMemory(device, a.memory)) {
          memory->Unmap();
        }
        return true;
      }
      case number::vesperWriteMemory:
        return WriteMemory(device, *static_cast<proto::Args_vesperWriteMemory*>(args));
      case number::vesperDeferMemory:
        DeferMemory(device, *static_cast<proto::Args_vesperDeferMemory*>(args));
        return true;
      case number::vesperFetchMemory:
        FetchMemory(device, *static_cast<proto::Args_vesperFetchMemory*>(args));
        return true;
      case number::vesperNotePictures:
        return NotePictures(device, *static_cast<proto::Args_vesperNotePictures*>(args));
      case number::vesperReturnLease:
        return ReturnLease(device, *static_cast<proto::Args_vesperReturnLease*>(args));
      case number::vesperGetQueue:
        return GetQueue(device, *static_cast<proto::Args_vesperGetQueue*>(args));
      case number::vesperCopyMemoryToImage:
        return CopyMemoryToImage(context, device,
                                 *static_cast<proto::Args_vesperCopyMemoryToImage*>(args));
      case number::vesperCopyImageToMemory:
        return CopyImageToMemory(device, *static_cast<proto::Args_vesperCopyImageToMemory*>(args));
      case number::vkDestroyDescriptorPool:
      case number::vkResetDescriptorPool:
      case number::vkDestroyCommandPool:
        ForgetChildren(static_cast<const PoolArguments*>(args)->pool);
        host.on_device(vk, args);
        break;
      case number::vkAllocateCommandBuffers: {
        auto& a = *static_cast<proto::Args_vkAllocateCommandBuffers*>(args);
        host.on_device(vk, args);
        NoteChildren(reinterpret_cast<uint64_t>(a.pAllocateInfo->commandPool),
                     context.decoder.new_ids(), a.ret);
        break;
      }
      case number::vkFreeCommandBuffers: {
        const auto& a = *static_cast<proto::Args_vkFreeCommandBuffers*>(args);
        for (uint32_t i = 0; a.pCommandBuffers != nullptr && i < a.commandBufferCount; ++i) {
          device.recorded_writes().Forget(a.pCommandBuffers[i]);
        }
        host.on_device(vk, args);
        break;
      }
      case number::vkBeginCommandBuffer:
        device.recorded_writes().Begin(
            static_cast<proto::Args_vkBeginCommandBuffer*>(args)->commandBuffer);
        host.on_device(vk, args);
        break;
      case number::vkCreatePipelineCache:
        if (tasks_.has_threads()) {
          // Tasks meet in it, whatever the program promises of its own threads.
          auto& info = const_cast<VkPipelineCacheCreateInfo&>(
              *static_cast<proto::Args_vkCreatePipelineCache*>(args)->pCreateInfo);
          info.flags &= ~VkFlags{VK_PIPELINE_CACHE_CREATE_EXTERNALLY_SYNCHRONIZED_BIT};
        }
        host.on_device(vk, args);
        break;
      case number::vkCopyImageToImage: {
        const auto& a = *static_cast<proto::Args_vkCopyImageToImage*>(args);
        context.host_writes.AddImage(
            device.resources().Find(a.pCopyImageToImageInfo->dstImage).get());
        host.on_device(vk, args);
        break;
      }
      case number::vkTransitionImageLayout: {
        const auto& a = *static_cast<proto::Args_vkTransitionImageLayout*>(args);
        for (uint32_t i = 0; i < a.transitionCount; ++i) {
          context.host_writes.AddImage(device.resources().Find(a.pTransitions[i].image).get());
        }
        host.on_device(vk, args);
        break;
      }
      case number::vkGetRayTracingShaderGroupHandlesKHR:
        if (!HasRoomForGroupHandles(
                device, *static_cast<proto::Args_vkGetRayTracingShaderGroupHandlesKHR*>(args))) {
          return false;
        }
        host.on_device(vk, args);
        break;
      case number::vkBindAccelerationStructureMemoryNV:
        NoteBinds(device, *static_cast<proto::Args_vkBindAccelerationStructureMemoryNV*>(args));
        host.on_device(vk, args);
        break;
      case number::vkBindOpticalFlowSessionImageNV:
        device.memories().SetAllWritable();  // which memory the object lies in is not followed
        host.on_device(vk, args);
        break;
      default:
        if (const std::optional<bool> sensible = RunExtension(context, device, command, args)) {
          if (!*sensible) {
            return false;
          }
          break;
        }
        if (host.on_device == nullptr) {
          return false;
        }
        if (host.writes != Writes::kNothing) {
          device.recorded_writes().Note(command, host.writes, args);
        }
        ForgetDescriptors(device, command, args);
        host.on_device(vk, args);
        NoteDescriptors(context, device, command, args);
        break;
    }
  }
  if (host.result_offset != 0) {
    *result = proto::LoadField<VkResult>(args, host.result_offset);
  }
  return true;
}

}  // namespace vesper::server
