// SPDX-License-Identifier: Apache-2.0
#include "proto/chunks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "proto/compression.h"
#include "proto/limits.h"
#include "tests/framework/random.h"

namespace vesper::proto {
namespace {

using testing::HasSubstr;
using tests::Random;
using Bytes = std::vector<std::byte>;
using Parts = std::span<const std::span<const std::byte>>;

Bytes Noise(size_t size, uint64_t seed) {
  Bytes bytes(size);
  Random random(seed);
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t word = random.Next();
    std::memcpy(bytes.data() + i, &word, std::min<size_t>(8, size - i));
  }
  return bytes;
}

// A frame of commands with this payload.
Bytes FrameOf(const Bytes& payload) {
  Buffer frame;
  BeginFrame(frame, FrameType::kCommands);
  frame.Put(payload.data(), payload.size());
  FinishFrame(frame, 0);
  return {frame.Bytes().begin(), frame.Bytes().end()};
}

// Sender and receiver, and what passes between them.
class Chunks : public testing::Test {
 protected:
  explicit Chunks(size_t capacity = 1u << 20) : sender_(capacity), store_(capacity) {
    splitter_.SetChunks(&store_);
  }

  void Write(Parts parts) {
    for (const auto part : parts) {
      wire_.insert(wire_.end(), part.begin(), part.end());
    }
  }
  // Sends a frame in these parts, as a session does; returns how many bytes that took.
  size_t Send(Parts parts) {
    ChunkedFrame frame;
    EXPECT_TRUE(frame.Cut(parts));
    const size_t before = wire_.size();
    for (const ChunkedFrame::Run& run : frame.runs()) {
      Write(sender_.Tell(run));
    }
    Write(sender_.Refer(frame));
    return wire_.size() - before;
  }
  size_t Send(const Bytes& payload) {
    const Bytes frame = FrameOf(payload);
    const std::span<const std::byte> part(frame);
    return Send({&part, 1});
  }
  // The payloads that arrive.
  std::vector<Bytes> Receive() {
    std::vector<Bytes> payloads;
    for (size_t at = 0; at < wire_.size() && !splitter_.Failed();) {
      const std::span<std::byte> space = splitter_.BeginReceive();
      const size_t bytes = std::min(space.size(), wire_.size() - at);
      std::memcpy(space.data(), wire_.data() + at, bytes);
      splitter_.EndReceive(bytes);
      at += bytes;
      while (const std::optional<Frame> frame = splitter_.Next()) {
        EXPECT_EQ(frame->type, FrameType::kCommands);
        const std::optional<FrameMemory> taken = splitter_.TakeOver(*frame);
        payloads.emplace_back(taken->payload().begin(), taken->payload().end());
      }
    }
    wire_.clear();
    return payloads;
  }

