// SPDX-License-Identifier: Apache-2.0
// What comes over a serial line, cut anywhere: the pieces say the same as the whole, and nothing
// that comes before an opening can hide it. Any bytes can be encoded, and come out again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "transport/line_code.h"

namespace {

using vesper::transport::EncodeLine;
using vesper::transport::EncodeLineSign;
using vesper::transport::LineDecoder;
using vesper::transport::LineSign;
using Bytes = std::vector<std::byte>;

struct Heard {
  Bytes data;
  std::vector<LineSign> signs;
  std::vector<size_t> places;  // of the signs in the data

  bool operator==(const Heard&) const = default;
};

Heard Decode(Bytes line, size_t piece) {
  Heard heard;
  LineDecoder decoder;
  for (size_t start = 0; start < line.size(); start += piece) {
    std::span<std::byte> rest(line);
    rest = rest.subspan(start, std::min(piece, line.size() - start));
    while (!rest.empty()) {
      const LineDecoder::Step step = decoder.Decode(rest);
      if (step.taken == 0 || step.taken > rest.size() || step.data > step.taken) {
        std::abort();
      }
      heard.data.insert(heard.data.end(), rest.begin(),
                        rest.begin() + static_cast<ptrdiff_t>(step.data));
      if (step.sign) {
        heard.signs.push_back(*step.sign);
        heard.places.push_back(heard.data.size());
      }
      rest = rest.subspan(step.taken);
    }
  }
  return heard;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) {
    return 0;
  }
  const size_t piece = 1 + data[0] % 37;
  const auto* const begin = reinterpret_cast<const std::byte*>(data);
  const Bytes bytes(begin + 1, begin + size);

  Bytes line = bytes;
  const LineSign opening{LineSign::Kind::kOpen, 0xfedcba9876543210};
  const auto sign = EncodeLineSign(opening);
  line.insert(line.end(), sign.begin(), sign.end());
  const Heard whole = Decode(line, line.size());
  if (whole != Decode(line, piece) || whole.signs.empty() || whole.signs.back() != opening) {
    std::abort();
  }

  Bytes encoded;
  std::span<const std::byte> rest(bytes);
  Bytes room(1 + piece);
  while (!rest.empty()) {
    const size_t count = EncodeLine(rest, room);
    encoded.insert(encoded.end(), room.begin(), room.begin() + static_cast<ptrdiff_t>(count));
  }
  const Heard again = Decode(encoded, piece);
  if (again.data != bytes || !again.signs.empty()) {
    std::abort();
  }
  return 0;
}
