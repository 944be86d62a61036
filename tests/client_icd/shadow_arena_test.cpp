// SPDX-License-Identifier: Apache-2.0
#include "client_icd/shadow_arena.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <memory>
#include <utility>
#include <vector>

namespace vesper::client {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr uint64_t kSlot = 64u << 10;
constexpr uint64_t kMiB = 1u << 20;

using Runs = std::vector<std::pair<uint64_t, uint64_t>>;

Runs Written(const ShadowArena& arena, ShadowArena::Piece& piece) {
  Runs runs;
  arena.ForEachWritten(piece, 0, piece.bytes,
                       [&runs](uint64_t begin, uint64_t end) { runs.emplace_back(begin, end); });
  return runs;
}

class ShadowArenaTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(arena_.HasFile()); }
  ShadowArena::Piece Allocate(uint64_t bytes) {
    ShadowArena::Piece piece;
    EXPECT_TRUE(arena_.Allocate(bytes, &piece));
    return piece;
  }

  ShadowArena arena_;
};

TEST_F(ShadowArenaTest, BothViewsAreTheSameMemory) {
  const ShadowArena::Piece piece = Allocate(100);
  EXPECT_NE(piece.program, piece.driver);
  EXPECT_EQ(piece.bytes, kSlot) << "whole slots";
  piece.program[99] = std::byte{1};
  EXPECT_EQ(piece.driver[99], std::byte{1});
  piece.driver[0] = std::byte{2};
  EXPECT_EQ(piece.program[0], std::byte{2});
}

TEST_F(ShadowArenaTest, SmallPiecesAdjoin) {
  const ShadowArena::Piece first = Allocate(5000);
  const ShadowArena::Piece second = Allocate(kSlot);
  EXPECT_EQ(first.program + kSlot, second.program);
}

TEST_F(ShadowArenaTest, TellsWhatWasWrittenAndNothingElse) {
  ShadowArena::Piece piece = Allocate(4 * kMiB);
  EXPECT_THAT(Written(arena_, piece), IsEmpty());
  const uint64_t page = PageSize();
  piece.program[kMiB] = std::byte{1};
  piece.driver[2 * kMiB + page] = std::byte{1};
  EXPECT_THAT(Written(arena_, piece),
              ElementsAre(Pair(kMiB, kMiB + page), Pair(2 * kMiB + page, 2 * kMiB + 2 * page)));
}

TEST_F(ShadowArenaTest, AFullPieceIsToldWholeAmongFullNeighbours) {
  ShadowArena::Piece pieces[3] = {Allocate(kSlot), Allocate(kSlot), Allocate(kSlot)};
  for (const ShadowArena::Piece& piece : pieces) {
    for (uint64_t offset = 0; offset < kSlot; offset += PageSize()) {
      piece.program[offset] = std::byte{1};
    }
  }
  for (int round = 0; round < 2; ++round) {
    for (ShadowArena::Piece& piece : pieces) {
      EXPECT_THAT(Written(arena_, piece), ElementsAre(Pair(0u, kSlot)));
    }
  }
}

TEST_F(ShadowArenaTest, WhatIsFreedComesBackAsZeros) {
  const ShadowArena::Piece first = Allocate(kMiB);
  const ShadowArena::Piece second = Allocate(kMiB);
  first.program[7] = std::byte{1};
  arena_.Free(first);
  ShadowArena::Piece again = Allocate(kMiB);
  EXPECT_EQ(again.program, first.program) << "its place is used again";
  EXPECT_THAT(Written(arena_, again), IsEmpty());
  EXPECT_EQ(again.program[7], std::byte{0});
  // Neighbours that are free become one place.
  arena_.Free(again);
  arena_.Free(second);
  EXPECT_EQ(Allocate(2 * kMiB).program, first.program);
}

TEST_F(ShadowArenaTest, AViewAtAnotherPlaceShowsAPart) {
  const ShadowArena::Piece piece = Allocate(kMiB);
  void* place = ::mmap(nullptr, kSlot, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(place, MAP_FAILED);
  auto* const address = static_cast<std::byte*>(place);
  ASSERT_EQ(arena_.MapAt(piece, kSlot, address, kSlot), address);
  address[3] = std::byte{9};
  EXPECT_EQ(piece.driver[kSlot + 3], std::byte{9});
  EXPECT_TRUE(ShadowArena::Reserve({address, address + kSlot}));
  ShadowArena::Unmap({address, address + kSlot});
  EXPECT_EQ(piece.driver[kSlot + 3], std::byte{9}) << "the memory stays";
}

TEST_F(ShadowArenaTest, AViewThatIsGivenUpIsNeverUsedAgain) {
  auto arena = std::make_unique<ShadowArena>();
  ShadowArena::Piece piece;
  ASSERT_TRUE(arena->Allocate(kMiB, &piece));
  std::byte* const kept = piece.program;
  ASSERT_TRUE(ShadowArena::Reserve({kept, kept + kMiB}));
  arena->GiveUpProgramView(piece);
  arena->Free(piece);
  ShadowArena::Piece other;
  ASSERT_TRUE(arena->Allocate(kMiB, &other));
  EXPECT_NE(other.program, kept);
  // The program may map something of its own there, which outlives the arena.
  ASSERT_EQ(
      ::mmap(kept, kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
      kept);
  kept[5] = std::byte{5};
  arena.reset();
  EXPECT_EQ(kept[5], std::byte{5});
  ::munmap(kept, kMiB);
}

}  // namespace
}  // namespace vesper::client