  ChunkSender sender_;
  ChunkStore store_;
  FrameSplitter splitter_{kMaxFrameBytes};
  Bytes wire_;
};

TEST_F(Chunks, TheSameTravelsOnce) {
  const Bytes payload = Noise(512 << 10, 1);
  EXPECT_GT(Send(payload), payload.size());
  EXPECT_LT(Send(payload), 17u << 10) << "the end is less than a chunk";
  EXPECT_EQ(Receive(), (std::vector<Bytes>{payload, payload}));
  EXPECT_FALSE(splitter_.Failed()) << splitter_.Error();
}

TEST_F(Chunks, TheSameIsFoundWhereverItLies) {
  const Bytes texture = Noise(768 << 10, 2);
  Send(texture);
  Bytes moved = Noise(1000, 3);
  moved.insert(moved.end(), texture.begin(), texture.end());
  const Bytes after = Noise(504, 4);
  moved.insert(moved.end(), after.begin(), after.end());
  ASSERT_EQ(moved.size() % 8, 0u);
  EXPECT_LT(Send(moved), 300u << 10);
  EXPECT_EQ(Receive(), (std::vector<Bytes>{texture, moved}));
}

TEST_F(Chunks, SmallPartsAreNotCut) {
  const Bytes frame = FrameOf(Noise(8 + (60 << 10), 5));
  const std::span<const std::byte> all(frame);
  const std::span<const std::byte> parts[] = {all.first(16), all.subspan(16)};
  const size_t first = Send(parts);
  EXPECT_EQ(Send(parts), first);
  EXPECT_EQ(Receive().size(), 2u);
}

TEST_F(Chunks, ChunksHaveTheirSizes) {
  for (const Bytes& bytes : {Noise(4 << 20, 6), Bytes(4 << 20)}) {
    size_t count = 0;
    std::span<const std::byte> rest(bytes);
    CutChunks(bytes, [&](std::span<const std::byte> chunk) {
      EXPECT_EQ(chunk.data(), rest.data());
      rest = rest.subspan(chunk.size());
      EXPECT_LE(chunk.size(), kMaxChunkBytes);
      EXPECT_TRUE(chunk.size() >= kMinChunkBytes || rest.empty());
      ++count;
    });
    EXPECT_TRUE(rest.empty());
    EXPECT_GE(count, bytes.size() / kMaxChunkBytes);
    EXPECT_LE(count, bytes.size() / (40 << 10));
  }
}

// Both sides forget the same, in whatever order things come.
TEST_F(Chunks, NothingThatIsNamedWasForgotten) {
  Random random(7);
  std::vector<Bytes> payloads;
  for (uint64_t i = 0; i < 24; ++i) {
    payloads.push_back(Noise(8 * (10'000 + random.Below(20'000)), 100 + i));
  }
  std::vector<Bytes> expected;
  size_t sent = 0;
  for (int i = 0; i < 400; ++i) {
    expected.push_back(payloads[random.Below(i % 3 == 0 ? 4 : payloads.size())]);
    sent += Send(expected.back());
  }
  EXPECT_EQ(Receive(), expected);
  EXPECT_FALSE(splitter_.Failed()) << splitter_.Error();
  EXPECT_GT(sent, 8u << 20) << "more than fits was sent";
}

// Between the chunks of a frame and the frame itself others' chunks may make the host forget some.
TEST_F(Chunks, WhatOthersPushedOutIsSentWithTheFrame) {
  const Bytes frame = FrameOf(Noise(512 << 10, 8));
  const std::span<const std::byte> part(frame);
  ChunkedFrame cut;
  ASSERT_TRUE(cut.Cut({&part, 1}));
  for (const ChunkedFrame::Run& run : cut.runs()) {
    Write(sender_.Tell(run));
  }
  Send(Noise(900 << 10, 9));
  Write(sender_.Refer(cut));
  const std::vector<Bytes> received = Receive();
  ASSERT_EQ(received.size(), 2u) << splitter_.Error();
  EXPECT_TRUE(std::equal(received[1].begin(), received[1].end(), frame.begin() + kFrameHeaderBytes,
                         frame.end()));
}

TEST_F(Chunks, TravelCompressed) {
  splitter_.AllowCompression(kAllCompression);
  FrameCompressor compressor;
  compressor.Enable(kZstd, true, false);
  Bytes payload(512 << 10);
  for (size_t i = 0; i < payload.size(); ++i) {
    payload[i] = static_cast<std::byte>(i / 100 * 7 + i / 5000);
  }
  const Bytes frame = FrameOf(payload);
  const std::span<const std::byte> part(frame);
  ChunkedFrame cut;
  ASSERT_TRUE(cut.Cut({&part, 1}));
  for (const ChunkedFrame::Run& run : cut.runs()) {
    if (const auto told = sender_.Tell(run); !told.empty()) {
      Write(compressor.Prepare(told));
    }
  }
  Write(compressor.Prepare(sender_.Refer(cut)));
  EXPECT_LT(wire_.size(), payload.size() / 2);
  EXPECT_EQ(Receive(), std::vector<Bytes>{payload}) << splitter_.Error();
}

TEST_F(Chunks, AnUnknownNameIsAnError) {
  ChunkSender other(1u << 20);
  const Bytes frame = FrameOf(Noise(256 << 10, 10));
  const std::span<const std::byte> part(frame);
  ChunkedFrame cut;
  ASSERT_TRUE(cut.Cut({&part, 1}));
  for (const ChunkedFrame::Run& run : cut.runs()) {
    other.Tell(run);  // and forgets to write it
  }
  Write(other.Refer(cut));
  EXPECT_TRUE(Receive().empty());
  EXPECT_THAT(splitter_.Error(), HasSubstr("names chunks"));
}

