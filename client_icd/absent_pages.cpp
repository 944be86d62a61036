// SPDX-License-Identifier: Apache-2.0
#include "client_icd/absent_pages.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <thread>

#include "client_icd/userfaultfd.h"
#include "transport/shared_file.h"

namespace vesper::client {
namespace {

using transport::UniqueFd;

// What the system's headers may be too old to have, though the kernel has it (Linux 5.14, 6.4).
constexpr uint64_t kRegisterMinor = uint64_t{1} << 2;
constexpr uint64_t kContinueWithoutWaking = uint64_t{1} << 0;
constexpr uint64_t kContinueProtects = uint64_t{1} << 1;
constexpr uint64_t kPageIsPresent = uint64_t{1} << 63;  // in /proc/self/pagemap

struct ContinueArguments {
  uffdio_range range;
  uint64_t mode;
  int64_t mapped;
};

constexpr unsigned long kContinue = _IOWR(UFFDIO, 0x07, ContinueArguments);

uint64_t Address(const std::byte* pointer) { return reinterpret_cast<uint64_t>(pointer); }

}  // namespace

std::unique_ptr<AbsentPages> MakeAbsentPages(MemoryTier tier,
                                             std::unique_ptr<WriteTracker>* tracker,
                                             std::string* why) {
  const bool is_tracked = tier == MemoryTier::kAsync;
  if (!is_tracked && tier != MemoryTier::kCompare) {
    *why = std::string("the tier '") + TierName(tier) + "' does without";
    return nullptr;
  }
  UniqueFd faults =
      is_tracked
          ? OpenUserfaultfd(FaultsOf::kProgramAndKernel, kFaultsMinorShared | kFaultsForAsync,
                            "asynchronous write protection needs Linux 6.7", why)
          : OpenUserfaultfd(FaultsOf::kProgramAndKernel, kFaultsMinorShared,
                            "absent pages of shared memory need Linux 5.14", why);
  if (!faults) {
    return nullptr;
  }
  UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  UniqueFd duplicate(::fcntl(faults.get(), F_DUPFD_CLOEXEC, 0));
  if (!pagemap || !duplicate) {
    *why = "/proc/self/pagemap: " + std::system_category().message(errno);
    return nullptr;
  }
  std::unique_ptr<WriteTracker> made;
  if (is_tracked) {
    made = MakeWriteTracker(tier, why, std::move(duplicate));
    if (made == nullptr) {
      return nullptr;
    }
  }
  std::unique_ptr<AbsentPages> pages(
      new AbsentPages(std::move(faults), std::move(pagemap), is_tracked));
  if (!pages->PassesTrial(made.get())) {
    *why = "the kernel does not stop who touches absent pages as it should";
    return nullptr;
  }
  *tracker = std::move(made);
  return pages;
}

bool AbsentPages::Register(PageRange range) const {
  uffdio_register arguments{};
  arguments.range = {Address(range.begin), range.bytes()};
  arguments.mode = kRegisterMinor | (is_tracked_ ? UFFDIO_REGISTER_MODE_WP : 0);
  return ::ioctl(faults_.get(), UFFDIO_REGISTER, &arguments) == 0;
}

bool AbsentPages::Remove(PageRange range) const {
  return ::madvise(range.begin, range.bytes(), MADV_DONTNEED) == 0;
}

void AbsentPages::Provide(PageRange range, bool is_agreed) const {
  const uint64_t end = Address(range.end);
  for (uint64_t begin = Address(range.begin); begin < end;) {
    ContinueArguments arguments{};
    arguments.range = {begin, end - begin};
    arguments.mode = kContinueWithoutWaking | (is_agreed && is_tracked_ ? kContinueProtects : 0);
    if (::ioctl(faults_.get(), kContinue, &arguments) == 0) {
      break;
    }
    const int error = arguments.mapped < 0 ? static_cast<int>(-arguments.mapped) : errno;
    if (arguments.mapped > 0) {
      begin += static_cast<uint64_t>(arguments.mapped);
    } else if (error == EEXIST || error == EFAULT) {
      begin += PageSize();  // present already; or no page of the file, and so none to wait for
    } else if (error != EAGAIN && error != EINTR) {
      break;  // not registered: something else is mapped there by now
    }
  }
  uffdio_range all{Address(range.begin), range.bytes()};
  ::ioctl(faults_.get(), UFFDIO_WAKE, &all);
}

bool AbsentPages::AreAbsent(PageRange range) const {
  std::array<uint64_t, 512> entries;
  uint64_t page = Address(range.begin) / PageSize();
  const uint64_t end = Address(range.end) / PageSize();
  while (page < end) {
    const size_t count = std::min<uint64_t>(entries.size(), end - page);
    const ssize_t bytes = ::pread(pagemap_.get(), entries.data(), count * sizeof(uint64_t),
                                  static_cast<off_t>(page * sizeof(uint64_t)));
    if (bytes != static_cast<ssize_t>(count * sizeof(uint64_t)) ||
        std::any_of(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(count),
                    [](uint64_t entry) { return (entry & kPageIsPresent) != 0; })) {
      return false;
    }
    page += count;
  }
  return true;
}

std::byte* AbsentPages::WaitForFault(int stop) const {
  while (true) {
    uffd_msg message{};
    if (::read(faults_.get(), &message, sizeof(message)) == sizeof(message)) {
      if (message.event == UFFD_EVENT_PAGEFAULT) {
        return reinterpret_cast<std::byte*>(message.arg.pagefault.address & ~(PageSize() - 1));
      }
      continue;
    }
    pollfd ready[] = {{faults_.get(), POLLIN, 0}, {stop, POLLIN, 0}};
    if ((::poll(ready, 2, -1) < 0 && errno != EINTR) || ready[1].revents != 0) {
      return nullptr;
    }
  }
}

bool AbsentPages::PassesTrial(WriteTracker* tracker) const {
  // Of eight pages the last four go. A load, a system call that reads, one that writes, and a store
  // must each stop until the bytes that the driver put there meanwhile are provided.
  constexpr int kManyFaults = 64;
  const size_t page = PageSize();
  const size_t bytes = 8 * page;
  const UniqueFd file(::memfd_create("vesper-trial", MFD_CLOEXEC));
  const UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  int pipe[2] = {-1, -1};
  if (!file || !stop || !transport::MayHaveFileOf(bytes) ||
      ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0 || ::pipe2(pipe, O_CLOEXEC) != 0) {
    return false;
  }
  const UniqueFd out(pipe[0]);
  const UniqueFd in(pipe[1]);
  const auto map = [&] {
    void* view = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    return view == MAP_FAILED ? nullptr : static_cast<std::byte*>(view);
  };
  std::byte* const program = map();
  std::byte* const driver = map();
  const PageRange all{program, program + bytes};
  const PageRange absent{program + 4 * page, program + bytes};
  bool works = program != nullptr && driver != nullptr;
  std::vector<PageRange> written;
  for (size_t i = 0; works && i < 8; ++i) {
    program[i * page] = std::byte{1};
  }
  works = works && (tracker == nullptr || (tracker->Watch(all) && tracker->Take(all, written))) &&
          Register(all) && Remove(absent) && AreAbsent(absent);
  if (works) {
    std::atomic<int> faults{0};
    std::thread handler([&] {
      while (std::byte* address = WaitForFault(stop.get())) {
        const size_t offset = static_cast<size_t>(address - program);
        driver[offset] = std::byte{2};
        const int before = faults.fetch_add(1);
        Provide({address, address + page}, true);
        if (before == kManyFaults) {
          // Provided in vain again and again: nobody must wait here for ever.
          uffdio_range given_up{Address(program), bytes};
          ::ioctl(faults_.get(), UFFDIO_UNREGISTER, &given_up);
        }
      }
    });
    const auto byte = [&](size_t i) { return *static_cast<volatile std::byte*>(program + i); };
    works = byte(4 * page) == std::byte{2};
    std::byte got{};
    works = works && ::write(in.get(), program + 5 * page, 1) == 1 &&
            ::read(out.get(), &got, 1) == 1 && got == std::byte{2};
    works = works && ::write(in.get(), &got, 1) == 1 &&
            ::read(out.get(), program + 6 * page + 1, 1) == 1 && byte(6 * page) == std::byte{2};
    *static_cast<volatile std::byte*>(program + 7 * page + 1) = std::byte{3};
    works = works && byte(7 * page) == std::byte{2} && faults.load() == 4;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t told = ::write(stop.get(), &one, sizeof(one));
    handler.join();
  }
  if (works && tracker != nullptr) {
    // Stores are told and loads are not, as ever.
    written.clear();
    works = tracker->Take(all, written) && written.size() == 1 &&
            written.front().begin == program + 6 * page &&
            written.front().end == program + 8 * page;
  }
  if (tracker != nullptr && program != nullptr) {
    tracker->Unwatch(all);
  }
  for (std::byte* view : {program, driver}) {
    if (view != nullptr) {
      ::munmap(view, bytes);
    }
  }
  return works;
}

}  // namespace vesper::client
