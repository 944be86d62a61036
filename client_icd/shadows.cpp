// SPDX-License-Identifier: Apache-2.0
#include "client_icd/shadows.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "client_icd/device_memory.h"
#include "client_icd/environment.h"
#include "client_icd/session.h"
#include "client_icd/shadow_sender.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

}  // namespace

Shadows::Shadows(std::unique_ptr<ShadowArena> arena, MemoryTier tier,
                 std::unique_ptr<WriteTracker> tracker, std::unique_ptr<Downloads> downloads)
    : tier_(tier),
      tracker_(std::move(tracker)),
      arena_(std::move(arena)),
      downloads_(std::move(downloads)) {}

Shadows::~Shadows() {
  while (!table_.empty()) {
    Remove(table_.begin()->first);
  }
}

std::unique_ptr<Shadows> Shadows::Create(Session& session, const Environment& environment,
                                         std::unique_ptr<ShadowArena> arena, bool is_link_local,
                                         std::string* note, std::string* downloads) {
  MemoryTier tier = MemoryTier::kAsync;
  const bool is_asked = TierFromName(environment.memory, &tier);
  if (!is_asked && !environment.memory.empty() && environment.memory != "shadow") {
    *note =
        "expected VESPER_MEMORY to be shadow, async, compare, fault, signal or reference, got '" +
        environment.memory + "', which is ignored";
  }
  DownloadMode mode = DownloadMode::kAuto;
  if (!DownloadModeFromName(environment.download, &mode)) {
    *downloads = "expected VESPER_DOWNLOAD to be auto, push, lazy or always, got '" +
                 environment.download + "', which is ignored; ";
  }
  std::string why;
  if (mode == DownloadMode::kPush) {
    why = "VESPER_DOWNLOAD asks for that";
  } else if (mode == DownloadMode::kAuto && is_link_local) {
    why = "the server is on this machine";
  } else if (!session.KnowsCommand(proto::command_number::vesperFetchMemory)) {
    why = "the server can't do otherwise";
  }
  const bool may_defer = why.empty();
  // Comparing comes before handling faults: it is slower for large mappings, and can't go wrong.
  for (const MemoryTier candidate : {tier, MemoryTier::kCompare}) {
    std::unique_ptr<WriteTracker> tracker;
    std::unique_ptr<AbsentPages> pages;
    if (may_defer) {
      why.clear();
      pages = MakeAbsentPages(candidate, &tracker, &why);
    }
    std::string refusal;
    if (pages == nullptr) {
      tracker = MakeWriteTracker(candidate, &refusal);
    }
    if (tracker == nullptr && !refusal.empty()) {
      *note += std::string(note->empty() ? "" : "; ") + "memory is compared, since the tier '" +
               TierName(tier) + "' can't be had: " + refusal;
      continue;
    }
    *downloads += pages == nullptr ? "all is pushed, since " + why
                  : mode == DownloadMode::kAlways
                      ? "all is fetched when the program reads it, as VESPER_DOWNLOAD asks"
                      : "what the program rarely reads is fetched when it does";
    return std::make_unique<Shadows>(
        std::move(arena), candidate, std::move(tracker),
        pages == nullptr ? nullptr : std::make_unique<Downloads>(session, std::move(pages), mode));
  }
  return nullptr;
}

Shadows::Taken::Taken(Shadows& shadows, Shadow& shadow, Lock& lock)
    : shadows_(shadows), shadow_(shadow) {
  const uint64_t ticket = shadow.next_ticket_++;
  shadows.freed_.wait(lock, [&] { return shadow.ticket_ == ticket; });
}

Shadows::Taken::~Taken() {
  ++shadow_.ticket_;
  if (IsTaken(shadow_)) {
    shadows_.freed_.notify_all();
  }
}

std::shared_ptr<Shadow> Shadows::Add(proto::ObjectId memory, uint64_t size) {
  const std::lock_guard lock(mutex_);
  ShadowArena::Piece piece;
  return arena_->Allocate(size, &piece) ? AddLocked(memory, size, piece, false) : nullptr;
}

bool Shadows::Reserve(uint64_t size, ShadowArena::Piece* piece) {
  const std::lock_guard lock(mutex_);
  if (!arena_->Allocate(size, piece)) {
    return false;
  }
  if (!piece->in_file) {
    arena_->Free(*piece);
  }
  return piece->in_file;
}

