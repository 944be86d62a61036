// SPDX-License-Identifier: Apache-2.0
//
// The session's part in sharing memory with the guest: what is shared is said (shared_memory.h),
// and what the program binds to shared memory is put right (external_resources.h).
#include "proto/decoder.h"
#include "server/chain.h"
#include "server/session.h"

namespace vesper::server {

namespace number = proto::command_number;

namespace {

/// True if the driver can bind imported memory to sparse buffers. Lavapipe says so and can't: its
/// sparse resources are mappings of files of its own.
bool CanBindSparsely(const InstanceTable& instance, const HostInstance::PhysicalDevice& physical) {
  const VkPhysicalDeviceExternalBufferInfo info{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO, nullptr,
      VK_BUFFER_CREATE_SPARSE_BINDING_BIT, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, kHostPointer};
  VkExternalBufferProperties properties{VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
  instance.vkGetPhysicalDeviceExternalBufferProperties(physical.handle, &info, &properties);
  return (properties.externalMemoryProperties.externalMemoryFeatures &
          VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT) != 0 &&
         !physical.IsLavapipe();
}

bool EnablesSparseBinding(const VkDeviceCreateInfo& info) {
  const auto* features = FindInChain<VkPhysicalDeviceFeatures2>(
      info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
  const VkPhysicalDeviceFeatures* enabled =
      features != nullptr ? &features->features : info.pEnabledFeatures;
  return enabled != nullptr && enabled->sparseBinding != VK_FALSE;
}

}  // namespace

bool Session::SharesMemory(const HostInstance::PhysicalDevice& physical,
                           const VkDeviceCreateInfo& info) const {
  return shared_file_ != nullptr && physical.import_alignment != 0 &&
         (!EnablesSparseBinding(info) || CanBindSparsely(instance_->table(), physical));
}

std::unique_ptr<transport::RingMemory> Session::TakeShared(proto::Welcome& welcome) {
  // In the order in which the hello names them.
  std::vector<transport::UniqueFd> files = connection_.TakeDescriptors();
  size_t next = 0;
  const auto take = [&] {
    return next < files.size() ? std::move(files[next++]) : transport::UniqueFd();
  };
  if (!hello_.offers_memory) {
    welcome.why_not_shared = "the guest does not offer it";
  } else if (transport::UniqueFd file = take(); !may_share_) {
    welcome.why_not_shared = "the server was told not to (--share-memory=never)";
  } else {
    shared_file_ = SharedFile::Accept(std::move(file), &welcome.why_not_shared);
  }
  if (hello_.ring_bytes == 0) {
    welcome.why_no_rings = "the guest does not offer any";
  } else if (!may_use_rings_) {
    welcome.why_no_rings = "the server was told not to (--rings=never)";
  } else {
    return transport::RingMemory::Accept(take(), hello_.ring_bytes, &welcome.why_no_rings);
  }
  return nullptr;
}

void Session::UseRings(std::unique_ptr<transport::RingMemory> memory) {
  rings_ = std::make_unique<transport::RingConnection>(
      connection_, std::move(memory), transport::RingConnection::Side::kHost, spinning_);
  outbox_.Use(*rings_);
  if (uses_progress_page_) {
    outbox_.progress_slots().Use(rings_->progress());
  }
  uses_rings_.store(true);
}

void Session::ShareMemory(HostDevice& device) {
  auto shared =
      std::make_unique<SharedMemories>(device.table(), device.handle(), device.physical().memory,
                                       device.physical().import_alignment, *shared_file_);
  if (shared->types() != 0) {
    const proto::Args_vesperShareTypes args{device.id(), shared->types()};
    outbox_.Push(proto::command_number::vesperShareTypes, &args);
    device.ShareMemory(std::move(shared));
  }
}

bool Session::AllocateShared(HostDevice& device, proto::Args_vesperAllocateMemory& args) {
  VkMemoryAllocateInfo info = *args.pAllocateInfo;
  if (info.memoryTypeIndex >= device.physical().memory.memoryTypeCount) {
    return false;
  }
  SharedMemories* shared = device.shared();
  if (shared != nullptr && (shared->types() & (1u << info.memoryTypeIndex)) != 0 &&
      CanHoldOthers(device, info)) {
    args.ret = shared->Allocate(info, args.offset, args.pMemory);
    if (args.ret == VK_SUCCESS) {
      return true;
    }
  }
  proto::Args_vkAllocateMemory plain{args.device, args.pAllocateInfo, nullptr, args.pMemory};
  const bool is_sensible = AllocateMemory(device, plain);
  args.ret = plain.ret;
  return is_sensible;
}

void Session::TellShared(HostDevice& device, proto::ObjectId memory, bool is_shared) {
  const proto::Args_vesperSharedMemory args{device.id(), memory, is_shared ? VK_TRUE : VK_FALSE};
  outbox_.Push(proto::command_number::vesperSharedMemory, &args);
}

template <typename Args, typename Resource, typename Create>
Resource Session::MakeExternal(HostDevice& device, ExternalResources<Resource>& resources,
                               uint16_t command, Resource first, const Create& create) {
  const typename ExternalResources<Resource>::Creation creation = resources.Take(first);
  if (creation.id == 0) {
    return first;
  }
  // What it was created with, once more from the command that did.
  proto::Arena arena;
  ObjectResolver resolver(objects_);
  proto::Decoder decoder(arena, &resolver);
  proto::Reader reader(creation.request);
  Args args{};
  if (decoder.Request(*proto::CommandRecord(command), reader, &args) !=
      proto::DecodeResult::kDecoded) {
    return first;
  }
  const Resource second = create(*args.pCreateInfo);
  if (second == VK_NULL_HANDLE) {
    return first;
  }
  resources.Keep(first, second);
  device.resources().Remove(first);
  device.resources().Add(second, *args.pCreateInfo);
  objects_.Add(creation.id, reinterpret_cast<uint64_t>(second), &device);
  return second;
}

VkBuffer Session::ForMemory(HostDevice& device, VkBuffer buffer, VkDeviceMemory memory,
                            uint64_t offset) {
  std::optional<ImportedPlace> place = device.shared()->Find(memory);
  if (!place) {
    return buffer;
  }
  place->offset = offset;
  return MakeExternal<proto::Args_vkCreateBuffer>(
      device, device.external_buffers(), number::vkCreateBuffer, buffer,
      [&](const VkBufferCreateInfo& info) {
        return CreateExternalBuffer(instance_->table(), device.physical().handle, device.table(),
                                    device.handle(), info, *place);
      });
}

VkImage Session::ForMemory(HostDevice& device, VkImage image, VkDeviceMemory memory,
                           uint64_t offset) {
  std::optional<ImportedPlace> place = device.shared()->Find(memory);
  if (!place) {
    return image;
  }
  place->offset = offset;
  return MakeExternal<proto::Args_vkCreateImage>(
      device, device.external_images(), number::vkCreateImage, image,
      [&](const VkImageCreateInfo& info) {
        return CreateExternalImage(instance_->table(), device.physical().handle, device.table(),
                                   device.handle(), info, image, *place);
      });
}

void Session::PrepareSharing(HostDevice& device, uint16_t command, void* args) {
  switch (command) {
    case number::vkBindBufferMemory: {
      auto& a = *static_cast<proto::Args_vkBindBufferMemory*>(args);
      a.buffer = ForMemory(device, a.buffer, a.memory, a.memoryOffset);
      break;
    }
    case number::vkBindImageMemory: {
      auto& a = *static_cast<proto::Args_vkBindImageMemory*>(args);
      a.image = ForMemory(device, a.image, a.memory, a.memoryOffset);
      break;
    }
    // What was decoded is the worker's own memory.
    case number::vkBindBufferMemory2: {
      const auto& a = *static_cast<proto::Args_vkBindBufferMemory2*>(args);
      for (uint32_t i = 0; i < a.bindInfoCount; ++i) {
        auto& info = const_cast<VkBindBufferMemoryInfo&>(a.pBindInfos[i]);
        info.buffer = ForMemory(device, info.buffer, info.memory, info.memoryOffset);
      }
      break;
    }
    case number::vkBindImageMemory2: {
      const auto& a = *static_cast<proto::Args_vkBindImageMemory2*>(args);
      for (uint32_t i = 0; i < a.bindInfoCount; ++i) {
        auto& info = const_cast<VkBindImageMemoryInfo&>(a.pBindInfos[i]);
        info.image = ForMemory(device, info.image, info.memory, info.memoryOffset);
      }
      break;
    }
    case number::vkDestroyBuffer: {
      const auto& a = *static_cast<proto::Args_vkDestroyBuffer*>(args);
      if (const VkBuffer first = device.external_buffers().Remove(a.buffer)) {
        device.table().vkDestroyBuffer(a.device, first, nullptr);
      }
      break;
    }
    case number::vkDestroyImage: {
      const auto& a = *static_cast<proto::Args_vkDestroyImage*>(args);
      if (const VkImage first = device.external_images().Remove(a.image)) {
        device.table().vkDestroyImage(a.device, first, nullptr);
      }
      break;
    }
    default:
      break;
  }
}

void Session::NoteCreation(const Context& context, HostDevice& device, uint16_t command,
                           const void* args) {
  if (device.shared() == nullptr) {
    return;
  }
  const proto::ObjectId id = context.decoder.new_ids().front();
  if (command == number::vkCreateBuffer) {
    const auto& a = *static_cast<const proto::Args_vkCreateBuffer*>(args);
    device.external_buffers().Add(*a.pBuffer, id, context.request);
  } else {
    const auto& a = *static_cast<const proto::Args_vkCreateImage*>(args);
    device.external_images().Add(*a.pImage, id, context.request);
  }
}

}  // namespace vesper::server
