// SPDX-License-Identifier: Apache-2.0
#include "server/object_table.h"

#include <bit>
#include <utility>

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

constexpr size_t kFirstChunk = 64;
constexpr uint64_t kChanging = UINT64_MAX;

size_t ChunkOf(size_t index) {
  return static_cast<size_t>(std::bit_width(index / kFirstChunk + 1)) - 1;
}
size_t ChunkBegin(size_t chunk) { return (kFirstChunk << chunk) - kFirstChunk; }
size_t ChunkSize(size_t chunk) { return kFirstChunk << chunk; }

uint64_t MakeTag(uint32_t generation, ObjectTable::State state) {
  return (uint64_t{generation} << 8) | static_cast<uint64_t>(state);
}
uint32_t GenerationOf(uint64_t tag) { return static_cast<uint32_t>(tag >> 8); }
ObjectTable::State StateOf(uint64_t tag) { return static_cast<ObjectTable::State>(tag & 0xff); }

}  // namespace

ObjectTable::~ObjectTable() {
  for (Slots& slots : slots_) {
    for (std::atomic<Slot*>& chunk : slots.chunks) {
      delete[] chunk.load();
    }
  }
}

ObjectTable::Slot* ObjectTable::SlotAt(proto::ObjectId id) const {
  if (!IsWellFormed(id)) {
    return nullptr;
  }
  const size_t index = proto::ObjectIndex(id);
  const size_t chunk = ChunkOf(index);
  Slot* slots = slots_[proto::ObjectTypeByte(id)].chunks[chunk].load(std::memory_order_acquire);
  return slots == nullptr ? nullptr : &slots[index - ChunkBegin(chunk)];
}

ObjectTable::Slot* ObjectTable::SlotOf(proto::ObjectId id) const {
  Slot* slot = SlotAt(id);
  return slot != nullptr && GenerationOf(slot->tag.load(std::memory_order_relaxed)) ==
                                proto::ObjectGeneration(id)
             ? slot
             : nullptr;
}

// A reader that sees one of the fields that Write has changed sees at least kChanging in the tag
// afterwards: each field is stored with release after it, and loaded with acquire before it.
std::optional<ObjectTable::Object> ObjectTable::Read(const Slot& slot, uint64_t* tag) {
  *tag = slot.tag.load(std::memory_order_acquire);
  Object object;
  object.state = StateOf(*tag);
  object.broken = slot.broken.load(std::memory_order_acquire);
  object.handle = slot.handle.load(std::memory_order_acquire);
  object.device = slot.device.load(std::memory_order_acquire);
  object.born = slot.born.load(std::memory_order_acquire);
  object.dies = slot.dies.load(std::memory_order_acquire);
  if (*tag == kChanging || slot.tag.load(std::memory_order_relaxed) != *tag) {
    return std::nullopt;
  }
  return object;
}

void ObjectTable::Write(Slot& slot, uint32_t generation, const Object& object) {
  slot.tag.store(kChanging, std::memory_order_relaxed);
  slot.broken.store(object.broken, std::memory_order_release);
  slot.handle.store(object.handle, std::memory_order_release);
  slot.device.store(object.device, std::memory_order_release);
  slot.born.store(object.born, std::memory_order_release);
  slot.dies.store(object.dies, std::memory_order_release);
  slot.tag.store(MakeTag(generation, object.state), std::memory_order_release);
}

std::optional<ObjectTable::Object> ObjectTable::Find(proto::ObjectId id) const {
  const Slot* slot = SlotAt(id);
  if (slot == nullptr) {
    return std::nullopt;
  }
  uint64_t tag = 0;
  std::optional<Object> object;
  do {
    object = Read(*slot, &tag);
  } while (!object);
  if (GenerationOf(tag) == proto::ObjectGeneration(id)) {
    return object;
  }
  if (kept_count_.load(std::memory_order_acquire) != 0) {
    const std::lock_guard lock(mutex_);
    if (const auto found = kept_.find(id); found != kept_.end()) {
      return found->second;
    }
  }
  return std::nullopt;
}

bool ObjectTable::Put(proto::ObjectId id, const Object& object) {
  if (!IsWellFormed(id)) {
    return false;
  }
  Slots& slots = slots_[proto::ObjectTypeByte(id)];
  const size_t index = proto::ObjectIndex(id);
  const uint32_t generation = proto::ObjectGeneration(id);
  const std::lock_guard lock(mutex_);
  if (index >= slots.size) {
    if (index - slots.size > kMaxGap) {
      return false;
    }
    for (size_t chunk = ChunkOf(slots.size); chunk <= ChunkOf(index); ++chunk) {
      if (slots.chunks[chunk].load(std::memory_order_relaxed) == nullptr) {
        slots.chunks[chunk].store(new Slot[ChunkSize(chunk)], std::memory_order_release);
      }
    }
    slots.size = index + 1;
  }
  Slot& slot = *SlotAt(id);
  uint64_t tag = 0;
  const std::optional<Object> before = Read(slot, &tag);  // only this thread writes now
  if (before && GenerationOf(tag) == generation && before->dies != kNever) {
    // What was destroyed while it was being made.
    Object same = object;
    same.dies = before->dies;
    Write(slot, generation, same);
    return true;
  }
  if (const auto found = kept_.find(id); found != kept_.end()) {
    const uint64_t dies = found->second.dies;
    found->second = object;
    found->second.dies = dies;
    return true;
  }
  if (before && before->state != State::kFree && before->dies != kNever) {
    kept_.emplace(proto::MakeObjectId(static_cast<proto::HandleType>(proto::ObjectTypeByte(id)),
                                      GenerationOf(tag), proto::ObjectIndex(id)),
                  *before);
    kept_count_.store(kept_.size(), std::memory_order_release);
  }
  Write(slot, generation, object);
  return true;
}

