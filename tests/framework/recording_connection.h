// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_RECORDING_CONNECTION_H_
#define VESPER_TESTS_FRAMEWORK_RECORDING_CONNECTION_H_

#include <memory>
#include <string>

#include "transport/connection.h"

namespace vesper::tests {

// The guest's end of a connection whose bytes in both directions are also written to files in
// `folder` when it ends: in `host/`, what the host got after the hello, and in `guest/`, what the
// guest got after the welcome; both folders must exist. They are seeds for the fuzzers.
std::unique_ptr<transport::Connection> RecordConnection(
    std::unique_ptr<transport::Connection> connection, const std::string& folder);

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_RECORDING_CONNECTION_H_
