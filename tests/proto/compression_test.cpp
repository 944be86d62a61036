// SPDX-License-Identifier: Apache-2.0
#include "proto/compression.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "proto/frame.h"
#include "proto/limits.h"
#include "tests/framework/random.h"

namespace vesper::proto {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::HasSubstr;

Buffer FrameOf(std::span<const std::byte> payload) {
  Buffer frame;
  const size_t header = BeginFrame(frame, FrameType::kCommands);
  frame.Put(payload.data(), payload.size());
  FinishFrame(frame, header);
  return frame;
}

// Prepares whole frames that lie together.
std::span<const std::byte> Prepare(FrameCompressor& compressor, std::span<const std::byte> frames) {
  const std::span<const std::byte> parts[] = {frames};
  const FrameCompressor::Parts prepared = compressor.Prepare(parts);
  EXPECT_EQ(prepared.size(), 1u);
  return prepared.front();
}

void NoteWrite(FrameCompressor& compressor, size_t bytes, std::chrono::nanoseconds took) {
  static const std::vector<std::byte> zeros(1 << 20);
  const std::span<const std::byte> parts[] = {std::span(zeros).first(bytes / 2),
                                              std::span(zeros).first(bytes - bytes / 2)};
  compressor.NoteWrite(parts, took);
}

std::vector<std::byte> Text(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(i / 7 % 50);
  }
  return bytes;
}

std::vector<std::byte> Noise(size_t size) {
  tests::Random random(size);
  std::vector<std::byte> bytes(size);
  std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random.Next() >> 24); });
  return bytes;
}

// What comes out of the splitter; its complaint if it has one.
std::vector<std::vector<std::byte>> Split(std::span<const std::byte> stream, uint32_t algorithms,
                                          std::string* error = nullptr) {
  FrameSplitter splitter(kMaxFrameBytes);
  splitter.AllowCompression(algorithms);
  std::vector<std::vector<std::byte>> payloads;
  while (!stream.empty() && !splitter.Failed()) {
    const std::span<std::byte> space = splitter.BeginReceive();
    const size_t bytes = std::min<size_t>({space.size(), stream.size(), 5000});
    std::memcpy(space.data(), stream.data(), bytes);
    splitter.EndReceive(bytes);
    stream = stream.subspan(bytes);
    while (const std::optional<Frame> frame = splitter.Next()) {
      EXPECT_EQ(frame->type, FrameType::kCommands);
      payloads.emplace_back(frame->payload.begin(), frame->payload.end());
    }
  }
  if (error != nullptr) {
    *error = splitter.Error();
  }
  return payloads;
}

