// SPDX-License-Identifier: Apache-2.0
// `vesper doctor`: what is found, what is wrong, and what to do about it.
#ifndef VESPER_CLI_DOCTOR_H_
#define VESPER_CLI_DOCTOR_H_

#include <string>

namespace vesper::cli {

/// Waking a GPU and its driver may take some seconds on the server's side.
inline constexpr int kDefaultTimeout = 20;

struct DoctorOptions {
  std::string server;  ///< Endpoint; empty: VESPER_SERVER, and failing that a private server.
  std::string driver;  ///< Manifest of the driver for a private server; empty: what is found.
  int timeout = kDefaultTimeout;  ///< Seconds that the server may take to connect, and to answer.
};

/// Prints findings on stdout as they come. Returns 0 if a Vulkan program would run, else 1.
int Doctor(const DoctorOptions& options);

}  // namespace vesper::cli

#endif  // VESPER_CLI_DOCTOR_H_
