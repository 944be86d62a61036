// SPDX-License-Identifier: Apache-2.0
//
// Buffers and images in shared memory (shared_memory.h). That memory is imported, and the
// specification wants what is bound to it to have been created for imported memory
// (VUID-VkBindBufferMemoryInfo-memory-02985 and its like). Which memory the program will take it
// does not say when it creates a resource; and one that is created for imported memory may refuse
// types of memory that the program was told it can have, those on the device above all.
//
// So a resource is created as the program asked for, and once more, for imported memory, when it is
// bound to some. All that the program has been told stays true: the second one is taken only if it
// can lie where the program puts it, and, for images that the program may look into, if it is laid
// out the same. Otherwise the first is bound: the drivers that import host memory take it as the
// memory it is. The program's handle is an id, and leads to whichever was bound. Nothing but the
// binding can have named the first one, but what should not happen must not harm the worker, and so
// it lives as long as the second.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "proto/object_id.h"
#include "server/host_tables_gen.h"

namespace vesper::server {

/// Where in imported memory something is to lie.
struct ImportedPlace {
  uint32_t memory_type = 0;
  uint64_t offset = 0;
  uint64_t memory_size = 0;
};

/// The resources of one kind of one device. Thread-safe.
template <typename Resource>
class ExternalResources {
 public:
  struct Creation {
    proto::ObjectId id = 0;
    std::vector<std::byte> request;  ///< the command that created it
  };

  /// The program created it.
  void Add(Resource resource, proto::ObjectId id, std::span<const std::byte> request) {
    const std::lock_guard lock(mutex_);
    creations_[resource] = {id, {request.begin(), request.end()}};
  }
  /// How it was created, the first time that somebody asks; an id of 0 if nobody knows any more.
  Creation Take(Resource resource) {
    const std::lock_guard lock(mutex_);
    auto node = creations_.extract(resource);
    return node.empty() ? Creation() : std::move(node.mapped());
  }
  /// The first one lives as long as the second.
  void Keep(Resource first, Resource second) {
    const std::lock_guard lock(mutex_);
    kept_[second] = first;
  }
  /// It is being destroyed: the one that has to go with it, or null.
  Resource Remove(Resource resource) {
    const std::lock_guard lock(mutex_);
    creations_.erase(resource);
    auto node = kept_.extract(resource);
    return node.empty() ? Resource{} : node.mapped();
  }

 private:
  std::mutex mutex_;
  std::unordered_map<Resource, Creation> creations_;
  std::unordered_map<Resource, Resource> kept_;
};

/// Another buffer like it, for imported memory; null if there is none, or it cannot lie there.
VkBuffer CreateExternalBuffer(const InstanceTable& instance, VkPhysicalDevice physical_device,
                              const DeviceTable& vk, VkDevice device,
                              const VkBufferCreateInfo& info, const ImportedPlace& place);
/// The same for an image. `like`: the first one.
VkImage CreateExternalImage(const InstanceTable& instance, VkPhysicalDevice physical_device,
                            const DeviceTable& vk, VkDevice device, const VkImageCreateInfo& info,
                            VkImage like, const ImportedPlace& place);

}  // namespace vesper::server