TEST_F(Chunks, ADamagedChunkIsNotWhatItIsNamed) {
  const Bytes frame = FrameOf(Noise(256 << 10, 11));
  const std::span<const std::byte> part(frame);
  Send({&part, 1});
  wire_[5000] ^= std::byte{1};
  EXPECT_TRUE(Receive().empty());
  EXPECT_THAT(splitter_.Error(), HasSubstr("names chunks"));
}

TEST_F(Chunks, WithoutAnAgreementThereAreNone) {
  Send(Noise(256 << 10, 12));
  splitter_.SetChunks(nullptr);
  EXPECT_TRUE(Receive().empty());
  EXPECT_THAT(splitter_.Error(), HasSubstr("expected a frame header"));
}

// An archive in memory.
class Shelf final : public ChunkArchive {
 public:
  explicit Shelf(uint8_t seed) { key_.fill(std::byte{seed}); }
  const HashKey& key() const override { return key_; }
  bool Read(const Hash128& hash, std::span<std::byte> out) override {
    const auto found = chunks_.find(hash);
    if (found == chunks_.end() || found->second.size() != out.size()) {
      return false;
    }
    std::ranges::copy(found->second, out.begin());
    ++reads_;
    return true;
  }
  void Keep(const Hash128& hash, std::span<const std::byte> chunk) override {
    EXPECT_EQ(hash, HashOf(chunk, key_));
    chunks_[hash] = {chunk.begin(), chunk.end()};
  }
  void Forget() { chunks_.clear(); }
  // Tells the sender of everything.
  bool Tell(ChunkSender& sender) const {
    std::vector<uint64_t> low;
    std::vector<uint64_t> high;
    for (const auto& [hash, chunk] : chunks_) {
      low.push_back(hash.low);
      high.push_back(hash.high);
    }
    return sender.Learn(low, high);
  }
  size_t size() const { return chunks_.size(); }
  size_t reads() const { return reads_; }

 private:
  HashKey key_;
  std::map<Hash128, Bytes> chunks_;
  size_t reads_ = 0;
};

// Sessions one after the other, with one archive.
class ArchivedChunks : public testing::Test {
 protected:
  struct Result {
    size_t sent = 0;
    bool arrived = false;
  };
  // A session that sends `payload`, with what the archive has been told before.
  Result Run(const Bytes& payload, bool is_told) {
    ChunkSender sender(kCapacity, shelf_.key());
    ChunkStore store(kCapacity);
    store.SetArchive(&shelf_);
    EXPECT_TRUE(!is_told || shelf_.Tell(sender));
    FrameSplitter splitter(kMaxFrameBytes);
    splitter.SetChunks(&store);
    const Bytes frame = FrameOf(payload);
    const std::span<const std::byte> part(frame);
    ChunkedFrame cut;
    EXPECT_TRUE(cut.Cut({&part, 1}, sender.key()));
    Bytes wire;
    const auto write = [&wire](Parts parts) {
      for (const auto bytes : parts) {
        wire.insert(wire.end(), bytes.begin(), bytes.end());
      }
    };
    for (const ChunkedFrame::Run& run : cut.runs()) {
      write(sender.Tell(run));
    }
    write(sender.Refer(cut));
    Result result{wire.size(), false};
    std::span<const std::byte> rest(wire);
    while (!rest.empty() && !splitter.Failed()) {
      const std::span<std::byte> space = splitter.BeginReceive();
      const size_t bytes = std::min(space.size(), rest.size());
      std::memcpy(space.data(), rest.data(), bytes);
      splitter.EndReceive(bytes);
      rest = rest.subspan(bytes);
      while (const std::optional<Frame> received = splitter.Next()) {
        result.arrived = std::ranges::equal(received->payload, payload);
      }
    }
    return result;
  }

  static constexpr size_t kCapacity = 1u << 20;
  Shelf shelf_{7};
};

TEST_F(ArchivedChunks, ALaterSessionNamesThem) {
  const Bytes payload = Noise(4 << 20, 20);  // more than a session keeps
  const Result first = Run(payload, true);
  EXPECT_TRUE(first.arrived);
  EXPECT_GT(first.sent, payload.size());
  EXPECT_GT(shelf_.size(), 20u);
  EXPECT_EQ(shelf_.reads(), 0u);
  const Result second = Run(payload, true);
  EXPECT_TRUE(second.arrived);
  EXPECT_LT(second.sent, payload.size() / 50);
  EXPECT_EQ(shelf_.reads(), shelf_.size());
}

