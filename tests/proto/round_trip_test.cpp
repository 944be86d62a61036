// SPDX-License-Identifier: Apache-2.0
// Every record of the codec with random contents: what is encoded and decoded is what it was; what
// is cut or corrupted is refused, or at least harmless.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "proto/decoder.h"
#include "proto/encoder.h"
#include "proto/limits.h"
#include "proto/reader.h"
#include "proto/record.h"
#include "proto/reply_decoder.h"
#include "proto/walk.h"
#include "tests/framework/record_comparer.h"
#include "tests/framework/record_filler.h"

namespace vesper::tests {
namespace {

using proto::DecodeResult;
using proto::Record;
using Chains = RecordFiller::Chains;

bool IsCommand(const Record& record) {
  return record.number != 0 && proto::CommandRecord(record.number) == &record;
}

bool IsUnionAlternative(const Record& record) { return std::strchr(record.name, '.') != nullptr; }

uint64_t Unchanged(proto::HandleType, uint64_t handle) { return handle; }

/// A copy of exactly the given size, so that the address sanitizer sees a read past it. 8-byte
/// aligned, as frames are.
class ExactCopy {
 public:
  explicit ExactCopy(std::span<const std::byte> bytes)
      : memory_(new(std::align_val_t{8}) std::byte[bytes.size()]), size_(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), memory_);
  }
  ~ExactCopy() { ::operator delete[](memory_, std::align_val_t{8}); }
  ExactCopy(const ExactCopy&) = delete;
  ExactCopy& operator=(const ExactCopy&) = delete;

  std::span<std::byte> bytes() { return {memory_, size_}; }

 private:
  std::byte* memory_;
  size_t size_;
};

struct Decoded {
  DecodeResult result;
  bool at_end;
};

Decoded DecodeInto(const Record& record, std::span<const std::byte> bytes, proto::Arena& arena,
                   void* value) {
  TestResolver resolver;
  proto::Decoder decoder(arena, &resolver);
  proto::Reader reader(bytes);
  const DecodeResult result = IsCommand(record) ? decoder.Request(record, reader, value)
                                                : decoder.Struct(record, reader, value);
  return {result, reader.AtEnd()};
}

void Encode(const Record& record, const void* value, proto::Buffer& buffer) {
  const proto::KnownStructs known;
  proto::Encoder encoder(buffer, known, IdOfTestHandle);
  if (IsCommand(record)) {
    encoder.Request(record, value);
  } else {
    encoder.Struct(record, value);
  }
}

class RoundTrip : public testing::TestWithParam<uint64_t> {};

TEST_P(RoundTrip, EveryRecordArrivesAsItWasSent) {
  const Chains chains = GetParam() % 2 == 0 ? Chains::kSome : Chains::kAll;
  for (const Record& record : proto::Records()) {
    if (IsUnionAlternative(record)) {
      continue;  // travels inside its owner only
    }
    SCOPED_TRACE(record.name);
    proto::Arena native_arena;
    RecordFiller filler(GetParam(), GetParam() + 1000, chains, native_arena);
    const void* native = filler.Make(record);
    proto::Buffer buffer;
    Encode(record, native, buffer);
    ASSERT_FALSE(buffer.Failed());

    ExactCopy wire(buffer.Bytes());
    proto::Arena arena;
    std::vector<std::byte> value(record.size);
    TestResolver resolver;
    proto::Decoder decoder(arena, &resolver);
    proto::Reader reader(wire.bytes());
    const DecodeResult result = IsCommand(record) ? decoder.Request(record, reader, value.data())
                                                  : decoder.Struct(record, reader, value.data());
    ASSERT_EQ(result, DecodeResult::kDecoded);
    EXPECT_TRUE(reader.AtEnd());
    if (IsCommand(record)) {
      EXPECT_EQ(CompareRequest(record, native, value.data()), "");
      EXPECT_EQ(decoder.new_ids(), NewIds(record, native));
      EXPECT_EQ(decoder.consumed_ids(), ConsumedIds(record, native));
    } else {
      EXPECT_EQ(CompareStruct(record, native, value.data()), "");
    }
  }
}

