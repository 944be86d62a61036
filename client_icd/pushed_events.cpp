// SPDX-License-Identifier: Apache-2.0
#include "client_icd/pushed_events.h"

#include "proto/event_state.h"

namespace vesper::client {

VkResult PushedEvents::Get(proto::ObjectId id, bool is_idle, const Look& look) {
  const std::lock_guard lock(mutex_);
  Event& event = events_[id];
  if (!event.is_looked_at && (event.state == VK_NOT_READY || !is_idle)) {
    event.is_looked_at = true;
    look(event.changes);
  }
  return event.state;
}

void PushedEvents::Change(proto::ObjectId id, VkResult state, const Post& post) {
  const std::lock_guard lock(mutex_);
  if (const auto found = events_.find(id); found != events_.end()) {
    if (found->second.state != VK_NOT_READY) {
      found->second.state = state;
    }
    ++found->second.changes;
  }
  post();
}

void PushedEvents::Forget(proto::ObjectId id) {
  const std::lock_guard lock(mutex_);
  events_.erase(id);
}

void PushedEvents::Apply(const proto::Args_vesperEventState& told) {
  const std::lock_guard lock(mutex_);
  const auto found = events_.find(told.event);
  if (found == events_.end()) {
    return;  // destroyed meanwhile
  }
  found->second.is_looked_at = false;
  if (told.state == proto::kEventUnknown) {
    found->second.state = VK_NOT_READY;
  } else if (told.changes == found->second.changes) {
    found->second.state = told.state == proto::kEventSet ? VK_EVENT_SET : VK_EVENT_RESET;
  }
}

}  // namespace vesper::client
