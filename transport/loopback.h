// SPDX-License-Identifier: Apache-2.0
// Two connected ends inside one process, with a link between them that can be told to misbehave.
// Tests use it wherever they do not mean the operating system's sockets.
#ifndef VESPER_TRANSPORT_LOOPBACK_H_
#define VESPER_TRANSPORT_LOOPBACK_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "transport/connection.h"

namespace vesper::transport {

/// What one direction of the loopback does to the bytes that pass. Offsets count the bytes of that
/// direction from 0.
struct Faults {
  /// Each byte arrives this much later than it was written. Bandwidth is not limited.
  std::chrono::microseconds delay{0};
  /// The link breaks, in both directions, when this many bytes have been read.
  std::optional<uint64_t> cut_after;
  /// A read returns at most this many bytes.
  size_t max_read = SIZE_MAX;
  /// The byte at this offset arrives with `corrupt_mask` flipped in it.
  std::optional<uint64_t> corrupt_at;
  std::byte corrupt_mask{0xff};
  /// A writer blocks while this many bytes are under way. At least 1.
  size_t capacity = SIZE_MAX;
};

/// The two ends (a, b). Destroying one closes the stream in order, as a socket would.
std::pair<std::unique_ptr<Connection>, std::unique_ptr<Connection>> MakeLoopback(
    const Faults& a_to_b = {}, const Faults& b_to_a = {});

}  // namespace vesper::transport

#endif  // VESPER_TRANSPORT_LOOPBACK_H_
