// SPDX-License-Identifier: Apache-2.0
//
// Pictures that a host sends as JPEG: five words that say where, and bytes that may be anything.
// Property: nothing but the picture that they name is written to.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "client_icd/wsi/lossy_pictures.h"

namespace {

using vesper::client::LossyPictures;
using vesper::client::Pictures;
using vesper::client::PresentOptions;

constexpr uint32_t kSide = 64;
constexpr uint64_t kStride = kSide * kSide * 4 + 256;
constexpr uint32_t kCount = 2;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint8_t where[5] = {};
  if (size < sizeof(where)) {
    return 0;
  }
  std::memcpy(where, data, sizeof(where));
  const PresentOptions options{.shares = true, .jpeg_quality = 85, .complaint = {}};
  LossyPictures lossy(options);
  if (!lossy.IsReady()) {
    std::abort();  // the library has to be there for this
  }
  std::vector<std::byte> memory(kStride * kCount, std::byte{1});
  Pictures pictures;
  pictures.stride = kStride;
  pictures.count = kCount;
  pictures.extent = {kSide, kSide};
  pictures.format = VK_FORMAT_B8G8R8A8_UNORM;
  lossy.Add(1, pictures, memory.data());
  const uint32_t picture = where[0] % (kCount + 1);
  (void)lossy.Apply({1, picture, where[1], where[2], where[3], where[4], size - sizeof(where),
                     data + sizeof(where)});
  for (uint64_t i = 0; i < memory.size(); ++i) {
    const bool may_change = i / kStride == picture && i % kStride < kSide * kSide * 4;
    if (!may_change && memory[i] != std::byte{1}) {
      std::abort();
    }
  }
  return 0;
}
