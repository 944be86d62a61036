// SPDX-License-Identifier: Apache-2.0
#include "cli/memory_checks.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "cli/experiment.h"
#include "transport/unique_fd.h"

namespace vesper::cli {
namespace {

using transport::UniqueFd;

// What Linux has had since 6.4 and 6.7, named here because the system's headers may be older than
// the kernel that runs.
constexpr uint64_t kFeatureWpFlag = 1u << 0;
constexpr uint64_t kFeatureWpShmem = 1u << 12;
constexpr uint64_t kFeatureWpUnpopulated = 1u << 13;
constexpr uint64_t kFeatureWpAsync = 1u << 15;
constexpr uint64_t kScanWriteProtect = 1u << 0;
constexpr uint64_t kScanCheckAsync = 1u << 1;
constexpr uint64_t kPageIsWritten = 1u << 1;

struct PageRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};

struct ScanArguments {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
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

constexpr size_t kPages = 16;
constexpr std::chrono::seconds kLimit{10};
constexpr int kEventLimitMs = 5000;

std::string SystemMessage(int code) { return std::system_category().message(code); }

bool Fail(std::string* text, const std::string& what, int code) {
  *text = what + ": " + SystemMessage(code);
  return false;
}

size_t PageSize() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

// Some pages of shared memory, as a shadow of GPU memory has them.
class Pages {
 public:
  Pages() : file_(static_cast<int>(::syscall(SYS_memfd_create, "vesper-doctor", 1u))) {
    if (!file_ || ::ftruncate(file_.get(), static_cast<off_t>(size())) != 0) {
      return;
    }
    void* data = ::mmap(nullptr, size(), PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    if (data != MAP_FAILED) {
      data_ = static_cast<volatile uint8_t*>(data);
      for (size_t i = 0; i < kPages; ++i) {
        Write(i, 1);
      }
    }
  }

  bool IsThere() const { return data_ != nullptr; }
  int file() const { return file_.get(); }
  static size_t size() { return kPages * PageSize(); }
  uint64_t Address(size_t page) const {
    return reinterpret_cast<uint64_t>(data_) + page * PageSize();
  }
  void Write(size_t page, uint8_t value) const { data_[page * PageSize()] = value; }
  uint8_t Read(size_t page) const { return data_[page * PageSize()]; }

 private:
  UniqueFd file_;
  volatile uint8_t* data_ = nullptr;  // lives as long as the experiment's process
};

// A userfaultfd with these features that watches writes to `pages`. None, with a reason, on
// failure.
UniqueFd Watch(const Pages& pages, int flags, uint64_t features, std::string* text) {
  UniqueFd watch(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | flags)));
  if (!watch) {
    Fail(text, "userfaultfd", errno);
    return watch;
  }
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = features;
  if (::ioctl(watch.get(), UFFDIO_API, &api) != 0) {
    Fail(text, "this kernel's userfaultfd lacks the features", errno);
    return UniqueFd();
  }
  uffdio_register range{};
  range.range = {pages.Address(0), Pages::size()};
  range.mode = UFFDIO_REGISTER_MODE_WP;
  uffdio_writeprotect protect{};
  protect.range = range.range;
  protect.mode = UFFDIO_WRITEPROTECT_MODE_WP;
  if (::ioctl(watch.get(), UFFDIO_REGISTER, &range) != 0 ||
      ::ioctl(watch.get(), UFFDIO_WRITEPROTECT, &protect) != 0) {
    Fail(text, "write-protecting shared memory", errno);
    return UniqueFd();
  }
  return watch;
}

// The pages written since the last scan, which protects them again. False with a reason.
bool Scan(int pagemap, const Pages& pages, std::vector<size_t>* written, std::string* text) {
  std::array<PageRegion, kPages> regions{};
  ScanArguments arguments{};
  arguments.size = sizeof(arguments);
  arguments.flags = kScanWriteProtect | kScanCheckAsync;
  arguments.start = pages.Address(0);
  arguments.end = pages.Address(kPages);
  arguments.regions = reinterpret_cast<uint64_t>(regions.data());
  arguments.region_count = regions.size();
  arguments.required_categories = kPageIsWritten;
  arguments.returned_categories = kPageIsWritten;
  const int count = ::ioctl(pagemap, kPagemapScan, &arguments);
  if (count < 0) {
    return Fail(text, "PAGEMAP_SCAN", errno);
  }
  written->clear();
  for (int i = 0; i < count; ++i) {
    const PageRegion& region = regions[static_cast<size_t>(i)];
    for (uint64_t address = region.start; address < region.end; address += PageSize()) {
      written->push_back((address - pages.Address(0)) / PageSize());
    }
  }
  return true;
}

bool TryAsynchronous(std::string* text) {
  const Pages pages;
  const UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  const UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  if (!pages.IsThere() || !pagemap || !zero) {
    return Fail(text, "memfd, /proc/self/pagemap and /dev/zero are needed", errno);
  }
  const UniqueFd watch =
      Watch(pages, UFFD_USER_MODE_ONLY,
            kFeatureWpFlag | kFeatureWpShmem | kFeatureWpUnpopulated | kFeatureWpAsync, text);
  if (!watch) {
    return false;
  }
  // A store of the program, and one of the kernel on its behalf.
  pages.Write(3, 2);
  if (::read(zero.get(), reinterpret_cast<void*>(pages.Address(7)), 1) != 1) {
    return Fail(text, "a system call cannot write to watched memory", errno);
  }
  const std::vector<std::vector<size_t>> expected = {{3, 7}, {}, {5}};
  for (const std::vector<size_t>& pages_expected : expected) {
    std::vector<size_t> written;
    if (&pages_expected == &expected.back()) {
      pages.Write(5, 2);
    }
    if (!Scan(pagemap.get(), pages, &written, text)) {
      return false;
    }
    if (written != pages_expected) {
      *text = "the kernel reports other pages than were written; this version has a bug";
      return false;
    }
  }
  return true;
}

// Whether a watcher hears of a write before it happens: of one by the program, or, with
// `by_kernel`, of one by a system call on the program's behalf, which needs more rights.
bool TrySynchronous(bool by_kernel, std::string* text) {
  const Pages pages;
  const UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  if (!pages.IsThere() || !zero) {
    return Fail(text, "memfd and /dev/zero are needed", errno);
  }
  const UniqueFd watch =
      Watch(pages, by_kernel ? 0 : UFFD_USER_MODE_ONLY, kFeatureWpFlag | kFeatureWpShmem, text);
  if (!watch) {
    return false;
  }
  std::atomic<bool> is_written = true;
  std::thread writer([&] {
    if (by_kernel) {
      is_written = ::read(zero.get(), reinterpret_cast<void*>(pages.Address(3)), 1) == 1;
    } else {
      pages.Write(3, 2);
    }
  });
  pollfd event{watch.get(), POLLIN, 0};
  uffd_msg message{};
  const bool has_event = ::poll(&event, 1, kEventLimitMs) == 1 &&
                         ::read(watch.get(), &message, sizeof(message)) == sizeof(message);
  uffdio_writeprotect release{};
  release.range = {pages.Address(0), Pages::size()};
  ::ioctl(watch.get(), UFFDIO_WRITEPROTECT, &release);
  writer.join();
  if (!has_event || !is_written || message.event != UFFD_EVENT_PAGEFAULT ||
      (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) == 0) {
    *text = "no event came for a write";
    return false;
  }
  return true;
}

// The handler needs no state of its own: the address says what to release.
void ReleasePage(int, siginfo_t* info, void*) {
  const uintptr_t mask = ~(static_cast<uintptr_t>(::getpagesize()) - 1);
  const uintptr_t page = reinterpret_cast<uintptr_t>(info->si_addr) & mask;
  ::mprotect(reinterpret_cast<void*>(page), static_cast<size_t>(::getpagesize()),
             PROT_READ | PROT_WRITE);
}

bool TryProtection(std::string* text) {
  const Pages pages;
  struct sigaction action{};
  action.sa_sigaction = ReleasePage;
  action.sa_flags = SA_SIGINFO;
  if (!pages.IsThere() || ::sigaction(SIGSEGV, &action, nullptr) != 0 ||
      ::mprotect(reinterpret_cast<void*>(pages.Address(0)), Pages::size(), PROT_READ) != 0) {
    return Fail(text, "mprotect", errno);
  }
  pages.Write(3, 2);
  return pages.Read(3) == 2;
}

// Sends a descriptor through a Unix socket to the other end, maps what arrives, and looks whether
// both mappings are the same memory.
bool TryPassingMemory(std::string* text) {
  const Pages pages;
  std::array<int, 2> ends{};
  if (!pages.IsThere() || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return Fail(text, "memfd or a Unix socket", errno);
  }
  const UniqueFd sender(ends[0]);
  const UniqueFd receiver(ends[1]);
  char byte = 'x';
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int sent = pages.file();
  std::memcpy(CMSG_DATA(header), &sent, sizeof(sent));
  if (::sendmsg(sender.get(), &message, MSG_NOSIGNAL) != 1 ||
      ::recvmsg(receiver.get(), &message, MSG_CMSG_CLOEXEC) != 1 ||
      CMSG_FIRSTHDR(&message) == nullptr) {
    return Fail(text, "passing a descriptor", errno);
  }
  int received = -1;
  std::memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(received));
  const UniqueFd file(received);
  void* other = ::mmap(nullptr, Pages::size(), PROT_READ, MAP_SHARED, file.get(), 0);
  if (other == MAP_FAILED) {
    return Fail(text, "mapping passed memory", errno);
  }
  pages.Write(0, 42);
  return *static_cast<volatile uint8_t*>(other) == 42;
}

