// SPDX-License-Identifier: Apache-2.0
#include "proto/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tests/framework/random.h"

namespace vesper::proto {
namespace {

using tests::Random;
using Bytes = std::vector<std::byte>;

constexpr uint32_t kMaxPayload = 1u << 20;

Bytes MakeFrame(uint32_t bytes, uint16_t type, uint16_t zero, size_t payload) {
  Bytes frame(kFrameHeaderBytes + payload);
  std::memcpy(frame.data(), &bytes, 4);
  std::memcpy(frame.data() + 4, &type, 2);
  std::memcpy(frame.data() + 6, &zero, 2);
  for (size_t i = 0; i < payload; ++i) {
    frame[kFrameHeaderBytes + i] = static_cast<std::byte>(i * 7 + payload);
  }
  return frame;
}

/// Feeds `stream` in pieces of `piece(rest)` bytes; returns the payloads that came out.
template <typename Piece>
std::vector<Bytes> Split(FrameSplitter& splitter, const Bytes& stream, const Piece& piece) {
  std::vector<Bytes> payloads;
  size_t position = 0;
  while (position < stream.size() && !splitter.Failed()) {
    const std::span<std::byte> space = splitter.BeginReceive();
    EXPECT_FALSE(space.empty());
    const size_t bytes = std::min({space.size(), stream.size() - position,
                                   static_cast<size_t>(piece(stream.size() - position))});
    std::memcpy(space.data(), stream.data() + position, bytes);
    splitter.EndReceive(bytes);
    position += bytes;
    while (const std::optional<Frame> frame = splitter.Next()) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(frame->payload.data()) % 8, 0u);
      payloads.emplace_back(frame->payload.begin(), frame->payload.end());
    }
  }
  return payloads;
}

struct Stream {
  Bytes bytes;
  std::vector<Bytes> payloads;
};

Stream MakeStream(Random& random, size_t frames) {
  Stream stream;
  for (size_t i = 0; i < frames; ++i) {
    const size_t payload = random.Below(random.OneIn(8) ? 40'000 : 40) * 8;
    const Bytes frame = MakeFrame(static_cast<uint32_t>(payload), 4, 0, payload);
    stream.bytes.insert(stream.bytes.end(), frame.begin(), frame.end());
    stream.payloads.emplace_back(frame.begin() + kFrameHeaderBytes, frame.end());
  }
  return stream;
}

TEST(FrameSplitter, TakesAStreamByteByByte) {
  Random random(1);
  const Stream stream = MakeStream(random, 6);
  FrameSplitter splitter(kMaxPayload);
  EXPECT_EQ(Split(splitter, stream.bytes, [](size_t) { return 1; }), stream.payloads);
}

TEST(FrameSplitter, TakesManyFramesInOneRead) {
  Random random(2);
  const Stream stream = MakeStream(random, 200);
  FrameSplitter splitter(kMaxPayload);
  EXPECT_EQ(Split(splitter, stream.bytes, [](size_t rest) { return rest; }), stream.payloads);
}

TEST(FrameSplitter, TakesPiecesOfAnySize) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const Stream stream = MakeStream(random, 50);
    FrameSplitter splitter(kMaxPayload);
    EXPECT_EQ(Split(splitter, stream.bytes, [&](size_t) { return 1 + random.Below(9000); }),
              stream.payloads);
  }
}

TEST(FrameSplitter, TakesFramesWithoutPayload) {
  Bytes bytes = MakeFrame(0, 4, 0, 0);
  const Bytes second = MakeFrame(8, 1, 0, 8);
  bytes.insert(bytes.end(), second.begin(), second.end());
  FrameSplitter splitter(kMaxPayload);
  const auto payloads = Split(splitter, bytes, [](size_t rest) { return rest; });
  ASSERT_EQ(payloads.size(), 2u);
  EXPECT_TRUE(payloads[0].empty());
}

