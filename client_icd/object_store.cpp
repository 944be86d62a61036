// SPDX-License-Identifier: Apache-2.0
#include "client_icd/object_store.h"

#include <new>
#include <utility>

#include "proto/limits.h"

namespace vesper::client {

proto::ObjectId ObjectStore::Allocate(proto::HandleType type, void* state) {
  Table& table = tables_[static_cast<size_t>(type)];
  const std::lock_guard lock(table.mutex);
  uint32_t index = 0;
  if (!table.free.empty()) {
    index = table.free.back();
    table.free.pop_back();
  } else {
    if (table.slots.size() >= proto::kMaxObjectIndex) {
      return 0;
    }
    index = static_cast<uint32_t>(table.slots.size());
    try {
      table.slots.emplace_back();
      table.free.reserve(table.slots.capacity());  // so that Free never needs memory
    } catch (const std::bad_alloc&) {
      table.slots.resize(index);
      return 0;
    }
  }
  Slot& slot = table.slots[index];
  ++slot.generation;
  slot.live = true;
  slot.state = state;
  return proto::MakeObjectId(type, slot.generation, index);
}

void* ObjectStore::Free(proto::ObjectId id) {
  const uint8_t type = proto::ObjectTypeByte(id);
  if (type == 0 || type >= proto::kHandleTypeCount) {
    return nullptr;
  }
  Table& table = tables_[type];
  const std::lock_guard lock(table.mutex);
  const uint32_t index = proto::ObjectIndex(id);
  if (index >= table.slots.size()) {
    return nullptr;
  }
  Slot& slot = table.slots[index];
  if (!slot.live || slot.generation != proto::ObjectGeneration(id)) {
    return nullptr;
  }
  slot.live = false;
  void* state = std::exchange(slot.state, nullptr);
  // An index whose generations are used up is never given again.
  if (slot.generation < proto::kMaxGeneration) {
    table.free.push_back(index);
  }
  return state;
}

void* ObjectStore::State(proto::ObjectId id) const {
  const uint8_t type = proto::ObjectTypeByte(id);
  if (type == 0 || type >= proto::kHandleTypeCount) {
    return nullptr;
  }
  const Table& table = tables_[type];
  const std::lock_guard lock(table.mutex);
  const uint32_t index = proto::ObjectIndex(id);
  if (index >= table.slots.size()) {
    return nullptr;
  }
  const Slot& slot = table.slots[index];
  return slot.live && slot.generation == proto::ObjectGeneration(id) ? slot.state : nullptr;
}

void ObjectStore::SetState(proto::ObjectId id, void* state) {
  const uint8_t type = proto::ObjectTypeByte(id);
  if (type == 0 || type >= proto::kHandleTypeCount) {
    return;
  }
  Table& table = tables_[type];
  const std::lock_guard lock(table.mutex);
  const uint32_t index = proto::ObjectIndex(id);
  if (index < table.slots.size() && table.slots[index].live &&
      table.slots[index].generation == proto::ObjectGeneration(id)) {
    table.slots[index].state = state;
  }
}

}  // namespace vesper::client
