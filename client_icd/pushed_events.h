// SPDX-License-Identifier: Apache-2.0
//
// States of events that the program polls, as the host has told them (server/watched_events.h).
// The first question is a call; from then on asking is looking here. While work is under way each
// question also has the host look again, one at a time: what the device does to the event in the
// middle of a batch is seen after as long as a call would have taken, but nobody waits for it. What
// a program knows by other ways (that a batch is done, that a query is available) is never ahead of
// what is known here, for the host tells this first.
//
// The program's own changes are noted when they are posted, and counted on both sides; a state that
// was read before one of them is void.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>

#include "proto/object_id.h"
#include "proto/records_gen.h"

namespace vesper::client {

/// The watched events of a session. Thread-safe; the reader takes its lock, too.
class PushedEvents {
 public:
  using Post = std::function<void()>;
  using Look = std::function<void(uint64_t changes)>;

  /// VK_EVENT_SET, VK_EVENT_RESET, or VK_NOT_READY if that is not known. `look` is called, and has
  /// the host look at the event, if the state isn't known or may change (`is_idle`: the device does
  /// nothing).
  VkResult Get(proto::ObjectId event, bool is_idle, const Look& look);
  /// The program changes the event: `post` says so to the host.
  void Change(proto::ObjectId event, VkResult state, const Post& post);
  void Forget(proto::ObjectId event);
  /// The host tells a state.
  void Apply(const proto::Args_vesperEventState& told);

 private:
  struct Event {
    VkResult state = VK_NOT_READY;
    uint64_t changes = 0;
    bool is_looked_at = false;
  };

  std::mutex mutex_;
  std::unordered_map<proto::ObjectId, Event> events_;
};

}  // namespace vesper::client
