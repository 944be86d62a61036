// SPDX-License-Identifier: Apache-2.0
//
// Results of queries that the host has told. A pool that the program has asked about once is
// watched by the host (server/query_results.h), which pushes the results of each batch ahead of the
// progress that says that it is done; from then on asking is looking here. What is not known is
// called for.
//
//   - What is available here was, when the host last had a reason to look, and what a later batch
//     does to it the program cannot know before the progress of that batch, or another call, tells;
//     and ahead of those comes what has changed.
//   - That a query is *not* available is sure only if no work is under way. Else it may have become
//     available in the middle of a batch: the host is asked to look, one look at a time, and until
//     it has told what it sees the query is not available, as for a program that asked sooner.
//     Nothing that the program knows by other ways is newer: the host tells this first.
//   - Resets from the program are noted here when they are posted. A push that the host has sent
//     before it heard of one tells nothing about what was reset: resets are counted on both sides.
//
// Ids are never given twice, so what comes late for a pool that is gone finds nothing.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "proto/object_id.h"
#include "proto/records_gen.h"

namespace vesper::client {

/// The watched pools of a session. Thread-safe; the reader takes its lock, too.
class PushedQueries {
 public:
  /// The program asks about the pool. The first time `post`, which tells the host, is called.
  void Watch(proto::ObjectId pool, const std::function<void()>& post);
  /// Queries are reset: `post` is called in any case.
  void Reset(proto::ObjectId pool, uint32_t first, uint32_t count,
             const std::function<void()>& post);
  void Forget(proto::ObjectId pool);
  /// The host tells results; they take effect when no more are to come. False if they are
  /// malformed. Only the reader's thread.
  bool Apply(const proto::Args_vesperQueryResults& results);

  /// vkGetQueryPoolResults, if all that it takes is known; `is_idle`: no work was under way before
  /// the call. `look` is called, and has the host look at what was asked for, if some of it may
  /// have become available.
  std::optional<VkResult> Get(proto::ObjectId pool, uint32_t first, uint32_t count, void* data,
                              VkDeviceSize stride, VkQueryResultFlags flags, bool is_idle,
                              const std::function<void()>& look);

 private:
  struct Query {
    uint64_t state;
    std::vector<uint64_t> values;
    uint64_t look = 0;  // the last one at this query
  };
  struct HostReset {
    uint64_t number;
    uint32_t first;
    uint64_t end;
  };
  struct Told {
    proto::Args_vesperQueryResults results;
    std::vector<uint64_t> words;
  };
  struct Pool {
    uint64_t resets = 0;
    uint64_t looks = 0;             // posted
    uint64_t looks_over = 0;        // told by the host
    std::vector<HostReset> recent;  // that pushes have not shown to be known
    std::unordered_map<uint32_t, Query> queries;
  };

  /// Under the lock.
  void TakeEffect(const Told& told);

  std::vector<Told> told_;  // and not in effect
  size_t told_words_ = 0;
  std::mutex mutex_;
  std::unordered_map<proto::ObjectId, Pool> pools_;
};

}  // namespace vesper::client
