// SPDX-License-Identifier: Apache-2.0
//
// Pages of shared memory that are taken out of the program's sight: whoever touches one, be it the
// program or the kernel on its behalf, stops until the page is provided. The bytes stay where they
// are, in the file, and may be changed there through another mapping meanwhile.
//
// This is userfaultfd's handling of minor faults (Linux 5.14), with the privilege to stop system
// calls as well: without it a read(2) into an absent page would fail with EFAULT, so that then no
// page is ever made absent. A trial says whether all of it works here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client_icd/write_tracker.h"
#include "transport/unique_fd.h"

namespace vesper::client {

/// Thread-safe: it has no state but what the kernel keeps.
class AbsentPages {
 public:
  /// Lets pages of the range be made absent, until something else is mapped there. Pages that were
  /// never touched stop who touches them from now on, too. False if the system refuses.
  bool Register(PageRange range) const;
  /// Makes pages of a registered range absent that the file has. What the program has written there
  /// is in the file, and is *not* told by the tracker any more: compare it. False if refused.
  bool Remove(PageRange range) const;
  /// Makes them present, and lets whoever waits there go on. With `is_agreed` they do not count as
  /// written: only if all that the program ever stored there was collected after Remove.
  void Provide(PageRange range, bool is_agreed) const;
  /// True if the program sees none of the pages.
  bool AreAbsent(PageRange range) const;

  /// Waits for somebody who is stopped; the address of what is missing. Null when `stop`, a
  /// descriptor, can be read.
  std::byte* WaitForFault(int stop) const;

 private:
  friend std::unique_ptr<AbsentPages> MakeAbsentPages(MemoryTier, std::unique_ptr<WriteTracker>*,
                                                      std::string*);
  AbsentPages(transport::UniqueFd faults, transport::UniqueFd pagemap, bool is_tracked)
      : faults_(std::move(faults)), pagemap_(std::move(pagemap)), is_tracked_(is_tracked) {}

  bool PassesTrial(WriteTracker* tracker) const;

  const transport::UniqueFd faults_;
  const transport::UniqueFd pagemap_;
  const bool is_tracked_;
};

/// Absent pages beside that tier, with the tier's tracker (null if it tracks nothing): memory can
/// be registered with one userfaultfd only, so that both must come from one hand. Null with one
/// sentence in `why`, and no tracker, if a trial on a few pages fails.
std::unique_ptr<AbsentPages> MakeAbsentPages(MemoryTier tier,
                                             std::unique_ptr<WriteTracker>* tracker,
                                             std::string* why);

}  // namespace vesper::client
