// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace vesper::server {

/// Zeroed memory that takes none until it is written: reading finds the kernel's zero page.
class ZeroPages {
 public:
  ZeroPages() = default;
  ~ZeroPages() { Release(); }
  ZeroPages(const ZeroPages&) = delete;
  ZeroPages& operator=(const ZeroPages&) = delete;

  /// False if there is no address space left.
  bool Reserve(uint64_t size);
  void Release();
  std::byte* get() const { return data_; }
  /// Bytes that take memory.
  uint64_t ResidentBytes() const;

 private:
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

/// Makes memory zero that may be so already. Pages which the kernel has never had to provide are
/// left alone: private anonymous memory that nobody has touched reads as zeros, and filling it
/// would make it take memory. Pages of a memfd are given back to the kernel, which provides zeros
/// in their place, if `may_give_back`: nobody but the CPU may use them. Anything else, a device's
/// memory above all, is filled.
void FillWithZeros(std::byte* data, uint64_t size, bool may_give_back);

}  // namespace vesper::server
