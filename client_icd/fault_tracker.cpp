// SPDX-License-Identifier: Apache-2.0
//
// Synchronous write protection (userfaultfd, shared memory since Linux 5.19): a store to a
// protected block stops its thread until a thread of ours has noted it and lifted the protection.
// Stores by the kernel (read(2) into mapped memory) stop too, which is why the kernel asks for a
// privilege, and why this tier is not offered without it: otherwise such a read would fail.
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <system_error>
#include <thread>

#include "client_icd/tracked_ranges.h"
#include "client_icd/userfaultfd.h"
#include "client_icd/write_tracker.h"
#include "transport/quiet_thread.h"
#include "transport/unique_fd.h"

namespace vesper::client {
namespace {

using transport::UniqueFd;

uint64_t Address(const std::byte* pointer) { return reinterpret_cast<uint64_t>(pointer); }

class FaultTracker : public WriteTracker {
 public:
  FaultTracker(UniqueFd faults, UniqueFd stop)
      : faults_(std::move(faults)), stop_(std::move(stop)) {}

  ~FaultTracker() override {
    if (handler_.joinable()) {
      const uint64_t one = 1;
      [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
      handler_.join();
    }
  }

  bool Watch(PageRange range) override {
    const std::lock_guard lock(mutex_);
    if (!handler_.joinable()) {
      handler_ = transport::StartQuietThread([this] { HandleFaults(); });
    }
    uffdio_register arguments{};
    arguments.range = {Address(range.begin), range.bytes()};
    arguments.mode = UFFDIO_REGISTER_MODE_WP;
    if (::ioctl(faults_.get(), UFFDIO_REGISTER, &arguments) != 0) {
      return false;
    }
    ranges_.Add(range);
    return true;
  }

  void Unwatch(PageRange range) override {
    uffdio_range arguments{Address(range.begin), range.bytes()};
    // Also wakes threads that wait there.
    ::ioctl(faults_.get(), UFFDIO_UNREGISTER, &arguments);
    const std::lock_guard lock(mutex_);
    ranges_.Remove(range);
  }

  bool Take(PageRange range, std::vector<PageRange>& written) override {
    const std::lock_guard lock(mutex_);
    return ranges_.TakeRuns(range, [&](PageRange run) {
      if (!Protect(run, true)) {
        return false;
      }
      written.push_back(run);
      return true;
    });
  }

 private:
  bool Protect(PageRange range, bool on) {
    uffdio_writeprotect arguments{};
    arguments.range = {Address(range.begin), range.bytes()};
    arguments.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
    int result = 0;
    do {
      result = ::ioctl(faults_.get(), UFFDIO_WRITEPROTECT, &arguments);
      // EAGAIN: the program changes its mappings at this moment.
    } while (result != 0 && (errno == EAGAIN || errno == EINTR));
    return result == 0;
  }

  void HandleFaults() {
    while (true) {
      pollfd ready[] = {{faults_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      if (::poll(ready, 2, -1) < 0 && errno != EINTR) {
        return;
      }
      if (ready[1].revents != 0) {
        return;  // closing the descriptor lifts all protection
      }
      uffd_msg message{};
      while (::read(faults_.get(), &message, sizeof(message)) == sizeof(message)) {
        if (message.event == UFFD_EVENT_PAGEFAULT) {
          HandleFault(reinterpret_cast<std::byte*>(message.arg.pagefault.address));
        }
      }
    }
  }

  void HandleFault(std::byte* address) {
    const std::lock_guard lock(mutex_);
    PageRange block = ranges_.Mark(address);
    if (block.begin == nullptr) {
      // No longer watched: let the thread try again.
      uffdio_range page{Address(address) & ~(uint64_t{PageSize()} - 1), PageSize()};
      ::ioctl(faults_.get(), UFFDIO_WAKE, &page);
      return;
    }
    Protect(block, false);  // wakes whoever waits
  }

  const UniqueFd faults_;
  const UniqueFd stop_;
  std::mutex mutex_;
  TrackedRanges ranges_;  // under mutex_
  std::thread handler_;
};

}  // namespace

std::unique_ptr<WriteTracker> MakeFaultTracker(std::string* why) {
  UniqueFd faults =
      OpenUserfaultfd(FaultsOf::kProgramAndKernel, kFaultsWriteProtect | kFaultsWriteProtectShared,
                      "write protection of shared memory needs Linux 5.19", why);
  if (!faults) {
    return nullptr;
  }
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop) {
    *why = "eventfd: " + std::system_category().message(errno);
    return nullptr;
  }
  return std::make_unique<FaultTracker>(std::move(faults), std::move(stop));
}

}  // namespace vesper::client
