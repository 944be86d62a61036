// SPDX-License-Identifier: Apache-2.0
#include "transport/line_code.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace vesper::transport {
namespace {

// After a mark: the mark was a byte of the session's.
constexpr std::byte kLiteral{'L'};

constexpr std::string_view kDigits = "0123456789abcdef";

size_t CountToMark(std::span<const std::byte> bytes) {
  const void* mark = std::memchr(bytes.data(), static_cast<int>(kLineMark), bytes.size());
  return mark == nullptr ? bytes.size()
                         : static_cast<size_t>(static_cast<const std::byte*>(mark) - bytes.data());
}

}  // namespace

std::array<std::byte, kLineSignBytes> EncodeLineSign(const LineSign& sign) {
  std::array<std::byte, kLineSignBytes> bytes;
  bytes[0] = kLineMark;
  bytes[1] = static_cast<std::byte>(sign.kind);
  for (size_t i = 0; i < 16; ++i) {
    bytes[2 + i] = static_cast<std::byte>(kDigits[sign.session >> (60 - 4 * i) & 15]);
  }
  return bytes;
}

size_t EncodeLine(std::span<const std::byte>& bytes, std::span<std::byte> room) {
  size_t written = 0;
  while (!bytes.empty() && written + 2 <= room.size()) {
    const size_t plain = CountToMark(bytes.first(std::min(bytes.size(), room.size() - written)));
    if (plain != 0) {
      std::memcpy(&room[written], bytes.data(), plain);
      written += plain;
    } else {
      room[written++] = kLineMark;
      room[written++] = kLiteral;
    }
    bytes = bytes.subspan(std::max<size_t>(plain, 1));
  }
  return written;
}

bool LineDecoder::Take(std::byte byte) {
  if (byte == kLineMark) {
    place_ = Place::kLetter;  // whatever was there is broken off
    return false;
  }
  const char letter = static_cast<char>(byte);
  if (place_ == Place::kLetter) {
    const bool is_sign = std::string_view("OAEP").find(letter) != std::string_view::npos;
    place_ = is_sign ? Place::kDigits : Place::kOutside;
    sign_ = {static_cast<LineSign::Kind>(letter), 0};
    digits_ = 0;
    return false;
  }
  const size_t digit = kDigits.find(letter);
  if (digit == std::string_view::npos) {
    place_ = Place::kOutside;
    return false;
  }
  sign_.session = sign_.session << 4 | digit;
  if (++digits_ < 16) {
    return false;
  }
  place_ = Place::kOutside;
  return true;
}

LineDecoder::Step LineDecoder::Decode(std::span<std::byte> bytes) {
  Step step;
  while (step.taken < bytes.size()) {
    std::byte* const next = &bytes[step.taken];
    if (place_ == Place::kOutside) {
      const size_t plain = CountToMark(bytes.subspan(step.taken));
      if (step.data != step.taken) {
        std::memmove(&bytes[step.data], next, plain);
      }
      step.data += plain;
      step.taken += plain;
      if (step.taken < bytes.size()) {
        place_ = Place::kLetter;
        ++step.taken;
      }
      continue;
    }
    ++step.taken;
    if (place_ == Place::kLetter && *next == kLiteral) {
      bytes[step.data++] = kLineMark;
      place_ = Place::kOutside;
    } else if (Take(*next)) {
      step.sign = sign_;
      return step;
    }
  }
  return step;
}

}  // namespace vesper::transport
