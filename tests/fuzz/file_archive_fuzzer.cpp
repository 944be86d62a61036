// SPDX-License-Identifier: Apache-2.0
//
// A file of archived uploads, as a session that was killed or a bad disk might have left it. A
// fuzzer does not guess checksums, so those of the records can be made good. Property: what is
// found lies in the file, and has its checksum.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "proto/buffer.h"
#include "proto/chunks.h"
#include "proto/hash.h"
#include "server/file_archive.h"
#include "transport/unique_fd.h"

namespace {

using vesper::proto::ChecksumOf;

// Of a record: 0 the hash, 16 the size, 24 the checksum, 32 the bytes. 16 bytes are before them.
constexpr size_t kFileHeader = 16;
constexpr size_t kRecordHeader = 32;
constexpr uint64_t kStart[] = {0x6b6e'7568'6373'7076, 1};

template <typename T>
T Load(const std::vector<std::byte>& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

void Seal(std::vector<std::byte>& bytes) {
  if (bytes.size() < kFileHeader) {
    return;
  }
  std::memcpy(bytes.data(), kStart, kFileHeader);
  for (size_t at = kFileHeader; bytes.size() - at >= kRecordHeader;) {
    const auto size = Load<uint32_t>(bytes, at + 16);
    if (size > bytes.size() - at - kRecordHeader) {
      return;
    }
    const uint64_t sum =
        ChecksumOf(std::span(bytes).subspan(at + kRecordHeader, size), Load<uint64_t>(bytes, at));
    std::memcpy(bytes.data() + at + 24, &sum, sizeof(sum));
    const size_t record = kRecordHeader + vesper::proto::Align8(size);
    if (record > bytes.size() - at) {
      return;
    }
    at += record;
  }
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
  const vesper::transport::UniqueFd file(::memfd_create("archive", MFD_CLOEXEC));
  if (!file || ::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(size - 1)) {
    std::abort();
  }
  vesper::server::ReadArchiveFile(
      file.get(), [&](const vesper::proto::Hash128& hash, uint64_t offset, uint32_t chunk) {
        if (chunk == 0 || chunk > vesper::proto::kMaxChunkBytes || offset < kRecordHeader ||
            offset > bytes.size() || chunk > bytes.size() - offset ||
            ChecksumOf(std::span(bytes).subspan(offset, chunk), hash.low) !=
                Load<uint64_t>(bytes, offset - 8)) {
          std::abort();
        }
      });
  return 0;
}
