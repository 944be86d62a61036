// SPDX-License-Identifier: Apache-2.0
//
// The host's side of object ids: dense vectors per type. An id is an index, a generation and a
// type; all three must match. What a guest says about an object that is gone is not an error, only
// without effect: it may have been on its way when the object went.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "proto/decoder.h"
#include "proto/object_id.h"

namespace vesper::server {

class HostDevice;

/// The objects of one session. Not thread-safe: only the session's thread uses it.
class ObjectTable : public proto::HandleResolver {
 public:
  /// Makes a native handle known under a new id. `device` is the object's device, or null.
  /// False if the id is malformed or too far ahead: no guest of ours sends that.
  bool Add(proto::ObjectId id, uint64_t handle, HostDevice* device);
  /// The id exists, the object does not: everything that names it is skipped.
  bool AddPoisoned(proto::ObjectId id);
  void Remove(proto::ObjectId id);
  void RemoveAllOf(const HostDevice* device);

  /// What is broken exists, and can only be destroyed: a command buffer whose recording is
  /// incomplete (until it begins anew), a resource that could not be bound, a set whose update was
  /// skipped.
  void SetBroken(proto::ObjectId id, bool broken);
  /// The same by the native handle, for what has just failed: looks at all objects of the type.
  void Break(proto::HandleType type, uint64_t handle);

  /// The device of a device-level object, or null.
  HostDevice* DeviceOf(proto::ObjectId id) const;
  /// The native handle, or 0 for ids that are dead, poisoned or malformed.
  uint64_t Handle(proto::ObjectId id) const;

  // HandleResolver
  void BeginCommand() override { device_ = nullptr; }
  proto::Resolution Resolve(proto::HandleType type, proto::ObjectId id, uint64_t* handle) override;
  /// The device that the command being decoded works on, as its first handle told.
  HostDevice* device() const { return device_; }

 private:
  enum class State : uint8_t { kFree, kLive, kPoisoned };
  struct Slot {
    uint32_t generation = 0;
    State state = State::kFree;
    bool broken = false;
    uint64_t handle = 0;
    HostDevice* device = nullptr;
  };

  Slot* Claim(proto::ObjectId id);
  Slot* Find(proto::ObjectId id);
  const Slot* Find(proto::ObjectId id) const;

  std::array<std::vector<Slot>, proto::kHandleTypeCount> slots_;
  HostDevice* device_ = nullptr;
};

}  // namespace vesper::server
