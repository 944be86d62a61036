// SPDX-License-Identifier: Apache-2.0
#include "client_icd/buffer_requirements.h"

#include <gtest/gtest.h>

namespace vesper::client {
namespace {

// The size that follows, or 0.
uint64_t SizeOf(const BufferFacts& facts, uint64_t size, bool with_own = false) {
  const auto requirements = facts.Requirements(size, with_own);
  if (requirements) {
    EXPECT_EQ(requirements->alignment, facts.alignment);
    EXPECT_EQ(requirements->memoryTypeBits, facts.memory_types);
  }
  return requirements ? requirements->size : 0;
}

TEST(BufferFacts, NothingFollowsFromNothing) { EXPECT_EQ(SizeOf(BufferFacts(), 64), 0u); }

TEST(BufferFacts, MultiplesOfTheAlignmentFollowFromAnySize) {
  for (const uint64_t answer : {100u, 104u, 128u}) {
    BufferFacts facts;
    facts.Learn(100, {answer, 64, 7}, {});
    EXPECT_EQ(SizeOf(facts, 64), 64u);
    EXPECT_EQ(SizeOf(facts, 6400), 6400u);
    EXPECT_EQ(SizeOf(facts, 65), 0u) << "100 rounds up to the same as with half the alignment";
  }
}

TEST(BufferFacts, ADriverThatRoundsUpIsBelieved) {
  BufferFacts facts;
  facts.Learn(65, {128, 64, 7}, {});
  EXPECT_EQ(SizeOf(facts, 1), 64u);
  EXPECT_EQ(SizeOf(facts, 127), 128u);
  EXPECT_EQ(SizeOf(facts, 129), 192u);
}

TEST(BufferFacts, ADriverThatDoesNotIsAsked) {
  for (const uint64_t answer : {65u, 68u, 96u}) {
    BufferFacts facts;
    facts.Learn(65, {answer, 64, 7}, {});
    EXPECT_EQ(SizeOf(facts, 66), 0u);
    EXPECT_EQ(SizeOf(facts, 128), 128u);
  }
}

TEST(BufferFacts, MemoryOfItsOwnIsNotWantedUpToTheSizeForWhichItWasNot) {
  BufferFacts facts;
  facts.Learn(1000, {1024, 64, 7}, {});
  EXPECT_EQ(SizeOf(facts, 64), 64u);
  EXPECT_EQ(SizeOf(facts, 64, true), 0u);
  facts.Learn(960, {960, 64, 7}, false);
  EXPECT_EQ(SizeOf(facts, 960, true), 960u);
  EXPECT_EQ(SizeOf(facts, 1024, true), 0u);
  facts.Learn(2048, {2048, 64, 7}, true);
  EXPECT_EQ(SizeOf(facts, 1024, true), 0u);
}

TEST(BufferFacts, NoPromiseIsNoFactForGood) {
  const VkMemoryRequirements broken[] = {
      {64, 64, 7},    // too little
      {256, 64, 7},   // too much
      {128, 48, 7},   // not a power of two
      {256, 256, 7},  // another alignment than before
      {128, 64, 3},   // other memory types than before
  };
  for (const VkMemoryRequirements& answer : broken) {
    BufferFacts facts;
    facts.Learn(64, {64, 64, 7}, {});
    facts.Learn(100, answer, {});
    EXPECT_EQ(SizeOf(facts, 64), 0u);
    facts.Learn(64, {64, 64, 7}, {});
    EXPECT_EQ(SizeOf(facts, 64), 0u);
  }
}

TEST(BufferFacts, AnAnswerOfZerosIsNone) {
  BufferFacts facts;
  facts.Learn(64, {64, 64, 7}, {});
  facts.Learn(128, {}, false);
  EXPECT_EQ(SizeOf(facts, 64), 64u);
}

TEST(BufferFacts, SizesNearTheEndOfAllNumbers) {
  BufferFacts facts;
  facts.Learn(65, {128, 64, 7}, {});
  EXPECT_EQ(SizeOf(facts, UINT64_MAX - 1), 0u);
}

}  // namespace
}  // namespace vesper::client
