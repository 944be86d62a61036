// SPDX-License-Identifier: Apache-2.0
//
// What a host may send: a reply to any command, written into the memory of a program that made the
// call. The first eight bytes choose the command and the shape of what the program passed; whatever
// the reply says, nothing outside the program's own arrays may be touched (the address sanitizer
// watches: every array is an allocation of its own size).
#include <cstdint>
#include <cstring>
#include <vector>

#include "proto/arena.h"
#include "proto/reader.h"
#include "proto/reply_decoder.h"
#include "tests/framework/record_filler.h"

namespace proto = vesper::proto;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 8) {
    return 0;
  }
  uint64_t choice = 0;
  std::memcpy(&choice, data, sizeof(choice));
  const proto::Record* record =
      proto::CommandRecord(static_cast<uint16_t>(choice % (proto::MaxCommandNumber() + 1u)));
  if (record == nullptr) {
    return 0;
  }
  std::vector<uint64_t> words((size - 8) / 8);
  if (!words.empty()) {
    std::memcpy(words.data(), data + 8, words.size() * 8);
  }
  proto::Arena arena;
  void* args = vesper::tests::RecordFiller(choice >> 16 & 0xff, 1,
                                           vesper::tests::RecordFiller::Chains::kSome, arena)
                   .Make(*record);
  proto::Reader reader(std::as_bytes(std::span(words)));
  (void)proto::DecodeReply(*record, reader, args);
  return 0;
}
