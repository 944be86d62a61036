// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "client_icd/object.h"

namespace vesper::client {

/// The guest's view of a semaphore. Binary semaphores are the host's alone, but for images that are
/// acquired.
struct Semaphore {
  bool is_timeline = false;
  bool is_acquired = false;  ///< signalled, and the host does not know (wsi/acquired_semaphores.h)
  /// Timeline: the highest value known to be reached. Guarded by Session::progress_mutex().
  uint64_t value = 0;
  Allocator allocator;
};

}  // namespace vesper::client
