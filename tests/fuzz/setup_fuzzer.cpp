// SPDX-License-Identifier: Apache-2.0
//
// The messages of the set-up, in both directions. The first byte chooses which.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "proto/frame.h"
#include "proto/setup.h"
#include "proto/snapshot.h"

namespace {

namespace proto = vesper::proto;

void Decode(uint8_t kind, std::span<const std::byte> payload) {
  std::string error;
  proto::Arena arena;
  switch (kind % 4) {
    case 0: {
      proto::Hello hello;
      if (!proto::DecodeHello(payload, &hello, &error) && error.empty()) {
        std::abort();  // a refusal without a reason helps nobody
      }
      break;
    }
    case 1: {
      proto::Welcome welcome;
      proto::Snapshot snapshot;
      if (proto::DecodeWelcome(payload, &welcome, &error)) {
        (void)proto::DecodeSnapshot(welcome.snapshot, arena, &snapshot, &error);
      }
      break;
    }
    case 2: {
      proto::Snapshot snapshot;
      if (!proto::DecodeSnapshot(payload, arena, &snapshot, &error) && error.empty()) {
        std::abort();
      }
      break;
    }
    default:
      (void)proto::DecodeRefusal(payload);
      break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) {
    return 0;
  }
  // Payloads of frames are 8-byte aligned.
  std::vector<uint64_t> words((size - 1) / 8);
  if (!words.empty()) {
    std::memcpy(words.data(), data + 1, words.size() * 8);
  }
  Decode(data[0], std::as_bytes(std::span(words)));
  return 0;
}
