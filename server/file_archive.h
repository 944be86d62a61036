// SPDX-License-Identifier: Apache-2.0
//
// Chunks of earlier sessions, on disk (proto/chunks.h says what chunks are).
//
// A tenant is whoever knows a key, and has a folder that is named by a hash of it: nothing in one
// is ever looked for on behalf of another key. In it each session that keeps anything writes a file
// of its own, to which it only appends, so sessions never wait for each other and what is torn
// when one dies is the end of its own file. A file is a header and records:
//
//   {hash (two u64), u32 bytes, u32 zero, u64 checksum} and the chunk, padded to 8.
//
// A session reads the files that it finds when it begins, once and whole, and tells the guest the
// chunks that are good; it holds them open, so they stay readable even when they are removed. When
// the folder outgrows its limit, the files that nobody has used for longest are removed, whoever's
// they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "proto/chunks.h"
#include "proto/hash.h"
#include "transport/unique_fd.h"

namespace vesper::server {

/// Calls `found` for each record of an archive's file that is whole and good, up to the first that
/// is torn: its name, and where in the file its bytes are.
void ReadArchiveFile(
    int fd,
    const std::function<void(const proto::Hash128& hash, uint64_t offset, uint32_t bytes)>& found);

/// The archive of one session. Thread-safe.
class FileArchive : public proto::ChunkArchive {
 public:
  /// So many files of a tenant are kept.
  static constexpr size_t kMaxFiles = 64;
  /// So many chunks are told at once.
  static constexpr size_t kToldAtOnce = 4096;

  /// The archive of the tenant with this key in `folder`, which is made if it isn't there; no more
  /// than `limit` bytes of all tenants are kept. Null if the folder can't be used (`error`).
  static std::unique_ptr<FileArchive> Open(const std::string& folder, const proto::HashKey& key,
                                           uint64_t limit, std::string* error);

  using Tell = std::function<void(std::span<const uint64_t> low, std::span<const uint64_t> high)>;
  /// Reads what is there and calls `tell` with the hashes' halves, for at most kToldAtOnce chunks
  /// at a time. They can be read when it is called. Once.
  void Load(const Tell& tell);

  const proto::HashKey& key() const override { return key_; }
  bool Read(const proto::Hash128& hash, std::span<std::byte> out) override;
  void Keep(const proto::Hash128& hash, std::span<const std::byte> chunk) override;

 private:
  struct File {
    explicit File(transport::UniqueFd descriptor) : fd(std::move(descriptor)) {}
    transport::UniqueFd fd;
    bool is_used = false;
  };
  struct Place {
    size_t file;
    uint64_t offset;
    uint32_t bytes;
  };

  FileArchive(std::string folder, const proto::HashKey& key, uint64_t limit);

  void LoadFile(size_t file, const Tell& tell);
  /// Opens this session's own file.
  bool Begin();
  bool Append(const proto::Hash128& hash, std::span<const std::byte> chunk);
  /// Removes what is beyond the limits, except for this session's own file.
  void RemoveOldest() const;

  const std::string folder_;
  const proto::HashKey key_;
  const std::string tenant_;  // the tenant's folder
  const uint64_t limit_;

  std::mutex mutex_;  // what is below
  std::vector<File> files_;
  std::map<proto::Hash128, Place> places_;
  std::set<proto::Hash128> kept_;
  transport::UniqueFd own_;
  std::string own_path_;
  uint64_t own_bytes_ = 0;
  uint64_t looked_at_ = 0;  // own_bytes_ when the oldest were last removed
  bool is_full_ = false;
};

}  // namespace vesper::server
