// SPDX-License-Identifier: Apache-2.0
#include "server/query_results.h"

#include <algorithm>
#include <bit>

#include "proto/query_state.h"
#include "proto/records_gen.h"

namespace vesper::server {
namespace {

/// A pool with more is not watched: what was told of it would take much memory.
constexpr uint64_t kMaxWords = 1u << 20;

/// How many numbers the result of one query is; 0 for those that the guest doesn't read by itself.
uint32_t CountValues(const VkQueryPoolCreateInfo& info) {
  switch (info.queryType) {
    case VK_QUERY_TYPE_OCCLUSION:
    case VK_QUERY_TYPE_TIMESTAMP:
    case VK_QUERY_TYPE_PRIMITIVES_GENERATED_EXT:
    case VK_QUERY_TYPE_MESH_PRIMITIVES_GENERATED_EXT:
    case VK_QUERY_TYPE_ACCELERATION_STRUCTURE_COMPACTED_SIZE_KHR:
    case VK_QUERY_TYPE_ACCELERATION_STRUCTURE_SERIALIZATION_SIZE_KHR:
    case VK_QUERY_TYPE_ACCELERATION_STRUCTURE_SERIALIZATION_BOTTOM_LEVEL_POINTERS_KHR:
    case VK_QUERY_TYPE_ACCELERATION_STRUCTURE_SIZE_KHR:
    case VK_QUERY_TYPE_ACCELERATION_STRUCTURE_COMPACTED_SIZE_NV:
    case VK_QUERY_TYPE_MICROMAP_COMPACTED_SIZE_EXT:
    case VK_QUERY_TYPE_MICROMAP_SERIALIZATION_SIZE_EXT:
      return 1;
    case VK_QUERY_TYPE_TRANSFORM_FEEDBACK_STREAM_EXT:
      return 2;
    case VK_QUERY_TYPE_PIPELINE_STATISTICS:
      return static_cast<uint32_t>(std::popcount(info.pipelineStatistics));
    default:
      return 0;
  }
}

}  // namespace

void AddQueries(const TouchedQueries& more, TouchedQueries& queries) {
  for (const auto& [pool, ranges] : more) {
    queries[pool].Add(ranges);
  }
}

void QueryResults::Add(VkQueryPool pool, const VkQueryPoolCreateInfo& info) {
  const uint32_t values = CountValues(info);
  if (values == 0 || (1 + values) * uint64_t{info.queryCount} > kMaxWords) {
    return;
  }
  const std::lock_guard lock(mutex_);
  pools_[pool] = {info.queryCount, values, 0, 0, {}};
}

void QueryResults::Remove(VkQueryPool pool) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  if (found != pools_.end()) {
    watched_ -= found->second.id != 0 ? 1 : 0;
    pools_.erase(found);
  }
}

void QueryResults::Watch(VkQueryPool pool, proto::ObjectId id) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  if (found == pools_.end() || found->second.id != 0) {
    return;
  }
  Pool& watched = found->second;
  watched.id = id;
  watched.told.assign(size_t{watched.count} * (1 + watched.values), proto::kQueryUnknown);
  ++watched_;
}

void QueryResults::Reset(VkQueryPool handle, uint32_t first, uint32_t count) {
  const std::lock_guard lock(mutex_);
  if (vk_.vkResetQueryPool != nullptr) {
    vk_.vkResetQueryPool(device_, handle, first, count);
  }
  const auto found = pools_.find(handle);
  if (found == pools_.end() || found->second.id == 0) {
    return;
  }
  Pool& pool = found->second;
  ++pool.resets;
  const uint32_t begin = std::min(first, pool.count);
  for (uint32_t i = begin; i < begin + std::min(count, pool.count - begin); ++i) {
    // The guest has taken notice by itself, of what it knew.
    uint64_t& state = pool.told[size_t{i} * (1 + pool.values)];
    state = state == proto::kQueryUnknown ? state : uint64_t{proto::kQueryUnavailable};
  }
}

void QueryResults::Tell(const TouchedQueries& finished, const TouchedQueries& unknown) {
  for (const auto& [handle, ranges] : unknown) {
    const auto found = pools_.find(handle);
    if (found == pools_.end() || found->second.id == 0) {
      continue;
    }
    Pool& pool = found->second;
    const ByteRanges in_pool = ranges.And({0, pool.count});
    for (const ByteRange& range : in_pool.ranges()) {
      Push(pool, range.begin,
           std::vector<uint64_t>((range.end - range.begin) * (1 + pool.values),
                                 proto::kQueryUnknown));
    }
  }
  for (const auto& [handle, ranges] : finished) {
    const auto found = pools_.find(handle);
    if (found == pools_.end() || found->second.id == 0) {
      continue;
    }
    ByteRanges known = ranges.And({0, found->second.count});
    if (const auto others = unknown.find(handle); others != unknown.end()) {
      known = known.Without(others->second);
    }
    for (const ByteRange& range : known.ranges()) {
      Read(handle, found->second, range);
    }
  }
}

void QueryResults::Read(VkQueryPool handle, Pool& pool, const ByteRange& range) {
  const uint64_t count = range.end - range.begin;
  const uint64_t each = 1 + pool.values;
  // The driver gives availability behind the values.
  std::vector<uint64_t> given(count * each, 0);
  const VkResult result = vk_.vkGetQueryPoolResults(
      device_, handle, static_cast<uint32_t>(range.begin), static_cast<uint32_t>(count),
      given.size() * sizeof(uint64_t), given.data(), each * sizeof(uint64_t),
      VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT);
  std::vector<uint64_t> words(given.size(), proto::kQueryUnknown);
  if (result == VK_SUCCESS || result == VK_NOT_READY) {
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t* const values = &given[i * each];
      const bool is_available = values[pool.values] != 0;
      words[i * each] = is_available ? proto::kQueryAvailable : proto::kQueryUnavailable;
      for (uint64_t k = 0; is_available && k < pool.values; ++k) {
        words[i * each + 1 + k] = values[k];
      }
    }
  }
  Push(pool, range.begin, words);
}

void QueryResults::Push(Pool& pool, uint64_t first, const std::vector<uint64_t>& words) {
  const uint64_t each = 1 + pool.values;
  const uint64_t count = words.size() / each;
  const auto is_news = [&](uint64_t i) {
    const auto* const told = &pool.told[(first + i) * each];
    const auto* const now = &words[i * each];
    // Values count only if there are some.
    return *told != *now || (*now == proto::kQueryAvailable && !std::equal(now, now + each, told));
  };
  for (uint64_t i = 0; i < count;) {
    if (!is_news(i)) {
      ++i;
      continue;
    }
    uint64_t end = i + 1;
    while (end < count && is_news(end)) {
      ++end;
    }
    const auto begin = words.begin() + static_cast<ptrdiff_t>(i * each);
    const auto size = static_cast<ptrdiff_t>((end - i) * each);
    std::copy_n(begin, size, pool.told.begin() + static_cast<ptrdiff_t>((first + i) * each));
    const proto::Args_vesperQueryResults args{pool.id,
                                              pool.resets,
                                              static_cast<uint32_t>(first + i),
                                              pool.values,
                                              static_cast<uint64_t>(size),
                                              &words[i * each]};
    outbox_.Push(proto::command_number::vesperQueryResults, &args);
    i = end;
  }
}

}  // namespace vesper::server
