// SPDX-License-Identifier: Apache-2.0
#include "client_icd/downloads.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "client_icd/session.h"
#include "proto/memory_patch.h"
#include "proto/records_gen.h"
#include "transport/quiet_thread.h"

namespace vesper::client {
namespace {

constexpr uint64_t kBlockBytes = DownloadBlocks::kBytes;

}  // namespace

bool DownloadModeFromName(std::string_view name, DownloadMode* mode) {
  if (name == "push") {
    *mode = DownloadMode::kPush;
  } else if (name == "lazy") {
    *mode = DownloadMode::kRarelyRead;
  } else if (name == "always") {
    *mode = DownloadMode::kAlways;
  } else if (name == "auto" || name.empty()) {
    *mode = DownloadMode::kAuto;
  } else {
    return false;
  }
  return true;
}

Downloads::View::View(proto::ObjectId memory_id, const ShadowView& where, uint64_t size,
                      bool at_once)
    : memory(memory_id), at(where), blocks((size + kBlockBytes - 1) / kBlockBytes, at_once) {
  whole.begin = (at.offset + kBlockBytes - 1) / kBlockBytes;
  whole.end = std::min<size_t>((at.offset + at.range.bytes()) / kBlockBytes, blocks.count());
  whole.begin = std::min(whole.begin, whole.end);
}

PageRange Downloads::View::PagesOf(Run run) const {
  const uint64_t begin = std::max(run.begin * kBlockBytes, at.offset) - at.offset;
  const uint64_t end = std::min<uint64_t>(run.end * kBlockBytes - at.offset, at.range.bytes());
  return {at.range.begin + begin, at.range.begin + end};
}

Downloads::Downloads(Session& session, std::unique_ptr<AbsentPages> pages, DownloadMode mode)
    : session_(session),
      pages_(std::move(pages)),
      at_once_(mode == DownloadMode::kAlways),
      stop_(::eventfd(0, EFD_CLOEXEC)) {}

Downloads::~Downloads() {
  if (handler_.joinable()) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
    handler_.join();
  }
}

void Downloads::AddView(proto::ObjectId memory, const ShadowView& view, uint64_t size) {
  const std::lock_guard lock(mutex_);
  auto added = std::make_unique<View>(memory, view, size, at_once_);
  added->round = ++last_round_;
  by_address_[view.range.begin] = added.get();
  views_[memory] = std::move(added);
}

void Downloads::RemoveView(proto::ObjectId memory) {
  const std::lock_guard lock(mutex_);
  if (const auto found = views_.find(memory); found != views_.end()) {
    ForgetLocked(*found->second);
    by_address_.erase(found->second->at.range.begin);
    views_.erase(found);
  }
}

// -- deferring ------------------------------------------------------------------------------------

void Downloads::Defer(proto::ObjectId device, proto::ObjectId memory, const CanLeave& can_leave,
                      std::vector<Run>& emptied) {
  const std::lock_guard lock(mutex_);
  const auto found = views_.find(memory);
  if (found == views_.end() || is_lost_) {
    return;
  }
  View& view = *found->second;
  view.device = device;
  if (!view.blocks.has_news() || view.is_refused) {
    return;
  }
  const auto are_unseen = [&](size_t block) {
    return pages_->AreAbsent(view.PagesOf({block, block + 1}));
  };
  view.blocks.Advise(view.whole, are_unseen, [&](Run run, DownloadBlocks::Advice advice) {
    can_leave(run, [&](Run part) {
      if (part.count() >= view.blocks.shortest_run() && !view.is_refused) {
        EmptyLocked(view, part, advice, emptied);
      }
    });
  });
}

void Downloads::EmptyLocked(View& view, Run run, DownloadBlocks::Advice advice,
                            std::vector<Run>& emptied) {
  const bool defers = advice == DownloadBlocks::Advice::kDefer;
  if (defers && !view.is_registered) {
    view.is_registered = StartHandler() && pages_->Register(view.at.range);
    if (!view.is_registered) {
      view.is_refused = true;
      return;
    }
  }
  // Even if it fails, some pages may be gone.
  emptied.push_back(run);
  if (!pages_->Remove(view.PagesOf(run))) {
    view.is_refused = true;  // the program has locked its memory
    return;
  }
  if (!defers) {
    view.blocks.Watch(run);
    return;
  }
  view.blocks.Defer(run);
  deferred_blocks_ += run.count();
  Dispatchable device(view.device);
  const proto::Args_vesperDeferMemory args{reinterpret_cast<VkDevice>(&device), view.memory,
                                           run.begin * kBlockBytes, run.count() * kBlockBytes};
  session_.Enqueue(proto::command_number::vesperDeferMemory, &args);
}

