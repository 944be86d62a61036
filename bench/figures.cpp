// SPDX-License-Identifier: Apache-2.0
#include "bench/figures.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

namespace vesper::bench {
namespace {

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

constexpr size_t kLineWords = 8;
constexpr size_t kNoiseWordsOfRecord = 2;

/// Noise that is made once, and small enough to stay in the first cache.
const std::array<uint64_t, 512>& NoiseTable() {
  static const std::array<uint64_t, 512> table = [] {
    std::array<uint64_t, 512> words;
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (uint64_t& word : words) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      word = state;
    }
    return words;
  }();
  return table;
}

const char* UnitName(Unit unit) {
  switch (unit) {
    case Unit::kGigabytesPerSecond:
      return "GB/s";
    case Unit::kMegabytesPerSecond:
      return "MB/s";
    case Unit::kMilliseconds:
      return "ms";
    case Unit::kMicroseconds:
      return "us";
  }
  return "";
}

double Value(Unit unit, double seconds, double bytes) {
  switch (unit) {
    case Unit::kGigabytesPerSecond:
      return bytes / seconds / 1e9;
    case Unit::kMegabytesPerSecond:
      return bytes / seconds / 1e6;
    case Unit::kMilliseconds:
      return seconds * 1e3;
    case Unit::kMicroseconds:
      return seconds * 1e6;
  }
  return 0;
}

}  // namespace

void Repetition::EndPhase(const char* name) {
  const Clock::time_point now = Clock::now();
  phases_.push_back({name, std::chrono::duration<double>(now - begin_).count()});
  begin_ = Clock::now();
}

Measured Measure(const Effort& effort, const std::function<void(Repetition&)>& body) {
  {
    Repetition warm_up;
    body(warm_up);
  }
  std::vector<Repetition> repetitions;
  const auto begin = std::chrono::steady_clock::now();
  const auto enough = [&] {
    const int count = static_cast<int>(repetitions.size());
    return count >= effort.max_repetitions ||
           (count >= effort.min_repetitions &&
            std::chrono::steady_clock::now() - begin >= effort.min_time);
  };
  while (!enough()) {
    Repetition repetition;
    body(repetition);
    repetitions.push_back(std::move(repetition));
  }
  Measured measured;
  std::vector<double> sums(repetitions.size(), 0);
  for (size_t phase = 0; phase < repetitions[0].phases().size(); ++phase) {
    std::vector<double> seconds;
    for (size_t i = 0; i < repetitions.size(); ++i) {
      seconds.push_back(repetitions[i].phases()[phase].seconds);
      sums[i] += seconds.back();
    }
    measured.phases.push_back({repetitions[0].phases()[phase].name, Median(std::move(seconds))});
  }
  measured.best_seconds = *std::min_element(sums.begin(), sums.end());
  measured.seconds = Median(std::move(sums));
  return measured;
}

void PrintFigure(const std::string& name, Unit unit, const Measured& measured, double bytes) {
  std::string phases;
  for (const Repetition::Phase& phase : measured.phases) {
    char text[64];
    std::snprintf(text, sizeof(text), "%s%s %.3f ms", phases.empty() ? "" : ", ", phase.name,
                  phase.seconds * 1e3);
    phases += text;
  }
  std::printf("%s\t%s\t%.6g\t%.6g\t%s\n", name.c_str(), UnitName(unit),
              Value(unit, measured.seconds, bytes), Value(unit, measured.best_seconds, bytes),
              measured.phases.size() > 1 ? phases.c_str() : "");
  std::fflush(stdout);
}

void PrintValue(const std::string& name, const std::string& unit, double value) {
  std::printf("%s\t%s\t%.6g\t%.6g\t\n", name.c_str(), unit.c_str(), value, value);
  std::fflush(stdout);
}

void Fill(std::span<std::byte> memory, Content content, uint64_t seed) {
  const std::array<uint64_t, 512>& noise = NoiseTable();
  const uint64_t mixed_seed = (seed + 1) * 0xd6e8feb86659fd93u;
  constexpr size_t kBlockBytes = sizeof(noise);
  for (size_t offset = 0; offset < memory.size(); offset += kBlockBytes) {
    const size_t words = std::min(kBlockBytes, memory.size() - offset) / sizeof(uint64_t);
    // A compressor remembers the last blocks; under another key none looks like them.
    const uint64_t key = (offset / kBlockBytes + 1) * 0x2545f4914f6cdd1du ^ mixed_seed;
    std::byte* block = memory.data() + offset;
    if (content == Content::kNoise) {
      for (size_t i = 0; i < words; ++i) {
        const uint64_t word = noise[i] ^ key;
        std::memcpy(block + i * sizeof(word), &word, sizeof(word));
      }
      continue;
    }
    for (size_t i = 0; i < words; ++i) {
      const bool is_noise = i % kLineWords < kNoiseWordsOfRecord;
      const uint64_t word = is_noise ? noise[i] ^ key : mixed_seed;
      std::memcpy(block + i * sizeof(word), &word, sizeof(word));
    }
  }
}

std::string Grouped(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t place = text.size(); place > 3; place -= 3) {
    text.insert(place - 3, 1, ',');
  }
  return text;
}

}  // namespace vesper::bench
