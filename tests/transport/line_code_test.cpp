// SPDX-License-Identifier: Apache-2.0
#include "transport/line_code.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "tests/transport/stream_helpers.h"

namespace vesper::transport {
namespace {

using Kind = LineSign::Kind;

// The bytes as they pass, through a room of this size at a time.
Bytes Encoded(std::span<const std::byte> bytes, size_t room_size = 64) {
  Bytes line;
  Bytes room(room_size);
  while (!bytes.empty()) {
    const size_t count = EncodeLine(bytes, room);
    line.insert(line.end(), room.begin(), room.begin() + static_cast<ptrdiff_t>(count));
  }
  return line;
}

void Append(Bytes* line, const LineSign& sign) {
  const auto bytes = EncodeLineSign(sign);
  line->insert(line->end(), bytes.begin(), bytes.end());
}

// What a decoder makes of it: the data between the signs, and the signs.
struct Heard {
  std::vector<Bytes> data = {{}};
  std::vector<LineSign> signs;
};

Heard Decoded(Bytes line, size_t piece) {
  Heard heard;
  LineDecoder decoder;
  for (size_t start = 0; start < line.size(); start += piece) {
    std::span<std::byte> rest =
        std::span(line).subspan(start, std::min(piece, line.size() - start));
    while (!rest.empty()) {
      const LineDecoder::Step step = decoder.Decode(rest);
      const auto data = rest.first(step.data);
      heard.data.back().insert(heard.data.back().end(), data.begin(), data.end());
      if (step.sign) {
        heard.signs.push_back(*step.sign);
        heard.data.emplace_back();
      }
      rest = rest.subspan(step.taken);
    }
  }
  return heard;
}

Bytes Marked(size_t size, unsigned seed) {
  Bytes bytes = RandomBytes(size, seed);
  for (size_t i = 0; i < size; ++i) {
    // A quarter of them marks, and a quarter what makes signs of marks.
    const auto dice = static_cast<unsigned>(bytes[i]) % 4;
    bytes[i] = dice == 0   ? kLineMark
               : dice == 1 ? static_cast<std::byte>("OAEPL019af"[i % 10])
                           : bytes[i];
  }
  return bytes;
}

TEST(LineCodeTest, OrdinaryBytesPassAsTheyAre) {
  EXPECT_EQ(Encoded(ToBytes("hello")), ToBytes("hello"));
}

TEST(LineCodeTest, SignsHaveAFixedForm) {
  Bytes sign;
  Append(&sign, {Kind::kOpen, 0x0123456789abcdef});
  EXPECT_EQ(sign, ToBytes("\xf5"
                          "O0123456789abcdef"));
  EXPECT_EQ(sign.size(), kLineSignBytes);
}

TEST(LineCodeTest, AnyBytesComeOutAgainWhereverTheyAreCut) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const Bytes sent = Marked(500 + seed, seed);
    for (const size_t room : {2, 3, 5, 64, 5000}) {
      const Bytes line = Encoded(sent, room);
      for (const size_t piece : {1, 2, 3, 7, 100, 5000}) {
        const Heard heard = Decoded(line, piece);
        ASSERT_EQ(heard.data.front(), sent) << seed << " " << room << " " << piece;
        ASSERT_TRUE(heard.signs.empty());
      }
    }
  }
}

TEST(LineCodeTest, DataAreNeverHeldBack) {
  // The last byte of a message must come out although nothing follows it.
  for (unsigned value = 0; value < 256; ++value) {
    const Bytes sent = {static_cast<std::byte>(value)};
    EXPECT_EQ(Decoded(Encoded(sent), 1).data.front(), sent) << value;
  }
}

TEST(LineCodeTest, ASignIsFoundWhereverWhatCameBeforeWasBrokenOff) {
  const LineSign opening{Kind::kOpen, 0xf5f5f5f5f5f5f5f5};
  Bytes before = Encoded(Marked(40, 1));
  Append(&before, {Kind::kAccept, 7});
  const Bytes more = Encoded(Marked(40, 2));
  before.insert(before.end(), more.begin(), more.end());
  const Bytes after = Marked(100, 3);
  for (size_t cut = 0; cut <= before.size(); ++cut) {
    Bytes line(before.begin(), before.begin() + static_cast<ptrdiff_t>(cut));
    Append(&line, opening);
    const Bytes tail = Encoded(after);
    line.insert(line.end(), tail.begin(), tail.end());
    for (const size_t piece : {1, 5, 1000}) {
      const Heard heard = Decoded(line, piece);
      ASSERT_FALSE(heard.signs.empty()) << cut;
      EXPECT_EQ(heard.signs.back(), opening) << cut;
      EXPECT_EQ(heard.data.back(), after) << cut;
    }
  }
}

TEST(LineCodeTest, NoiseIsNoSign) {
  const char* const noises[] = {"\xf5X0123456789abcdef", "\xf5O0123456789ABCDEF",
                                "\xf5O012345678",        "\xf5O0123456789abcde\n",
                                "\xf5\xf5\xf5\xf5",      "O0123456789abcdef"};
  for (const char* const noise : noises) {
    EXPECT_TRUE(Decoded(ToBytes(noise), 3).signs.empty()) << noise;
  }
}

TEST(LineCodeTest, RandomNoiseBeforeAnOpeningHidesItNever) {
  std::mt19937 random(4);
  for (unsigned seed = 0; seed < 500; ++seed) {
    Bytes line = seed % 2 == 0 ? Marked(random() % 60, seed) : RandomBytes(random() % 60, seed);
    const LineSign opening{Kind::kOpen, seed + 1};
    Append(&line, opening);
    const Heard heard = Decoded(line, 1 + random() % 9);
    ASSERT_FALSE(heard.signs.empty());
    EXPECT_EQ(heard.signs.back(), opening);
  }
}

}  // namespace
}  // namespace vesper::transport
