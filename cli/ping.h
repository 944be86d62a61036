// SPDX-License-Identifier: Apache-2.0
// `vesper ping`: whether a server answers; for health checks.
#ifndef VESPER_CLI_PING_H_
#define VESPER_CLI_PING_H_

#include <string>

#include "cli/doctor.h"

namespace vesper::cli {

struct PingOptions {
  std::string server;  ///< Endpoint; empty: VESPER_SERVER, and failing that the default place.
  int timeout = kDefaultTimeout;  ///< Seconds that the server may take to connect, and to answer.
};

/// Does session set-up with the server and prints one line. Returns 0 if it has a device, else 1.
int Ping(const PingOptions& options);

}  // namespace vesper::cli

#endif  // VESPER_CLI_PING_H_
