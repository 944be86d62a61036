// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <mutex>
#include <vector>

#include "proto/object_id.h"

namespace vesper::client {

/// Gives ids and keeps the guest state of non-dispatchable objects that have some. Thread-safe.
class ObjectStore {
 public:
  ObjectStore() = default;
  ObjectStore(const ObjectStore&) = delete;
  ObjectStore& operator=(const ObjectStore&) = delete;

  /// A new id, or 0 when there are none left or memory is out.
  proto::ObjectId Allocate(proto::HandleType type, void* state = nullptr);
  /// The id may be given again, with another generation. Returns its state; null for ids that are
  /// not live.
  void* Free(proto::ObjectId id);

  /// The state given for a live id, else null.
  void* State(proto::ObjectId id) const;
  void SetState(proto::ObjectId id, void* state);

 private:
  struct Slot {
    uint32_t generation = 0;
    bool live = false;
    void* state = nullptr;
  };
  struct Table {
    mutable std::mutex mutex;
    std::vector<Slot> slots;
    std::vector<uint32_t> free;
  };

  std::array<Table, proto::kHandleTypeCount> tables_;
};

}  // namespace vesper::client
