// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_SERVER_STATISTICS_H_
#define VESPER_SERVER_STATISTICS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "proto/frame.h"

namespace vesper::server {

/// What one session asked for and what passed over its link, counted by the worker for the log's
/// line at the session's end. Any thread; nothing here waits.
class Statistics {
 public:
  Statistics();

  /// A command from the guest, before it is executed.
  /// False if the command is no call.
  bool NoteCall(const proto::Command& command);
  /// So many commands that are none.
  void NoteOthers(uint64_t count) { others_.fetch_add(count, std::memory_order_relaxed); }
  void NotePush() { pushes_.fetch_add(1, std::memory_order_relaxed); }
  /// Bytes of the link, both after compression.
  void NoteReceived(uint64_t bytes) { received_.fetch_add(bytes, std::memory_order_relaxed); }
  void NoteSent(uint64_t bytes) { sent_.fetch_add(bytes, std::memory_order_relaxed); }

  /// One sentence: how often the guest waited and for what most, and bytes.
  std::string Summary() const;

 private:
  const std::unique_ptr<std::atomic<uint64_t>[]> calls_;  // that wanted a reply, by wire number
  std::atomic<uint64_t> others_{0};
  std::atomic<uint64_t> pushes_{0};
  std::atomic<uint64_t> received_{0};
  std::atomic<uint64_t> sent_{0};
};

}  // namespace vesper::server

#endif  // VESPER_SERVER_STATISTICS_H_
