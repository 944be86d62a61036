// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "proto/object_id.h"

namespace vesper::server {

/// A command that the session executes.
struct ExecutedCommand {
  /// Its place among all commands of the stream, from 1. That is the guest's order: of each of its
  /// threads, and of what happened in one thread because of another.
  uint64_t position;
  uint16_t number;
  std::span<const proto::ObjectId> named;      ///< all ids, but for those that are made
  std::span<const proto::ObjectId> made;       ///< objects that it makes
  std::span<const proto::ObjectId> destroyed;  ///< objects that it destroys
  proto::ObjectId recorded_into;               ///< the command buffer of a recorded command, or 0
};

/// Sees what a session executes, and when: for tests of its order. Thread-safe.
class CommandObserver {
 public:
  virtual ~CommandObserver() = default;
  /// The driver will be called.
  virtual void Begin(const ExecutedCommand& command) = 0;
  /// The command has been executed, whatever came of it.
  virtual void End(const ExecutedCommand& command) = 0;
};

}  // namespace vesper::server
