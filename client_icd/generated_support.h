// SPDX-License-Identifier: Apache-2.0
//
// What the generated entry points are made of (entry_points_gen.cpp).
#pragma once

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "client_icd/answers.h"
#include "client_icd/object.h"
#include "client_icd/session.h"

namespace vesper::client {

/// The error codes that a command may return, as far as the driver makes use of them.
enum ErrorMask : uint32_t {
  kNoError = 0,
  kHostMemory = 1,
  kDeviceMemory = 2,
  kDeviceLost = 4,
  kInitialization = 8,
};

/// Whether a command is sent without waiting. What is to be posted is called nevertheless where the
/// user wants it so (Session::Posts).
enum class Send { kPost, kCall };

/// The mask bit under which a failure is kept until a call can report it: codes without a bit of
/// their own count as kDeviceMemory.
uint32_t ErrorBit(VkResult error);

/// `error` if the mask allows it, else the nearest code that it allows, else VK_SUCCESS.
VkResult Reportable(VkResult error, uint32_t allowed);

/// What a command returns once the session or device is lost (Vulkan 1.4, "Lost Device").
VkResult LostResult(uint32_t allowed);

// The owner is a Device, Queue or PhysicalDevice: it has session() and IsLost(), and, where
// commands are posted, TakePendingError().

template <typename Owner>
VkResult CallResult(Owner& owner, uint16_t number, void* args, const VkResult* result,
                    uint32_t errors) {
  if (owner.IsLost() || !owner.session().Call(number, args)) {
    return LostResult(errors);
  }
  return *result;
}

/// CallResult for a question that never gets another answer.
template <typename Owner>
VkResult AskResult(Owner& owner, uint16_t number, void* args, const VkResult* result,
                   uint32_t errors) {
  if (owner.IsLost() || !Ask(owner, number, args, result)) {
    return LostResult(errors);
  }
  return *result;
}

template <typename Owner>
VkResult PostResult(Owner& owner, uint16_t number, void* args, const VkResult* result,
                    uint32_t errors) {
  if (owner.IsLost()) {
    return LostResult(errors);
  }
  if (const VkResult pending = owner.TakePendingError(errors)) {
    return pending;
  }
  if (!owner.session().Posts(number)) {
    return CallResult(owner, number, args, result, errors);
  }
  owner.session().Post(number, args);
  return VK_SUCCESS;
}

template <typename Owner>
VkResult SendResult(Owner& owner, Send send, uint16_t number, void* args, const VkResult* result,
                    uint32_t errors) {
  return send == Send::kPost ? PostResult(owner, number, args, result, errors)
                             : CallResult(owner, number, args, result, errors);
}

/// Gives ids to `count` new objects, sends the command, and takes back the ids of those that the
/// host could not make. Every handle that was not made is VK_NULL_HANDLE afterwards. Nothing is
/// sent if `status` is a failure already: it is returned.
VkResult CreateObjects(Session& session, VkResult status, Send send, uint16_t number, void* args,
                       const VkResult* result, proto::HandleType type, uint64_t* handles,
                       uint64_t count, uint32_t errors);

template <typename Owner>
VkResult CreateObjects(Owner& owner, Send send, uint16_t number, void* args, const VkResult* result,
                       proto::HandleType type, uint64_t* handles, uint64_t count, uint32_t errors) {
  const VkResult status = owner.IsLost() ? LostResult(errors) : owner.TakePendingError(errors);
  return CreateObjects(owner.session(), status, send, number, args, result, type, handles, count,
                       errors);
}

/// What an object that has no state in the guest takes from the program's allocator, if it is given
/// one: a place to remember the way back. Programs count on being asked (Vulkan 1.4, "Host
/// Memory"), and on hearing VK_ERROR_OUT_OF_HOST_MEMORY when they refuse. Objects whose state is
/// more than that, and that are destroyed as those without, derive theirs from it.
struct AllocatedObject {
  explicit AllocatedObject(const Allocator& callbacks) : allocator(callbacks) {}
  virtual ~AllocatedObject() = default;
  AllocatedObject(const AllocatedObject&) = delete;
  AllocatedObject& operator=(const AllocatedObject&) = delete;

  Allocator allocator;
};

/// Fills `objects` with `count` of them, or with none.
bool AllocateObjects(const VkAllocationCallbacks& callbacks, uint64_t count,
                     AllocatedObject** objects);
/// Hands each to the object with that handle; those of objects that were not made go back.
void AttachObjects(ObjectStore& store, const uint64_t* handles, uint64_t count,
                   AllocatedObject* const* objects);
void FreeObject(AllocatedObject* object);

/// CreateObjects with the program's allocator, for objects without state.
template <typename Owner>
VkResult CreateAllocatedObjects(Owner& owner, const VkAllocationCallbacks* callbacks, Send send,
                                uint16_t number, void* args, const VkResult* result,
                                proto::HandleType type, uint64_t* handles, uint64_t count,
                                uint32_t errors) {
  if (callbacks == nullptr) {
    return CreateObjects(owner, send, number, args, result, type, handles, count, errors);
  }
  std::vector<AllocatedObject*> objects(count);
  if (!AllocateObjects(*callbacks, count, objects.data())) {
    std::fill_n(handles, count, 0);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  const VkResult status =
      CreateObjects(owner, send, number, args, result, type, handles, count, errors);
  AttachObjects(owner.session().store(), handles, count, objects.data());
  return status;
}

template <typename Owner, typename Handle>
void DestroyObject(Owner& owner, uint16_t number, const void* args, proto::HandleType,
                   Handle handle) {
  if (handle != VK_NULL_HANDLE) {
    owner.session().Post(number, args);
    FreeObject(static_cast<AllocatedObject*>(owner.session().store().Free(ToId(handle))));
  }
}

}  // namespace vesper::client