TEST_F(ArchivedChunks, WhatTheSenderWasNotToldIsSent) {
  const Bytes payload = Noise(512 << 10, 21);
  Run(payload, true);
  const Result second = Run(payload, false);
  EXPECT_TRUE(second.arrived);
  EXPECT_GT(second.sent, payload.size());
}

TEST_F(ArchivedChunks, WhatIsGoneIsAnErrorAndNothingElse) {
  const Bytes payload = Noise(512 << 10, 22);
  Run(payload, true);
  ChunkSender sender(kCapacity, shelf_.key());
  ASSERT_TRUE(shelf_.Tell(sender));
  const Bytes frame = FrameOf(payload);
  const std::span<const std::byte> part(frame);
  ChunkedFrame cut;
  ASSERT_TRUE(cut.Cut({&part, 1}, sender.key()));
  shelf_.Forget();
  Buffer referring;
  for (const auto bytes : sender.Refer(cut)) {
    referring.Put(bytes.data(), bytes.size());
  }
  ChunkStore store(kCapacity);
  store.SetArchive(&shelf_);
  Buffer out;
  EXPECT_FALSE(store.Resolve(referring.Bytes().subspan(kFrameHeaderBytes), out));
}

TEST_F(ArchivedChunks, TheNameDependsOnTheKey) {
  const Bytes bytes = Noise(100'000, 23);
  EXPECT_EQ(HashOf(bytes, Shelf(1).key()), HashOf(bytes, Shelf(1).key()));
  EXPECT_NE(HashOf(bytes, Shelf(1).key()), HashOf(bytes, Shelf(2).key()));
  EXPECT_NE(HashOf(bytes, Shelf(1).key()), HashOf(bytes));
}

TEST_F(ArchivedChunks, WithoutAKeyNothingMayBeTold) {
  ChunkSender sender(kCapacity);
  EXPECT_FALSE(shelf_.Tell(sender));
  ChunkSender with_key(kCapacity, shelf_.key());
  const uint64_t half = 1;
  EXPECT_FALSE(with_key.Learn({&half, 1}, {}));
}

TEST_F(Chunks, MalformedPayloadsAreErrors) {
  Buffer out;
  const auto refuses = [&](std::initializer_list<uint32_t> words) {
    const std::vector<uint32_t> copy(words);
    return !store_.Resolve(std::as_bytes(std::span(copy)), out);
  };
  EXPECT_TRUE(refuses({}));
  EXPECT_FALSE(refuses({8, 1, 8, 0, 1, 2}));
  EXPECT_TRUE(refuses({8, 1, 16, 0, 1, 2, 3, 4})) << "more literal than there is room";
  EXPECT_TRUE(refuses({16, 1, 8, 0, 1, 2})) << "less than announced";
  EXPECT_TRUE(refuses({8, 1, 8, 0, 1, 2, 3, 4})) << "bytes behind it";
  EXPECT_TRUE(refuses({8, 2, 8, 0, 1, 2})) << "fewer runs than announced";
  EXPECT_TRUE(refuses({8, 1, 0, 8, 1, 2, 3, 4})) << "an unknown chunk";
  EXPECT_TRUE(refuses({0, 4'000'000'000, 0, 0, 0, 0})) << "runs of nothing";
  EXPECT_TRUE(refuses({kMaxUnpackedBytes + 8, 0}));
  EXPECT_TRUE(refuses({4, 1, 4, 0, 1, 0}));
  ChunkStore* store = &store_;
  const auto refuses_chunk = [&](uint64_t announced, size_t bytes) {
    Bytes payload(8 + bytes);
    std::memcpy(payload.data(), &announced, 8);
    return !store->Take(payload);
  };
  EXPECT_FALSE(refuses_chunk(3, 8));
  EXPECT_TRUE(refuses_chunk(0, 0));
  EXPECT_TRUE(refuses_chunk(9, 8));
  EXPECT_TRUE(refuses_chunk(3, 16));
  EXPECT_TRUE(refuses_chunk(UINT64_MAX, 8));
  EXPECT_TRUE(refuses_chunk(kMaxChunkBytes + 8, kMaxChunkBytes + 8));
  ChunkStore small(100);
  store = &small;
  EXPECT_TRUE(refuses_chunk(200, 200)) << "more than is kept";
}

}  // namespace
}  // namespace vesper::proto
