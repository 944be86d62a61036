// SPDX-License-Identifier: Apache-2.0
#include "proto/memory_patch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "tests/framework/random.h"

namespace vesper::proto {
namespace {

using tests::Random;
using Bytes = std::vector<std::byte>;

/// One side's copy of an allocation.
struct Side {
  explicit Side(size_t size) : live(size), twin(size) {}
  Bytes live;
  Bytes twin;

  void Apply(std::span<const std::byte> patch) {
    ASSERT_TRUE(PatchFits(patch, live.size()));
    ApplyPatch(patch, live.data(), twin.data());
  }
  Buffer Collect(uint64_t offset, uint64_t size) {
    Buffer patch;
    EXPECT_EQ(MakePatch(live.data(), twin.data(), offset, size, SIZE_MAX, patch), offset + size);
    return patch;
  }
};

/// Writes a few runs of random bytes where `mine` allows; remembers what was written.
void Scribble(Random& random, Side& side, const std::vector<bool>& mine, Bytes& expected) {
  const uint64_t runs = random.Below(12);
  for (uint64_t run = 0; run < runs; ++run) {
    const size_t begin = random.Below(side.live.size());
    const size_t length = random.OneIn(3) ? random.Below(5000) : 1 + random.Below(20);
    const bool clears = random.OneIn(4);
    for (size_t i = begin; i < std::min(begin + length, side.live.size()); ++i) {
      if (mine[i]) {
        side.live[i] = expected[i] = clears ? std::byte{0} : static_cast<std::byte>(random.Next());
      }
    }
  }
}

// Where nobody else writes, a line in which anything differs travels as a whole, and no other does.
TEST(MemoryPatch, WholeLines) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const size_t size = 64 + random.Below(20'000) / 8 * 8;
    Side from(size);
    Side to(size);
    std::vector<bool> differs(size / 64 + 1);
    for (uint64_t i = random.Below(40); i > 0; --i) {
      const size_t at = random.Below(size);
      from.live[at] = static_cast<std::byte>(1 + random.Below(255));
      differs[at / 64] = true;
    }
    Buffer patch;
    ASSERT_EQ(size, MakePatch(from.live.data(), from.twin.data(), 0, size, SIZE_MAX, patch,
                              PatchGrain::kLines));
    PatchReader reader(patch.Bytes());
    uint64_t bytes = 0;
    while (const std::optional<PatchEntry> entry = reader.Next()) {
      ASSERT_EQ(0u, entry->mask);
      for (uint64_t line = entry->offset / 64; line * 64 < entry->end(); ++line) {
        EXPECT_TRUE(differs[line]) << line;
      }
      bytes += entry->end() - entry->offset;
    }
    uint64_t expected = 0;
    for (size_t line = 0; line * 64 < size; ++line) {
      expected += differs[line] ? std::min<size_t>(64, size - line * 64) : 0;
    }
    EXPECT_EQ(expected, bytes);
    to.Apply(patch.Bytes());
    EXPECT_EQ(from.live, to.live);
    EXPECT_EQ(from.live, from.twin);
  }
}

TEST(MemoryPatch, MergesTwoWritersByteForByte) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const size_t size = 1 + random.Below(40'000);
    Side guest(size);
    Side host(size);
    Bytes expected(size);
    // Each byte belongs to one writer, in every pattern: single bytes, words, pages.
    std::vector<bool> guests(size);
    std::vector<bool> hosts(size);
    const size_t grain = size_t{1} << random.Below(13);
    for (size_t i = 0; i < size; i += grain) {
      const bool to_guest = random.OneIn(2);
      for (size_t byte = i; byte < std::min(i + grain, size); ++byte) {
        guests[byte] = to_guest;
        hosts[byte] = !to_guest;
      }
    }
    for (int round = 0; round < 8; ++round) {
      Scribble(random, guest, guests, expected);
      Scribble(random, host, hosts, expected);
      // Both collect before either has seen the other's patch: nothing may be lost.
      const Buffer from_guest = guest.Collect(0, size);
      const Buffer from_host = host.Collect(0, size);
      host.Apply(from_guest.Bytes());
      guest.Apply(from_host.Bytes());
      ASSERT_EQ(guest.live, expected);
      ASSERT_EQ(host.live, expected);
      ASSERT_EQ(guest.twin, expected);
      ASSERT_EQ(host.twin, expected);
      // Nothing is sent twice, nor back.
      ASSERT_EQ(guest.Collect(0, size).size(), 0u);
      ASSERT_EQ(host.Collect(0, size).size(), 0u);
    }
  }
}

