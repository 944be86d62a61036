// SPDX-License-Identifier: Apache-2.0
#include "server/zero_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace vesper::server {
namespace {

constexpr uint64_t kPage = 4096;
/// Asking the kernel costs some ten microseconds, which is as long as filling this much takes.
constexpr uint64_t kWorthAsking = 1u << 20;
/// Entries of /proc/self/pagemap that are read at once.
constexpr size_t kEntries = 8192;
constexpr uint64_t kPresentOrSwapped = uint64_t{3} << 62;

enum class Backing {
  kPrivate,  ///< no file: a page that is neither present nor swapped out is known to be zero
  kMemfd,    ///< shared memory of a memfd
  kOther,
};

/// What is behind all of [begin, end).
Backing BackingOf(uintptr_t begin, uintptr_t end) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> maps(std::fopen("/proc/self/maps", "re"),
                                                             std::fclose);
  if (maps == nullptr) {
    return Backing::kOther;
  }
  char line[512];
  bool at_line_start = true;
  bool is_first = true;
  Backing backing = Backing::kOther;
  while (begin < end && std::fgets(line, sizeof(line), maps.get()) != nullptr) {
    const bool is_start = at_line_start;
    at_line_start = std::strchr(line, '\n') != nullptr;
    uint64_t from = 0;
    uint64_t to = 0;
    char permissions[5] = {};
    uint64_t inode = 1;
    char path[8] = {};
    if (!is_start || std::sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %" SCNu64 " %7s", &from,
                                 &to, permissions, &inode, path) < 4) {
      continue;
    }
    if (to <= begin) {
      continue;
    }
    const Backing here = permissions[3] == 'p' && inode == 0 ? Backing::kPrivate
                         : permissions[3] == 's' && std::strcmp(path, "/memfd:") == 0
                             ? Backing::kMemfd
                             : Backing::kOther;
    if (from > begin || here == Backing::kOther || (!is_first && here != backing)) {
      return Backing::kOther;
    }
    backing = here;
    is_first = false;
    begin = to;
  }
  return begin >= end ? backing : Backing::kOther;
}

uint64_t PageSize() { return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace

bool ZeroPages::Reserve(uint64_t size) {
  Release();
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return false;
  }
  // A huge page would be provided whole for the first byte.
  ::madvise(data, size, MADV_NOHUGEPAGE);
  data_ = static_cast<std::byte*>(data);
  size_ = size;
  return true;
}

void ZeroPages::Release() {
  if (data_ != nullptr) {
    ::munmap(data_, size_);
    data_ = nullptr;
  }
}

uint64_t ZeroPages::ResidentBytes() const {
  const uint64_t pages = (size_ + kPage - 1) / kPage;
  const int pagemap = data_ == nullptr ? -1 : ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (pagemap < 0) {
    return 0;
  }
  uint64_t resident = 0;
  std::vector<uint64_t> entries(pages);
  const auto first = static_cast<off_t>(reinterpret_cast<uintptr_t>(data_) / kPage * 8);
  if (::pread(pagemap, entries.data(), pages * 8, first) == static_cast<ssize_t>(pages * 8)) {
    // A read page that was never written is the shared zero page: present, and not exclusive.
    resident =
        kPage *
        static_cast<uint64_t>(std::count_if(entries.begin(), entries.end(), [](uint64_t entry) {
          return (entry & kPresentOrSwapped) != 0 && (entry & (uint64_t{1} << 56)) != 0;
        }));
  }
  ::close(pagemap);
  return resident;
}

void FillWithZeros(std::byte* data, uint64_t size, bool may_give_back) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (address + kPage - 1) / kPage * kPage;
  const uintptr_t end = (address + size) / kPage * kPage;
  const Backing backing =
      size >= kWorthAsking && PageSize() == kPage ? BackingOf(begin, end) : Backing::kOther;
  if (backing == Backing::kMemfd && may_give_back &&
      ::madvise(data + (begin - address), end - begin, MADV_REMOVE) == 0) {
    std::memset(data, 0, begin - address);
    std::memset(data + (end - address), 0, address + size - end);
    return;
  }
  const int pagemap =
      backing == Backing::kPrivate ? ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
  if (pagemap < 0) {
    std::memset(data, 0, size);
    return;
  }
  std::memset(data, 0, begin - address);
  std::vector<uint64_t> entries(kEntries);
  for (uintptr_t at = begin; at < end;) {
    const size_t count = std::min<size_t>(kEntries, (end - at) / kPage);
    const auto bytes = static_cast<ssize_t>(count * 8);
    if (::pread(pagemap, entries.data(), count * 8, static_cast<off_t>(at / kPage * 8)) != bytes) {
      std::fill_n(entries.begin(), count, kPresentOrSwapped);
    }
    for (size_t i = 0; i < count; ++i) {
      if ((entries[i] & kPresentOrSwapped) != 0) {
        std::memset(data + (at - address) + i * kPage, 0, kPage);
      }
    }
    at += count * kPage;
  }
  ::close(pagemap);
  std::memset(data + (end - address), 0, address + size - end);
}

}  // namespace vesper::server
