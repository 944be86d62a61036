// SPDX-License-Identifier: Apache-2.0
// `vesper run`: one program with Vesper as its Vulkan driver.
#ifndef VESPER_CLI_RUN_H_
#define VESPER_CLI_RUN_H_

#include <string>
#include <vector>

#include "cli/private_server.h"

namespace vesper::cli {

struct RunOptions {
  std::string server;  ///< Endpoint; empty: VESPER_SERVER, and failing that a private server.
  PrivateServer::Options private_server;
  std::vector<std::string> command;  ///< The program and its arguments; at least the program.
};

/// Exit statuses of `vesper run` itself, as env(1) and timeout(1) have them.
inline constexpr int kRunFailed = 125;      ///< Something is wrong on Vesper's side.
inline constexpr int kCannotExecute = 126;  ///< The program is there but cannot be run.
inline constexpr int kNotFound = 127;       ///< There is no such program.

/// Runs the program. With a server given this process becomes the program; otherwise a private
/// server runs beside it, signals are passed on, and the result is the program's exit status (128 +
/// n when signal n killed it). Problems are said on stderr.
int Run(const RunOptions& options);

}  // namespace vesper::cli

#endif  // VESPER_CLI_RUN_H_