std::shared_ptr<Shadow> Shadows::Add(proto::ObjectId memory, uint64_t size,
                                     const ShadowArena::Piece& piece, bool is_shared) {
  const std::lock_guard lock(mutex_);
  return AddLocked(memory, size, piece, is_shared);
}

void Shadows::Release(const ShadowArena::Piece& piece) {
  const std::lock_guard lock(mutex_);
  arena_->Free(piece);
}

std::shared_ptr<Shadow> Shadows::AddLocked(proto::ObjectId memory, uint64_t size,
                                           const ShadowArena::Piece& piece, bool is_shared) {
  std::shared_ptr<Shadow> shadow;
  try {
    const bool tracks = tracker_ != nullptr && piece.in_file && !is_shared;
    shadow = Make(memory, size, piece, tracks, is_shared);
    if (shadow != nullptr) {
      Watch(*shadow, {{piece.program, piece.program + piece.bytes}, 0, false});
      return shadow;
    }
  } catch (const std::bad_alloc&) {
    LeaveView(*shadow);
    const std::lock_guard table_lock(table_mutex_);
    table_.erase(memory);
  }
  arena_->Free(piece);
  return nullptr;
}

std::shared_ptr<Shadow> Shadows::Import(proto::ObjectId memory, uint64_t size, std::byte* begin) {
  const std::lock_guard lock(mutex_);
  ShadowArena::Piece piece;
  piece.program = piece.driver = begin;
  piece.bytes = RoundUp(size, PageSize());
  piece.is_imported = true;
  return Make(memory, size, piece, false, false);
}

