// SPDX-License-Identifier: Apache-2.0
// What a service manager such as systemd and its services tell each other: sockets that it opened
// for the service, and news about the service's state. Without a manager both do nothing.
#ifndef VESPER_SERVER_SERVICE_MANAGER_H_
#define VESPER_SERVER_SERVICE_MANAGER_H_

#include <string>
#include <vector>

namespace vesper::server {

/// The descriptors of the listening sockets that the manager handed to this process.
std::vector<int> InheritedSockets();

/// Sends assignments such as "READY=1" (several are separated by newlines) to the manager.
void NotifyManager(const std::string& assignments);

}  // namespace vesper::server

#endif  // VESPER_SERVER_SERVICE_MANAGER_H_
