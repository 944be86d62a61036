// SPDX-License-Identifier: Apache-2.0
//
// Loads that compute: long chains of multiplications and additions in each type that shaders know.
#pragma once

#include <cstdint>

#include "examples/common/device.h"

namespace vesper::examples {

// Runs the chain of every type that the device has, `rounds` steps long in each of `invocations`
// invocations (a multiple of 64), and compares each result with the host's own. Prints a line for
// each type: results on stdout, speed on stderr. Throws a Failure if a result is wrong.
void RunArithmetic(const Device& device, uint32_t invocations, uint32_t rounds);

}  // namespace vesper::examples
