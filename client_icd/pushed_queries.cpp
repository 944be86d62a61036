// SPDX-License-Identifier: Apache-2.0
#include "client_icd/pushed_queries.h"

#include <algorithm>
#include <cstring>

#include "proto/query_state.h"

namespace vesper::client {
namespace {

/// No pool has more (server/session_device.cpp).
constexpr uint64_t kMaxQueries = 1u << 24;
constexpr uint32_t kMaxValues = 64;
/// Told at a time: more than all that a host keeps of a few pools (server/query_results.cpp).
constexpr size_t kMaxToldWords = 1u << 24;
/// Resets that are remembered one by one; more count as one of everything, after which nothing is
/// known.
constexpr size_t kMaxResets = 1024;

/// The flags that say how results are written, and not which.
constexpr VkQueryResultFlags kKnownFlags = VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT |
                                           VK_QUERY_RESULT_WITH_AVAILABILITY_BIT |
                                           VK_QUERY_RESULT_PARTIAL_BIT;

}  // namespace

void PushedQueries::Watch(proto::ObjectId pool, const std::function<void()>& post) {
  const std::lock_guard lock(mutex_);
  if (pools_.try_emplace(pool).second) {
    post();
  }
}

void PushedQueries::Reset(proto::ObjectId id, uint32_t first, uint32_t count,
                          const std::function<void()>& post) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(id);
  if (found != pools_.end()) {
    Pool& pool = found->second;
    ++pool.resets;
    const uint64_t end = uint64_t{first} + count;
    if (pool.recent.size() >= kMaxResets) {
      pool.recent.assign(1, {pool.resets, 0, kMaxQueries});
      pool.queries.clear();
    } else {
      pool.recent.push_back({pool.resets, first, end});
    }
    if (count < pool.queries.size()) {
      for (uint32_t i = first; i < end; ++i) {
        if (const auto query = pool.queries.find(i); query != pool.queries.end()) {
          query->second.state = proto::kQueryUnavailable;
        }
      }
    } else {
      for (auto& [index, query] : pool.queries) {
        query.state =
            index >= first && index < end ? uint64_t{proto::kQueryUnavailable} : query.state;
      }
    }
  }
  post();
}

void PushedQueries::Forget(proto::ObjectId pool) {
  const std::lock_guard lock(mutex_);
  pools_.erase(pool);
}

bool PushedQueries::Apply(const proto::Args_vesperQueryResults& results) {
  const uint64_t each = 1 + uint64_t{results.valueCount};
  const uint64_t count = results.wordCount / each;
  if (results.valueCount > kMaxValues || results.wordCount % each != 0 ||
      results.firstQuery + count > kMaxQueries) {
    return false;
  }
  told_words_ += results.wordCount + 1;
  if (told_words_ > kMaxToldWords) {
    return false;
  }
  told_.push_back({results, {results.pWords, results.pWords + results.wordCount}});
  if (results.isMoreToCome != VK_FALSE) {
    return true;
  }
  {
    const std::lock_guard lock(mutex_);
    for (const Told& told : told_) {
      TakeEffect(told);
    }
  }
  told_.clear();
  told_words_ = 0;
  return true;
}

void PushedQueries::TakeEffect(const Told& told) {
  const proto::Args_vesperQueryResults& results = told.results;
  const auto found = pools_.find(results.queryPool);
  if (found == pools_.end()) {
    return;  // destroyed meanwhile
  }
  const uint64_t each = 1 + uint64_t{results.valueCount};
  Pool& pool = found->second;
  pool.looks_over = std::max(pool.looks_over, results.looks);
  std::erase_if(pool.recent,
                [&](const HostReset& reset) { return reset.number <= results.resets; });
  for (uint64_t i = 0; i < told.words.size() / each; ++i) {
    const auto index = static_cast<uint32_t>(results.firstQuery + i);
    const bool is_stale = std::ranges::any_of(pool.recent, [&](const HostReset& reset) {
      return index >= reset.first && index < reset.end;
    });
    if (is_stale) {
      continue;
    }
    const uint64_t* const words = &told.words[i * each];
    if (*words == proto::kQueryAvailable || *words == proto::kQueryUnavailable) {
      Query& query = pool.queries[index];
      query.state = *words;
      query.values.assign(words + 1, words + each);
    } else {
      pool.queries.erase(index);
    }
  }
}

std::optional<VkResult> PushedQueries::Get(proto::ObjectId id, uint32_t first, uint32_t count,
                                           void* data, VkDeviceSize stride,
                                           VkQueryResultFlags flags, bool is_idle,
                                           const std::function<void()>& look) {
  if ((flags & ~kKnownFlags) != 0) {
    return std::nullopt;
  }
  const bool with_availability = (flags & VK_QUERY_RESULT_WITH_AVAILABILITY_BIT) != 0;
  // Copied: the program's memory must not be touched with the lock held (downloads.h).
  std::vector<Query> results(count);
  VkResult result = VK_SUCCESS;
  {
    const std::lock_guard lock(mutex_);
    const auto found = pools_.find(id);
    if (found == pools_.end()) {
      return std::nullopt;
    }
    Pool& pool = found->second;
    bool is_looked_at = true;
    for (uint32_t i = 0; i < count; ++i) {
      const auto query = pool.queries.find(first + i);
      if (query == pool.queries.end()) {
        return std::nullopt;
      }
      results[i] = query->second;
      if (results[i].state != proto::kQueryAvailable) {
        // Who waits, or wants what there is of it, asks the driver.
        if ((flags & (VK_QUERY_RESULT_WAIT_BIT | VK_QUERY_RESULT_PARTIAL_BIT)) != 0) {
          return std::nullopt;
        }
        result = VK_NOT_READY;
        is_looked_at = is_looked_at && results[i].look > pool.looks_over;
      }
    }
    if (result == VK_NOT_READY && !is_idle && !is_looked_at) {
      ++pool.looks;
      for (uint32_t i = 0; i < count; ++i) {
        pool.queries[first + i].look = pool.looks;
      }
      look();
    }
  }
  const size_t bytes = (flags & VK_QUERY_RESULT_64_BIT) != 0 ? sizeof(uint64_t) : sizeof(uint32_t);
  for (uint32_t i = 0; i < count; ++i) {
    const Query& query = results[i];
    auto* const target = static_cast<std::byte*>(data) + i * stride;
    const bool is_available = query.state == proto::kQueryAvailable;
    // What doesn't fit into 32 bits may wrap, says the specification: the lower half, which is the
    // first on the machines that there are.
    for (size_t k = 0; is_available && k < query.values.size(); ++k) {
      std::memcpy(target + k * bytes, &query.values[k], bytes);
    }
    if (with_availability) {
      const uint64_t availability = is_available ? 1 : 0;
      std::memcpy(target + query.values.size() * bytes, &availability, bytes);
    }
  }
  return result;
}

}  // namespace vesper::client
