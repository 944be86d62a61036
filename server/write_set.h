// SPDX-License-Identifier: Apache-2.0
//
// What a command buffer, a batch or several batches may write to memory that the guest can map.
//
// A transfer says which bytes it writes, so they are noted as ranges, and so are the buffers that
// descriptors lead to. What else a shader writes nobody can tell from the command, so a draw or a
// dispatch is noted as *shader work*: it may write every range to which something is bound that
// shaders get at without a descriptor. With *unknown descriptors* it may also write what they get
// at with one. And what is not known at all may write everything that any work of the device may
// write.
//
// Queries that are written or reset are noted, too; what they are for is in query_results.h.
//
// A set may be too large, never too small. The ranges decide what is compared when the work is
// done, and comparing carries only bytes that really changed.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "server/byte_ranges.h"
#include "server/query_results.h"

namespace vesper::server {

class HostMemory;
class WriteSet;
struct BufferInfo;
struct ImageInfo;

/// What one submission may write: nobody changes the set any more.
struct SubmittedWrites {
  std::shared_ptr<const WriteSet> set;
  uint64_t submission;  ///< its position in the stream, whenever it was executed
};

class WriteSet {
 public:
  struct Entry {
    std::shared_ptr<HostMemory> memory;
    ByteRanges ranges;
  };

  void AddRange(const std::shared_ptr<HostMemory>& memory, uint64_t begin, uint64_t end);
  /// Part of a buffer; of one that is null, not bound or sparse: everything.
  void AddBuffer(const BufferInfo* buffer, uint64_t offset, uint64_t size);
  /// All of an image, likewise.
  void AddImage(const ImageInfo* image);
  /// Part of a buffer that a descriptor names; of one that is sparse or not bound: unknown. None:
  /// it is destroyed, so shaders don't use the descriptor.
  void AddDescriptor(const BufferInfo* buffer, uint64_t offset, uint64_t size);
  void AddShaderWork() { shader_work_ = true; }
  /// Shader work, if there is any, has descriptors that are not known.
  void AddUnknownDescriptors() { unknown_descriptors_ = true; }
  void AddEverything() { everything_ = true; }
  void AddQueries(VkQueryPool pool, uint64_t first, uint64_t count) {
    queries_[pool].Add(first, first + count);
  }
  void Add(const WriteSet& other);

  bool IsEmpty() const {
    return !shader_work_ && !everything_ && exact_.empty() && queries_.empty();
  }
  const TouchedQueries& queries() const { return queries_; }
  bool shader_work() const { return shader_work_; }
  bool unknown_descriptors() const { return unknown_descriptors_; }
  bool everything() const { return everything_; }
  const std::unordered_map<const HostMemory*, Entry>& exact() const { return exact_; }
  size_t CountRanges() const;

 private:
  void AddBound(const BufferInfo& buffer, uint64_t offset, uint64_t size);

  bool shader_work_ = false;
  bool unknown_descriptors_ = false;
  bool everything_ = false;
  TouchedQueries queries_;
  std::unordered_map<const HostMemory*, Entry> exact_;
};

}  // namespace vesper::server
