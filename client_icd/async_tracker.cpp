// SPDX-License-Identifier: Apache-2.0
//
// Asynchronous write protection (Linux 6.7): a store to a protected page is noted in the page table
// and goes on, without a thread, a signal or a message. The PAGEMAP_SCAN ioctl tells which pages
// were written and protects them again, atomically for each page. Pages that were never touched get
// a marker when they are first scanned, so that one which is written and then swapped out is told.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <system_error>

#include "client_icd/userfaultfd.h"
#include "client_icd/write_tracker.h"
#include "transport/unique_fd.h"

namespace vesper::client {
namespace {

using transport::UniqueFd;

// What the system's headers may be too old to have, though the kernel has it.
constexpr uint64_t kScanProtects = 1u << 0;
constexpr uint64_t kPageIsWritten = 1u << 1;

struct ScannedRegion {
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
  uint64_t inverted_categories;
  uint64_t required_categories;
  uint64_t any_of_categories;
  uint64_t returned_categories;
};

constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArguments);

uint64_t Address(const std::byte* pointer) { return reinterpret_cast<uint64_t>(pointer); }

class AsyncTracker : public WriteTracker {
 public:
  AsyncTracker(UniqueFd faults, UniqueFd pagemap)
      : faults_(std::move(faults)), pagemap_(std::move(pagemap)) {}

  bool Watch(PageRange range) override {
    uffdio_register arguments{};
    arguments.range = {Address(range.begin), range.bytes()};
    arguments.mode = UFFDIO_REGISTER_MODE_WP;
    return ::ioctl(faults_.get(), UFFDIO_REGISTER, &arguments) == 0;
  }

  void Unwatch(PageRange range) override {
    uffdio_range arguments{Address(range.begin), range.bytes()};
    // Fails only for what is not registered, which is just as well.
    ::ioctl(faults_.get(), UFFDIO_UNREGISTER, &arguments);
  }

  bool Take(PageRange range, std::vector<PageRange>& written) override {
    const std::lock_guard lock(mutex_);
    ScanArguments arguments{};
    arguments.size = sizeof(arguments);
    arguments.flags = kScanProtects;
    arguments.end = Address(range.end);
    arguments.regions = reinterpret_cast<uint64_t>(regions_.data());
    arguments.region_count = regions_.size();
    arguments.required_categories = kPageIsWritten;
    arguments.returned_categories = kPageIsWritten;
    // The scan stops when there is no more room for regions, and says where.
    for (uint64_t begin = Address(range.begin); begin < Address(range.end);
         begin = arguments.walk_end) {
      arguments.begin = begin;
      const int count = ::ioctl(pagemap_.get(), kPagemapScan, &arguments);
      if (count < 0 && errno == EINTR) {
        arguments.walk_end = begin;
        continue;
      }
      if (count < 0 || arguments.walk_end <= begin) {
        return false;
      }
      for (int i = 0; i < count; ++i) {
        const ScannedRegion& region = regions_[static_cast<size_t>(i)];
        written.push_back(
            {reinterpret_cast<std::byte*>(region.begin), reinterpret_cast<std::byte*>(region.end)});
      }
    }
    return true;
  }

 private:
  const UniqueFd faults_;
  const UniqueFd pagemap_;
  std::mutex mutex_;
  std::array<ScannedRegion, 1024> regions_;  // under mutex_
};

}  // namespace

std::unique_ptr<WriteTracker> MakeAsyncTracker(UniqueFd faults, std::string* why) {
  // Only faults of user mode would have to be handled by us, and asynchronous protection has none
  // to handle: so no privilege is needed, and system calls may write to the memory all the same.
  if (!faults) {
    faults = OpenUserfaultfd(FaultsOf::kProgram, kFaultsForAsync,
                             "asynchronous write protection needs Linux 6.7", why);
  }
  if (!faults) {
    return nullptr;
  }
  UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap) {
    *why = "/proc/self/pagemap: " + std::system_category().message(errno);
    return nullptr;
  }
  return std::make_unique<AsyncTracker>(std::move(faults), std::move(pagemap));
}

}  // namespace vesper::client
