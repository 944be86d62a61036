// SPDX-License-Identifier: Apache-2.0
//
// Results of queries, told to the guest before it asks. A pool that the guest asks about is
// watched: when work is done, the queries that it has touched are read, and what the guest does not
// know of them is pushed, ahead of the progress that lets the program know that the work is done.
//
// What is read must be what the program would read now. So a query is read only while no work that
// touches it is under way; if there is some, or may be, the guest is told that it doesn't know the
// query any more, and asks. Drivers that wait in the question (HostInstance::PhysicalDevice) do so
// for all work, and are asked only while there is none. Submissions wait meanwhile.
//
// Resets by the host: the guest knows of them first. It counts them, as the worker does when it
// executes them; each push says how many it knows of, and tells the guest nothing about what was
// reset since.
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "proto/object_id.h"
#include "server/byte_ranges.h"
#include "server/host_tables_gen.h"
#include "server/outbox.h"

namespace vesper::server {

/// Queries by their indices.
using TouchedQueries = std::unordered_map<VkQueryPool, ByteRanges>;
void AddQueries(const TouchedQueries& more, TouchedQueries& queries);

/// The query pools of one device. Thread-safe.
class QueryResults {
 public:
  QueryResults(const DeviceTable& vk, VkDevice device, Outbox& outbox)
      : vk_(vk), device_(device), outbox_(outbox) {}

  void Add(VkQueryPool pool, const VkQueryPoolCreateInfo& info);
  /// The pool is about to be destroyed.
  void Remove(VkQueryPool pool);
  /// The guest asks about the pool. Nothing happens for pools whose results the guest cannot read
  /// by itself, as those of performance queries.
  void Watch(VkQueryPool pool, proto::ObjectId id);
  /// Has the driver reset queries.
  void Reset(VkQueryPool pool, uint32_t first, uint32_t count);

  /// False if there is nothing to tell.
  bool IsWatching() const { return watched_.load() != 0; }
  /// Held while work that touches queries is added to what is under way, and from before that is
  /// looked at until Tell has returned.
  std::unique_lock<std::mutex> Lock() { return std::unique_lock(mutex_); }
  /// Pushes the results of `finished`, and that those of `unknown` are not known; both may name the
  /// same. Under the lock.
  void Tell(const TouchedQueries& finished, const TouchedQueries& unknown);

 private:
  struct Pool {
    uint32_t count = 0;      // of queries
    uint32_t values = 0;     // of each
    proto::ObjectId id = 0;  // 0: not watched
    uint64_t resets = 0;     // since it is watched
    /// What the guest knows: for each query its state and its values.
    std::vector<uint64_t> told;
  };

  void Read(VkQueryPool handle, Pool& pool, const ByteRange& range);
  /// Pushes what differs from what was told.
  void Push(Pool& pool, uint64_t first, const std::vector<uint64_t>& words);

  const DeviceTable& vk_;
  const VkDevice device_;
  Outbox& outbox_;
  std::atomic<size_t> watched_{0};
  std::mutex mutex_;
  std::unordered_map<VkQueryPool, Pool> pools_;
};

}  // namespace vesper::server
