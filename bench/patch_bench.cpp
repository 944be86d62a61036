// SPDX-License-Identifier: Apache-2.0
//
// What it costs to find what has changed, and to apply it, against copying the same memory once.
// Rates are of memory looked at, whatever part of it has changed.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "bench/figures.h"
#include "proto/limits.h"
#include "proto/memory_patch.h"
#include "proto/patch_parts.h"

namespace vesper::bench {
namespace {

constexpr size_t kBytes = 64 * kMiB;
constexpr size_t kLineBytes = 64;

/// What is changed between two comparisons.
enum class Change { kNothing, kByteInPage, kLineInFour, kEverything };

void Apply(Change change, std::vector<std::byte>& memory) {
  switch (change) {
    case Change::kNothing:
      return;
    case Change::kByteInPage:
      for (size_t i = 0; i < memory.size(); i += kPageBytes) {
        memory[i] ^= std::byte{1};
      }
      return;
    case Change::kLineInFour:
      for (size_t i = 0; i < memory.size(); i += 4 * kLineBytes) {
        for (size_t byte = 0; byte < kLineBytes; ++byte) {
          memory[i + byte] ^= std::byte{1};
        }
      }
      return;
    case Change::kEverything:
      for (std::byte& byte : memory) {
        byte ^= std::byte{1};
      }
      return;
  }
}

/// Patches of the size in which they travel.
template <typename Patch, typename Visit>
void ForEachPatch(const std::vector<std::byte>& live, std::vector<std::byte>& twin, Patch& patch,
                  const Visit& visit) {
  for (uint64_t offset = 0; offset < live.size();) {
    patch.Clear();
    offset = proto::MakePatch(live.data(), twin.data(), offset, live.size() - offset,
                              proto::kMaxPatchBytes, patch);
    visit();
  }
}

template <typename Patch>
void Compare(benchmark::State& state, Change change) {
  std::vector<std::byte> live(kBytes);
  std::vector<std::byte> twin(kBytes);
  Patch patch;
  for (auto _ : state) {
    state.PauseTiming();
    Apply(change, live);
    state.ResumeTiming();
    ForEachPatch(live, twin, patch, [&] { benchmark::DoNotOptimize(patch.size()); });
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kBytes));
}

/// All bytes go into the patch.
void MakePatches(benchmark::State& state, Change change) { Compare<proto::Buffer>(state, change); }

/// Long runs are named.
void NamePatches(benchmark::State& state, Change change) {
  Compare<proto::PatchParts>(state, change);
}

void ApplyPatches(benchmark::State& state, Change change) {
  std::vector<std::byte> live(kBytes);
  std::vector<std::byte> twin(kBytes);
  std::vector<std::byte> far_live(kBytes);
  std::vector<std::byte> far_twin(kBytes);
  Apply(change, live);
  std::vector<proto::Buffer> patches;
  proto::Buffer patch;
  ForEachPatch(live, twin, patch,
               [&] { patches.emplace_back().Put(patch.Bytes().data(), patch.size()); });
  for (auto _ : state) {
    for (const proto::Buffer& one : patches) {
      proto::ApplyPatch(one.Bytes(), far_live.data(), far_twin.data());
    }
    benchmark::DoNotOptimize(far_live.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kBytes));
}

void Copy(benchmark::State& state) {
  std::vector<std::byte> live(kBytes);
  std::vector<std::byte> twin(kBytes);
  for (auto _ : state) {
    std::memcpy(twin.data(), live.data(), kBytes);
    benchmark::DoNotOptimize(twin.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kBytes));
}

BENCHMARK(Copy);
BENCHMARK_CAPTURE(MakePatches, nothing, Change::kNothing);
BENCHMARK_CAPTURE(MakePatches, byte_in_page, Change::kByteInPage);
BENCHMARK_CAPTURE(MakePatches, line_in_four, Change::kLineInFour);
BENCHMARK_CAPTURE(MakePatches, everything, Change::kEverything);
BENCHMARK_CAPTURE(NamePatches, line_in_four, Change::kLineInFour);
BENCHMARK_CAPTURE(NamePatches, everything, Change::kEverything);
BENCHMARK_CAPTURE(ApplyPatches, byte_in_page, Change::kByteInPage);
BENCHMARK_CAPTURE(ApplyPatches, line_in_four, Change::kLineInFour);
BENCHMARK_CAPTURE(ApplyPatches, everything, Change::kEverything);

}  // namespace
}  // namespace vesper::bench

BENCHMARK_MAIN();
