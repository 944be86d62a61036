// SPDX-License-Identifier: Apache-2.0
//
// Loads that move data: through mapped memory, between buffers, and through images.
#pragma once

#include <cstdint>

#include "examples/common/device.h"

namespace vesper::examples {

// Moves `bytes` (4 MiB, or four times as much, and so on) each way, and compares every word of what
// arrives. Prints a line for each way: results on stdout, speed on stderr. Throws a Failure if a
// word is wrong.
void RunCopies(const Device& device, uint64_t bytes);

}  // namespace vesper::examples
