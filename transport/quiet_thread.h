// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>
#include <signal.h>

#include <thread>
#include <utility>

namespace vesper::transport {

/// A thread that handles none of the process's signals: in somebody else's program they are not
/// ours. What a thread brings upon itself (SIGSEGV and its like) stays. Throws std::system_error if
/// there can be no thread.
template <typename Function>
std::thread StartQuietThread(Function&& function) {
  sigset_t quiet;
  ::sigfillset(&quiet);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) {
    ::sigdelset(&quiet, signal);
  }
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &quiet, &before);
  struct Restore {
    const sigset_t& mask;
    ~Restore() { ::pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
  } restore{before};
  return std::thread(std::forward<Function>(function));
}

}  // namespace vesper::transport
