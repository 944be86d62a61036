// SPDX-License-Identifier: Apache-2.0
#include "server/query_results.h"

#include <algorithm>
#include <bit>
#include <span>

#include "proto/query_state.h"

namespace vesper::server {
namespace {

/// A pool with more is not watched: what was told of it would take much memory.
constexpr uint64_t kMaxWords = 1u << 20;
/// Each polled query costs a question to the driver whenever something is told in the middle of
/// work.
constexpr size_t kMaxPolled = 256;
/// A query that was read as often without being asked for is not polled any more.
constexpr uint32_t kMaxUnaskedFor = 100;
/// So often polled queries are read in search of a moment at which nothing becomes available.
constexpr int kMaxReadings = 8;

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

/// True if work that is under way resets or writes the query.
bool Touches(const QueryResults::Work& work, const QueryResults::Query& query) {
  const auto found = work.touches.find(query.first);
  return found != work.touches.end() &&
         !found->second.And({query.second, query.second + 1}).IsEmpty();
}

/// True if who knows the state and values `now` knows more of what the work has done than by
/// `before`. Values count only if there are some.
bool IsNews(std::span<const uint64_t> before, std::span<const uint64_t> now) {
  return now[0] == proto::kQueryAvailable
             ? !std::ranges::equal(before, now)
             : before[0] == proto::kQueryAvailable && now[0] != proto::kQueryUnknown;
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
  pools_[pool] = {info.queryCount, values, 0, 0, 0, {}};
}

void QueryResults::Remove(VkQueryPool pool) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  if (found != pools_.end()) {
    watched_ -= found->second.id != 0 ? 1 : 0;
    pools_.erase(found);
    std::erase_if(polled_, [&](const auto& polled) { return polled.first.first == pool; });
  }
}

QueryResults::Pool* QueryResults::Find(VkQueryPool handle) {
  const auto found = pools_.find(handle);
  return found == pools_.end() || found->second.id == 0 ? nullptr : &found->second;
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
  Pool* const found = Find(handle);
  if (found == nullptr) {
    return;
  }
  Pool& pool = *found;
  ++pool.resets;
  const uint32_t begin = std::min(first, pool.count);
  for (uint32_t i = begin; i < begin + std::min(count, pool.count - begin); ++i) {
    // The guest has taken notice by itself, of what it knew.
    uint64_t& state = pool.told[size_t{i} * (1 + pool.values)];
    state = state == proto::kQueryUnknown ? state : uint64_t{proto::kQueryUnavailable};
  }
}

std::span<const uint64_t> QueryResults::ToldOf(const Pool& pool, uint32_t query) {
  const size_t each = 1 + pool.values;
  return std::span(pool.told).subspan(query * each, each);
}

bool QueryResults::Look(VkQueryPool handle, uint32_t first, uint32_t count, const Work& work) {
  Pool* const pool = Find(handle);
  if (pool == nullptr || first >= pool->count) {
    return false;
  }
  const size_t each = 1 + pool->values;
  bool has_news = false;
  for (uint32_t i = first; i < first + std::min(count, pool->count - first); ++i) {
    const std::span<const uint64_t> told = ToldOf(*pool, i);
    const bool is_touched = Touches(work, {handle, i});
    if (!is_touched && told[0] != proto::kQueryUnknown) {
      continue;  // nothing has changed it since
    }
    const bool is_polled =
        is_touched && (polled_.size() < kMaxPolled || polled_.contains({handle, i}));
    if (is_polled) {
      polled_[{handle, i}] = 0;
      has_polled_.store(true);
    }
    std::vector<uint64_t> words(each, is_touched ? proto::kQueryUnavailable : proto::kQueryUnknown);
    if (work.is_readable) {
      words = Ask(handle, *pool, {i, i + 1});
    }
    if (is_touched && IsNews(told, words)) {
      if (is_polled) {
        has_news = true;
        continue;
      }
      words.assign(each, proto::kQueryUnknown);
    }
    Push(*pool, i, words);
  }
  SendAll();
  return has_news;
}

QueryResults::Sightings QueryResults::Sight(const Work& work) {
  Sightings seen;
  if (!work.is_readable) {
    return seen;
  }
  for (auto& [query, unasked_for] : polled_) {
    if (Touches(work, query)) {
      ++unasked_for;
      const Pool& pool = *Find(query.first);
      const std::span<const uint64_t> told = ToldOf(pool, query.second);
      const std::vector<uint64_t> words(told.begin(), told.end());
      seen[query] = {pool.resets, words, words};
    }
  }
  bool has_news = true;
  for (int reading = 0; has_news && reading < kMaxReadings; ++reading) {
    has_news = false;
    for (auto& [query, sighting] : seen) {
      std::vector<uint64_t> words =
          Ask(query.first, *Find(query.first), {query.second, query.second + 1});
      has_news = has_news || IsNews(sighting.words, words);
      sighting.words = std::move(words);
    }
  }
  if (has_news) {
    seen.clear();  // what was seen last may be ahead of the rest
  }
  std::erase_if(polled_, [](const auto& polled) { return polled.second > kMaxUnaskedFor; });
  has_polled_.store(!polled_.empty());
  return seen;
}

void QueryResults::Answer(VkQueryPool handle) {
  if (Pool* const pool = Find(handle)) {
    ++pool->looks;
    Send(*pool, 0, nullptr, 0);
    SendAll();
  }
}

void QueryResults::Tell(const TouchedQueries& finished, const TouchedQueries& unknown,
                        const Sightings& seen) {
  TouchedQueries known;
  for (const auto& [query, sighting] : seen) {
    Pool* const pool = Find(query.first);
    if (pool == nullptr) {
      continue;
    }
    known[query.first].Add(query.second, query.second + 1);
    // What somebody else has told meanwhile, and what the program has reset, is newer.
    if (pool->resets == sighting.resets &&
        std::ranges::equal(ToldOf(*pool, query.second), sighting.told)) {
      Push(*pool, query.second, sighting.words);
    }
  }
  for (const auto& [handle, ranges] : unknown) {
    Pool* const pool = Find(handle);
    if (pool == nullptr) {
      continue;
    }
    ByteRanges in_pool = ranges.And({0, pool->count});
    if (const auto kept = known.find(handle); kept != known.end()) {
      in_pool = in_pool.Without(kept->second);
    }
    for (const ByteRange& range : in_pool.ranges()) {
      Push(*pool, range.begin,
           std::vector<uint64_t>((range.end - range.begin) * (1 + pool->values),
                                 proto::kQueryUnknown));
    }
  }
  for (const auto& [handle, ranges] : finished) {
    Pool* const pool = Find(handle);
    if (pool == nullptr) {
      continue;
    }
    ByteRanges is_sure = ranges.And({0, pool->count});
    if (const auto others = unknown.find(handle); others != unknown.end()) {
      is_sure = is_sure.Without(others->second);
    }
    for (const ByteRange& range : is_sure.ranges()) {
      Push(*pool, range.begin, Ask(handle, *pool, range));
    }
  }
  SendAll();
}

std::vector<uint64_t> QueryResults::Ask(VkQueryPool handle, const Pool& pool,
                                        const ByteRange& range) const {
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
  return words;
}

void QueryResults::Push(Pool& pool, uint64_t first, const std::vector<uint64_t>& words) {
  const uint64_t each = 1 + pool.values;
  const uint64_t count = words.size() / each;
  const auto differs = [&](uint64_t i) {
    const auto* const told = &pool.told[(first + i) * each];
    const auto* const now = &words[i * each];
    // Values count only if there are some.
    return *told != *now || (*now == proto::kQueryAvailable && !std::equal(now, now + each, told));
  };
  for (uint64_t i = 0; i < count;) {
    if (!differs(i)) {
      ++i;
      continue;
    }
    uint64_t end = i + 1;
    while (end < count && differs(end)) {
      ++end;
    }
    const uint64_t* const begin = &words[i * each];
    std::copy_n(begin, (end - i) * each,
                pool.told.begin() + static_cast<ptrdiff_t>((first + i) * each));
    Send(pool, first + i, begin, (end - i) * each);
    i = end;
  }
}

void QueryResults::Send(const Pool& pool, uint64_t first, const uint64_t* words, uint64_t count) {
  unsent_.push_back({{pool.id, pool.resets, pool.looks, VK_FALSE, static_cast<uint32_t>(first),
                      pool.values, count, nullptr},
                     {words, words + count}});
}

void QueryResults::SendAll() {
  for (Message& message : unsent_) {
    message.args.isMoreToCome = &message == &unsent_.back() ? VK_FALSE : VK_TRUE;
    message.args.pWords = message.words.data();
    outbox_.Push(proto::command_number::vesperQueryResults, &message.args);
  }
  unsent_.clear();
}

}  // namespace vesper::server
