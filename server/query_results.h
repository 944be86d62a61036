// SPDX-License-Identifier: Apache-2.0
//
// Results of queries, told to the guest before it asks. A pool that the guest asks about is
// watched: when work is done, the queries that it has touched are read, and what the guest does not
// know of them is pushed, ahead of the progress that lets the program know that the work is done.
//
// What is read must be what the program would read now. So when work is done, a query is read only
// if no work that touches it is under way; if there is some, or may be, the guest is told that it
// doesn't know the query any more, and asks. Drivers that wait in the question
// (HostInstance::PhysicalDevice) do so for all work, and are asked only while there is none.
// Submissions wait meanwhile.
//
// A program that polls a query while work is under way has the guest ask to look at it, without
// waiting, one look at a time. That a query is still not available tells the program nothing, and
// is told as it is. That it has become available tells that other things have happened, too: before
// it goes what work under way may have done, and with it go the other queries that are polled,
// read again until nothing new is seen, so that none is told that is older than what another one
// lets the program know. Queries that nobody polls are not known any more.
// A driver that would wait is not asked: a query that work under way touches is not available, for
// whatever wrote it last, that work has to reset it first.
//
// Resets by the host: the guest knows of them first. It counts them, as the worker does when it
// executes them; each push says how many it knows of, and tells the guest nothing about what was
// reset since.
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "proto/object_id.h"
#include "proto/records_gen.h"
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

  /// Queries by pool and index.
  using Query = std::pair<VkQueryPool, uint32_t>;
  /// Results that were read, but not told yet.
  struct Sighting {
    uint64_t resets;              // of the pool, until then
    std::vector<uint64_t> told;   // the state and the values, as the guest knew them then
    std::vector<uint64_t> words;  // as they are
  };
  using Sightings = std::map<Query, Sighting>;
  /// What work that is under way does, and what that means for who asks the driver.
  struct Work {
    TouchedQueries touches;
    bool is_readable = true;  ///< asking the driver about a query does not wait
  };

  /// The program polls queries: what has changed is pushed, unless it is news of `work`. Then this
  /// is true, and Sight() and Tell() follow. Under the lock.
  bool Look(VkQueryPool pool, uint32_t first, uint32_t count, const Work& work);
  /// Reads the polled queries that `work` touches. Under the lock.
  Sightings Sight(const Work& work);
  /// False if Sight() would find none.
  bool HasPolled() const { return has_polled_.load(); }
  /// The guest's look at queries of the pool is over. Under the lock.
  void Answer(VkQueryPool pool);

  /// False if there is nothing to tell.
  bool IsWatching() const { return watched_.load() != 0; }
  /// Held while work that touches queries is added to what is under way, and from before that is
  /// looked at until Tell has returned.
  std::unique_lock<std::mutex> Lock() { return std::unique_lock(mutex_); }
  /// Pushes the results of `finished`, what was `seen` and not told by others meanwhile, and that
  /// the rest of `unknown` is not known; all may name the same. Under the lock.
  void Tell(const TouchedQueries& finished, const TouchedQueries& unknown,
            const Sightings& seen = {});

 private:
  struct Pool {
    uint32_t count = 0;      // of queries
    uint32_t values = 0;     // of each
    proto::ObjectId id = 0;  // 0: not watched
    uint64_t resets = 0;     // since it is watched
    uint64_t looks = 0;      // of the guest, that are over
    /// What the guest knows: for each query its state and its values.
    std::vector<uint64_t> told;
  };

  struct Message {
    proto::Args_vesperQueryResults args;
    std::vector<uint64_t> words;
  };

  /// The pool, if it is watched.
  Pool* Find(VkQueryPool handle);
  static std::span<const uint64_t> ToldOf(const Pool& pool, uint32_t query);
  /// What the driver says of queries: for each its state and its values.
  std::vector<uint64_t> Ask(VkQueryPool handle, const Pool& pool, const ByteRange& range) const;
  /// Pushes what differs from what was told.
  void Push(Pool& pool, uint64_t first, const std::vector<uint64_t>& words);
  void Send(const Pool& pool, uint64_t first, const uint64_t* words, uint64_t count);
  /// What is told at a time takes effect at a time: the program must not see a part of it.
  void SendAll();

  const DeviceTable& vk_;
  const VkDevice device_;
  Outbox& outbox_;
  std::atomic<size_t> watched_{0};
  std::atomic<bool> has_polled_{false};
  std::mutex mutex_;
  std::unordered_map<VkQueryPool, Pool> pools_;
  std::vector<Message> unsent_;
  /// So often each was read since the guest wanted to know.
  std::map<Query, uint32_t> polled_;
};

}  // namespace vesper::server
