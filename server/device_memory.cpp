// SPDX-License-Identifier: Apache-2.0
#include "server/device_memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "proto/limits.h"
#include "proto/records_gen.h"

namespace vesper::server {
namespace {

/// Stale ranges of one allocation that are kept apart.
constexpr size_t kMaxStaleRanges = 4096;
/// How finely it is remembered where the guest wrote outside of writable ranges.
constexpr uint64_t kGuestBlock = 64u << 10;
constexpr uint64_t kPage = 4096;

/// Copies what differs: pages that are alike, unused zero pages above all, stay as they are.
void CopyDifferentPages(std::byte* to, const std::byte* from, uint64_t size) {
  for (uint64_t at = 0; at < size; at += kPage) {
    const uint64_t bytes = std::min(kPage, size - at);
    if (std::memcmp(to + at, from + at, bytes) != 0) {
      std::memcpy(to + at, from + at, bytes);
    }
  }
}

/// Takes the first bytes out of a set.
ByteRanges TakeFirst(uint64_t bytes, ByteRanges& from) {
  ByteRanges taken;
  ByteRanges rest;
  for (const ByteRange& range : from.ranges()) {
    const uint64_t end = range.begin + std::min(bytes, range.end - range.begin);
    taken.Add(range.begin, end);
    rest.Add(end, range.end);
    bytes -= end - range.begin;
  }
  from = std::move(rest);
  return taken;
}

}  // namespace

VkResult HostMemory::Map(const WrittenParts& unfinished, Outbox& outbox) {
  const std::lock_guard lock(mutex_);
  if (is_retired_) {
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  if (live_ == nullptr) {
    is_unmappable_ = true;  // until it is known to be otherwise
    if (!twin_.Reserve(size())) {
      return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    void* live = nullptr;
    const VkResult result = vk_.vkMapMemory(device_, handle(), 0, VK_WHOLE_SIZE, 0, &live);
    if (result != VK_SUCCESS) {
      twin_.Release();
      return result;
    }
    live_ = static_cast<std::byte*>(live);
    is_unmappable_ = false;
    guest_blocks_.assign((size() + kGuestBlock - 1) / kGuestBlock, false);
    // What no work can have written is undefined, and may be another program's. Zeros are what the
    // guest's shadow holds.
    AddStale(InReach(unfinished));
    const ByteRanges stale = Resolve(Stale());
    const ByteRanges untouched = ByteRanges(0, size()).Without(stale);
    for (const ByteRange& range : untouched.ranges()) {
      FillWithZeros(live_ + range.begin, range.end - range.begin, info_.is_of_cpu);
      if (!info_.is_coherent) {
        const VkMappedMemoryRange flushed = AtomRange(range.begin, range.end);
        vk_.vkFlushMappedMemoryRanges(device_, 1, &flushed);
      }
    }
  }
  guest_has_it_mapped_ = true;
  deferred_.Clear();
  const ByteRanges stale = TakeStale();
  PushLocked(info_.compares_all ? writable_ : stale, outbox);
  return VK_SUCCESS;
}

void HostMemory::Unmap() {
  const std::lock_guard lock(mutex_);
  guest_has_it_mapped_ = false;
  deferred_.Clear();
}

void HostMemory::Defer(uint64_t begin, uint64_t end) {
  const std::lock_guard lock(mutex_);
  if (guest_has_it_mapped_) {
    deferred_.Add(begin, std::min(end, size()));
  }
}

void HostMemory::Fetch(uint64_t begin, uint64_t end, Outbox& outbox) {
  const std::lock_guard lock(mutex_);
  if (is_retired_ || !guest_has_it_mapped_) {
    return;
  }
  const ByteRanges fetched(begin, std::min(end, size()));
  deferred_ = deferred_.Without(fetched);
  const ByteRanges stale = TakeStale();
  stale_ = stale.Without(fetched);
  PushLocked(stale.And(fetched), outbox);
}

void HostMemory::Retire() {
  const std::lock_guard lock(mutex_);
  is_retired_ = true;
  guest_has_it_mapped_ = false;
  live_ = nullptr;
  twin_.Release();
  if (source_ != VK_NULL_HANDLE) {
    vk_.vkDestroyBuffer(device_, source_, nullptr);
    source_ = VK_NULL_HANDLE;
  }
}

void HostMemory::SetWritable(uint64_t begin, uint64_t end, Writers writers) {
  const std::lock_guard lock(mutex_);
  if (writers == Writers::kNone || is_retired_) {
    return;
  }
  if (live_ != nullptr && info_.reader == nullptr && !writable_.Contains(begin, end)) {
    const ByteRanges added = ByteRanges(begin, end).Without(writable_);
    for (const ByteRange& range : added.ranges()) {
      for (uint64_t at = range.begin; at < range.end;) {
        const uint64_t block = at / kGuestBlock;
        const uint64_t block_end = std::min(range.end, (block + 1) * kGuestBlock);
        if (guest_blocks_[block]) {
          CopyDifferentPages(twin_.get() + at, live_ + at, block_end - at);
        }
        at = block_end;
      }
    }
  }
  writable_.Add(begin, end);
  if (writers >= Writers::kShaders) {
    writable_by_shaders_.Add(begin, end);
  } else if (writers == Writers::kDescriptors) {
    writable_by_descriptors_.Add(begin, end);
  }
  is_writable_by_any_ = is_writable_by_any_ || writers == Writers::kAny;
}

WrittenParts HostMemory::InReach(WrittenParts parts) const {
  if (parts.submission <= info_.birth && !is_writable_by_any_) {
    parts.by_shaders = false;
    parts.by_descriptors = false;
    parts.everything = false;
  }
  return parts;
}

ByteRanges HostMemory::Resolve(const WrittenParts& parts) const {
  if (parts.everything) {
    return writable_;
  }
  ByteRanges ranges;
  if (parts.exact != nullptr) {
    ranges = parts.exact->And(writable_);
  }
  if (parts.by_shaders) {
    ranges.Add(writable_by_shaders_);
  }
  if (parts.by_descriptors) {
    ranges.Add(writable_by_descriptors_);
  }
  return ranges;
}

void HostMemory::AddStale(const WrittenParts& parts) {
  if (parts.exact != nullptr) {
    stale_.Add(*parts.exact);
    stale_.Coarsen(kMaxStaleRanges);
  }
  stale_by_shaders_ = stale_by_shaders_ || parts.by_shaders;
  stale_by_descriptors_ = stale_by_descriptors_ || parts.by_descriptors;
  stale_everything_ = stale_everything_ || parts.everything;
}

WrittenParts HostMemory::Stale() const {
  WrittenParts parts;
  parts.exact = &stale_;
  parts.by_shaders = stale_by_shaders_;
  parts.by_descriptors = stale_by_descriptors_;
  parts.everything = stale_everything_;
  return parts;
}

ByteRanges HostMemory::TakeStale() {
  ByteRanges stale = Resolve(Stale());
  stale_.Clear();
  stale_by_shaders_ = false;
  stale_by_descriptors_ = false;
  stale_everything_ = false;
  return stale;
}

ByteRanges HostMemory::WithoutDeferred(const ByteRanges& ranges) {
  if (deferred_.IsEmpty()) {
    return ranges;
  }
  const ByteRanges later = ranges.And(deferred_);
  AddStale({&later});
  return ranges.Without(deferred_);
}

void HostMemory::PushWritten(const WrittenParts& parts, Outbox& outbox) {
  size_t piece = outbox.PieceBytes();  // what may be read and compared at once
  const bool is_link_slow = outbox.PieceBytes() < proto::kMaxPatchBytes;
  ByteRanges rest;
  {
    const std::lock_guard lock(mutex_);
    if (is_retired_) {
      return;
    }
    const WrittenParts reached = InReach(parts);
    if (!guest_has_it_mapped_) {
      AddStale(reached);
      return;
    }
    rest = info_.compares_all ? writable_ : Resolve(reached);
    if (!is_link_slow) {
      PushLocked(WithoutDeferred(rest), outbox);
      return;
    }
    if (info_.reader != nullptr || lossy_ != nullptr) {
      piece = std::max(piece, proto::kMaxPatchBytes);
    }
  }
  while (!rest.IsEmpty()) {
    const transport::TurnMutex::Piece lock(mutex_);
    if (is_retired_) {
      return;
    }
    if (!guest_has_it_mapped_) {
      AddStale({&rest});
      return;
    }
    PushLocked(WithoutDeferred(TakeFirst(piece, rest)), outbox);
  }
}

VkMappedMemoryRange HostMemory::AtomRange(uint64_t begin, uint64_t end) const {
  const uint64_t atom = std::max<uint64_t>(info_.atom_size, 1);
  const uint64_t from = begin / atom * atom;
  const uint64_t to = (end + atom - 1) / atom * atom;
  return {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, handle(), from,
          to >= size() ? VK_WHOLE_SIZE : to - from};
}

void HostMemory::SendPatch(Outbox& outbox) {
  outbox.PushPatch(id(), patches_[turn_], true);  // the mutex keeps the twin as the patch names it
  turn_ = 1 - turn_;
  patches_[turn_].Clear();
}

void HostMemory::PushRange(ByteRange range, const std::byte* bytes, Outbox& outbox) {
  // Where offset 0 would be if the bytes lay among all others, as those of the twin do.
  const auto* base =
      reinterpret_cast<const std::byte*>(reinterpret_cast<uintptr_t>(bytes) - range.begin);
  for (uint64_t at = range.begin; at < range.end;) {
    proto::PatchParts& patch = patches_[turn_];
    at = proto::MakePatch(base, twin_.get(), at, range.end - at,
                          patch_bytes_ - std::min(patch_bytes_, patch.size()), patch, grain_);
    if (at < range.end || patch.size() >= patch_bytes_) {
      SendPatch(outbox);
    }
  }
}

uint64_t HostMemory::ReadableByGpu() {
  if (info_.reader != nullptr && !has_tried_source_) {
    has_tried_source_ = true;
    source_ = info_.reader->MakeSource(handle(), info_.memory_type, size(), &source_size_);
  }
  return source_ == VK_NULL_HANDLE ? 0 : source_size_;
}

void HostMemory::PushFromLive(ByteRange range, Outbox& outbox) {
  if (lossy_ != nullptr) {
    range = lossy_->WholeRows(range);
  }
  if (!info_.is_coherent) {
    const VkMappedMemoryRange invalidated = AtomRange(range.begin, range.end);
    vk_.vkInvalidateMappedMemoryRanges(device_, 1, &invalidated);
  }
  // What can't be encoded travels as it is.
  if (lossy_ == nullptr || !lossy_->Push(id(), range, live_, twin_.get(), outbox)) {
    PushRange(range, live_ + range.begin, outbox);
  }
}

void HostMemory::PushLocked(const ByteRanges& ranges, Outbox& outbox) {
  if (ranges.IsEmpty()) {
    return;
  }
  patches_[turn_].Clear();
  patch_bytes_ = outbox.PieceBytes();
  uint64_t done = 0;
  if (const uint64_t readable = ReadableByGpu(); readable != 0) {
    const ByteRanges by_gpu = ranges.And(ByteRanges(0, readable));
    if (info_.reader->Read(source_, by_gpu.ranges(), [&](ByteRange piece, const std::byte* bytes) {
          PushRange(piece, bytes, outbox);
        })) {
      done = readable;
    }
  }
  // Whatever the GPU cannot read, the CPU must.
  const ByteRanges rest = done == 0 ? ranges : ranges.And(ByteRanges(done, size()));
  for (const ByteRange& range : rest.ranges()) {
    PushFromLive(range, outbox);
  }
  if (proto::PatchParts& last = patches_[turn_]; last.size() != 0) {
    outbox.PushPatch(id(), last, false);
  } else {
    outbox.FinishPatches();
  }
}

void HostMemory::WriteTwin(const proto::PatchEntry& entry) {
  if (info_.reader != nullptr || writable_.Contains(entry.offset, entry.end())) {
    proto::ApplyEntry(entry, twin_.get(), entry.offset, entry.end());
    return;
  }
  for (size_t i = writable_.FirstAfter(entry.offset);
       i < writable_.ranges().size() && writable_.ranges()[i].begin < entry.end(); ++i) {
    proto::ApplyEntry(entry, twin_.get(), writable_.ranges()[i].begin, writable_.ranges()[i].end);
  }
  for (uint64_t block = entry.offset / kGuestBlock; block * kGuestBlock < entry.end(); ++block) {
    guest_blocks_[block] = true;
  }
}

bool HostMemory::SetPictures(const PictureLayout& layout) {
  if (!layout.Fits(size())) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  grain_ = proto::PatchGrain::kLines;
  if (layout.quality != 0 && info_.reader == nullptr) {
    lossy_ = std::make_unique<LossyPictures>(layout);
  }
  return true;
}

bool HostMemory::Write(std::span<const std::byte> patch) {
  if (!proto::PatchFits(patch, size())) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  if (live_ == nullptr) {
    // Never mapped by the guest, so it has nothing to write; or it could not be, and the guest did
    // not wait to hear of that.
    return is_unmappable_;
  }
  uint64_t begin = size();
  uint64_t end = 0;
  proto::PatchReader reader(patch);
  while (const std::optional<proto::PatchEntry> entry = reader.Next()) {
    proto::ApplyEntry(*entry, live_, entry->offset, entry->end());
    WriteTwin(*entry);
    begin = std::min(begin, entry->offset);
    end = std::max(end, entry->end());
  }
  if (!info_.is_coherent && begin < end) {
    const VkMappedMemoryRange range = AtomRange(begin, end);
    vk_.vkFlushMappedMemoryRanges(device_, 1, &range);
  }
  return true;
}

uint64_t HostMemory::TwinBytes() {
  const std::lock_guard lock(mutex_);
  return twin_.ResidentBytes();
}

void HostMemories::Add(std::shared_ptr<HostMemory> memory) {
  const std::lock_guard lock(mutex_);
  memories_[memory->handle()] = std::move(memory);
}

void HostMemories::Remove(VkDeviceMemory handle) {
  const std::lock_guard lock(mutex_);
  memories_.erase(handle);
}

std::shared_ptr<HostMemory> HostMemories::Find(VkDeviceMemory handle) const {
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(handle);
  return found == memories_.end() ? nullptr : found->second;
}

void HostMemories::SetAllWritable() {
  for (const std::shared_ptr<HostMemory>& memory : All()) {
    memory->SetWritable(0, memory->size(), Writers::kAny);
  }
}

std::vector<std::shared_ptr<HostMemory>> HostMemories::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<HostMemory>> all;
  for (const auto& [handle, memory] : memories_) {
    all.push_back(memory);
  }
  return all;
}

}  // namespace vesper::server
