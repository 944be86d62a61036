// SPDX-License-Identifier: Apache-2.0
//
// How the memory figures are taken and handed on.
//
// A figure is the median of several repetitions, each of which is cut into named phases (writing,
// submitting, waiting): what a mapping costs is paid in different places by different methods, so a
// sum alone would say little. Google Benchmark reports means of whole iterations, so it isn't used
// here. A figure is one line on stdout, `name TAB unit TAB value TAB phases`, and figure_table sets
// the lines of several runs side by side.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace vesper::bench {

inline constexpr size_t kPageBytes = 4096;
inline constexpr size_t kMiB = 1u << 20;

/// How long a figure is measured.
struct Effort {
  int min_repetitions = 9;
  int max_repetitions = 300;
  std::chrono::milliseconds min_time{700};

  static Effort Quick() { return {3, 30, std::chrono::milliseconds(100)}; }
};

/// One repetition: the phases are what passes between the calls.
class Repetition {
 public:
  struct Phase {
    const char* name;
    double seconds;
  };

  /// Ends a phase that began with the repetition, or with the last call of either function.
  void EndPhase(const char* name);
  /// What passed since then is nobody's.
  void Discard() { begin_ = Clock::now(); }
  const std::vector<Phase>& phases() const { return phases_; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin_ = Clock::now();
  std::vector<Phase> phases_;
};

/// Medians over the repetitions, and the best of them: what else the machine does only adds time.
struct Measured {
  double seconds = 0;
  double best_seconds = 0;
  std::vector<Repetition::Phase> phases;
};

/// Runs `body` once to warm up, then as often as the effort asks.
Measured Measure(const Effort& effort, const std::function<void(Repetition&)>& body);

enum class Unit { kGigabytesPerSecond, kMegabytesPerSecond, kMilliseconds, kMicroseconds };

/// Prints the figure: `bytes` (unused for times) moved in the measured time.
void PrintFigure(const std::string& name, Unit unit, const Measured& measured, double bytes = 0);
/// Prints a value that was computed. A `unit` that ends in " more" gets no ratios.
void PrintValue(const std::string& name, const std::string& unit, double value);

/// What is written to the memory.
enum class Content {
  kNoise,    // does not compress
  kRecords,  // lines of 64 bytes, of which a quarter is noise and the rest the same in all
};

/// Fills whole words. Another seed gives other bytes nearly everywhere.
void Fill(std::span<std::byte> memory, Content content, uint64_t seed);

/// 65536 as "65,536".
std::string Grouped(uint64_t number);

}  // namespace vesper::bench
