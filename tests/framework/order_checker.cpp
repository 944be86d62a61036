// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/order_checker.h"

#include <algorithm>

#include "proto/record.h"
#include "proto/records_gen.h"

namespace vesper::tests {
namespace {

namespace number = proto::command_number;
using proto::HandleType;

constexpr size_t kMaxComplaints = 10;

bool Is(proto::ObjectId id, HandleType type) {
  return proto::ObjectTypeByte(id) == static_cast<uint8_t>(type);
}

// Where Vulkan says that host access must be externally synchronised, besides what is destroyed and
// recorded into.
bool IsSynchronised(uint16_t command, proto::ObjectId id) {
  switch (command) {
    case number::vkAllocateCommandBuffers:
    case number::vkFreeCommandBuffers:
    case number::vkResetCommandPool:
    case number::vkTrimCommandPool:
      return Is(id, HandleType::kCommandPool);
    case number::vkAllocateDescriptorSets:
    case number::vkFreeDescriptorSets:
    case number::vkResetDescriptorPool:
      return Is(id, HandleType::kDescriptorPool);
    case number::vkUpdateDescriptorSets:
      return Is(id, HandleType::kDescriptorSet);
    case number::vkQueueSubmit:
    case number::vkQueueSubmit2:
    case number::vkQueueBindSparse:
    case number::vkQueueWaitIdle:
    case number::vkQueueInsertDebugUtilsLabelEXT:
      return Is(id, HandleType::kQueue);
    default:
      return false;
  }
}

}  // namespace

void OrderChecker::AddTimeline(proto::ObjectId semaphore) {
  const std::lock_guard lock(mutex_);
  timelines_.insert(semaphore);
}

bool OrderChecker::IsOfBinarySemaphore(uint16_t command, proto::ObjectId id) const {
  // A wait is submitted after the signal that it waits for, and the next signal after that.
  return (command == number::vkQueueSubmit || command == number::vkQueueSubmit2 ||
          command == number::vkQueueBindSparse) &&
         Is(id, HandleType::kSemaphore) && !timelines_.contains(id);
}

void OrderChecker::Begin(const server::ExecutedCommand& command) {
  const std::lock_guard lock(mutex_);
  Execution& execution = executions_[command.position];
  execution.number = command.number;
  execution.begin = ++clock_;
  const auto is_destroyed = [&](proto::ObjectId id) {
    return std::find(command.destroyed.begin(), command.destroyed.end(), id) !=
           command.destroyed.end();
  };
  for (const proto::ObjectId id : command.named) {
    execution.uses.push_back({id, is_destroyed(id) || id == command.recorded_into ||
                                      IsSynchronised(command.number, id) ||
                                      IsOfBinarySemaphore(command.number, id)});
    if (command.number == number::vkAllocateCommandBuffers && Is(id, HandleType::kCommandPool)) {
      for (const proto::ObjectId made : command.made) {
        buffer_pool_[made] = id;
      }
    }
  }
  for (const proto::ObjectId id : command.made) {
    execution.uses.push_back({id, true});
  }
  // A pool must not be reset while what was recorded from it is pending.
  if (command.number == number::vkResetCommandPool ||
      command.number == number::vkDestroyCommandPool) {
    for (const auto& [buffer, pool] : buffer_pool_) {
      if (std::find(command.named.begin(), command.named.end(), pool) != command.named.end()) {
        execution.uses.push_back({buffer, true});
      }
    }
  }
  // Recording takes memory from the pool.
  if (const auto pool = buffer_pool_.find(command.recorded_into); pool != buffer_pool_.end()) {
    execution.uses.push_back({pool->second, true});
  }
  // What the primary holds of secondary command buffers must not change.
  if (command.number == number::vkCmdExecuteCommands) {
    for (const proto::ObjectId id : command.named) {
      if (const auto pool = buffer_pool_.find(id); pool != buffer_pool_.end()) {
        execution.uses.push_back({pool->second, true});
      }
    }
  }
}

void OrderChecker::End(const server::ExecutedCommand& command) {
  const std::lock_guard lock(mutex_);
  executions_[command.position].end = ++clock_;
}

size_t OrderChecker::commands() const {
  const std::lock_guard lock(mutex_);
  return executions_.size();
}

std::vector<std::string> OrderChecker::Complaints() const {
  struct Last {
    uint64_t end = 0;
    uint64_t position = 0;
    void Note(uint64_t other_end, uint64_t other_position) {
      if (other_end > end) {
        end = other_end;
        position = other_position;
      }
    }
  };
  struct Object {
    Last change;
    Last any;
  };
  const std::lock_guard lock(mutex_);
  std::vector<std::string> complaints;
  std::map<proto::ObjectId, Object> objects;
  const auto name = [&](uint64_t position) {
    return std::string(proto::CommandRecord(executions_.at(position).number)->name) + " (" +
           std::to_string(position) + ")";
  };
  for (const auto& [position, execution] : executions_) {
    // A command may name an object twice.
    std::map<proto::ObjectId, bool> uses;
    for (const Use& use : execution.uses) {
      uses[use.id] = uses[use.id] || use.changes;
    }
    for (const auto& [id, changes] : uses) {
      Object& object = objects[id];
      const Last& before = changes ? object.any : object.change;
      if (before.end >= execution.begin && complaints.size() < kMaxComplaints) {
        complaints.push_back(name(position) + " began before " + name(before.position) +
                             " had ended, and both need object " + std::to_string(id));
      }
    }
    for (const auto& [id, changes] : uses) {
      Object& object = objects[id];
      object.any.Note(execution.end, position);
      if (changes) {
        object.change.Note(execution.end, position);
      }
    }
  }
  return complaints;
}

}  // namespace vesper::tests