TEST_P(RoundTrip, EveryReplyArrivesInTheProgramsMemory) {
  const Chains chains = GetParam() % 2 == 0 ? Chains::kSome : Chains::kAll;
  for (uint16_t number = 1; number <= proto::MaxCommandNumber(); ++number) {
    const Record* record = proto::CommandRecord(number);
    if (record == nullptr) {
      continue;
    }
    SCOPED_TRACE(record->name);
    // The same shape with other bytes: what the program prepared, and what the host came to.
    proto::Arena arena;
    void* guest = RecordFiller(GetParam(), 1, chains, arena).Make(*record);
    const void* host = RecordFiller(GetParam(), 2, chains, arena).Make(*record);
    const void* untouched = RecordFiller(GetParam(), 1, chains, arena).Make(*record);

    proto::Buffer buffer;
    const proto::KnownStructs known;
    proto::Encoder(buffer, known, Unchanged).Reply(*record, host);
    ExactCopy wire(buffer.Bytes());
    proto::Reader reader(wire.bytes());
    ASSERT_TRUE(proto::DecodeReply(*record, reader, guest));
    EXPECT_EQ(CompareReply(*record, host, guest), "");
    // Inputs are the program's own.
    for (const proto::Op& op : record->ops) {
      if ((op.flags & proto::kOut) == 0 && op.kind == proto::OpKind::kPlain &&
          op.present == nullptr) {
        const auto* now = proto::LoadField<const std::byte*>(guest, op.offset);
        const auto* before = proto::LoadField<const std::byte*>(untouched, op.offset);
        ASSERT_EQ(now == nullptr, before == nullptr);
        if (now != nullptr) {
          const uint64_t bytes = proto::EvaluateLength(op.length, untouched) * op.size;
          EXPECT_EQ(std::memcmp(now, before, bytes), 0);
        }
      }
    }
  }
}

TEST_P(RoundTrip, EveryPrefixIsRefused) {
  constexpr size_t kLongest = 1536;  // quadratic in the length, and longer ones hold nothing new
  for (const Record& record : proto::Records()) {
    if (IsUnionAlternative(record)) {
      continue;
    }
    SCOPED_TRACE(record.name);
    proto::Arena native_arena;
    RecordFiller filler(GetParam(), GetParam(), Chains::kSome, native_arena);
    proto::Buffer buffer;
    Encode(record, filler.Make(record), buffer);
    if (buffer.size() > kLongest) {
      continue;
    }
    std::vector<std::byte> value(record.size);
    proto::Arena arena;
    for (size_t length = 0; length < buffer.size(); ++length) {
      ExactCopy wire(buffer.Bytes().first(length));
      arena.Reset();
      ASSERT_EQ(DecodeInto(record, wire.bytes(), arena, value.data()).result,
                DecodeResult::kMalformed)
          << "cut after " << length << " of " << buffer.size() << " bytes";
    }
  }
}

TEST_P(RoundTrip, EveryPrefixOfAReplyIsRefused) {
  constexpr size_t kLongest = 1536;
  for (uint16_t number = 1; number <= proto::MaxCommandNumber(); ++number) {
    const Record* record = proto::CommandRecord(number);
    if (record == nullptr) {
      continue;
    }
    SCOPED_TRACE(record->name);
    proto::Arena arena;
    void* guest = RecordFiller(GetParam(), 1, Chains::kSome, arena).Make(*record);
    const void* host = RecordFiller(GetParam(), 2, Chains::kSome, arena).Make(*record);
    proto::Buffer buffer;
    const proto::KnownStructs known;
    proto::Encoder(buffer, known, Unchanged).Reply(*record, host);
    for (size_t length = 0; length < buffer.size() && buffer.size() <= kLongest; ++length) {
      // What was partly written may hold the host's counts; each attempt gets fresh memory.
      guest = RecordFiller(GetParam(), 1, Chains::kSome, arena).Make(*record);
      ExactCopy wire(buffer.Bytes().first(length));
      proto::Reader reader(wire.bytes());
      ASSERT_FALSE(proto::DecodeReply(*record, reader, guest)) << "cut after " << length;
    }
  }
}

// Numbers that break counts, offsets, presence bits and selectors.
constexpr std::array<uint64_t, 11> kExtremes = {
    0,
    1,
    ~uint64_t{0},
    proto::kPresent,
    proto::kPresent | 1,
    proto::kPresent | 3,
    proto::kPresent | 0xffff,
    proto::kPresent | 0xffff'ffff,
    proto::kPresent | (uint64_t{1} << 40),
    0x0000'0001'0000'0001,
    0xffff'ffff'0000'0000,
};