bool ObjectTable::Add(proto::ObjectId id, uint64_t handle, HostDevice* device) {
  Object object;
  object.state = State::kLive;
  object.handle = handle;
  object.device = device;
  return Put(id, object);
}

bool ObjectTable::AddPoisoned(proto::ObjectId id) {
  Object object;
  object.state = State::kPoisoned;
  return Put(id, object);
}

bool ObjectTable::AddPending(proto::ObjectId id, HostDevice* device, uint64_t place) {
  Object object;
  object.state = State::kPending;
  object.device = device;
  object.born = place;
  return Put(id, object);
}

void ObjectTable::SetDying(proto::ObjectId id, uint64_t place) {
  const std::lock_guard lock(mutex_);
  if (Slot* slot = SlotOf(id)) {
    uint64_t first = kNever;
    slot->dies.compare_exchange_strong(first, place, std::memory_order_release);
  }
}

void ObjectTable::Remove(proto::ObjectId id) {
  const std::lock_guard lock(mutex_);
  if (Slot* slot = SlotOf(id)) {
    Write(*slot, proto::ObjectGeneration(id), {});
  } else if (kept_.erase(id) != 0) {
    kept_count_.store(kept_.size(), std::memory_order_release);
  }
}

void ObjectTable::RemoveAllOf(const HostDevice* device) {
  const std::lock_guard lock(mutex_);
  for (Slots& slots : slots_) {
    for (size_t index = 0; index < slots.size; ++index) {
      const size_t chunk = ChunkOf(index);
      Slot& slot = slots.chunks[chunk].load()[index - ChunkBegin(chunk)];
      if (slot.device.load() == device) {
        Write(slot, GenerationOf(slot.tag.load()), {});
      }
    }
  }
  std::erase_if(kept_, [&](const auto& entry) { return entry.second.device == device; });
  kept_count_.store(kept_.size(), std::memory_order_release);
}

void ObjectTable::SetBroken(proto::ObjectId id, bool broken) {
  const std::lock_guard lock(mutex_);
  if (Slot* slot = SlotOf(id)) {
    slot->broken.store(broken, std::memory_order_release);
    breaks_.fetch_add(broken ? 1 : 0, std::memory_order_release);
  }
}

void ObjectTable::Break(proto::HandleType type, uint64_t handle) {
  const std::lock_guard lock(mutex_);
  Slots& slots = slots_[static_cast<size_t>(type)];
  for (size_t index = 0; index < slots.size; ++index) {
    const size_t chunk = ChunkOf(index);
    Slot& slot = slots.chunks[chunk].load()[index - ChunkBegin(chunk)];
    if (StateOf(slot.tag.load()) == State::kLive && slot.handle.load() == handle) {
      slot.broken.store(true, std::memory_order_release);
      breaks_.fetch_add(1, std::memory_order_release);
    }
  }
}

HostDevice* ObjectTable::DeviceOf(proto::ObjectId id) const {
  const std::optional<Object> object = Find(id);
  return object ? object->device : nullptr;
}

uint64_t ObjectTable::Handle(proto::ObjectId id) const {
  const std::optional<Object> object = Find(id);
  return object && object->state == State::kLive ? object->handle : 0;
}

void ObjectResolver::BeginCommand() {
  device_ = nullptr;
  pending_ = 0;
  has_absent_ = false;
  named_.clear();
}

proto::Resolution ObjectResolver::Resolve(proto::HandleType type, proto::ObjectId id,
                                          uint64_t* handle) {
  // It is a command's first object, so no other device can have been named before.
  if (id == last_buffer_ && id != 0 && type == proto::HandleType::kCommandBuffer &&
      device_ == nullptr && !collecting_) {
    device_ = last_device_;
    *handle = last_handle_;
    return proto::Resolution::kResolved;
  }
  if (!IsWellFormed(id) || proto::ObjectTypeByte(id) != static_cast<uint8_t>(type)) {
    return proto::Resolution::kInvalid;
  }
  if (collecting_) {
    named_.push_back(id);  // whatever it is now: a task may be about to change that
  }
  using State = ObjectTable::State;
  const std::optional<ObjectTable::Object> object = objects_.Find(id);
  // Whatever is made after this place isn't waited for: tasks wait for earlier ones only.
  const bool is_pending = object && object->state == State::kPending && object->born < place_;
  const bool is_there = object && (object->state == State::kLive || is_pending) && !object->broken;
  has_absent_ = has_absent_ || !is_there || is_pending || object->dies < place_;
  if (!object || object->dies < place_ || object->state == State::kFree ||
      (object->state == State::kPending && !is_pending)) {
    return proto::Resolution::kUnavailable;
  }
  if (object->state == State::kPoisoned) {
    return proto::Resolution::kPoisoned;
  }
  // Objects of one device must not meet another device's driver.
  if (object->device != nullptr) {
    if (device_ == nullptr) {
      device_ = object->device;
    } else if (device_ != object->device) {
      return proto::Resolution::kInvalid;
    }
  }
  if (is_pending) {
    pending_ = id;
  }
  *handle = is_pending ? 0 : object->handle;
  if (object->broken) {
    return proto::Resolution::kBroken;
  }
  if (type == proto::HandleType::kCommandBuffer && !is_pending && place_ != ObjectTable::kNever) {
    last_buffer_ = id;
    last_handle_ = object->handle;
    last_device_ = object->device;
  }
  return proto::Resolution::kResolved;
}

}  // namespace vesper::server
