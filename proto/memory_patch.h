// SPDX-License-Identifier: Apache-2.0
//
// Memory patches: the bytes of a mapped allocation that changed, and no others.
//
// Guest and host each hold the *live* memory (which program or GPU write) and a *twin*, what both
// sides last agreed on. A patch is made by comparing live with twin, and carries exactly the bytes
// that differ: a byte that merely lies between two changed ones must not travel, for the other side
// may have changed it. Applied to live and twin alike, it loses no byte of either writer.
//
// A patch is a run of entries, each `{u64 where, u64 what}` and bytes padded to 8:
//   span  where = offset, what = length; that many changed bytes follow.
//   line  where = offset | 1<<63, what = mask; of the 64 bytes at offset, those whose mask bit is
//         set have changed and follow, packed.
//   zeros where = offset | 1<<62, what = length; that many bytes have become zeros. None follow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "proto/buffer.h"
#include "proto/reader.h"

namespace vesper::proto {

class PatchParts;

/// What a patch is made of. Bytes: exactly those that differ, for the other side may write to their
/// neighbours. Lines: all 64 bytes of a line in which any differs. That is for memory that only
/// this side writes, and compresses better: what is left of a picture's line without the bytes that
/// happen to be the same has lost its period of four bytes.
enum class PatchGrain : uint8_t { kBytes, kLines };

/// Compares `size` bytes of `live` and `twin` from `offset`, appends a patch for what differs and
/// brings the twin up to date. Stops early once the patch has `max_bytes`; returns the offset where
/// it stopped (offset + size when done). Other threads may write `live` meanwhile: each changed
/// byte is read once, and what was read is what twin and patch get.
uint64_t MakePatch(const std::byte* live, std::byte* twin, uint64_t offset, uint64_t size,
                   size_t max_bytes, Buffer& patch, PatchGrain grain = PatchGrain::kBytes);

/// The same, but long runs of changed bytes are not copied into the patch: it names them in the
/// twin, and they are read from there when the patch is written. Whatever is written to the twin
/// before that goes to the other side. (`live` would not do: what the program writes meanwhile
/// would travel, and the twin would not know.)
uint64_t MakePatch(const std::byte* live, std::byte* twin, uint64_t offset, uint64_t size,
                   size_t max_bytes, PatchParts& patch, PatchGrain grain = PatchGrain::kBytes);

/// Appends an entry of zeros.
void PutZerosEntry(uint64_t offset, uint64_t count, Buffer& patch);

/// True if every entry of the patch lies within `size` bytes.
bool PatchFits(std::span<const std::byte> patch, uint64_t size);

/// One entry of a patch: a span, the bytes of a line that changed, or zeros.
struct PatchEntry {
  uint64_t offset;
  uint64_t mask;   ///< 0: all bytes from `offset` on; else which bytes of the line there
  uint64_t zeros;  ///< how many zeros; then there are no bytes
  std::span<const std::byte> bytes;

  /// Behind the last byte that changed.
  uint64_t end() const;
};

/// Walks the entries of a patch that fits (PatchFits).
class PatchReader {
 public:
  explicit PatchReader(std::span<const std::byte> patch) : reader_(patch) {}
  /// The next entry that changes anything; nothing at the end.
  std::optional<PatchEntry> Next();

 private:
  Reader reader_;
};

/// Writes the part of an entry that lies within [begin, end) to `memory`, which begins at offset 0.
void ApplyEntry(const PatchEntry& entry, std::byte* memory, uint64_t begin, uint64_t end);

/// Writes a patch that fits (PatchFits) to live memory and twin. Touches no byte that the patch
/// does not carry.
void ApplyPatch(std::span<const std::byte> patch, std::byte* live, std::byte* twin);

}  // namespace vesper::proto
