// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_RANDOM_H_
#define VESPER_TESTS_FRAMEWORK_RANDOM_H_

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace vesper::tests {

// A random generator with a fixed seed: the same numbers in every run and with every library (the
// distributions of the standard library are not the same everywhere, so they are not used).
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  uint64_t Next() { return engine_(); }
  // In [0, bound).
  uint64_t Below(uint64_t bound) { return engine_() % bound; }
  // In [low, high].
  uint64_t Between(uint64_t low, uint64_t high) { return low + Below(high - low + 1); }
  bool OneIn(uint64_t count) { return Below(count) == 0; }

  void Fill(std::span<uint8_t> bytes) {
    for (uint8_t& byte : bytes) {
      byte = static_cast<uint8_t>(engine_() >> 24);
    }
  }
  std::vector<uint8_t> Bytes(size_t count) {
    std::vector<uint8_t> bytes(count);
    Fill(bytes);
    return bytes;
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_RANDOM_H_
