// SPDX-License-Identifier: Apache-2.0
//
// Which pages of mapped memory has the program written? The kernel knows in several ways; each is a
// tracker here. What they have in common is the order of things: Take() protects a page again
// *before* it tells that the page was written, and the caller copies afterwards. A store that
// races with that is either in the copy, or faults and is told next time. None is lost.
//
//   tier       who notices a store                     needs                            read(2)
//   into it async      the kernel alone (write-protect, async) Linux 6.7; no privilege works
//   compare    nobody: bytes are compared              nothing                          works
//   fault      a thread of the driver (userfaultfd)    Linux 5.19, and a privilege      works
//   signal     a SIGSEGV handler (mprotect)            nothing; only if asked for       fails
//   (EFAULT) reference  as compare, and of everything mapped    nothing; for tests works
//
// docs/memory.md has what each costs, and why they are tried in this order.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "transport/unique_fd.h"

namespace vesper::client {

enum class MemoryTier { kAsync, kCompare, kFault, kSignal, kReference };

/// The name that VESPER_MEMORY takes.
const char* TierName(MemoryTier tier);
/// The tier with that name; false if there is none.
bool TierFromName(std::string_view name, MemoryTier* tier);

/// Whole pages of the program's memory.
struct PageRange {
  std::byte* begin = nullptr;
  std::byte* end = nullptr;

  size_t bytes() const { return static_cast<size_t>(end - begin); }
};

size_t PageSize();

/// Thread-safe.
class WriteTracker {
 public:
  virtual ~WriteTracker() = default;

  /// Begins to watch shared memory that is mapped at `range`. All of it counts as written until it
  /// is first taken. False if the system refuses; it is then not watched.
  virtual bool Watch(PageRange range) = 0;
  /// Stops, and lets the program write freely. To be called before something else is mapped there.
  virtual void Unwatch(PageRange range) = 0;
  /// Appends to `written`, in order, the pages of a watched range that were written since they were
  /// last taken, and maybe some of their neighbours; they are protected again by then. False if the
  /// system refuses: any page may then have been written, and none need be protected.
  virtual bool Take(PageRange range, std::vector<PageRange>& written) = 0;
};

/// A tracker of that tier which has found the right pages in a trial on a few pages: kernels and
/// sandboxes refuse, and err, in more ways than version numbers tell. Null with one sentence in
/// `why` if it can't be had. Null without a reason for tiers that track nothing.
/// `faults`: a userfaultfd for the async tracker to use; otherwise it opens one.
std::unique_ptr<WriteTracker> MakeWriteTracker(MemoryTier tier, std::string* why,
                                               transport::UniqueFd faults = {});

// One file each; for MakeWriteTracker, which tries them out.
std::unique_ptr<WriteTracker> MakeAsyncTracker(transport::UniqueFd faults, std::string* why);
std::unique_ptr<WriteTracker> MakeFaultTracker(std::string* why);
std::unique_ptr<WriteTracker> MakeSignalTracker(std::string* why);

}  // namespace vesper::client
