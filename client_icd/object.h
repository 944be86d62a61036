// SPDX-License-Identifier: Apache-2.0
//
// Guest objects. A dispatchable handle is a pointer to an object that begins with the word that
// the loader owns; the object's id follows at a fixed place, where the codec finds it. A
// non-dispatchable handle is the id itself (proto/object_id.h); the few such objects that have
// state in the guest are found through the ObjectStore.
#pragma once

#include <vulkan/vk_icd.h>
#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "proto/object_id.h"

namespace vesper::client {

struct Dispatchable {
  VK_LOADER_DATA loader_data{};
  proto::ObjectId id = 0;

  explicit Dispatchable(proto::ObjectId object_id) : id(object_id) {
    set_loader_magic_value(&loader_data);
  }
};

/// The codec's view of a native handle: its id.
inline uint64_t IdOfHandle(proto::HandleType type, uint64_t handle) {
  switch (type) {
    case proto::HandleType::kInstance:
    case proto::HandleType::kPhysicalDevice:
    case proto::HandleType::kDevice:
    case proto::HandleType::kQueue:
    case proto::HandleType::kCommandBuffer:
      return reinterpret_cast<const Dispatchable*>(handle)->id;
    default:
      return handle;
  }
}

template <typename Handle>
uint64_t ToId(Handle handle) {
  return reinterpret_cast<uint64_t>(handle);
}

template <typename Handle>
Handle FromId(proto::ObjectId id) {
  return reinterpret_cast<Handle>(id);
}

/// Makes room for `count` more elements, so that adding them needs no memory. Grows as adding
/// would.
template <typename T>
void MakeRoom(std::vector<T>& elements, size_t count) {
  if (elements.capacity() - elements.size() < count) {
    elements.reserve(std::max(2 * elements.capacity(), elements.size() + count));
  }
}

/// The program's allocation callbacks, or none. Copied by objects that allocate for children.
class Allocator {
 public:
  Allocator() = default;
  explicit Allocator(const VkAllocationCallbacks* callbacks) {
    if (callbacks != nullptr) {
      callbacks_ = *callbacks;
      custom_ = true;
    }
  }
  /// `callbacks` if given, else those of the parent object.
  Allocator(const VkAllocationCallbacks* callbacks, const Allocator& parent)
      : Allocator(callbacks != nullptr ? Allocator(callbacks) : parent) {}

  /// A new object in memory from the program's callbacks, or null if they give none.
  template <typename T, typename... Arguments>
  T* New(VkSystemAllocationScope scope, Arguments&&... arguments) const {
    void* memory =
        custom_ ? callbacks_.pfnAllocation(callbacks_.pUserData, sizeof(T), alignof(T), scope)
                : ::operator new(sizeof(T), std::align_val_t{alignof(T)}, std::nothrow);
    if (memory == nullptr) {
      return nullptr;
    }
    try {
      return new (memory) T(std::forward<Arguments>(arguments)...);
    } catch (const std::bad_alloc&) {
      Free<T>(memory);
      return nullptr;
    }
  }

  template <typename T>
  void Delete(T* object) const {
    if (object == nullptr) {
      return;
    }
    object->~T();
    Free<T>(object);
  }

 private:
  template <typename T>
  void Free(void* memory) const {
    if (custom_) {
      callbacks_.pfnFree(callbacks_.pUserData, memory);
    } else {
      ::operator delete(memory, std::align_val_t{alignof(T)});
    }
  }

  VkAllocationCallbacks callbacks_{};
  bool custom_ = false;
};

}  // namespace vesper::client
