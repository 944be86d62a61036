// SPDX-License-Identifier: Apache-2.0
//
// What the loads print, so that two runs can be compared.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>

namespace vesper::examples {

// FNV-1a over the words.
inline uint64_t Checksum(std::span<const uint32_t> words) {
  uint64_t sum = 0xcbf29ce484222325;
  for (const uint32_t word : words) {
    sum = (sum ^ word) * 0x100000001b3;
  }
  return sum;
}

// Seconds since it was made.
class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace vesper::examples