TEST(Compression, FramesComeOutAsTheyWere) {
  for (const uint32_t algorithm : {kLz4, kZstd}) {
    FrameCompressor compressor;
    compressor.Enable(algorithm, true, false);
    std::vector<std::byte> stream;
    std::vector<std::vector<std::byte>> expected;
    for (const size_t size : {16u, 2040u, 2048u, 100'000u, 1u << 20, kMaxUnpackedBytes}) {
      expected.push_back(Text(size));
      const Buffer frame = FrameOf(expected.back());
      const std::span<const std::byte> sent = Prepare(compressor, frame.Bytes());
      EXPECT_EQ(sent.size() < frame.size(), size >= kMinCompressedBytes) << size;
      EXPECT_EQ(sent.size() % 8, 0u);
      stream.insert(stream.end(), sent.begin(), sent.end());
    }
    EXPECT_EQ(Split(stream, algorithm), expected);
  }
}

TEST(Compression, ABatchOfSeveralFramesKeepsItsOrder) {
  FrameCompressor compressor;
  compressor.Enable(kAllCompression, true, false);
  Buffer batch;
  std::vector<std::vector<std::byte>> expected = {Text(4096), Noise(4096), Text(8),
                                                  Text(kMaxUnpackedBytes + 8), Text(5000)};
  for (const std::vector<std::byte>& payload : expected) {
    const Buffer frame = FrameOf(payload);
    batch.Put(frame.Bytes().data(), frame.size());
  }
  const std::span<const std::byte> sent = Prepare(compressor, batch.Bytes());
  EXPECT_LT(sent.size(), batch.size());
  EXPECT_EQ(Split(sent, kAllCompression), expected);
}

TEST(Compression, PartsAreOneFrame) {
  FrameCompressor compressor;
  compressor.Enable(kZstd, true, false);
  const std::vector<std::byte> payload = Text(100'000);
  const Buffer frame = FrameOf(payload);
  const std::span<const std::byte> all = frame.Bytes();
  const std::span<const std::byte> parts[] = {all.first(11), all.subspan(11, 50'000),
                                              std::span<const std::byte>(), all.subspan(50'011)};
  const FrameCompressor::Parts sent = compressor.Prepare(parts);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_LT(sent.front().size(), frame.size());
  const std::vector<std::vector<std::byte>> got = Split(sent.front(), kZstd);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got.front(), payload);
}

TEST(Compression, UnpackedFramesCanBeTakenOver) {
  FrameCompressor compressor;
  compressor.Enable(kLz4, true, false);
  const std::vector<std::byte> large = Text(1 << 20);
  const std::vector<std::byte> small = Text(4096);
  Buffer frames;
  for (const auto* payload : {&large, &small, &large}) {
    const Buffer frame = FrameOf(*payload);
    frames.Put(frame.Bytes().data(), frame.size());
  }
  const std::span<const std::byte> sent = Prepare(compressor, frames.Bytes());
  FrameSplitter splitter(kMaxFrameBytes);
  splitter.AllowCompression(kLz4);
  std::vector<FrameMemory> taken;
  for (std::span<const std::byte> rest = sent; !rest.empty();) {
    const std::span<std::byte> space = splitter.BeginReceive();
    const size_t bytes = std::min<size_t>({space.size(), rest.size(), 3000});
    std::memcpy(space.data(), rest.data(), bytes);
    splitter.EndReceive(bytes);
    rest = rest.subspan(bytes);
    while (const std::optional<Frame> frame = splitter.Next()) {
      std::optional<FrameMemory> memory = splitter.TakeOver(*frame);
      ASSERT_TRUE(memory);
      taken.push_back(std::move(*memory));
    }
  }
  ASSERT_EQ(taken.size(), 3u);
  const auto is = [](const FrameMemory& memory, const std::vector<std::byte>& payload) {
    return std::ranges::equal(memory.payload(), payload);
  };
  EXPECT_TRUE(is(taken[0], large));
  EXPECT_TRUE(is(taken[1], small));
  EXPECT_TRUE(is(taken[2], large));
}

TEST(Compression, WhatDoesNotShrinkIsSentAsItIs) {
  FrameCompressor compressor;
  compressor.Enable(kZstd, true, false);
  const Buffer noise = FrameOf(Noise(64 << 10));
  const Buffer text = FrameOf(Text(64 << 10));
  for (int i = 0; i < 40; ++i) {
    const std::span<const std::byte> sent = Prepare(compressor, noise.Bytes());
    EXPECT_EQ(sent.data(), noise.Bytes().data());
  }
  // What comes next is tried now and then, and then always.
  int shrunk = 0;
  for (int i = 0; i < 64; ++i) {
    shrunk += Prepare(compressor, text.Bytes()).size() < text.size() ? 1 : 0;
  }
  EXPECT_GT(shrunk, 16);
}

TEST(Compression, FollowsTheSpeedOfTheLink) {
  FrameCompressor compressor;
  compressor.Enable(kAllCompression, false, false);
  EXPECT_EQ(compressor.algorithm(), 0u) << "nothing is known yet";
  NoteWrite(compressor, 1 << 20, microseconds(100));  // 10 GB/s, into a buffer
  EXPECT_EQ(compressor.algorithm(), 0u);
  NoteWrite(compressor, 100, milliseconds(1000));
  EXPECT_EQ(compressor.algorithm(), 0u) << "small writes say nothing";
  for (int i = 0; i < 20; ++i) {
    NoteWrite(compressor, 1 << 20, microseconds(6500));  // 0.16 GB/s
  }
  EXPECT_EQ(compressor.algorithm(), kLz4);
  for (int i = 0; i < 5; ++i) {
    NoteWrite(compressor, 1 << 20, milliseconds(80));  // 100 Mbit/s
  }
  EXPECT_EQ(compressor.algorithm(), kZstd);
  for (int i = 0; i < 40; ++i) {
    NoteWrite(compressor, 1 << 20, microseconds(300));
  }
  EXPECT_EQ(compressor.algorithm(), 0u);
}

TEST(Compression, IsNotForLinksWithinTheMachineUnlessAskedFor) {
  FrameCompressor local;
  local.Enable(kAllCompression, false, true);
  NoteWrite(local, 1 << 20, milliseconds(1000));
  EXPECT_EQ(local.algorithm(), 0u);
  FrameCompressor asked;
  asked.Enable(kLz4, true, true);
  EXPECT_EQ(asked.algorithm(), kLz4);
  FrameCompressor none;
  none.Enable(0, true, false);
  NoteWrite(none, 1 << 20, milliseconds(1000));
  EXPECT_EQ(none.algorithm(), 0u);
}

class HostileFrame : public testing::Test {
 protected:
  void SetUp() override {
    FrameCompressor compressor;
    compressor.Enable(kLz4, true, false);
    const Buffer frame = FrameOf(Text(4096));
    const std::span<const std::byte> sent = Prepare(compressor, frame.Bytes());
    stream_.assign(sent.begin(), sent.end());
  }
  void ExpectRefused(uint32_t algorithms = kAllCompression) {
    std::string error;
    EXPECT_TRUE(Split(stream_, algorithms, &error).empty());
    EXPECT_THAT(error, HasSubstr("expected a"));
  }
  template <typename T>
  void Patch(size_t offset, T value) {
    std::memcpy(stream_.data() + offset, &value, sizeof(value));
  }

  std::vector<std::byte> stream_;
};

TEST_F(HostileFrame, OfAnAlgorithmThatWasNotAgreedOn) {
  ExpectRefused(kZstd);
  ExpectRefused(0);
}

TEST_F(HostileFrame, OfNoAlgorithm) {
  Patch<uint8_t>(12, 3);
  ExpectRefused();
}

TEST_F(HostileFrame, ThatClaimsTooMuch) {
  Patch<uint32_t>(8, kMaxUnpackedBytes + 8);
  ExpectRefused();
}

TEST_F(HostileFrame, ThatClaimsMoreOrLessThanItHolds) {
  for (const uint32_t claimed : {0u, 8u, 4088u, 4095u, 4104u}) {
    Patch(8, claimed);
    ExpectRefused();
  }
}

TEST_F(HostileFrame, WithMorePaddingThanThereIs) {
  Patch<uint8_t>(13, 8);
  ExpectRefused();
}

TEST_F(HostileFrame, ThatIsEmpty) {
  stream_.resize(16);
  Patch<uint32_t>(0, 8);
  ExpectRefused();
  stream_.resize(8);
  Patch<uint32_t>(0, 0);
  ExpectRefused();
}

TEST_F(HostileFrame, OfGarbageDoesNoHarm) {
  tests::Random random(3);
  const std::vector<std::byte> good = stream_;
  for (const uint8_t algorithm : {uint8_t{1}, uint8_t{2}}) {
    for (int round = 0; round < 2000; ++round) {
      stream_ = good;
      stream_[12] = static_cast<std::byte>(algorithm);
      for (uint64_t i = random.Between(1, 8); i > 0; --i) {
        stream_[random.Between(16, stream_.size() - 1)] = static_cast<std::byte>(random.Next());
      }
      for (const std::vector<std::byte>& payload : Split(stream_, kAllCompression)) {
        EXPECT_EQ(payload.size(), 4096u);
      }
    }
  }
}

}  // namespace
}  // namespace vesper::proto