TEST_P(RoundTrip, EveryCorruptWordIsHarmless) {
  constexpr size_t kLongest = 2048;
  constexpr size_t kArenaBytes = 1u << 20;
  for (const Record& record : proto::Records()) {
    if (IsUnionAlternative(record)) {
      continue;
    }
    SCOPED_TRACE(record.name);
    proto::Arena native_arena;
    RecordFiller filler(GetParam(), GetParam(), Chains::kSome, native_arena);
    proto::Buffer buffer;
    Encode(record, filler.Make(record), buffer);
    if (buffer.size() > kLongest) {
      continue;
    }
    ExactCopy wire(buffer.Bytes());
    std::vector<std::byte> value(record.size);
    proto::Arena arena(kArenaBytes);
    for (size_t offset = 0; offset < buffer.size(); offset += 8) {
      const auto original = proto::LoadField<uint64_t>(wire.bytes().data(), offset);
      for (const uint64_t extreme : kExtremes) {
        proto::StoreField(wire.bytes().data(), offset, extreme);
        arena.Reset();
        if (DecodeInto(record, wire.bytes(), arena, value.data()).result ==
            DecodeResult::kDecoded) {
          Touch(record, value.data());
        }
      }
      proto::StoreField(wire.bytes().data(), offset, original);
    }
  }
}

TEST_P(RoundTrip, EveryCorruptWordOfAReplyIsHarmless) {
  constexpr size_t kLongest = 2048;
  for (uint16_t number = 1; number <= proto::MaxCommandNumber(); ++number) {
    const Record* record = proto::CommandRecord(number);
    if (record == nullptr) {
      continue;
    }
    SCOPED_TRACE(record->name);
    proto::Arena arena;
    const void* host = RecordFiller(GetParam(), 2, Chains::kSome, arena).Make(*record);
    proto::Buffer buffer;
    const proto::KnownStructs known;
    proto::Encoder(buffer, known, Unchanged).Reply(*record, host);
    if (buffer.size() > kLongest) {
      continue;
    }
    ExactCopy wire(buffer.Bytes());
    for (size_t offset = 0; offset < buffer.size(); offset += 8) {
      const auto original = proto::LoadField<uint64_t>(wire.bytes().data(), offset);
      for (const uint64_t extreme : kExtremes) {
        proto::Arena guest_arena;
        void* guest = RecordFiller(GetParam(), 1, Chains::kSome, guest_arena).Make(*record);
        proto::StoreField(wire.bytes().data(), offset, extreme);
        proto::Reader reader(wire.bytes());
        (void)proto::DecodeReply(*record, reader, guest);  // writes only what the guest offered
      }
      proto::StoreField(wire.bytes().data(), offset, original);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RoundTrip, testing::Range(uint64_t{0}, uint64_t{6}));

// -- what the tables must not say -----------------------------------------------------------------

bool HoldsHandle(const Record& record, int depth) {
  for (const proto::Op& op : record.ops) {
    switch (op.kind) {
      case proto::OpKind::kHandle:
      case proto::OpKind::kTypedHandle:
      case proto::OpKind::kHandles:
        return true;
      case proto::OpKind::kRecord:
      case proto::OpKind::kRecords:
        if (depth < 8 && HoldsHandle(proto::Records()[op.type], depth + 1)) {
          return true;
        }
        break;
      default:
        break;
    }
  }
  return false;
}

// A handle in an output would be a number of the host's address space, and nothing would turn it
// into one of the guest's.
TEST(Records, OutputsHoldNoHandlesButTheNewOnes) {
  for (uint16_t number = 1; number <= proto::MaxCommandNumber(); ++number) {
    const Record* record = proto::CommandRecord(number);
    for (size_t i = 0; record != nullptr && i < record->ops.size(); ++i) {
      const proto::Op& op = record->ops[i];
      if ((op.flags & proto::kOut) == 0) {
        continue;
      }
      EXPECT_TRUE(op.kind != proto::OpKind::kHandles || (op.flags & proto::kNewIds) != 0)
          << record->name;
      if (op.kind == proto::OpKind::kRecords) {
        EXPECT_FALSE(HoldsHandle(proto::Records()[op.type], 0)) << record->name;
      }
    }
  }
}

TEST(Records, NumbersAndTypesFindTheirRecords) {
  for (const Record& record : proto::Records()) {
    if (record.stype >= 0 && record.number != 0) {
      EXPECT_EQ(proto::StructRecordByType(record.stype), &record) << record.name;
      EXPECT_EQ(proto::StructRecord(record.number), &record) << record.name;
    }
    for (const uint16_t root : record.extends) {
      EXPECT_TRUE(proto::MayExtend(record, proto::Records()[root])) << record.name;
    }
  }
  EXPECT_EQ(proto::CommandRecord(0), nullptr);
  EXPECT_EQ(proto::StructRecord(0), nullptr);
  EXPECT_EQ(proto::CommandRecord(proto::MaxCommandNumber() + 1), nullptr);
  EXPECT_EQ(proto::StructRecord(proto::MaxStructNumber() + 1), nullptr);
}

}  // namespace
}  // namespace vesper::tests
