// SPDX-License-Identifier: Apache-2.0
//
// Write protection by mprotect, with a handler for SIGSEGV. Needs nothing of the kernel, and is
// used only if asked for by name, since it takes part in what belongs to the program: system calls
// that write to protected memory fail with EFAULT instead of being noted, and a program that
// installs a handler of its own later takes ours away.
//
// The one piece of global state in the driver is here, because a signal handler has no other way to
// find anything: a list of the trackers that exist. The handler looks for the address in each and
// otherwise passes the signal on to whoever had it before.
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <system_error>

#include "client_icd/tracked_ranges.h"
#include "client_icd/write_tracker.h"

namespace vesper::client {
namespace {

class SignalTracker;

/// Held with all signals blocked, so that its holder can't meet the handler on its own stack.
class SpinLock {
 public:
  void lock() {
    while (held_.test_and_set(std::memory_order_acquire)) {
    }
  }
  void unlock() { held_.clear(std::memory_order_release); }

 private:
  std::atomic_flag held_;
};

class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

SpinLock g_lock;
SignalTracker* g_trackers = nullptr;  // under g_lock
struct sigaction g_before;            // what handled SIGSEGV before; under g_lock when it changes

void HandleSegv(int number, siginfo_t* info, void* context);

class SignalTracker : public WriteTracker {
 public:
  SignalTracker() {
    const BlockedSignals blocked;
    const std::lock_guard lock(g_lock);
    next_ = g_trackers;
    g_trackers = this;
  }
  ~SignalTracker() override {
    const BlockedSignals blocked;
    const std::lock_guard lock(g_lock);
    SignalTracker** place = &g_trackers;
    while (*place != this) {
      place = &(*place)->next_;
    }
    *place = next_;
    struct sigaction now;
    if (g_trackers == nullptr && ::sigaction(SIGSEGV, nullptr, &now) == 0 &&
        now.sa_sigaction == HandleSegv) {
      ::sigaction(SIGSEGV, &g_before, nullptr);
    }
  }

  bool Watch(PageRange range) override {
    const BlockedSignals blocked;
    const std::lock_guard lock(g_lock);
    ranges_.Add(range);
    return true;
  }

  void Unwatch(PageRange range) override {
    const BlockedSignals blocked;
    const std::lock_guard lock(g_lock);
    ranges_.Remove(range);
    ::mprotect(range.begin, range.bytes(), PROT_READ | PROT_WRITE);
  }

  bool Take(PageRange range, std::vector<PageRange>& written) override {
    // Room for all runs: memory can't be asked for while the handler is locked out.
    written.reserve(written.size() + range.bytes() / TrackedRanges::kBlockBytes / 2 + 2);
    const BlockedSignals blocked;
    const std::lock_guard lock(g_lock);
    return ranges_.TakeRuns(range, [&](PageRange run) {
      if (::mprotect(run.begin, run.bytes(), PROT_READ) != 0) {
        return false;  // too many mappings, for the most part
      }
      written.push_back(run);
      return true;
    });
  }

  SignalTracker* next() const { return next_; }
  /// In the handler, under g_lock: lets the program write to the block; false if it is none of
  /// ours.
  bool Handle(std::byte* address) {
    const PageRange block = ranges_.Mark(address);
    return block.begin != nullptr &&
           ::mprotect(block.begin, block.bytes(), PROT_READ | PROT_WRITE) == 0;
  }

 private:
  SignalTracker* next_ = nullptr;  // under g_lock
  TrackedRanges ranges_;           // under g_lock
};

void PassOn(int number, siginfo_t* info, void* context) {
  if ((g_before.sa_flags & SA_SIGINFO) != 0) {
    g_before.sa_sigaction(number, info, context);
  } else if (g_before.sa_handler == SIG_DFL || g_before.sa_handler == SIG_IGN) {
    // The store is repeated and ends the process, as it would have without us.
    ::signal(SIGSEGV, SIG_DFL);
  } else {
    g_before.sa_handler(number);
  }
}

void HandleSegv(int number, siginfo_t* info, void* context) {
  const int error = errno;
  bool handled = false;
  {
    // Other signals could bring a handler of the program that writes to protected memory.
    const BlockedSignals blocked;
    const std::lock_guard lock(g_lock);
    for (SignalTracker* tracker = g_trackers; tracker != nullptr && !handled;
         tracker = tracker->next()) {
      handled = tracker->Handle(static_cast<std::byte*>(info->si_addr));
    }
  }
  errno = error;
  if (!handled) {
    PassOn(number, info, context);
  }
}

}  // namespace

std::unique_ptr<WriteTracker> MakeSignalTracker(std::string* why) {
  auto tracker = std::make_unique<SignalTracker>();
  const BlockedSignals blocked;
  const std::lock_guard lock(g_lock);
  struct sigaction before{};
  struct sigaction ours{};
  ours.sa_sigaction = HandleSegv;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&ours.sa_mask);
  if (::sigaction(SIGSEGV, &ours, &before) != 0) {
    *why = "sigaction: " + std::system_category().message(errno);
    return nullptr;
  }
  if (before.sa_sigaction != HandleSegv) {
    g_before = before;
  }
  return tracker;
}

}  // namespace vesper::client
