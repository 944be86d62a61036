// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vesper::proto {

/// What vesperEventState tells.
enum EventState : uint64_t {
  kEventReset = 0,
  kEventSet = 1,
  kEventUnknown = 2,  ///< the guest must ask
};

}  // namespace vesper::proto