bool HasSeccompFilter() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("Seccomp:", 0) == 0) {
      return line.find('2') != std::string::npos;
    }
  }
  return false;
}

void Tell(Report& report, const std::string& name, const ExperimentResult& result,
          const std::string& advice = "") {
  if (result.succeeded) {
    report.Add(Verdict::kGood, name + ": works here");
  } else {
    report.Add(Verdict::kMissing, name + ": " + result.text, advice);
  }
}

}  // namespace

void CheckTracking(Report& report) {
  report.Add(Verdict::kGood, "comparison with a twin: in use; it works everywhere");
  const std::string advice =
      HasSeccompFilter() ? "a seccomp filter is active; container runtimes forbid userfaultfd by "
                           "default, and a profile of one's own can allow it"
                         : "";
  Tell(report, "asynchronous write-protection (userfaultfd, Linux 6.7), not used yet",
       RunExperiment(TryAsynchronous, kLimit), advice);
  const auto try_mode = [](bool by_kernel) {
    return RunExperiment([by_kernel](std::string* text) { return TrySynchronous(by_kernel, text); },
                         kLimit);
  };
  Tell(report, "synchronous write-protection (userfaultfd), not used yet", try_mode(false), advice);
  Tell(report, "the same for writes by system calls, not used yet", try_mode(true),
       "needs vm.unprivileged_userfaultfd=1 or the capability CAP_SYS_PTRACE");
  Tell(report, "mprotect and a signal handler, not used yet", RunExperiment(TryProtection, kLimit));
}

void CheckSharing(bool is_tcp, Report& report) {
  report.Add(Verdict::kGood, "contents sent through the connection: in use; it works everywhere");
  const std::string name = "memory passed through a Unix socket, not used yet";
  if (is_tcp) {
    report.Add(Verdict::kMissing, name + ": the server is reached through TCP",
               "a server on this machine can listen on unix:/path as well");
  } else {
    Tell(report, name, RunExperiment(TryPassingMemory, kLimit));
  }
  struct statvfs status{};
  if (::statvfs("/dev/shm", &status) != 0) {
    report.Add(Verdict::kMissing, "/dev/shm, not used yet: " + SystemMessage(errno));
    return;
  }
  const uint64_t free_mib = status.f_bavail * status.f_frsize >> 20;
  const std::string size = "/dev/shm, not used yet: " + std::to_string(free_mib) + " MiB free";
  const bool is_writable = ::access("/dev/shm", W_OK) == 0;
  report.Add(is_writable ? Verdict::kGood : Verdict::kMissing,
             is_writable ? size : size + ", but this user may not write there");
}

}  // namespace vesper::cli
