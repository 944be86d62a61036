// SPDX-License-Identifier: Apache-2.0
//
// Asynchronous write protection of one mapping, with nothing around it: what the kernel charges for
// telling which pages were written.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace vesper::bench {

class WriteTracker {
 public:
  /// A populated shared mapping of `bytes` whose pages are protected. Null and a sentence if the
  /// kernel lacks what it takes, or refuses it to this process.
  static std::unique_ptr<WriteTracker> Open(size_t bytes, std::string* error);
  ~WriteTracker();
  WriteTracker(const WriteTracker&) = delete;
  WriteTracker& operator=(const WriteTracker&) = delete;

  std::span<std::byte> memory() const { return memory_; }
  /// How many pages were written since the last call; protects them again.
  size_t Collect();

 private:
  WriteTracker() = default;

  std::span<std::byte> memory_;
  int faults_ = -1;
  int pagemap_ = -1;
};

}  // namespace vesper::bench
