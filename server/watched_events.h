// SPDX-License-Identifier: Apache-2.0
//
// Events that the guest polls. The first question makes the worker watch the event: its state is
// looked at whenever the guest will be told something by which the program may know that the device
// has set it (progress, or the answer to another question), and what has changed is pushed first.
// While work is under way a program that polls has the guest ask to look again, without waiting, so
// that nothing is looked at that nobody wants to know.
//
// That an event is set tells the program that other things have happened, too: ahead of the push
// goes what work under way may have done.
//
// The guest knows of its own changes at once. It counts them, as the worker does when it executes
// them, beginning with the number that comes with a question; and it ignores what is pushed with
// another number than its own.
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>

#include "proto/object_id.h"
#include "server/host_tables_gen.h"
#include "server/outbox.h"

namespace vesper::server {

/// The events of one device that its guest polls. Thread-safe.
class WatchedEvents {
 public:
  /// `push_work` pushes what work that is under way may have done.
  WatchedEvents(const DeviceTable& vk, VkDevice device, Outbox& outbox,
                std::function<void()> push_work)
      : vk_(vk), device_(device), outbox_(outbox), push_work_(std::move(push_work)) {}

  /// The guest wants to know the event's state: it is pushed, changed or not. Nothing happens if
  /// too many are watched: the guest goes on asking. `changes`: of the guest, until now.
  void Look(VkEvent event, proto::ObjectId id, uint64_t changes);
  /// Sets or resets an event for the guest.
  VkResult Set(VkEvent event) { return Change(event, vk_.vkSetEvent, VK_EVENT_SET); }
  VkResult Reset(VkEvent event) { return Change(event, vk_.vkResetEvent, VK_EVENT_RESET); }
  /// The event is about to be destroyed.
  void Remove(VkEvent event);
  /// False if there is none.
  bool IsWatching() const { return count_.load() != 0; }
  /// Pushes what has changed.
  void Tell();

 private:
  struct Watched {
    proto::ObjectId id = 0;
    uint64_t changes = 0;      // by the guest
    uint64_t told = 0;         // the state
    uint32_t unasked_for = 0;  // so often it was looked at since the guest wanted to know
  };

  VkResult Change(VkEvent event, PFN_vkSetEvent function, VkResult expected);
  uint64_t StateOf(VkEvent event) const;
  void Push(Watched& watched, uint64_t state);

  const DeviceTable& vk_;
  const VkDevice device_;
  Outbox& outbox_;
  const std::function<void()> push_work_;
  std::atomic<size_t> count_{0};  // of watched events
  std::mutex mutex_;
  std::unordered_map<VkEvent, Watched> watched_;
};

}  // namespace vesper::server
