// SPDX-License-Identifier: Apache-2.0
#include "cli/memory_checks.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

#include "cli/experiment.h"
#include "client_icd/absent_pages.h"
#include "client_icd/downloads.h"
#include "client_icd/write_tracker.h"
#include "transport/unique_fd.h"

namespace vesper::cli {
namespace {

using transport::UniqueFd;

constexpr size_t kPages = 16;
constexpr std::chrono::seconds kLimit{10};

std::string SystemMessage(int code) { return std::system_category().message(code); }

bool Fail(std::string* text, const std::string& what, int code) {
  *text = what + ": " + SystemMessage(code);
  return false;
}

using client::MemoryTier;
using client::PageSize;

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
  const std::string advice =
      HasSeccompFilter() ? "container engines' seccomp profiles deny it, which costs a comparison "
                           "of what is mapped and not shared at each submission; a profile that "
                           "allows it, or --device /dev/userfaultfd, mends that"
                         : "";
  const auto try_tier = [](MemoryTier tier) {
    return RunExperiment(
        [tier](std::string* text) {
          const bool works = client::MakeWriteTracker(tier, text) != nullptr;
          return works || text->empty();
        },
        kLimit);
  };
  const ExperimentResult async = try_tier(MemoryTier::kAsync);
  MemoryTier wanted = MemoryTier::kAsync;
  const char* asked = std::getenv("VESPER_MEMORY");
  const bool is_asked = asked != nullptr && client::TierFromName(asked, &wanted);
  const MemoryTier chosen =
      (is_asked ? try_tier(wanted) : async).succeeded ? wanted : MemoryTier::kCompare;
  report.Add(Verdict::kGood, std::string("programs use '") + client::TierName(chosen) + "'" +
                                 (is_asked ? ", as VESPER_MEMORY asks" : ""));
  Tell(report, "async, write-protection that the kernel handles (Linux 6.7)", async, advice);
  Tell(report, "compare, comparison with a twin", try_tier(MemoryTier::kCompare));
  Tell(report, "fault, write faults handled by the driver, if asked for",
       try_tier(MemoryTier::kFault),
       "needs vm.unprivileged_userfaultfd=1 or the capability CAP_SYS_PTRACE");
  Tell(report, "signal, mprotect and a signal handler, if asked for",
       try_tier(MemoryTier::kSignal));
}

void CheckDownloads(bool is_tcp, Report& report) {
  client::DownloadMode mode = client::DownloadMode::kAuto;
  const char* asked = std::getenv("VESPER_DOWNLOAD");
  const bool is_known = asked == nullptr || client::DownloadModeFromName(asked, &mode);
  const bool is_asked = is_known && asked != nullptr && mode != client::DownloadMode::kAuto;
  MemoryTier tier = MemoryTier::kAsync;
  const char* tier_asked = std::getenv("VESPER_MEMORY");
  if (tier_asked != nullptr) {
    client::TierFromName(tier_asked, &tier);
  }
  const ExperimentResult result = RunExperiment(
      [tier](std::string* text) {
        std::unique_ptr<client::WriteTracker> tracker;
        return client::MakeAbsentPages(tier, &tracker, text) != nullptr;
      },
      kLimit);
  std::string used = "what the device writes is pushed to programs";
  if (result.succeeded && mode == client::DownloadMode::kAlways) {
    used = "what the device writes is fetched when programs read it";
  } else if (result.succeeded && mode != client::DownloadMode::kPush &&
             (mode == client::DownloadMode::kRarelyRead || is_tcp)) {
    used = "what programs rarely read is fetched when they do";
    used += mode == client::DownloadMode::kAuto ? ", if the server is on another machine" : "";
  } else if (result.succeeded && mode == client::DownloadMode::kAuto) {
    used += ", since the server is on this machine";
  }
  report.Add(Verdict::kGood, used + (is_asked ? ", as VESPER_DOWNLOAD asks" : ""));
  Tell(report, "downloads on first touch", result,
       "needs Linux 5.14, and vm.unprivileged_userfaultfd=1 or the capability CAP_SYS_PTRACE");
}

void CheckSharing(bool passes_files, const std::string& refusal, Report& report) {
  const std::string name = "memory passed through a Unix socket";
  if (!passes_files) {
    report.Add(Verdict::kMissing, name + ": the server is reached in another way",
               "a server on this machine can listen on unix:/path as well");
    return;
  }
  const ExperimentResult passing = RunExperiment(TryPassingMemory, kLimit);
  Tell(report, name, passing);
  const char* memory = std::getenv("VESPER_MEMORY");
  const char* download = std::getenv("VESPER_DOWNLOAD");
  const std::string when = download == nullptr ? "" : download;
  if (memory != nullptr && *memory != '\0') {
    report.Add(Verdict::kMissing, "programs have copies of their own, as VESPER_MEMORY asks");
  } else if (when == "lazy" || when == "always") {
    report.Add(Verdict::kMissing, "programs have copies of their own, as VESPER_DOWNLOAD asks");
  } else if (!refusal.empty()) {
    report.Add(Verdict::kMissing, "the server does not share memory: " + refusal);
  } else if (passing.succeeded) {
    report.Add(Verdict::kGood,
               "programs share host-visible memory with the device, where its driver can import "
               "pages of programs (VK_EXT_external_memory_host)");
  }
}

}  // namespace vesper::cli