TEST(MemoryPatch, CarriesOnlyWhatDiffers) {
  Side side(256);
  side.live[10] = std::byte{1};
  side.live[12] = std::byte{2};
  const Buffer patch = side.Collect(0, 256);
  // Applied elsewhere, byte 11 keeps what was written there.
  Bytes live(256, std::byte{9});
  Bytes twin(256, std::byte{9});
  ApplyPatch(patch.Bytes(), live.data(), twin.data());
  EXPECT_EQ(live[10], std::byte{1});
  EXPECT_EQ(live[11], std::byte{9});
  EXPECT_EQ(live[12], std::byte{2});
  EXPECT_EQ(std::count(live.begin(), live.end(), std::byte{9}), 254);
}

TEST(MemoryPatch, StaysInsideTheRangeAsked) {
  Random random(5);
  for (int round = 0; round < 200; ++round) {
    const size_t size = 1 + random.Below(9000);
    Side side(size);
    std::fill(side.live.begin(), side.live.end(), std::byte{0xee});
    const uint64_t offset = random.Below(size);
    const uint64_t length = random.Below(size - offset + 1);
    const Buffer patch = side.Collect(offset, length);
    Side other(size);
    other.Apply(patch.Bytes());
    for (size_t i = 0; i < size; ++i) {
      const bool inside = i >= offset && i < offset + length;
      ASSERT_EQ(other.live[i], inside ? std::byte{0xee} : std::byte{0}) << i << " of " << size;
      ASSERT_EQ(side.twin[i], other.live[i]);
    }
  }
}

TEST(MemoryPatch, ZerosDoNotTravel) {
  constexpr size_t kSize = 1u << 20;
  Side side(kSize);
  std::ranges::fill(side.live, std::byte{1});
  side.Collect(0, kSize);
  Side other = side;
  std::ranges::fill(side.live, std::byte{0});
  const Buffer patch = side.Collect(0, kSize);
  EXPECT_EQ(patch.size(), 16u);
  other.Apply(patch.Bytes());
  EXPECT_EQ(other.live, side.live);
  EXPECT_EQ(other.twin, side.live);
}

TEST(MemoryPatch, ZerosOutsideDoNotFit) {
  Buffer patch;
  PutZerosEntry(100, 28, patch);
  EXPECT_TRUE(PatchFits(patch.Bytes(), 128));
  EXPECT_FALSE(PatchFits(patch.Bytes(), 127));
  patch.Clear();
  PutZerosEntry(100, UINT64_MAX - 50, patch);
  EXPECT_FALSE(PatchFits(patch.Bytes(), 128));
  patch.Clear();
  PutZerosEntry(uint64_t{1} << 63, 8, patch);
  EXPECT_FALSE(PatchFits(patch.Bytes(), 128)) << "a line of zeros is no entry";
}

TEST(MemoryPatch, StopsWhenItIsLargeAndGoesOn) {
  constexpr size_t kSize = 1u << 20;
  constexpr size_t kMax = 100'000;
  Side side(kSize);
  Random random(6);
  random.Fill({reinterpret_cast<uint8_t*>(side.live.data()), kSize});
  Side other(kSize);
  size_t patches = 0;
  for (uint64_t offset = 0; offset < kSize; ++patches) {
    Buffer patch;
    const uint64_t next =
        MakePatch(side.live.data(), side.twin.data(), offset, kSize - offset, kMax, patch);
    ASSERT_GT(next, offset);
    ASSERT_LE(patch.size(), kMax + 2 * 4096);
    other.Apply(patch.Bytes());
    offset = next;
  }
  EXPECT_GE(patches, kSize / (kMax + 8192));
  EXPECT_EQ(other.live, side.live);
}

