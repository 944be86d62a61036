// SPDX-License-Identifier: Apache-2.0
//
// A memory patch in parts: whole runs of bytes are named where they lie, and go to the socket from
// there. What is in between (entry headers, entries made by comparing) is kept here. On the wire it
// is a patch like any other.
//
// Usage:
//   parts.Clear();
//   parts.AddSpan(offset, page);                       // as often as there are pages
//   MakePatch(live, twin, ..., parts.entries());       // in between, where bytes are compared
//   connection.Write(parts.Frame(known, id_of, number, Args_vesperWriteMemory{device, memory}));
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "proto/buffer.h"
#include "proto/encoder.h"

namespace vesper::proto {

/// Not thread-safe.
class PatchParts {
 public:
  void Clear();

  /// `bytes` belong at `offset` of the memory. They stay where they are, and must be there until
  /// the frame is written; if somebody writes to them meanwhile, what goes out is old or new, byte
  /// for byte. Runs that follow each other, there and here, become one.
  void AddSpan(uint64_t offset, std::span<const std::byte> bytes);
  /// Bytes that have become zeros, and need not travel.
  void AddZeros(uint64_t offset, uint64_t size);
  /// For entries that are made elsewhere; whole entries are appended.
  Buffer& entries();

  /// Bytes of the patch.
  size_t size() const { return own_.size() + elsewhere_bytes_; }

  /// A frame of one command with this patch, in parts that are valid until the next call of
  /// anything here. `args` without its patch. Empty if memory is out, or the patch is too large.
  template <typename Args>
  std::span<const std::span<const std::byte>> Frame(const KnownStructs& known, IdOfHandle id_of,
                                                    uint16_t number, Args args) {
    args.patchSize = size();
    args.pPatch = &own_;  // only has to be an address that is nothing else's
    return Frame(known, id_of, number, &args, args.pPatch);
  }

 private:
  struct Run {
    size_t own_before;  // bytes of own_ that come before it
    std::span<const std::byte> bytes;
  };

  std::span<const std::span<const std::byte>> Frame(const KnownStructs& known, IdOfHandle id_of,
                                                    uint16_t number, const void* args,
                                                    const void* patch);

  Buffer own_;
  std::vector<Run> runs_;
  size_t elsewhere_bytes_ = 0;
  // The last entry, if what follows it may join it: where it ends in the memory.
  enum class Last : uint8_t { kOther, kRun, kZeros };
  Last last_ = Last::kOther;
  uint64_t last_end_ = 0;
  Buffer head_;
  std::vector<std::span<const std::byte>> parts_;
};

}  // namespace vesper::proto
