// SPDX-License-Identifier: Apache-2.0
// What is missing around a program, and most of all in a container: the server's socket, the right
// to use it, system calls, a place to remember things.
#ifndef VESPER_CLI_CONTAINER_CHECKS_H_
#define VESPER_CLI_CONTAINER_CHECKS_H_

#include <string>

#include "cli/report.h"
#include "transport/endpoint.h"

namespace vesper::cli {

/// What to do about a server that does not answer at `endpoint`: as precise as can be seen from
/// here.
std::string AdviceOnServer(const transport::Endpoint& endpoint);

/// The container, if this is one, and what of the system programs have to do without.
void CheckSurroundings(Report& report);

}  // namespace vesper::cli

#endif  // VESPER_CLI_CONTAINER_CHECKS_H_
