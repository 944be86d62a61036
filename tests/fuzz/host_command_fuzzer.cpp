// SPDX-License-Identifier: Apache-2.0
//
// What a guest may send: the payload of a commands frame, decoded as the host decodes it. Ids with
// a small index resolve, others are dead, ids of a wrong type are invalid.
#include <cstdint>
#include <cstring>
#include <vector>

#include "proto/arena.h"
#include "proto/decoder.h"
#include "proto/frame.h"
#include "proto/reader.h"

namespace {

namespace proto = vesper::proto;

constexpr uint32_t kLiveObjects = 256;
/// Less than the real cap, so that a fuzzer's memory limit is not what stops it.
constexpr size_t kArenaBytes = 64u << 20;

class SomeObjects : public proto::HandleResolver {
 public:
  void BeginCommand() override {}
  proto::Resolution Resolve(proto::HandleType type, proto::ObjectId id, uint64_t* handle) override {
    if (proto::ObjectTypeByte(id) != static_cast<uint8_t>(type)) {
      return proto::Resolution::kInvalid;
    }
    if (proto::ObjectIndex(id) >= kLiveObjects) {
      return proto::Resolution::kUnavailable;
    }
    *handle = id ^ 0xff;
    return proto::Resolution::kResolved;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint64_t> words(size / 8);
  if (!words.empty()) {
    std::memcpy(words.data(), data, words.size() * 8);
  }
  SomeObjects objects;
  proto::Arena arena(kArenaBytes);
  proto::Decoder decoder(arena, &objects);
  proto::CommandWalker walker(std::as_bytes(std::span(words)));
  while (const auto command = walker.Next()) {
    const proto::Record* record = proto::CommandRecord(command->number);
    if (record == nullptr) {
      break;
    }
    arena.Reset();
    void* args = arena.Allocate(record->size);
    proto::Reader reader(command->body);
    if (decoder.Request(*record, reader, args) == proto::DecodeResult::kMalformed) {
      break;
    }
  }
  return 0;
}
