// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vesper::proto {

/// The first word of each query in vesperQueryResults; the values follow.
enum QueryState : uint64_t {
  kQueryUnavailable = 0,
  kQueryAvailable = 1,
  kQueryUnknown = 2,  ///< the guest must ask
};

}  // namespace vesper::proto