TEST(MemoryPatch, NothingChangedIsNoPatch) {
  Side side(100'000);
  EXPECT_EQ(side.Collect(0, 100'000).size(), 0u);
  EXPECT_EQ(side.Collect(17, 0).size(), 0u);
  EXPECT_TRUE(PatchFits({}, 0));
}

// -- hostile patches ----------------------------------------------------------------------------

constexpr uint64_t kLine = uint64_t{1} << 63;

bool Fits(const std::vector<uint64_t>& words, uint64_t size) {
  return PatchFits(std::as_bytes(std::span(words)), size);
}

TEST(PatchFits, ChecksSpans) {
  EXPECT_TRUE(Fits({0, 8, 0}, 8));
  EXPECT_TRUE(Fits({8, 8, 0}, 16));
  EXPECT_TRUE(Fits({16, 0}, 16));
  EXPECT_FALSE(Fits({9, 8, 0}, 16));
  EXPECT_FALSE(Fits({17, 0}, 16));
  EXPECT_FALSE(Fits({0, 9, 0, 0}, 8));
  EXPECT_FALSE(Fits({8, ~uint64_t{0} - 4, 0}, 16));  // offset + length wraps
  EXPECT_FALSE(Fits({0x7fff'ffff'ffff'fff8, 16, 0, 0}, 16));
}

TEST(PatchFits, ChecksLines) {
  EXPECT_TRUE(Fits({kLine | 0, ~uint64_t{0}, 0, 0, 0, 0, 0, 0, 0, 0}, 64));
  EXPECT_FALSE(Fits({kLine | 1, ~uint64_t{0}, 0, 0, 0, 0, 0, 0, 0, 0}, 64));
  EXPECT_TRUE(Fits({kLine | 60, 0xf, 0}, 64));
  EXPECT_FALSE(Fits({kLine | 60, 0x1f, 0}, 64));
  EXPECT_FALSE(Fits({kLine | 0x7fff'ffff'ffff'ffff, 1, 0}, 64));
  EXPECT_TRUE(Fits({kLine | 64, 0}, 64));
}

TEST(PatchFits, ChecksThatTheBytesAreThere) {
  EXPECT_FALSE(Fits({0}, 64));
  EXPECT_FALSE(Fits({0, 16, 0}, 64));
  EXPECT_FALSE(Fits({kLine, 0x1ff, 0}, 64));
  EXPECT_FALSE(Fits({0, 8, 0, 0}, 64));  // half an entry after a whole one
  const std::vector<uint64_t> words{0, 16, 0, 0};
  EXPECT_FALSE(PatchFits(std::as_bytes(std::span(words)).first(27), 64));
}

TEST(PatchFits, RandomPatchesThatFitStayInside) {
  constexpr size_t kSize = 300;
  Random random(7);
  int fitting = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::vector<uint64_t> words;
    while (words.size() < 12 && !random.OneIn(6)) {
      const bool line = random.OneIn(2);
      words.push_back(random.Below(kSize + 20) | (line ? kLine : 0));
      const uint64_t what = line ? random.Next() >> random.Below(64) : random.Below(24);
      words.push_back(what);
      for (uint64_t bytes = line ? std::popcount(what) : what; bytes > 0;
           bytes -= std::min<uint64_t>(bytes, 8)) {
        words.push_back(random.Next());
      }
    }
    const auto patch = std::as_bytes(std::span(words));
    if (PatchFits(patch, kSize)) {
      Bytes live(kSize);  // exact, so that the address sanitizer sees a byte beyond
      Bytes twin(kSize);
      ApplyPatch(patch, live.data(), twin.data());
      ASSERT_EQ(live, twin);
      ++fitting;
    }
  }
  EXPECT_GT(fitting, 1000);
}

}  // namespace
}  // namespace vesper::proto
