// SPDX-License-Identifier: Apache-2.0
// The small parts that everything else stands on: buffer, reader, arena.
#include "proto/buffer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "proto/arena.h"
#include "proto/reader.h"
#include "proto/walk.h"

namespace vesper::proto {
namespace {

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

TEST(Buffer, PadsWithZeros) {
  Buffer buffer;
  // What was there before must not travel as padding.
  buffer.Put("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  buffer.Clear();
  buffer.Put("abc", 3);
  ASSERT_EQ(buffer.size(), 8u);
  EXPECT_EQ(std::memcmp(buffer.Bytes().data(), "abc\0\0\0\0\0", 8), 0);
  buffer.Put(nullptr, 0);
  EXPECT_EQ(buffer.size(), 8u);
}

TEST(Buffer, GrowsAndKeepsWhatItHolds) {
  Buffer buffer;
  for (uint64_t i = 0; i < 100'000; ++i) {
    buffer.PutValue(i);
  }
  for (uint64_t i = 0; i < 100'000; ++i) {
    ASSERT_EQ(LoadField<uint64_t>(buffer.Bytes().data(), i * 8), i);
  }
}

TEST(Buffer, OutOfMemorySticks) {
  Buffer buffer;
  buffer.PutValue<uint64_t>(1);
  const size_t offset = buffer.Append(size_t{1} << 62);
  EXPECT_TRUE(buffer.Failed());
  EXPECT_EQ(buffer.size(), 8u);
  buffer.Patch<uint64_t>(offset, 5);  // writes to nowhere
  buffer.Append(SIZE_MAX - 3);        // whose padded size would be 0
  EXPECT_EQ(buffer.size(), 8u);
  buffer.Clear();
  EXPECT_FALSE(buffer.Failed());
}

TEST(Buffer, ShrinksOnlyWhatIsLarge) {
  Buffer buffer;
  buffer.PutValue<uint64_t>(1);
  buffer.Shrink(1u << 20);
  EXPECT_EQ(buffer.size(), 8u);
  buffer.Append(2u << 20);
  buffer.Shrink(1u << 20);
  EXPECT_EQ(buffer.size(), 0u);
}

TEST(Reader, NeverReadsPastTheEnd) {
  const std::vector<uint64_t> words{1, 2, 3};
  for (const uint64_t bytes : {uint64_t{25}, uint64_t{1} << 63, kHuge - 7, kHuge}) {
    Reader reader(std::as_bytes(std::span(words)));
    EXPECT_TRUE(reader.Take(bytes).empty());
    EXPECT_TRUE(reader.Failed());
    EXPECT_EQ(reader.Value<uint64_t>(), 0u) << "failure sticks";
  }
  Reader reader(std::as_bytes(std::span(words)));
  EXPECT_EQ(reader.Take(24).size(), 24u);
  EXPECT_TRUE(reader.AtEnd());
  EXPECT_EQ(reader.Take(0).size(), 0u);
  EXPECT_FALSE(reader.Failed());
}

TEST(Reader, NeedsThePadding) {
  const std::vector<uint64_t> words{1};
  Reader reader(std::as_bytes(std::span(words)).first(5));
  EXPECT_TRUE(reader.Take(5).empty());
  EXPECT_TRUE(reader.Failed());
}

TEST(Reader, ChecksProducts) {
  const std::vector<uint64_t> words{1, 2};
  for (const auto& [count, size] : std::vector<std::pair<uint64_t, uint64_t>>{
           {uint64_t{1} << 32, uint64_t{1} << 32}, {kHuge, 2}, {3, 8}, {kHuge, kHuge}}) {
    Reader reader(std::as_bytes(std::span(words)));
    EXPECT_TRUE(reader.TakeArray(count, size).empty());
    EXPECT_TRUE(reader.Failed());
  }
}

TEST(Arena, GivesZeroedAlignedMemory) {
  Arena arena;
  for (int round = 0; round < 3; ++round) {
    for (const size_t size : {1, 15, 16, 17, 1000, 70'000, 3}) {
      auto* memory = static_cast<unsigned char*>(arena.Allocate(size));
      ASSERT_NE(memory, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 16, 0u);
      for (size_t i = 0; i < size; ++i) {
        ASSERT_EQ(memory[i], 0);
        memory[i] = 0xff;
      }
    }
    arena.Reset();
  }
}

TEST(Arena, KeepsItsCap) {
  Arena arena(1000);
  EXPECT_NE(arena.Allocate(0), nullptr);
  EXPECT_EQ(arena.Allocate(1001), nullptr);
  EXPECT_EQ(arena.Allocate(kHuge), nullptr);
  EXPECT_NE(arena.Allocate(990), nullptr);
  EXPECT_EQ(arena.Allocate(16), nullptr);
  arena.Reset();
  EXPECT_NE(arena.Allocate(1000), nullptr);
}

TEST(EvaluateLength, KnowsNullAndOverflow) {
  struct Image {
    uint64_t count;
    const uint32_t* target;
  };
  Image image{kHuge, nullptr};
  EXPECT_EQ(EvaluateLength({LengthKind::kU64, 0, 0, 1, 1}, &image), kHuge) << "no wrap to zero";
  EXPECT_EQ(EvaluateLength({LengthKind::kPointerU32, 8, 0, 0, 1}, &image), 0u);
  EXPECT_EQ(EvaluateLength({LengthKind::kPath, 8, 4, 0, 1}, &image), 0u);
  EXPECT_EQ(EvaluateLength({LengthKind::kSibling, 8, 4, 8, 1}, &image, 7), 0u);
  const uint32_t values[] = {5, 6, 7, 8};
  image.target = values;
  EXPECT_EQ(EvaluateLength({LengthKind::kPointerU32, 8, 0, 0, 1}, &image), 5u);
  EXPECT_EQ(EvaluateLength({LengthKind::kPath, 8, 4, 0, 1}, &image), 6u);
  EXPECT_EQ(EvaluateLength({LengthKind::kSibling, 8, 4, 8, 1}, &image, 1), 8u);
  image.count = 33;
  EXPECT_EQ(EvaluateLength({LengthKind::kU64, 0, 0, 31, 32}, &image), 2u);
}

}  // namespace
}  // namespace vesper::proto
