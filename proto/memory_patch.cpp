// SPDX-License-Identifier: Apache-2.0
#include "proto/memory_patch.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>

#include "proto/patch_parts.h"
#include "proto/reader.h"

namespace vesper::proto {
namespace {

constexpr uint64_t kLine = 64;
constexpr uint64_t kBlock = 4096;
constexpr uint64_t kLineEntry = uint64_t{1} << 63;
constexpr uint64_t kZerosEntry = uint64_t{1} << 62;

/// Runs of this many bytes are cheaper to name than to copy.
constexpr size_t kMinNamed = 1024;

#ifdef __SSE2__
/// The same for a whole line: four comparisons of 16 bytes. SSE2 is part of x86-64.
uint64_t WholeLineMask(const std::byte* a, const std::byte* b) {
  uint64_t equal = 0;
  for (int part = 0; part < 4; ++part) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a) + part);
    const __m128i y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b) + part);
    const uint32_t mask = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)));
    equal |= static_cast<uint64_t>(mask) << (16 * part);
  }
  return ~equal;
}
#endif

/// Bit i is set if byte i of the two lines differs.
uint64_t DifferenceMask(const std::byte* a, const std::byte* b, size_t bytes) {
#ifdef __SSE2__
  if (bytes == kLine) {
    return WholeLineMask(a, b);
  }
#endif
  uint64_t mask = 0;
  for (size_t word = 0; word < bytes; word += 8) {
    uint64_t x = 0;
    uint64_t y = 0;
    const size_t width = std::min<size_t>(8, bytes - word);
    std::memcpy(&x, a + word, width);
    std::memcpy(&y, b + word, width);
    const uint64_t difference = x ^ y;
    if (difference == 0) {
      continue;
    }
    // Fold each byte's bits into its lowest, then gather the eight lowest bits.
    uint64_t folded = difference | (difference >> 4);
    folded |= folded >> 2;
    folded |= folded >> 1;
    folded &= 0x0101010101010101u;
    const uint64_t gathered = (folded * 0x0102040810204080u) >> 56;
    mask |= gathered << word;
  }
  return mask;
}

bool IsZero(const std::byte* bytes, size_t count) {
  return bytes[0] == std::byte{0} && std::memcmp(bytes, bytes + 1, count - 1) == 0;
}

/// Writes entries; spans, and zeros, that follow each other become one.
class PatchWriter {
 public:
  explicit PatchWriter(Buffer& patch) : patch_(&patch) {}
  explicit PatchWriter(PatchParts& parts) : parts_(&parts) {}

  size_t size() const { return parts_ != nullptr ? parts_->size() : patch_->size(); }

  /// `bytes` lie in the twin.
  void Span(uint64_t offset, const std::byte* bytes, size_t count) {
    if (count >= kLine && IsZero(bytes, count)) {
      Zeros(offset, count);
      return;
    }
    zeros_header_ = SIZE_MAX;
    if (parts_ != nullptr && count >= kMinNamed) {
      parts_->AddSpan(offset, {bytes, count});
      span_header_ = SIZE_MAX;
      return;
    }
    Buffer& patch = Entries();
    if (span_header_ == SIZE_MAX || offset != span_end_) {
      span_header_ = patch.size();
      span_begin_ = offset;
      patch.PutValue(offset);
      patch.PutValue<uint64_t>(0);
    }
    patch.Put(bytes, count);
    span_end_ = offset + count;
    patch.Patch(span_header_ + 8, span_end_ - span_begin_);
  }

  /// The bytes of a line whose bit in `mask` is set.
  void Line(uint64_t offset, const std::byte* bytes, uint64_t mask) {
    Buffer& patch = Entries();
    span_header_ = SIZE_MAX;
    zeros_header_ = SIZE_MAX;
    patch.PutValue(offset | kLineEntry);
    patch.PutValue(mask);
    std::byte packed[kLine];
    size_t used = 0;
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
      packed[used++] = bytes[std::countr_zero(rest)];
    }
    patch.Put(packed, used);
  }

 private:
  void Zeros(uint64_t offset, uint64_t count) {
    span_header_ = SIZE_MAX;
    if (parts_ != nullptr) {
      parts_->AddZeros(offset, count);
    } else if (zeros_header_ != SIZE_MAX && offset == zeros_end_) {
      zeros_end_ += count;
      patch_->Patch(zeros_header_ + 8, zeros_end_ - zeros_begin_);
    } else {
      zeros_header_ = patch_->size();
      zeros_begin_ = offset;
      zeros_end_ = offset + count;
      PutZerosEntry(offset, count, *patch_);
    }
  }

  Buffer& Entries() { return parts_ != nullptr ? parts_->entries() : *patch_; }

  Buffer* patch_ = nullptr;
  PatchParts* parts_ = nullptr;
  size_t span_header_ = SIZE_MAX;
  uint64_t span_begin_ = 0;
  uint64_t span_end_ = 0;
  size_t zeros_header_ = SIZE_MAX;
  uint64_t zeros_begin_ = 0;
  uint64_t zeros_end_ = 0;
};

