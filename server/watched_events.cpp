// SPDX-License-Identifier: Apache-2.0
#include "server/watched_events.h"

#include <utility>
#include <vector>

#include "proto/event_state.h"
#include "proto/records_gen.h"

namespace vesper::server {
namespace {

/// Each costs a look whenever work is done.
constexpr size_t kMaxWatched = 256;
/// An event that was looked at as often without being asked for is not watched any more.
constexpr uint32_t kMaxUnaskedFor = 1000;

}  // namespace

uint64_t WatchedEvents::StateOf(VkEvent event) const {
  switch (vk_.vkGetEventStatus(device_, event)) {
    case VK_EVENT_SET:
      return proto::kEventSet;
    case VK_EVENT_RESET:
      return proto::kEventReset;
    default:
      return proto::kEventUnknown;
  }
}

void WatchedEvents::Push(Watched& watched, uint64_t state) {
  watched.told = state;
  const proto::Args_vesperEventState args{watched.id, watched.changes, state};
  outbox_.Push(proto::command_number::vesperEventState, &args);
}

void WatchedEvents::Look(VkEvent event, proto::ObjectId id, uint64_t changes) {
  const std::lock_guard lock(mutex_);
  auto found = watched_.find(event);
  if (found == watched_.end()) {
    if (watched_.size() >= kMaxWatched) {
      return;
    }
    found = watched_.try_emplace(event).first;
    found->second.id = id;
    ++count_;
  }
  found->second.changes = changes;
  found->second.unasked_for = 0;
  const uint64_t state = StateOf(event);
  push_work_();
  Push(found->second, state);
}

VkResult WatchedEvents::Change(VkEvent event, PFN_vkSetEvent function, VkResult expected) {
  const std::lock_guard lock(mutex_);
  const VkResult result = function(device_, event);
  if (const auto found = watched_.find(event); found != watched_.end()) {
    ++found->second.changes;
    found->second.told = expected == VK_EVENT_SET ? proto::kEventSet : proto::kEventReset;
    // That is what the guest takes to be true. It may have failed.
    if (const uint64_t state = StateOf(event); state != found->second.told) {
      push_work_();
      Push(found->second, state);
    }
  }
  return result;
}

void WatchedEvents::Remove(VkEvent event) {
  const std::lock_guard lock(mutex_);
  count_ -= watched_.erase(event);
}

void WatchedEvents::Tell() {
  if (!IsWatching()) {
    return;
  }
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<VkEvent, uint64_t>> news;
  for (auto& [event, watched] : watched_) {
    uint64_t state = StateOf(event);
    if (++watched.unasked_for > kMaxUnaskedFor) {
      state = proto::kEventUnknown;
    }
    if (state != watched.told) {
      news.emplace_back(event, state);
    }
  }
  if (news.empty()) {
    return;
  }
  push_work_();
  for (const auto& [event, state] : news) {
    const auto found = watched_.find(event);
    Push(found->second, state);
    if (found->second.unasked_for > kMaxUnaskedFor) {
      watched_.erase(found);
      --count_;
    }
  }
}

}  // namespace vesper::server
