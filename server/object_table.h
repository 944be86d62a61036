// SPDX-License-Identifier: Apache-2.0
//
// The host's side of object ids. An id is an index, a generation and a type; all three must match.
// What a guest says about an object that is gone is not an error, only without effect: it may have
// been on its way when the object went.
//
// Commands are executed in the order of the stream, or seem to be: some by tasks (task_pool.h),
// later than what follows them. So an object has a lifetime in *places*, the tasks' numbers in
// that order. A *pending* one has been named by a command that makes it at its place, but is not
// there yet. One that is *dying* is gone for what comes after the place of the command that
// destroys it, and still there for what comes before, until the destruction is executed. The guest
// may give its index to another object meanwhile; the dying one is kept aside then.
//
// Tasks look objects up while others are added, for each handle of each command, so looking takes
// no lock: slots never move, and a slot is read again if its tag has changed meanwhile.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "proto/decoder.h"
#include "proto/object_id.h"

namespace vesper::server {

class HostDevice;

/// The objects of one session. Thread-safe, as long as no two threads change the same object.
class ObjectTable {
 public:
  /// After all tasks.
  static constexpr uint64_t kNever = UINT64_MAX;

  enum class State : uint8_t { kFree, kLive, kPoisoned, kPending };
  struct Object {
    State state = State::kFree;
    bool broken = false;
    uint64_t handle = 0;
    HostDevice* device = nullptr;
    uint64_t born = 0;       // the place of the task that makes it, if it is pending
    uint64_t dies = kNever;  // the place of the task that destroys it
  };

  ~ObjectTable();

  /// Makes a native handle known under a new id. `device` is the object's device, or null.
  /// False if the id is malformed or too far ahead: no guest of ours sends that.
  bool Add(proto::ObjectId id, uint64_t handle, HostDevice* device);
  /// The id exists, the object does not: everything that names it is skipped.
  bool AddPoisoned(proto::ObjectId id);
  /// The object will be made by the task at this place.
  bool AddPending(proto::ObjectId id, HostDevice* device, uint64_t place);
  /// The object will be destroyed by the task at this place, which then removes it.
  void SetDying(proto::ObjectId id, uint64_t place);
  void Remove(proto::ObjectId id);
  void RemoveAllOf(const HostDevice* device);

  /// What is broken exists, and can only be destroyed: a command buffer whose recording is
  /// incomplete (until it begins anew), a resource that could not be bound, a set whose update was
  /// skipped.
  void SetBroken(proto::ObjectId id, bool broken);
  /// The same by the native handle, for what has just failed: looks at all objects of the type.
  void Break(proto::HandleType type, uint64_t handle);
  /// How often something was broken: whoever has looked before may have to look again.
  uint64_t breaks() const { return breaks_.load(std::memory_order_acquire); }

  /// The device of a device-level object, or null.
  HostDevice* DeviceOf(proto::ObjectId id) const;
  /// The native handle, or 0 for ids that are dead, pending, poisoned or malformed.
  uint64_t Handle(proto::ObjectId id) const;
  /// Everything about an object; nothing if there is none with this id.
  std::optional<Object> Find(proto::ObjectId id) const;

 private:
  struct Slot {
    std::atomic<uint64_t> tag{0};  // generation and state; kChanging while the rest changes
    std::atomic<bool> broken{false};
    std::atomic<uint64_t> handle{0};
    std::atomic<HostDevice*> device{nullptr};
    std::atomic<uint64_t> born{0};
    std::atomic<uint64_t> dies{kNever};
  };
  // Chunk n holds twice as many slots as chunk n - 1.
  static constexpr size_t kChunks = 20;
  struct Slots {
    std::array<std::atomic<Slot*>, kChunks> chunks{};
    size_t size = 0;  // with the lock held
  };

  bool Put(proto::ObjectId id, const Object& object);
  Slot* SlotAt(proto::ObjectId id) const;
  /// The slot if it holds this very object; null otherwise.
  Slot* SlotOf(proto::ObjectId id) const;
  /// What the slot holds, and its tag; nothing while it changes.
  static std::optional<Object> Read(const Slot& slot, uint64_t* tag);
  static void Write(Slot& slot, uint32_t generation, const Object& object);

  std::array<Slots, proto::kHandleTypeCount> slots_;
  mutable std::mutex mutex_;  // for whoever changes something
  std::atomic<size_t> kept_count_{0};
  std::atomic<uint64_t> breaks_{0};
  std::unordered_map<proto::ObjectId, Object> kept_;  // dying ones whose slots have been given away
};

/// Resolves the ids of one command after another, as they are at the command's place.
class ObjectResolver : public proto::HandleResolver {
 public:
  explicit ObjectResolver(const ObjectTable& objects) : objects_(objects) {}

  /// Where the commands to come are in the order of tasks. kNever: after all that were posted.
  void SetPlace(uint64_t place) {
    place_ = place;
    Forget();
  }
  /// The command buffer that was resolved last may have changed. A replay asks for the same one
  /// with each command, and has it for itself, so at a place it is remembered.
  void Forget() { last_buffer_ = 0; }
  /// Remembers which ids the command names.
  void SetCollecting(bool collecting) { collecting_ = collecting; }

  void BeginCommand() override;
  proto::Resolution Resolve(proto::HandleType type, proto::ObjectId id, uint64_t* handle) override;

  /// The device that the command being decoded works on, as its first handle told.
  HostDevice* device() const { return device_; }
  /// A pending object that the command names, or 0: it cannot be executed yet.
  proto::ObjectId pending() const { return pending_; }
  /// True if the command names something that is not there, or not yet. A task may change that at
  /// any time.
  bool has_absent() const { return has_absent_; }
  /// What the command names, there or not, if that is remembered.
  const std::vector<proto::ObjectId>& named() const { return named_; }

 private:
  const ObjectTable& objects_;
  uint64_t place_ = ObjectTable::kNever;
  bool collecting_ = false;
  HostDevice* device_ = nullptr;
  proto::ObjectId last_buffer_ = 0;
  uint64_t last_handle_ = 0;
  HostDevice* last_device_ = nullptr;
  proto::ObjectId pending_ = 0;
  bool has_absent_ = false;
  std::vector<proto::ObjectId> named_;
};

}  // namespace vesper::server
