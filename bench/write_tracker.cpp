// SPDX-License-Identifier: Apache-2.0
#include "bench/write_tracker.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "bench/figures.h"

namespace vesper::bench {
namespace {

// Of Linux 6.7; the headers of Debian bookworm are older.
constexpr uint64_t kWpUnpopulated = 1u << 13;
constexpr uint64_t kWpAsync = 1u << 15;
constexpr uint64_t kPageIsWritten = 1u << 1;
constexpr uint64_t kScanWpMatching = 1u << 0;

struct PageRegion {
  uint64_t begin;
  uint64_t end;
  uint64_t categories;
};

struct ScanArguments {
  uint64_t size;
  uint64_t flags;
  uint64_t begin;
  uint64_t end;
  uint64_t walk_end;
  uint64_t regions;
  uint64_t region_count;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_any_of;
  uint64_t category_returned;
};

constexpr unsigned long kScan = _IOWR('f', 16, ScanArguments);

uint64_t Address(std::span<std::byte> memory) { return reinterpret_cast<uint64_t>(memory.data()); }

}  // namespace

std::unique_ptr<WriteTracker> WriteTracker::Open(size_t bytes, std::string* error) {
  std::unique_ptr<WriteTracker> tracker(new WriteTracker);
  const auto fail = [&](const char* what) {
    *error = std::string(what) + ": " + std::strerror(errno);
    return nullptr;
  };
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (pages == MAP_FAILED) {
    return fail("mmap");
  }
  tracker->memory_ = {static_cast<std::byte*>(pages), bytes};
  tracker->faults_ =
      static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY));
  if (tracker->faults_ < 0) {
    return fail("userfaultfd");
  }
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = kWpAsync | kWpUnpopulated | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
  if (::ioctl(tracker->faults_, UFFDIO_API, &api) != 0) {
    return fail("UFFDIO_API");
  }
  uffdio_register registration{};
  registration.range = {Address(tracker->memory_), bytes};
  registration.mode = UFFDIO_REGISTER_MODE_WP;
  if (::ioctl(tracker->faults_, UFFDIO_REGISTER, &registration) != 0) {
    return fail("UFFDIO_REGISTER");
  }
  tracker->pagemap_ = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (tracker->pagemap_ < 0) {
    return fail("/proc/self/pagemap");
  }
  tracker->Collect();
  return tracker;
}

WriteTracker::~WriteTracker() {
  if (pagemap_ >= 0) {
    ::close(pagemap_);
  }
  if (faults_ >= 0) {
    ::close(faults_);
  }
  if (!memory_.empty()) {
    ::munmap(memory_.data(), memory_.size());
  }
}

size_t WriteTracker::Collect() {
  std::array<PageRegion, 512> regions;
  ScanArguments scan{};
  scan.size = sizeof(scan);
  scan.flags = kScanWpMatching;
  scan.begin = Address(memory_);
  scan.end = scan.begin + memory_.size();
  scan.regions = reinterpret_cast<uint64_t>(regions.data());
  scan.region_count = regions.size();
  scan.category_mask = kPageIsWritten;
  scan.category_returned = kPageIsWritten;
  size_t pages = 0;
  while (scan.begin < scan.end) {
    const int found = ::ioctl(pagemap_, kScan, &scan);
    if (found < 0) {
      return SIZE_MAX;
    }
    for (int i = 0; i < found; ++i) {
      pages += (regions[static_cast<size_t>(i)].end - regions[static_cast<size_t>(i)].begin) /
               kPageBytes;
    }
    scan.begin = scan.walk_end;
  }
  return pages;
}

}  // namespace vesper::bench
