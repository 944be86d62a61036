// SPDX-License-Identifier: Apache-2.0
#include "client_icd/generated_support.h"

#include <algorithm>
#include <memory>
#include <new>

namespace vesper::client {

uint32_t ErrorBit(VkResult error) {
  switch (error) {
    case VK_SUCCESS:
      return 0;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
      return kHostMemory;
    case VK_ERROR_DEVICE_LOST:
      return kDeviceLost;
    default:
      return kDeviceMemory;
  }
}

VkResult Reportable(VkResult error, uint32_t allowed) {
  switch (error) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
      if ((allowed & kHostMemory) != 0) {
        return error;
      }
      break;
    case VK_ERROR_DEVICE_LOST:
      if ((allowed & kDeviceLost) != 0) {
        return error;
      }
      break;
    default:
      break;
  }
  if ((allowed & kDeviceMemory) != 0) {
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  }
  return (allowed & kHostMemory) != 0 ? VK_ERROR_OUT_OF_HOST_MEMORY : VK_SUCCESS;
}

VkResult LostResult(uint32_t allowed) {
  if ((allowed & kDeviceLost) != 0) {
    return VK_ERROR_DEVICE_LOST;
  }
  // Commands without that code: "lost device" lets them succeed or fail in any way they may. An
  // error is the more helpful answer.
  if ((allowed & kInitialization) != 0) {
    return VK_ERROR_INITIALIZATION_FAILED;
  }
  if ((allowed & kDeviceMemory) != 0) {
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  }
  return (allowed & kHostMemory) != 0 ? VK_ERROR_OUT_OF_HOST_MEMORY : VK_SUCCESS;
}

VkResult CreateObjects(Session& session, VkResult status, Send send, uint16_t number, void* args,
                       const VkResult* result, proto::HandleType type, uint64_t* handles,
                       uint64_t count, uint32_t errors) {
  ObjectStore& store = session.store();
  uint64_t given = 0;
  for (; status == VK_SUCCESS && given < count; ++given) {
    handles[given] = store.Allocate(type);
    if (handles[given] == 0) {
      status = VK_ERROR_OUT_OF_HOST_MEMORY;
      break;
    }
  }
  if (status == VK_SUCCESS && send == Send::kPost && session.Posts(number)) {
    session.Post(number, args);
    return VK_SUCCESS;
  }
  const std::unique_ptr<uint64_t[]> ids(new (std::nothrow) uint64_t[given]);
  if (ids == nullptr) {
    for (uint64_t i = 0; i < given; ++i) {
      store.Free(handles[i]);
    }
    std::fill_n(handles, count, 0);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  std::copy_n(handles, given, ids.get());
  if (status == VK_SUCCESS) {
    if (session.Call(number, args)) {
      status = *result;
    } else {
      status = LostResult(errors);
      std::fill_n(handles, count, 0);
    }
  } else {
    std::fill_n(handles, count, 0);
  }
  bool made_all = true;
  // The reply holds each object's id, or 0 for one that was not made.
  for (uint64_t i = 0; i < given; ++i) {
    if (handles[i] != ids[i]) {
      handles[i] = 0;
      store.Free(ids[i]);
      made_all = false;
    }
  }
  // A host that reports success for what it did not make can't be believed in anything.
  return status == VK_SUCCESS && !made_all ? LostResult(errors | kHostMemory) : status;
}

bool AllocateObjects(const VkAllocationCallbacks& callbacks, uint64_t count,
                     AllocatedObject** objects) {
  const Allocator allocator(&callbacks);
  for (uint64_t i = 0; i < count; ++i) {
    objects[i] = allocator.New<AllocatedObject>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, allocator);
    if (objects[i] == nullptr) {
      std::for_each_n(objects, i, FreeObject);
      return false;
    }
  }
  return true;
}

void AttachObjects(ObjectStore& store, const uint64_t* handles, uint64_t count,
                   AllocatedObject* const* objects) {
  for (uint64_t i = 0; i < count; ++i) {
    if (handles[i] != 0) {
      store.SetState(handles[i], objects[i]);
    } else {
      FreeObject(objects[i]);
    }
  }
}

void FreeObject(AllocatedObject* object) {
  if (object != nullptr) {
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

}  // namespace vesper::client
