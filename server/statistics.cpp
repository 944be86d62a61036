// SPDX-License-Identifier: Apache-2.0
#include "server/statistics.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "proto/record.h"

namespace vesper::server {
namespace {

/// Commands that are named in the summary.
constexpr size_t kNamed = 5;

}  // namespace

Statistics::Statistics() : calls_(new std::atomic<uint64_t>[proto::MaxCommandNumber() + 1u]()) {}

bool Statistics::NoteCall(const proto::Command& command) {
  if (command.flags != proto::kWantsReply || command.number > proto::MaxCommandNumber()) {
    return false;
  }
  calls_[command.number].fetch_add(1, std::memory_order_relaxed);
  return true;
}

std::string Statistics::Summary() const {
  std::vector<std::pair<uint64_t, uint16_t>> used;
  uint64_t calls = 0;
  for (uint16_t number = 1; number <= proto::MaxCommandNumber(); ++number) {
    if (const uint64_t count = calls_[number].load(std::memory_order_relaxed)) {
      used.emplace_back(count, number);
      calls += count;
    }
  }
  std::ranges::stable_sort(used, [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string named;
  for (size_t i = 0; i < std::min(kNamed, used.size()); ++i) {
    fmt::format_to(std::back_inserter(named), "{}{} {}", i == 0 ? " (" : ", ",
                   proto::CommandRecord(used[i].second)->name, used[i].first);
  }
  if (!used.empty()) {
    named += used.size() > kNamed ? ", …)" : ")";
  }
  return fmt::format("{} round trips{}, {} other commands, {} pushes; {} bytes in, {} out",
                     calls + 1, named, others_.load(), pushes_.load(), received_.load(),
                     sent_.load());
}

}  // namespace vesper::server
