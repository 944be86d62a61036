// SPDX-License-Identifier: Apache-2.0
//
// Files in memory that one process makes and another maps. A mapping of a file that becomes smaller
// turns into a trap, so these are sealed, and who is given one looks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "transport/unique_fd.h"

namespace vesper::transport {

/// True if a file of this process may become so large. To grow past RLIMIT_FSIZE would bring the
/// program a signal that ends it, and not only an error.
bool MayHaveFileOf(uint64_t bytes);

/// False, and one sentence in `why_not`, unless the file is one in memory, of ordinary pages (huge
/// ones can be out when one is touched), that can't become smaller.
bool IsSafeToMap(int file, std::string* why_not);

/// A whole file, mapped as long as this lives.
class SharedFileMapping {
 public:
  /// Makes a file of `size` zeros, which can't change its size. Null, and one sentence in
  /// `why_not`, if the system refuses.
  static std::unique_ptr<SharedFileMapping> Create(const char* name, size_t size,
                                                   std::string* why_not);
  /// Maps a file of somebody who is not trusted, if it has this size and is safe to map.
  static std::unique_ptr<SharedFileMapping> Accept(UniqueFd file, size_t size,
                                                   std::string* why_not);
  ~SharedFileMapping();
  SharedFileMapping(const SharedFileMapping&) = delete;
  SharedFileMapping& operator=(const SharedFileMapping&) = delete;

  int file() const { return file_.get(); }
  /// The other side may read and write them at any time.
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  SharedFileMapping(UniqueFd file, std::span<std::byte> bytes)
      : file_(std::move(file)), bytes_(bytes) {}
  static std::unique_ptr<SharedFileMapping> Map(UniqueFd file, size_t size, std::string* why_not);

  UniqueFd file_;
  std::span<std::byte> bytes_;
};

}  // namespace vesper::transport
