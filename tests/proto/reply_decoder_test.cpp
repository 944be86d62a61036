// SPDX-License-Identifier: Apache-2.0
// What is written into the program's own structs. Whole replies are in round_trip_test.cpp.
#include "proto/reply_decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "proto/records_gen.h"
#include "proto/walk.h"

namespace vesper::proto {
namespace {

constexpr std::byte kMark{0xcd};

bool IsHole(const Record& record, size_t offset) {
  return std::any_of(record.holes.begin(), record.holes.end(), [offset](const Hole& hole) {
    return offset >= hole.offset && offset < size_t{hole.offset} + hole.size;
  });
}

TEST(CopyStruct, LeavesPaddingAlone) {
  VkFormatProperties2 source{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2, nullptr, {1, 2, 3}};
  VkFormatProperties2 expected;
  std::memset(static_cast<void*>(&expected), 0xcd, sizeof(expected));
  VkFormatProperties2 target = expected;
  expected.sType = target.sType = source.sType;
  expected.pNext = target.pNext = nullptr;
  expected.formatProperties.linearTilingFeatures = 1;
  expected.formatProperties.optimalTilingFeatures = 2;
  expected.formatProperties.bufferFeatures = 3;
  CopyStruct(Records()[record_index::VkFormatProperties2], &source, &target);
  EXPECT_EQ(std::memcmp(&target, &expected, sizeof(target)), 0);
}

TEST(CopyStruct, WritesEveryOtherByteOfStructsWithoutPointers) {
  size_t swept = 0;
  size_t padded = 0;
  for (uint16_t number = 1; number <= MaxStructNumber(); ++number) {
    const Record* record = StructRecord(number);
    // Of those that can be chained, the ones with nothing but plain members after the chain.
    if (record == nullptr || record->ops.size() != 1 || record->ops[0].kind != OpKind::kChain) {
      continue;
    }
    std::vector<std::byte> source(record->size);
    std::vector<std::byte> target(record->size, kMark);
    StoreField<uint64_t>(target.data(), 8, 0);
    CopyStruct(*record, source.data(), target.data());
    for (size_t i = 16; i < record->size; ++i) {
      ASSERT_EQ(target[i], IsHole(*record, i) ? kMark : std::byte{})
          << record->name << ", byte " << i;
      padded += IsHole(*record, i) ? 1 : 0;
    }
    ++swept;
  }
  EXPECT_GT(swept, 300u);
  EXPECT_GT(padded, 300u);
}

}  // namespace
}  // namespace vesper::proto
