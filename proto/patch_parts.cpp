// SPDX-License-Identifier: Apache-2.0
#include "proto/patch_parts.h"

#include <cstring>

#include "proto/frame.h"
#include "proto/memory_patch.h"

namespace vesper::proto {
namespace {

/// Entry headers are padded to 8, and nobody can pad bytes that lie elsewhere.
constexpr size_t kGranule = 8;

}  // namespace

void PatchParts::Clear() {
  own_.Clear();
  runs_.clear();
  elsewhere_bytes_ = 0;
  last_ = Last::kOther;
}

Buffer& PatchParts::entries() {
  last_ = Last::kOther;
  return own_;
}

void PatchParts::AddZeros(uint64_t offset, uint64_t size) {
  if (last_ == Last::kZeros && last_end_ == offset) {
    const size_t count_at = own_.size() - sizeof(uint64_t);
    uint64_t count = 0;
    std::memcpy(&count, own_.Bytes().data() + count_at, sizeof(count));
    own_.Patch<uint64_t>(count_at, count + size);
  } else {
    PutZerosEntry(offset, size, own_);
  }
  last_ = Last::kZeros;
  last_end_ = offset + size;
}

void PatchParts::AddSpan(uint64_t offset, std::span<const std::byte> bytes) {
  const size_t whole = bytes.size() / kGranule * kGranule;
  if (whole != 0) {
    const std::span<const std::byte> run = bytes.first(whole);
    if (last_ == Last::kRun && last_end_ == offset &&
        runs_.back().bytes.data() + runs_.back().bytes.size() == run.data()) {
      Run& last = runs_.back();
      last.bytes = {last.bytes.data(), last.bytes.size() + whole};
      own_.Patch<uint64_t>(last.own_before - sizeof(uint64_t), last.bytes.size());
    } else {
      own_.PutValue(offset);
      own_.PutValue<uint64_t>(whole);
      runs_.push_back({own_.size(), run});
    }
    elsewhere_bytes_ += whole;
    last_end_ = offset + whole;
    last_ = Last::kRun;
  }
  if (whole != bytes.size()) {
    own_.PutValue(offset + whole);
    own_.PutValue<uint64_t>(bytes.size() - whole);
    own_.Put(bytes.data() + whole, bytes.size() - whole);
    last_ = Last::kOther;
  }
}

std::span<const std::span<const std::byte>> PatchParts::Frame(const KnownStructs& known,
                                                              IdOfHandle id_of, uint16_t number,
                                                              const void* args, const void* patch) {
  head_.Clear();
  parts_.clear();
  const size_t frame = BeginFrame(head_, FrameType::kCommands);
  const size_t command = BeginCommand(head_, number, 0, 0);
  Encoder(head_, known, id_of, patch).Request(*CommandRecord(number), args);
  if (own_.Failed() || !FinishCommand(head_, command, size())) {
    return {};
  }
  FinishFrame(head_, frame, size());
  parts_.push_back(head_.Bytes());
  size_t own = 0;
  for (const Run& run : runs_) {
    parts_.push_back(own_.Bytes().subspan(own, run.own_before - own));
    parts_.push_back(run.bytes);
    own = run.own_before;
  }
  parts_.push_back(own_.Bytes().subspan(own));
  return parts_;
}

}  // namespace vesper::proto