std::shared_ptr<Shadow> Shadows::Make(proto::ObjectId memory, uint64_t size,
                                      const ShadowArena::Piece& piece, bool tracks,
                                      bool is_shared) {
  // Pages of the twin cost nothing until something is agreed on.
  void* twin = nullptr;
  if (!is_shared) {
    twin = ::mmap(nullptr, piece.bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (twin == MAP_FAILED) {
      return nullptr;
    }
    ::madvise(twin, piece.bytes, MADV_DONTDUMP);
  }
  std::shared_ptr<Shadow> shadow;
  try {
    const bool only_blocks = tier_ == MemoryTier::kFault || tier_ == MemoryTier::kSignal;
    shadow = std::make_shared<Shadow>(*arena_, memory, size, piece, static_cast<std::byte*>(twin),
                                      tracks, only_blocks);
    const std::lock_guard table_lock(table_mutex_);
    table_[memory] = shadow;
  } catch (const std::bad_alloc&) {
    if (shadow == nullptr && twin != nullptr) {
      ::munmap(twin, piece.bytes);
    }
    return nullptr;
  }
  return shadow;
}

void Shadows::Remove(proto::ObjectId memory) {
  Lock lock(mutex_);
  std::shared_ptr<Shadow> shadow;
  {
    const std::lock_guard table_lock(table_mutex_);
    const auto found = table_.find(memory);
    if (found == table_.end()) {
      return;
    }
    shadow = std::move(found->second);
    table_.erase(found);
  }
  const Taken taken(*this, *shadow, lock);
  const ShadowView view = shadow->view_;
  LeaveView(*shadow);
  if (view.is_own) {
    ShadowArena::Unmap(view.range);
  }
  // The reader may be about to write what the host has pushed.
  const std::lock_guard merge_lock(shadow->merge_mutex_);
  shadow->live_ = nullptr;
  if (!shadow->piece_.is_imported) {
    arena_->Free(shadow->piece_);
  }
}

std::shared_ptr<Shadow> Shadows::Find(proto::ObjectId memory) {
  const std::lock_guard lock(table_mutex_);
  const auto found = table_.find(memory);
  return found == table_.end() ? nullptr : found->second;
}

// -- views ----------------------------------------------------------------------------------------

void Shadows::Watch(Shadow& shadow, const ShadowView& view) {
  views_[view.range.begin] = &shadow;
  shadow.SetView(view);
  if (downloads_ != nullptr && shadow.piece_.in_file && !shadow.is_shared()) {
    downloads_->AddView(shadow.memory_, view, shadow.size_);
  }
  if (!shadow.tracks_) {
    return;
  }
  // The program has no pointer yet, so what is there already has been agreed on.
  if (!tracker_->Watch(view.range) || !shadow.Arm(*tracker_, false)) {
    shadow.tracks_ = false;
    shadow.lost_track_ = true;
  }
}

void Shadows::LeaveView(Shadow& shadow) {
  if (shadow.view_.range.begin == nullptr) {
    return;
  }
  if (downloads_ != nullptr) {
    downloads_->RemoveView(shadow.memory_);
  }
  if (tracker_ != nullptr && shadow.piece_.in_file && !shadow.is_shared()) {
    tracker_->Unwatch(shadow.view_.range);
  }
  views_.erase(shadow.view_.range.begin);
  shadow.SetView({});
}

DriverView Shadows::ViewForDriver(const Shadow& shadow) {
  const Lock lock(mutex_);
  const ShadowArena::Piece& piece = shadow.piece_;
  return {piece.driver, piece.in_file ? arena_->file() : -1, piece.file_offset, shadow.is_shared()};
}

std::byte* Shadows::Map(Shadow& shadow) {
  Lock lock(mutex_);
  const Taken taken(*this, shadow, lock);
  if (shadow.view_.range.begin != nullptr && !shadow.view_.is_own) {
    return shadow.view_.range.begin;
  }
  const ShadowArena::Piece& piece = shadow.piece_;
  std::byte* begin = piece.program;
  const bool is_own = begin == nullptr;
  if (is_own) {
    begin = arena_->MapAt(piece, 0, nullptr, piece.bytes);
    if (begin == nullptr) {
      return nullptr;
    }
  }
  Watch(shadow, {{begin, begin + piece.bytes}, 0, is_own});
  return begin;
}

bool Shadows::MapAt(Shadow& shadow, uint64_t offset, std::byte* address, uint64_t bytes) {
  Lock lock(mutex_);
  const Taken taken(*this, shadow, lock);
  const uint64_t end = std::min(offset + bytes, shadow.piece_.bytes);
  if (arena_->MapAt(shadow.piece_, offset, address, end - offset) == nullptr) {
    return false;
  }
  LeaveView(shadow);
  Watch(shadow, {{address, address + (end - offset)}, offset, true});
  return true;
}

bool Shadows::Unmap(Shadow& shadow, bool reserve) {
  Lock lock(mutex_);
  const Taken taken(*this, shadow, lock);
  const ShadowView view = shadow.view_;
  if (view.range.begin == nullptr || (!view.is_own && !reserve)) {
    return true;  // the arena's view stays, and is the same when it is mapped again
  }
  LeaveView(shadow);
  if (!reserve) {
    ShadowArena::Unmap(view.range);
    return true;
  }
  if (!ShadowArena::Reserve(view.range)) {
    Watch(shadow, view);
    return false;
  }
  if (!view.is_own) {
    arena_->GiveUpProgramView(shadow.piece_);
  }
  return true;
}

// -- agreeing -------------------------------------------------------------------------------------

void Shadows::Bind(Session& session, VkDevice device, Shadow& shadow, uint32_t reach,
                   bool is_written, uint64_t offset, uint64_t size) {
  Lock lock(mutex_);
  shadow.reach_ |= reach;
  if (!is_written) {
    return;
  }
  const Taken taken(*this, shadow, lock);
  if (shadow.live_ != nullptr) {
    ShadowSender sender(session, device, shadow.memory_, spares_, lock);
    shadow.ExpectDeviceWrites(sender, offset,
                              offset + std::min(size, shadow.piece_.bytes - offset));
  }
}

void Shadows::Collect(Session& session, VkDevice device,
                      std::span<const std::shared_ptr<Shadow>> shadows, const Reached& reached) {
  Lock lock(mutex_);
  std::vector<Shadow*> all = std::move(spare_reached_);
  all.clear();
  for (const std::shared_ptr<Shadow>& shadow : shadows) {
    if (shadow->live_ != nullptr &&
        ((shadow->reach_ & reached.ways) != 0 || tier_ == MemoryTier::kReference ||
         std::ranges::binary_search(reached.memories, shadow->memory_))) {
      all.push_back(shadow.get());
    }
  }
  // What others are posting is waited for at the end, and asked about then.
  size_t free_count = all.size();
  if (std::ranges::any_of(all, [](const Shadow* each) { return IsTaken(*each); })) {
    const auto is_free = [](const Shadow* each) { return !IsTaken(*each); };
    const auto rest = std::stable_partition(all.begin(), all.end(), is_free);
    free_count = static_cast<size_t>(rest - all.begin());
  }
  Track(std::span(all).first(free_count), nullptr);
  for (size_t i = 0; i < all.size(); ++i) {
    Shadow& shadow = *all[i];
    const Taken taken(*this, shadow, lock);
    if (shadow.live_ == nullptr) {
      continue;  // freed meanwhile
    }
    if (i >= free_count) {
      Track(std::span(all).subspan(i, 1), nullptr);
    }
    if (downloads_ != nullptr) {
      Defer(session, device, shadow, lock);
    }
    CollectOne(session, device, shadow, 0, shadow.size_, lock);
  }
  spare_reached_ = std::move(all);
}

void Shadows::Defer(Session& session, VkDevice device, Shadow& shadow, Lock& lock) {
  std::vector<DownloadBlocks::Run> emptied;
  downloads_->Defer(
      IdOfHandle(proto::HandleType::kDevice, ToId(device)), shadow.memory_,
      [this, &shadow](DownloadBlocks::Run run, const Downloads::Parts& visit) {
        shadow.VisitDeferrable(run, downloads_->is_eager(), visit);
      },
      emptied);
  if (emptied.empty()) {
    return;
  }
  ShadowSender sender(session, device, shadow.memory_, spares_, lock);
  for (const DownloadBlocks::Run& run : emptied) {
    for (size_t block = run.begin; block < run.end; ++block) {
      shadow.CompareBlock(sender, block);
    }
  }
}

void Shadows::Collect(Session& session, VkDevice device, Shadow& shadow, uint64_t offset,
                      uint64_t size) {
  Lock lock(mutex_);
  const Taken taken(*this, shadow, lock);
  if (shadow.live_ == nullptr) {
    return;
  }
  const uint64_t end = offset + std::min(size, shadow.size_ - offset);
  Shadow* const one = &shadow;
  const PageRange clip = shadow.ViewOf(offset / PageSize() * PageSize(), RoundUp(end, PageSize()));
  Track({&one, 1}, &clip);
  CollectOne(session, device, shadow, offset, end, lock);
}

void Shadows::CollectOne(Session& session, VkDevice device, Shadow& shadow, uint64_t begin,
                         uint64_t end, Lock& lock) {
  ShadowSender sender(session, device, shadow.memory_, spares_, lock);
  if (shadow.lost_track_) {
    shadow.StopTracking(sender);
  }
  if (shadow.tracks_) {
    shadow.CollectTracked(sender, *tracker_, begin, end);
  } else {
    shadow.CollectByComparing(sender, begin, end);
  }
}

void Shadows::Track(std::span<Shadow* const> shadows, const PageRange* clip) {
  wanted_.clear();
  for (Shadow* shadow : shadows) {
    if (!shadow->tracks_) {
      continue;
    }
    if (!shadow->Arm(*tracker_, true)) {
      shadow->tracks_ = false;
      shadow->lost_track_ = true;
      continue;
    }
    for (PageRange run : shadow->TrackedRuns()) {
      if (clip != nullptr) {
        run = {std::max(run.begin, clip->begin), std::min(run.end, clip->end)};
      }
      if (run.begin < run.end) {
        wanted_.push_back(run);
      }
    }
  }
  if (!std::ranges::is_sorted(wanted_, {}, &PageRange::begin)) {
    std::ranges::sort(wanted_, {}, &PageRange::begin);
  }
  written_.clear();
  for (size_t first = 0; first < wanted_.size();) {
    // Shadows that adjoin are taken by one call.
    PageRange joined = wanted_[first++];
    while (first < wanted_.size() && wanted_[first].begin == joined.end) {
      joined.end = wanted_[first++].end;
    }
    if (!tracker_->Take(joined, written_)) {
      // Nobody knows what was written: compare everything from now on.
      for (Shadow* shadow : shadows) {
        shadow->lost_track_ |= shadow->tracks_;
        shadow->tracks_ = false;
      }
      return;
    }
  }
  for (PageRange range : written_) {
    for (auto view = std::prev(views_.upper_bound(range.begin)); range.begin < range.end; ++view) {
      const PageRange part{range.begin, std::min(range.end, view->second->view_.range.end)};
      view->second->MarkWritten(part);
      range.begin = part.end;
    }
  }
}

}  // namespace vesper::client
