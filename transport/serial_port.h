// SPDX-License-Identifier: Apache-2.0
//
// Ports of a virtual machine's serial device, as a guest's programs see them. The kernel lets one
// process at a time have a port open, so a port is held as long as a session lasts, and a machine
// that runs several programs has several: a pattern names them all, and each session takes the
// first that is free.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "transport/connection.h"

namespace vesper::transport {

/// Begins a session on a port that `pattern` (a path, in which * and ? stand for anything) names.
/// Null with one sentence in `*error` if there is none, or nobody answers within `timeout`.
std::unique_ptr<Connection> CallOnSerialPort(const std::string& pattern,
                                             std::chrono::milliseconds timeout, std::string* error);

}  // namespace vesper::transport
