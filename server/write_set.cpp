// SPDX-License-Identifier: Apache-2.0
#include "server/write_set.h"

#include <algorithm>

#include "server/resources.h"

namespace vesper::server {
namespace {

/// Ranges that are kept apart for each allocation. A command buffer with more has better things to
/// do than to keep books.
constexpr size_t kMaxRanges = 4096;

}  // namespace

void WriteSet::AddRange(const std::shared_ptr<HostMemory>& memory, uint64_t begin, uint64_t end) {
  Entry& entry = exact_[memory.get()];
  if (entry.memory == nullptr) {
    entry.memory = memory;
  }
  entry.ranges.Add(begin, end);
  if (entry.ranges.ranges().size() > kMaxRanges) {
    entry.ranges.Coarsen(kMaxRanges / 2);
  }
}

void WriteSet::AddBuffer(const BufferInfo* buffer, uint64_t offset, uint64_t size) {
  if (buffer == nullptr || !buffer->is_bound || buffer->is_sparse) {
    AddEverything();
  } else {
    AddBound(*buffer, offset, size);
  }
}

void WriteSet::AddDescriptor(const BufferInfo* buffer, uint64_t offset, uint64_t size) {
  if (buffer != nullptr && (!buffer->is_bound || buffer->is_sparse)) {
    AddUnknownDescriptors();
  } else if (buffer != nullptr) {
    AddBound(*buffer, offset, size);
  }
}

void WriteSet::AddBound(const BufferInfo& buffer, uint64_t offset, uint64_t size) {
  if (buffer.place.memory != nullptr) {
    const uint64_t begin = buffer.place.begin + std::min(offset, buffer.size);
    const uint64_t end = begin + std::min(size, buffer.size - std::min(offset, buffer.size));
    AddRange(buffer.place.memory, begin, end);
  }
}

void WriteSet::AddImage(const ImageInfo* image) {
  if (image == nullptr || !image->is_bound || image->is_sparse) {
    AddEverything();
    return;
  }
  for (const Place& place : image->places) {
    AddRange(place.memory, place.begin, place.end);
  }
}

size_t WriteSet::CountRanges() const {
  size_t count = 0;
  for (const auto& [memory, entry] : exact_) {
    count += entry.ranges.ranges().size();
  }
  return count;
}

void WriteSet::Add(const WriteSet& other) {
  shader_work_ = shader_work_ || other.shader_work_;
  unknown_descriptors_ = unknown_descriptors_ || other.unknown_descriptors_;
  everything_ = everything_ || other.everything_;
  server::AddQueries(other.queries_, queries_);
  for (const auto& [memory, theirs] : other.exact_) {
    Entry& ours = exact_[memory];
    ours.memory = theirs.memory;
    ours.ranges.Add(theirs.ranges);
    ours.ranges.Coarsen(kMaxRanges);
  }
}

}  // namespace vesper::server
