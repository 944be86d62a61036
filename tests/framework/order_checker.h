// SPDX-License-Identifier: Apache-2.0
//
// Checks that a session has executed commands in an order that nobody can tell from the guest's.
//
// Commands are numbered as the guest appended them to its stream: what one of its threads did after
// another thread, because of it, has the greater number. Two commands may be executed in any order,
// and at the same time, unless one of them *changes* an object that the other names: it makes or
// destroys it, or is of those for which Vulkan asks the program to keep other threads away. The
// rules here are Vulkan's, written down apart from those by which the host schedules its tasks.
#ifndef VESPER_TESTS_FRAMEWORK_ORDER_CHECKER_H_
#define VESPER_TESTS_FRAMEWORK_ORDER_CHECKER_H_

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "server/command_observer.h"

namespace vesper::tests {

// Thread-safe.
class OrderChecker : public server::CommandObserver {
 public:
  void Begin(const server::ExecutedCommand& command) override;
  void End(const server::ExecutedCommand& command) override;

  // A semaphore that is about to be used is a timeline: those may be waited for before the signal.
  void AddTimeline(proto::ObjectId semaphore);

  // One sentence about each pair that was executed in the wrong order, or about the first few.
  // Nothing may be under way.
  std::vector<std::string> Complaints() const;
  size_t commands() const;

 private:
  struct Use {
    proto::ObjectId id;
    bool changes;
  };
  struct Execution {
    uint16_t number = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
    std::vector<Use> uses;
  };

  // True if the order among the commands of this kind that name the object counts.
  bool IsOfBinarySemaphore(uint16_t command, proto::ObjectId id) const;

  mutable std::mutex mutex_;
  uint64_t clock_ = 0;
  std::set<proto::ObjectId> timelines_;
  std::map<uint64_t, Execution> executions_;                // by position
  std::map<proto::ObjectId, proto::ObjectId> buffer_pool_;  // pools of command buffers
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_ORDER_CHECKER_H_
