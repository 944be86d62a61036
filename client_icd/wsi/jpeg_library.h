// SPDX-License-Identifier: Apache-2.0
//
// libjpeg-turbo, loaded when the user asks for pictures as JPEG and a window shows some: others
// need not have it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace vesper::client {

/// Where the pixels of a JPEG belong: four bytes for each, rows `row_bytes` apart.
struct JpegTarget {
  std::byte* begin;
  uint64_t row_bytes;
  uint32_t width;
  uint32_t height;
  bool is_red_first;
};

/// Thread-safe.
class JpegLibrary {
 public:
  static constexpr const char* kName = "libturbojpeg.so.0";
  /// Null if it is not there or has other functions; `why` says so.
  static std::shared_ptr<const JpegLibrary> Load(std::string* why, const char* name = kName);

  /// Unpacks a picture that fills the target, whose alpha becomes 255. False if the bytes, which
  /// may be anything, are none of that size; then the target may hold a part of one.
  bool Decode(std::span<const std::byte> jpeg, const JpegTarget& target) const;

 private:
  struct Functions;
  explicit JpegLibrary(std::shared_ptr<const Functions> functions);

  const std::shared_ptr<const Functions> functions_;
};

}  // namespace vesper::client
