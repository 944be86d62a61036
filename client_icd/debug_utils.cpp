// SPDX-License-Identifier: Apache-2.0
//
// VK_EXT_debug_utils messengers. They call into the program; loader and layers do that, in the
// guest, with messages of their own. The driver has none to give, so a messenger here is a handle.
#include "client_icd/entry_points_gen.h"
#include "client_icd/instance.h"

namespace vesper::client {
namespace {

struct Messenger {
  Allocator allocator;
};

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateDebugUtilsMessengerEXT(
    VkInstance instance, const VkDebugUtilsMessengerCreateInfoEXT*,
    const VkAllocationCallbacks* pAllocator, VkDebugUtilsMessengerEXT* pMessenger) {
  Instance& owner = Instance::From(instance);
  const Allocator allocator(pAllocator, owner.allocator());
  auto* messenger = allocator.New<Messenger>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  *pMessenger = VK_NULL_HANDLE;
  if (messenger == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  messenger->allocator = allocator;
  const proto::ObjectId id =
      owner.session().store().Allocate(proto::HandleType::kDebugUtilsMessengerEXT, messenger);
  *pMessenger = FromId<VkDebugUtilsMessengerEXT>(id);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyDebugUtilsMessengerEXT(VkInstance instance,
                                                           VkDebugUtilsMessengerEXT messenger,
                                                           const VkAllocationCallbacks*) {
  ObjectStore& store = Instance::From(instance).session().store();
  auto* object = static_cast<Messenger*>(store.State(ToId(messenger)));
  if (object != nullptr) {
    store.Free(ToId(messenger));
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

VKAPI_ATTR void VKAPI_CALL vkSubmitDebugUtilsMessageEXT(
    VkInstance, VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
    const VkDebugUtilsMessengerCallbackDataEXT*) {
  // The loader delivers it to its messengers before it reaches a driver.
}

}  // namespace entry
}  // namespace vesper::client
