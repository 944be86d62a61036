// SPDX-License-Identifier: Apache-2.0
//
// The frame splitter, fed in pieces of any size, and the walk over the commands of what it finds.
// Compressed frames are unpacked. Property: cutting the same stream into other pieces finds the
// same frames, and so does taking them over.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "proto/chunks.h"
#include "proto/compression.h"
#include "proto/frame.h"

namespace {

/// Feeds `bytes` in pieces of `piece` and returns a checksum of the frames and commands found.
uint64_t Walk(std::span<const uint8_t> bytes, size_t piece, bool take_over) {
  vesper::proto::FrameSplitter splitter(1u << 20);
  splitter.AllowCompression(vesper::proto::kAllCompression);
  vesper::proto::ChunkStore chunks(256u << 10);
  splitter.SetChunks(&chunks);
  uint64_t sum = 0;
  while (!bytes.empty() && !splitter.Failed()) {
    const std::span<std::byte> space = splitter.BeginReceive();
    if (space.empty()) {
      std::abort();  // there is always room unless the stream has failed
    }
    const size_t count = std::min({piece, space.size(), bytes.size()});
    std::memcpy(space.data(), bytes.data(), count);
    splitter.EndReceive(count);
    bytes = bytes.subspan(count);
    while (auto frame = splitter.Next()) {
      std::optional<vesper::proto::FrameMemory> taken;
      if (take_over) {
        taken = splitter.TakeOver(*frame);
        if (!taken) {
          std::abort();
        }
        frame->payload = taken->payload();
      }
      sum = sum * 31 + static_cast<uint64_t>(frame->type) + frame->payload.size();
      vesper::proto::CommandWalker walker(frame->payload);
      while (const auto command = walker.Next()) {
        sum = sum * 31 + command->number + command->serial;
        for (const std::byte byte : command->body) {
          sum = sum * 31 + static_cast<uint64_t>(byte);
        }
      }
      sum += walker.Failed() ? 1 : 0;
    }
  }
  return sum * 2 + (splitter.Failed() ? 1 : 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) {
    return 0;
  }
  const size_t piece = data[0] + 1u;
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  const uint64_t sum = Walk(bytes, piece, false);
  if (sum != Walk(bytes, size, false) || sum != Walk(bytes, size, true)) {
    std::abort();
  }
  return 0;
}