bool Downloads::Forget(proto::ObjectId memory) {
  const std::lock_guard lock(mutex_);
  const auto found = views_.find(memory);
  return found != views_.end() && ForgetLocked(*found->second);
}

void Downloads::ForgetDevice(proto::ObjectId device) {
  const std::lock_guard lock(mutex_);
  for (const auto& [memory, view] : views_) {
    if (view->device == device) {
      ForgetLocked(*view);
    }
  }
}

bool Downloads::ForgetLocked(View& view) {
  bool had_some = false;
  view.blocks.Forget([&](Run run) {
    had_some = true;
    pages_->Provide(view.PagesOf(run), false);
  });
  view.round = ++last_round_;
  return had_some;
}

void Downloads::GiveUp() {
  const std::lock_guard lock(mutex_);
  is_lost_ = true;
  for (const auto& [memory, view] : views_) {
    ForgetLocked(*view);
  }
}

std::string Downloads::Summary() {
  const std::lock_guard lock(mutex_);
  const auto kilobytes = [](uint64_t blocks) {
    return std::to_string(blocks * kBlockBytes / 1024) + " KiB";
  };
  return "deferred " + kilobytes(deferred_blocks_) + " in all, fetched " +
         kilobytes(fetched_blocks_) + " in " + std::to_string(fetches_) + " requests";
}

// -- what the host says ---------------------------------------------------------------------------

void Downloads::NotePushed(proto::ObjectId memory, std::span<const std::byte> patch) {
  const std::lock_guard lock(mutex_);
  if (const auto found = views_.find(memory); found != views_.end()) {
    proto::PatchReader reader(patch);
    while (const std::optional<proto::PatchEntry> entry = reader.Next()) {
      found->second->blocks.NotePushed(entry->offset, entry->end());
    }
  }
}

void Downloads::HandleFetched(proto::ObjectId memory, uint64_t round, uint64_t offset,
                              uint64_t size) {
  const std::lock_guard lock(mutex_);
  const auto found = views_.find(memory);
  if (found == views_.end() || found->second->round != round) {
    return;
  }
  View& view = *found->second;
  // The last block may end with the allocation. Nothing that the host says may reach further.
  const uint64_t limit = view.blocks.count() * kBlockBytes;
  const uint64_t begin = std::min(offset, limit);
  const uint64_t end = begin + std::min(size, limit - begin);
  const Run arrived{begin / kBlockBytes, (end + kBlockBytes - 1) / kBlockBytes};
  view.blocks.Arrive(arrived, [&](Run run) { pages_->Provide(view.PagesOf(run), true); });
}

// -- who touches ----------------------------------------------------------------------------------

bool Downloads::StartHandler() {
  if (handler_.joinable()) {
    return true;
  }
  try {
    handler_ = transport::StartQuietThread([this] { HandleFaults(); });
  } catch (const std::system_error&) {
    // No thread: nothing is deferred.
  }
  return handler_.joinable();
}

void Downloads::HandleFaults() {
  while (std::byte* address = pages_->WaitForFault(stop_.get())) {
    if (HandleFault(address)) {
      session_.Flush();
    }
  }
}

bool Downloads::HandleFault(std::byte* address) {
  const std::lock_guard lock(mutex_);
  const PageRange page{address, address + PageSize()};
  auto found = by_address_.upper_bound(address);
  if (found == by_address_.begin() || address >= (--found)->second->at.range.end) {
    pages_->Provide(page, false);  // no longer a mapping: let the thread try again
    return false;
  }
  View& view = *found->second;
  const size_t block =
      (view.at.offset + static_cast<uint64_t>(address - view.at.range.begin)) / kBlockBytes;
  if (block >= view.blocks.count()) {
    pages_->Provide(page, false);
    return false;
  }
  if (view.blocks.IsPresent(block)) {
    // Not shown to the program yet, or not any more, and nothing is deferred there.
    pages_->Provide(view.PagesOf(view.blocks.ShownWith(block)), false);
    return false;
  }
  if (!view.blocks.IsAbsent(block)) {
    return false;  // asked for already
  }
  const Run run = view.blocks.Fetch(block);
  ++fetches_;
  fetched_blocks_ += run.count();
  Dispatchable device(view.device);
  const proto::Args_vesperFetchMemory args{reinterpret_cast<VkDevice>(&device), view.memory,
                                           view.round, run.begin * kBlockBytes,
                                           run.count() * kBlockBytes};
  session_.Enqueue(proto::command_number::vesperFetchMemory, &args);
  return true;
}

}  // namespace vesper::client