TEST(FrameSplitter, RefusesHeadersThatLie) {
  struct Lie {
    uint32_t bytes;
    uint16_t type;
    uint16_t zero;
  };
  const Lie lies[] = {
      {kMaxPayload + 8, 4, 0},
      {0xffff'ffff, 4, 0},
      {0xffff'fff8, 4, 0},
      {12, 4, 0},
      {1, 4, 0},
      {8, 0, 0},
      {8, 5, 0},
      {8, 0xffff, 0},
      {8, 4, 1},
  };
  for (const Lie& lie : lies) {
    FrameSplitter splitter(kMaxPayload);
    const Bytes frame = MakeFrame(lie.bytes, lie.type, lie.zero, 16);
    EXPECT_TRUE(Split(splitter, frame, [](size_t rest) { return rest; }).empty());
    EXPECT_TRUE(splitter.Failed());
    EXPECT_THAT(splitter.Error(), testing::HasSubstr("expected a frame header"));
    EXPECT_TRUE(splitter.BeginReceive().empty());
    EXPECT_FALSE(splitter.Next().has_value());
  }
}

TEST(FrameSplitter, HoldsNoMoreThanTwiceWhatCame) {
  FrameSplitter splitter(256u << 20);
  // The header announces a quarter of a gigabyte; only what really comes may cost memory.
  const Bytes header = MakeFrame(256u << 20, 4, 0, 0);
  std::span<std::byte> space = splitter.BeginReceive();
  std::memcpy(space.data(), header.data(), header.size());
  splitter.EndReceive(header.size());
  size_t received = header.size();
  while (received < (3u << 20)) {
    EXPECT_FALSE(splitter.Next().has_value());
    space = splitter.BeginReceive();
    EXPECT_LE(space.size(), std::max<size_t>(received * 2, 2 * (64u << 10)));
    const size_t bytes = std::min<size_t>(space.size(), 100'000);
    std::memset(space.data(), 0, bytes);
    splitter.EndReceive(bytes);
    received += bytes;
  }
  EXPECT_FALSE(splitter.Failed());
}

/// Large frames, and small ones between them.
Stream MakeMixedStream(Random& random, size_t frames) {
  Stream stream;
  for (size_t i = 0; i < frames; ++i) {
    const size_t payload = random.Below(random.OneIn(2) ? 60'000 : 40) * 8;
    const Bytes frame = MakeFrame(static_cast<uint32_t>(payload), 4, 0, payload);
    stream.bytes.insert(stream.bytes.end(), frame.begin(), frame.end());
    stream.payloads.emplace_back(frame.begin() + kFrameHeaderBytes, frame.end());
  }
  return stream;
}

TEST(FrameSplitter, FramesThatWereTakenOverStayAsTheyAre) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const Stream stream = MakeMixedStream(random, 30);
    std::vector<FrameMemory> taken;
    std::vector<Bytes> kept;
    {
      FrameSplitter splitter(kMaxPayload);
      for (size_t position = 0; position < stream.bytes.size();) {
        const std::span<std::byte> space = splitter.BeginReceive();
        ASSERT_FALSE(space.empty());
        const size_t bytes =
            std::min({space.size(), stream.bytes.size() - position, 1 + random.Below(200'000)});
        std::memcpy(space.data(), stream.bytes.data() + position, bytes);
        splitter.EndReceive(bytes);
        position += bytes;
        while (const std::optional<Frame> frame = splitter.Next()) {
          // Some are only looked at, some go at once, and their memory is used again.
          if (random.OneIn(4)) {
            kept.emplace_back(frame->payload.begin(), frame->payload.end());
            taken.emplace_back();
            continue;
          }
          std::optional<FrameMemory> memory = splitter.TakeOver(*frame);
          ASSERT_TRUE(memory.has_value());
          taken.push_back(std::move(*memory));
          kept.emplace_back();
          if (random.OneIn(4)) {
            const std::span<const std::byte> payload = taken.back().payload();
            kept.back().assign(payload.begin(), payload.end());
            taken.back() = FrameMemory();
          }
        }
      }
    }
    ASSERT_EQ(taken.size(), stream.payloads.size());
    for (size_t i = 0; i < taken.size(); ++i) {
      const std::span<const std::byte> payload = taken[i].payload();
      EXPECT_EQ(reinterpret_cast<uintptr_t>(payload.data()) % 8, 0u);
      if (!payload.empty()) {
        kept[i].assign(payload.begin(), payload.end());
      }
      EXPECT_EQ(kept[i], stream.payloads[i]) << "frame " << i << " of seed " << seed;
    }
  }
}

TEST(FrameSplitter, ReceivesLargeFramesIntoTheMemoryOfEarlierOnes) {
  constexpr size_t kPayload = 512u << 10;
  const Bytes frame = MakeFrame(kPayload, 4, 0, kPayload);
  FrameSplitter splitter(kMaxPayload);
  const std::byte* memory = nullptr;
  for (int i = 0; i < 10; ++i) {
    size_t position = 0;
    std::optional<Frame> found;
    while (!found) {
      const std::span<std::byte> space = splitter.BeginReceive();
      // Once the size is known there is room for the rest of the frame, and for nothing else.
      if (i > 0 && position > 0) {
        EXPECT_EQ(space.size(), frame.size() - position);
      }
      const size_t bytes = std::min(space.size(), frame.size() - position);
      std::memcpy(space.data(), frame.data() + position, bytes);
      splitter.EndReceive(bytes);
      position += bytes;
      found = splitter.Next();
    }
    if (i > 0) {
      EXPECT_EQ(found->payload.data(), memory);
    }
    memory = found->payload.data();
  }
}

TEST(FrameSplitter, ObeysANewLimit) {
  FrameSplitter splitter(8);
  splitter.SetMaxPayload(64);
  const Bytes frame = MakeFrame(64, 4, 0, 64);
  EXPECT_EQ(Split(splitter, frame, [](size_t rest) { return rest; }).size(), 1u);
}

// -- commands ---------------------------------------------------------------------------------

TEST(CommandWalker, WalksWhatWasWritten) {
  Buffer buffer;
  const size_t one = BeginCommand(buffer, 7, 0, 0);
  buffer.PutValue<uint64_t>(0x1111);
  ASSERT_TRUE(FinishCommand(buffer, one));
  const size_t two = BeginCommand(buffer, 8, kWantsReply, 42);
  ASSERT_TRUE(FinishCommand(buffer, two));
  CommandWalker walker(buffer.Bytes());
  std::optional<Command> command = walker.Next();
  ASSERT_TRUE(command.has_value());
  EXPECT_EQ(command->number, 7);
  EXPECT_EQ(command->serial, 0u);
  EXPECT_EQ(command->body.size(), 8u);
  command = walker.Next();
  ASSERT_TRUE(command.has_value());
  EXPECT_EQ(command->number, 8);
  EXPECT_EQ(command->serial, 42u);
  EXPECT_TRUE(command->body.empty());
  EXPECT_FALSE(walker.Next().has_value());
  EXPECT_FALSE(walker.Failed());
}

TEST(CommandWalker, RefusesMalformedHeaders) {
  struct Lie {
    uint32_t size;
    uint16_t flags;
  };
  const Lie lies[] = {{0, 0},
                      {4, 0},
                      {7, 0},
                      {12, 0},
                      {24, 0},
                      {0xffff'fff8, 0},
                      {8, kWantsReply},
                      {16, 4},
                      {16, 0x8000},
                      {16, kIsAhead},
                      {16, kIsReply | kIsAhead}};
  for (const Lie& lie : lies) {
    uint64_t words[2] = {};
    std::memcpy(words, &lie.size, 4);
    std::memcpy(reinterpret_cast<std::byte*>(words) + 6, &lie.flags, 2);
    CommandWalker walker(std::as_bytes(std::span(words)));
    EXPECT_FALSE(walker.Next().has_value()) << lie.size << " " << lie.flags;
    EXPECT_TRUE(walker.Failed());
    EXPECT_FALSE(walker.Next().has_value());
  }
}

TEST(CommandWalker, RefusesACommandThatBothAsksAndAnswers) {
  uint64_t words[2] = {};
  const uint32_t size = 16;
  const uint16_t flags = kWantsReply | kIsReply;
  std::memcpy(words, &size, 4);
  std::memcpy(reinterpret_cast<std::byte*>(words) + 6, &flags, 2);
  CommandWalker walker(std::as_bytes(std::span(words)));
  EXPECT_FALSE(walker.Next().has_value());
  EXPECT_TRUE(walker.Failed());
}

TEST(FinishCommand, TakesATooLargeCommandBack) {
  Buffer buffer;
  const size_t small = BeginCommand(buffer, 1, 0, 0);
  ASSERT_TRUE(FinishCommand(buffer, small));
  const size_t size = buffer.size();
  const size_t large = BeginCommand(buffer, 2, 0, 0);
  buffer.Append(kMaxFrameBytes);
  EXPECT_FALSE(FinishCommand(buffer, large));
  EXPECT_EQ(buffer.size(), size);
}

}  // namespace
}  // namespace vesper::proto