/// Compares what was read of a block with the twin, line by line. Lines that have changed as a
/// whole are gathered, since a few long copies cost less than many short ones.
void PatchBlock(const std::byte* now, std::byte* twin, uint64_t offset, uint64_t size,
                PatchGrain grain, PatchWriter& writer) {
  uint64_t whole = 0;  // bytes before `at` that have changed as a whole and are not written yet
  uint64_t at = 0;
  const auto write_whole = [&] {
    if (whole != 0) {
      const uint64_t begin = at - whole;
      std::memcpy(twin + offset + begin, now + begin, whole);
      writer.Span(offset + begin, twin + offset + begin, whole);
      whole = 0;
    }
  };
  while (at < size) {
    const uint64_t count = std::min(kLine - (offset + at) % kLine, size - at);
    const uint64_t mask = DifferenceMask(now + at, twin + offset + at, count);
    const uint64_t all = count == kLine ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
    const bool is_whole = mask == all || (mask != 0 && grain == PatchGrain::kLines);
    if (is_whole && count % 8 == 0) {
      whole += count;
    } else {
      write_whole();
      if (mask != 0) {
        writer.Line(offset + at, now + at, mask);
        std::memcpy(twin + offset + at, now + at, count);
      }
    }
    at += count;
  }
  write_whole();
}

uint64_t Compare(const std::byte* live, std::byte* twin, uint64_t offset, uint64_t size,
                 size_t max_bytes, PatchGrain grain, PatchWriter writer) {
  const uint64_t end = offset + size;
  const size_t start = writer.size();
  while (offset < end) {
    const uint64_t block = std::min(kBlock - offset % kBlock, end - offset);
    if (std::memcmp(live + offset, twin + offset, block) == 0) {
      offset += block;
      continue;
    }
    if (writer.size() - start >= max_bytes) {
      return offset;
    }
    // What was read here is what twin and patch get, whatever is written there meanwhile.
    std::byte now[kBlock];
    std::memcpy(now, live + offset, block);
    PatchBlock(now, twin, offset, block, grain, writer);
    offset += block;
  }
  return end;
}

}  // namespace

uint64_t MakePatch(const std::byte* live, std::byte* twin, uint64_t offset, uint64_t size,
                   size_t max_bytes, Buffer& patch, PatchGrain grain) {
  return Compare(live, twin, offset, size, max_bytes, grain, PatchWriter(patch));
}

uint64_t MakePatch(const std::byte* live, std::byte* twin, uint64_t offset, uint64_t size,
                   size_t max_bytes, PatchParts& patch, PatchGrain grain) {
  return Compare(live, twin, offset, size, max_bytes, grain, PatchWriter(patch));
}

void PutZerosEntry(uint64_t offset, uint64_t count, Buffer& patch) {
  patch.PutValue(offset | kZerosEntry);
  patch.PutValue(count);
}

bool PatchFits(std::span<const std::byte> patch, uint64_t size) {
  Reader reader(patch);
  constexpr uint64_t kBoth = kLineEntry | kZerosEntry;
  while (!reader.AtEnd() && !reader.Failed()) {
    const uint64_t where = reader.Value<uint64_t>();
    const uint64_t what = reader.Value<uint64_t>();
    if ((where & kBoth) == kBoth) {
      return false;
    }
    const uint64_t offset = where & ~(kLineEntry | kZerosEntry);
    uint64_t extent = what;
    uint64_t bytes = what;
    if ((where & kLineEntry) != 0) {
      extent = what == 0 ? 0 : 64 - std::countl_zero(what);
      bytes = std::popcount(what);
    } else if ((where & kZerosEntry) != 0) {
      bytes = 0;
    }
    if (offset > size || extent > size - offset) {
      return false;
    }
    reader.Take(bytes);
  }
  return !reader.Failed();
}

uint64_t PatchEntry::end() const {
  return offset +
         (mask == 0 ? zeros + bytes.size() : 64 - static_cast<uint64_t>(std::countl_zero(mask)));
}

std::optional<PatchEntry> PatchReader::Next() {
  while (!reader_.AtEnd() && !reader_.Failed()) {
    const uint64_t where = reader_.Value<uint64_t>();
    const uint64_t what = reader_.Value<uint64_t>();
    PatchEntry entry{where & ~(kLineEntry | kZerosEntry), 0, 0, {}};
    if ((where & kLineEntry) != 0) {
      entry.mask = what;
      entry.bytes = reader_.Take(std::popcount(what));
    } else if ((where & kZerosEntry) != 0) {
      entry.zeros = what;
    } else {
      entry.bytes = reader_.Take(what);
    }
    if (entry.zeros != 0 || !entry.bytes.empty()) {
      return entry;
    }
  }
  return std::nullopt;
}

void ApplyEntry(const PatchEntry& entry, std::byte* memory, uint64_t begin, uint64_t end) {
  if (entry.mask == 0) {
    const uint64_t from = std::max(begin, entry.offset);
    const uint64_t to = std::min(end, entry.end());
    if (from < to && entry.zeros != 0) {
      std::memset(memory + from, 0, to - from);
    } else if (from < to) {
      std::memcpy(memory + from, entry.bytes.data() + (from - entry.offset), to - from);
    }
    return;
  }
  size_t next = 0;
  for (uint64_t rest = entry.mask; rest != 0; rest &= rest - 1) {
    const uint64_t at = entry.offset + static_cast<uint64_t>(std::countr_zero(rest));
    if (at >= begin && at < end) {
      memory[at] = entry.bytes[next];
    }
    ++next;
  }
}

void ApplyPatch(std::span<const std::byte> patch, std::byte* live, std::byte* twin) {
  PatchReader reader(patch);
  while (const std::optional<PatchEntry> entry = reader.Next()) {
    ApplyEntry(*entry, live, entry->offset, entry->end());
    ApplyEntry(*entry, twin, entry->offset, entry->end());
  }
}

}  // namespace vesper::proto
