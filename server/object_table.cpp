// SPDX-License-Identifier: Apache-2.0
#include "server/object_table.h"

#include "proto/limits.h"

namespace vesper::server {
namespace {

bool IsWellFormed(proto::ObjectId id) {
  const uint8_t type = proto::ObjectTypeByte(id);
  return type != 0 && type < proto::kHandleTypeCount &&
         proto::ObjectIndex(id) < proto::kMaxObjectIndex;
}

/// Guests give indices densely, but commands of several threads may come in another order.
constexpr size_t kMaxGap = 1u << 16;

}  // namespace

ObjectTable::Slot* ObjectTable::Claim(proto::ObjectId id) {
  if (!IsWellFormed(id)) {
    return nullptr;
  }
  std::vector<Slot>& slots = slots_[proto::ObjectTypeByte(id)];
  const uint32_t index = proto::ObjectIndex(id);
  if (index >= slots.size()) {
    if (index - slots.size() > kMaxGap) {
      return nullptr;
    }
    slots.resize(index + 1);
  }
  slots[index] = Slot{proto::ObjectGeneration(id), State::kFree, false, 0, nullptr};
  return &slots[index];
}

const ObjectTable::Slot* ObjectTable::Find(proto::ObjectId id) const {
  if (!IsWellFormed(id)) {
    return nullptr;
  }
  const std::vector<Slot>& slots = slots_[proto::ObjectTypeByte(id)];
  const uint32_t index = proto::ObjectIndex(id);
  if (index >= slots.size() || slots[index].generation != proto::ObjectGeneration(id)) {
    return nullptr;
  }
  return &slots[index];
}

ObjectTable::Slot* ObjectTable::Find(proto::ObjectId id) {
  return const_cast<Slot*>(static_cast<const ObjectTable*>(this)->Find(id));
}

bool ObjectTable::Add(proto::ObjectId id, uint64_t handle, HostDevice* device) {
  Slot* slot = Claim(id);
  if (slot == nullptr) {
    return false;
  }
  slot->state = State::kLive;
  slot->handle = handle;
  slot->device = device;
  return true;
}

bool ObjectTable::AddPoisoned(proto::ObjectId id) {
  Slot* slot = Claim(id);
  if (slot == nullptr) {
    return false;
  }
  slot->state = State::kPoisoned;
  return true;
}

void ObjectTable::Remove(proto::ObjectId id) {
  if (Slot* slot = Find(id)) {
    slot->state = State::kFree;
    slot->handle = 0;
    slot->device = nullptr;
  }
}

void ObjectTable::RemoveAllOf(const HostDevice* device) {
  for (std::vector<Slot>& slots : slots_) {
    for (Slot& slot : slots) {
      if (slot.device == device) {
        slot.state = State::kFree;
        slot.handle = 0;
        slot.device = nullptr;
      }
    }
  }
}

void ObjectTable::SetBroken(proto::ObjectId id, bool broken) {
  if (Slot* slot = Find(id)) {
    slot->broken = broken;
  }
}

void ObjectTable::Break(proto::HandleType type, uint64_t handle) {
  for (Slot& slot : slots_[static_cast<size_t>(type)]) {
    if (slot.state == State::kLive && slot.handle == handle) {
      slot.broken = true;
    }
  }
}

HostDevice* ObjectTable::DeviceOf(proto::ObjectId id) const {
  const Slot* slot = Find(id);
  return slot != nullptr ? slot->device : nullptr;
}

uint64_t ObjectTable::Handle(proto::ObjectId id) const {
  const Slot* slot = Find(id);
  return slot != nullptr && slot->state == State::kLive ? slot->handle : 0;
}

proto::Resolution ObjectTable::Resolve(proto::HandleType type, proto::ObjectId id,
                                       uint64_t* handle) {
  if (!IsWellFormed(id) || proto::ObjectTypeByte(id) != static_cast<uint8_t>(type)) {
    return proto::Resolution::kInvalid;
  }
  const Slot* slot = Find(id);
  if (slot == nullptr || slot->state == State::kFree) {
    return proto::Resolution::kUnavailable;
  }
  if (slot->state == State::kPoisoned) {
    return proto::Resolution::kPoisoned;
  }
  // Objects of one device must not meet another device's driver.
  if (slot->device != nullptr) {
    if (device_ == nullptr) {
      device_ = slot->device;
    } else if (device_ != slot->device) {
      return proto::Resolution::kInvalid;
    }
  }
  *handle = slot->handle;
  return slot->broken ? proto::Resolution::kBroken : proto::Resolution::kResolved;
}

}  // namespace vesper::server
