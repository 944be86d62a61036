// SPDX-License-Identifier: Apache-2.0
//
// VkEvent. The state of one that the program polls is known here (pushed_events.h).
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

namespace command = proto::command_number;

/// Posts a change of the event, and notes it.
template <typename Args>
VkResult Change(Device& device, uint16_t number, Args& args, VkResult state, uint32_t errors) {
  Session& session = device.session();
  if (!session.Pushes(kPushEvents)) {
    return PostResult(device, number, &args, &args.ret, errors);
  }
  if (device.IsLost()) {
    return LostResult(errors);
  }
  if (const VkResult pending = device.TakePendingError(errors)) {
    return pending;
  }
  session.pushed_events().Change(ToId(args.event), state, [&] { session.Enqueue(number, &args); });
  return VK_SUCCESS;
}

}  // namespace

namespace entry {

VKAPI_ATTR void VKAPI_CALL vkDestroyEvent(VkDevice device, VkEvent event,
                                          const VkAllocationCallbacks*) {
  Device& owner = Device::From(device);
  owner.session().pushed_events().Forget(ToId(event));
  const proto::Args_vkDestroyEvent args{device, event, nullptr};
  DestroyObject(owner, command::vkDestroyEvent, &args, proto::HandleType::kEvent, event);
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetEventStatus(VkDevice device, VkEvent event) {
  Device& owner = Device::From(device);
  Session& session = owner.session();
  if (session.Pushes(kPushEvents) && !owner.IsLost()) {
    const bool is_idle = owner.IsIdle();  // before the state is looked at, which comes first
    bool has_news = false;
    const VkResult state = session.pushed_events().Get(ToId(event), is_idle, [&](uint64_t changes) {
      const proto::Args_vesperLookAtEvent args{device, ToId(event), changes};
      session.Enqueue(command::vesperLookAtEvent, &args);
      has_news = true;
    });
    if (state != VK_NOT_READY) {
      session.statistics().NoteAnswer(command::vkGetEventStatus);
      if (has_news || session.Queued() != 0) {
        session.Flush();  // who polls must see what was submitted come to its end
      }
      return state;
    }
  }
  proto::Args_vkGetEventStatus args{device, event};
  return CallResult(owner, command::vkGetEventStatus, &args, &args.ret,
                    kHostMemory | kDeviceMemory | kDeviceLost);
}

VKAPI_ATTR VkResult VKAPI_CALL vkResetEvent(VkDevice device, VkEvent event) {
  proto::Args_vkResetEvent args{device, event};
  return Change(Device::From(device), command::vkResetEvent, args, VK_EVENT_RESET, kDeviceMemory);
}

namespace written {

VKAPI_ATTR VkResult VKAPI_CALL vkSetEvent(VkDevice device, VkEvent event) {
  Device& owner = Device::From(device);
  proto::Args_vkSetEvent args{device, event};
  const VkResult result =
      Change(owner, command::vkSetEvent, args, VK_EVENT_SET, kHostMemory | kDeviceMemory);
  owner.session().Flush();
  return result;
}

}  // namespace written

}  // namespace entry
}  // namespace vesper::client
