// SPDX-License-Identifier: Apache-2.0
#include "proto/patch_parts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/memory_patch.h"
#include "proto/records_gen.h"
#include "tests/framework/random.h"

namespace vesper::proto {
namespace {

using tests::Random;
using Bytes = std::vector<std::byte>;

constexpr uint64_t kMemory = 0x1234;

uint64_t Same(HandleType, uint64_t handle) { return handle; }

Bytes RandomBytes(Random& random, size_t size) {
  Bytes bytes(size);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random.Below(256));
  }
  return bytes;
}

class PatchPartsTest : public testing::Test {
 protected:
  VkDevice Device() const { return reinterpret_cast<VkDevice>(uintptr_t{7}); }

  /// The frame, as the other side receives it.
  Bytes Received() {
    Bytes bytes;
    for (const std::span<const std::byte> part :
         parts_.Frame(known_, Same, command_number::vesperWriteMemory,
                      Args_vesperWriteMemory{Device(), kMemory})) {
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    return bytes;
  }

  /// The patch in a received frame.
  static Bytes PatchIn(const Bytes& frame) {
    const size_t header = kFrameHeaderBytes + kCommandHeaderBytes;
    return Bytes(frame.begin() + header + sizeof(Args_vesperWriteMemory), frame.end());
  }

  const KnownStructs known_;
  PatchParts parts_;
};

TEST_F(PatchPartsTest, IsOnTheWireWhatOnePieceWouldBe) {
  Random random(1);
  const Bytes live = RandomBytes(random, 64 << 10);
  parts_.AddSpan(4096, std::span(live).subspan(4096, 4096));
  parts_.AddSpan(40960, std::span(live).subspan(40960, 8192));
  const Bytes received = Received();

  Buffer patch;
  const auto add = [&](uint64_t offset, uint64_t size) {
    patch.PutValue(offset);
    patch.PutValue(size);
    patch.Put(live.data() + offset, size);
  };
  add(4096, 4096);
  add(40960, 8192);
  Buffer whole;
  const Args_vesperWriteMemory args{Device(), kMemory, patch.size(), patch.Bytes().data()};
  const size_t frame = BeginFrame(whole, FrameType::kCommands);
  const size_t command = BeginCommand(whole, command_number::vesperWriteMemory, 0, 0);
  Encoder(whole, known_, Same).Request(*CommandRecord(command_number::vesperWriteMemory), &args);
  ASSERT_TRUE(FinishCommand(whole, command));
  FinishFrame(whole, frame);
  EXPECT_EQ(received, Bytes(whole.Bytes().begin(), whole.Bytes().end()));
}

TEST_F(PatchPartsTest, SpansAreNotCopied) {
  Bytes live(8192);
  parts_.AddSpan(0, live);
  const auto parts =
      parts_.Frame(known_, Same, command_number::vesperPushMemory, Args_vesperPushMemory{kMemory});
  bool is_there = false;
  for (const std::span<const std::byte> part : parts) {
    is_there = is_there || (part.data() == live.data() && part.size() == live.size());
  }
  EXPECT_TRUE(is_there);
}

TEST_F(PatchPartsTest, NeighboursBecomeOneEntry) {
  const Bytes live(12288);
  for (size_t page = 0; page < 3; ++page) {
    parts_.AddSpan(page * 4096, std::span(live).subspan(page * 4096, 4096));
  }
  EXPECT_EQ(parts_.size(), 16 + live.size());
  EXPECT_EQ(PatchIn(Received()).size(), parts_.size());
}

TEST_F(PatchPartsTest, NeighboursInMemoryThatAreNoNeighboursHereStayTwo) {
  const Bytes one(4096, std::byte{1});
  const Bytes two(4096, std::byte{2});
  parts_.AddSpan(0, one);
  parts_.AddSpan(4096, two);
  Bytes live(8192);
  Bytes twin(8192);
  const Bytes patch = PatchIn(Received());
  ASSERT_TRUE(PatchFits(patch, live.size()));
  ApplyPatch(patch, live.data(), twin.data());
  EXPECT_EQ(live[4095], std::byte{1});
  EXPECT_EQ(live[4096], std::byte{2});
}

TEST_F(PatchPartsTest, TooMuchForAFrameIsRefused) {
  const std::byte byte{};
  parts_.AddSpan(0, {&byte, size_t{kMaxFrameBytes}});  // never read
  EXPECT_TRUE(Received().empty());
}

TEST_F(PatchPartsTest, NamesLongRunsInTheTwin) {
  Bytes live(3 * 4096);
  Bytes twin(live.size());
  std::fill_n(live.begin() + 4096, 4096, std::byte{1});
  live[20] = std::byte{2};
  EXPECT_EQ(MakePatch(live.data(), twin.data(), 0, live.size(), SIZE_MAX, parts_), live.size());
  EXPECT_EQ(twin, live);
  // What the program writes later is for the next patch.
  const Bytes then = live;
  std::ranges::fill(live, std::byte{3});
  const Bytes patch = PatchIn(Received());
  ASSERT_TRUE(PatchFits(patch, live.size()));
  Bytes applied(live.size());
  Bytes agreed(live.size());
  ApplyPatch(patch, applied.data(), agreed.data());
  EXPECT_EQ(applied, then);
  const auto frame = parts_.Frame(known_, Same, command_number::vesperWriteMemory,
                                  Args_vesperWriteMemory{Device(), kMemory});
  EXPECT_TRUE(std::ranges::any_of(frame, [&](std::span<const std::byte> part) {
    return part.data() == twin.data() + 4096 && part.size() == 4096;
  }));
}

/// Spans of any size and entries made by comparing, mixed: the other side gets all of it.
TEST_F(PatchPartsTest, ArrivesWhole) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    const Bytes live = RandomBytes(random, 32 << 10);
    Bytes twin = live;
    const Bytes before(live.size(), std::byte{0x5a});
    Bytes expected = before;
    parts_.Clear();
    for (uint64_t offset = 0; offset < live.size();) {
      const uint64_t size = std::min<uint64_t>(1 + random.Below(3000), live.size() - offset);
      switch (random.Below(5)) {
        case 0:
          parts_.AddSpan(offset, std::span(live).subspan(offset, size));
          std::memcpy(&expected[offset], &live[offset], size);
          break;
        case 1:
          for (uint64_t i = offset; i < offset + size; i += 1 + random.Below(100)) {
            twin[i] ^= std::byte{1};
            expected[i] = live[i];
          }
          MakePatch(live.data(), twin.data(), offset, size, SIZE_MAX, parts_.entries());
          break;
        case 2:
          parts_.AddZeros(offset, size);
          std::memset(&expected[offset], 0, size);
          break;
        case 3:
          // Runs that are long enough to be named, or not.
          for (uint64_t i = offset; i < offset + size; ++i) {
            if (i % 2048 < 1500) {
              twin[i] ^= std::byte{1};
              expected[i] = live[i];
            }
          }
          MakePatch(live.data(), twin.data(), offset, size, SIZE_MAX, parts_);
          break;
        default:
          break;
      }
      offset += size;
    }
    const Bytes patch = PatchIn(Received());
    ASSERT_EQ(patch.size(), parts_.size());
    ASSERT_TRUE(PatchFits(patch, live.size()));
    Bytes applied = before;
    Bytes agreed = before;
    ApplyPatch(patch, applied.data(), agreed.data());
    EXPECT_EQ(applied, expected) << "seed " << seed;
    EXPECT_EQ(agreed, expected) << "seed " << seed;
  }
}

}  // namespace
}  // namespace vesper::proto
