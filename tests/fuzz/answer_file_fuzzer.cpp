// SPDX-License-Identifier: Apache-2.0
//
// The guest's file of answers, as somebody might have left it. A fuzzer does not guess checksums,
// so all but the first byte of the input can be given good ones: the header's, and that of each
// entry.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "client_icd/answer_file.h"
#include "proto/hash.h"

namespace {

using vesper::proto::ChecksumOf;
using vesper::proto::Hash128;

constexpr Hash128 kIdentity{1, 2};

template <typename T>
T Load(const std::vector<std::byte>& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

void Store(std::vector<std::byte>& bytes, size_t offset, uint64_t value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

// Offsets: 24 the count and version, 32 the size and 40 the checksum of what follows 48 bytes; of
// an entry 16 the size and 24 the checksum of what follows 32.
void Seal(std::vector<std::byte>& bytes) {
  const std::vector<std::byte> empty = vesper::client::EncodeAnswers(kIdentity, {});
  if (bytes.size() < empty.size()) {
    return;
  }
  const auto count = Load<uint32_t>(bytes, 12);
  std::memcpy(bytes.data(), empty.data(), empty.size());
  std::memcpy(bytes.data() + 12, &count, sizeof(count));
  for (size_t at = empty.size(); bytes.size() - at >= 32;) {
    const auto size = Load<uint64_t>(bytes, at + 16);
    if (size > bytes.size() - at - 32) {
      break;
    }
    const std::span<const std::byte> reply(bytes.data() + at + 32, size);
    Store(bytes, at + 24, ChecksumOf(reply, Load<uint64_t>(bytes, at)));
    at += 32 + size;
  }
  const std::span<const std::byte> entries(bytes.data() + empty.size(),
                                           bytes.size() - empty.size());
  Store(bytes, 32, entries.size());
  Store(bytes, 40, ChecksumOf(entries, kIdentity.low));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) {
    return 0;
  }
  std::vector<std::byte> bytes(size - 1);
  if (!bytes.empty()) {
    std::memcpy(bytes.data(), data + 1, bytes.size());
  }
  if (data[0] % 2 == 0) {
    Seal(bytes);
  }
  const auto answers = vesper::client::DecodeAnswers(kIdentity, bytes);
  // What was understood says the same when it is written again.
  if (answers && vesper::client::EncodeAnswers(kIdentity, *answers) != bytes) {
    std::abort();
  }
  return 0;
}
