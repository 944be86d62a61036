// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

namespace vesper::client {

/// Something that is done once: when Run is called, or, if the process ends in order without that,
/// then. For what a session leaves behind, since many programs never destroy their instance.
///
/// It runs on the thread that ends the process while others may go on, so it may wait for no lock
/// that those might hold, and it must own what it uses. A forked child never runs what its parent
/// made. No signal handler is involved: a process that is killed, or ends by _exit, leaves nothing.
class AtExit {
 public:
  explicit AtExit(std::function<void()> work);
  /// Without Run before, the work is not done at all.
  ~AtExit();
  AtExit(const AtExit&) = delete;
  AtExit& operator=(const AtExit&) = delete;

  void Run();

 private:
  struct Entry;
  struct List;
  static List& Entries();

  Entry* entry_;
};

}  // namespace vesper::client
