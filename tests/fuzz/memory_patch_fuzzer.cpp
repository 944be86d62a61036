// SPDX-License-Identifier: Apache-2.0
//
// Memory patches from either side. Properties: a patch that fits stays within the memory and leaves
// live memory and twin equal where it wrote; and what two memories differ in, as the fuzzer chooses
// it, is exactly what a patch between them carries.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "proto/memory_patch.h"

namespace {

namespace proto = vesper::proto;

constexpr size_t kMemoryBytes = 9001;  // neither whole pages nor whole lines

void Apply(std::span<const std::byte> patch) {
  if (!proto::PatchFits(patch, kMemoryBytes)) {
    return;
  }
  std::vector<std::byte> live(kMemoryBytes, std::byte{1});
  std::vector<std::byte> twin(kMemoryBytes, std::byte{2});
  proto::ApplyPatch(patch, live.data(), twin.data());
  for (size_t i = 0; i < kMemoryBytes; ++i) {
    const bool untouched = live[i] == std::byte{1} && twin[i] == std::byte{2};
    if (!untouched && live[i] != twin[i]) {
      std::abort();
    }
  }
}

void Compare(const uint8_t* data, size_t size, proto::PatchGrain grain) {
  std::vector<std::byte> live(kMemoryBytes);
  std::vector<std::byte> twin(kMemoryBytes);
  for (size_t i = 0; i + 2 < size; i += 3) {
    live[(data[i] << 8 | data[i + 1]) % kMemoryBytes] = static_cast<std::byte>(data[i + 2]);
  }
  std::vector<std::byte> other_live = twin;
  std::vector<std::byte> other_twin = twin;
  proto::Buffer patch;
  if (proto::MakePatch(live.data(), twin.data(), 0, kMemoryBytes, SIZE_MAX, patch, grain) !=
          kMemoryBytes ||
      live != twin || !proto::PatchFits(patch.Bytes(), kMemoryBytes)) {
    std::abort();
  }
  proto::ApplyPatch(patch.Bytes(), other_live.data(), other_twin.data());
  if (other_live != live || other_twin != live) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint64_t> words(size / 8);
  if (!words.empty()) {
    std::memcpy(words.data(), data, words.size() * 8);
  }
  Apply(std::as_bytes(std::span(words)));
  Compare(data, size, proto::PatchGrain::kBytes);
  Compare(data, size, proto::PatchGrain::kLines);
  return 0;
}
