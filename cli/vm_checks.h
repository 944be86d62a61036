// SPDX-License-Identifier: Apache-2.0
// What is missing between a virtual machine and the server on its host.
#ifndef VESPER_CLI_VM_CHECKS_H_
#define VESPER_CLI_VM_CHECKS_H_

#include <string>

#include "transport/endpoint.h"

namespace vesper::cli {

/// True for ways that lead out of a virtual machine: serial ports and vsock.
bool LeadsOutOfAMachine(const transport::Endpoint& endpoint);

/// What to do about a server that does not answer at such an endpoint: as precise as can be seen
/// from inside.
std::string AdviceOnMachine(const transport::Endpoint& endpoint);

}  // namespace vesper::cli

#endif  // VESPER_CLI_VM_CHECKS_H_
