// SPDX-License-Identifier: Apache-2.0
// The command line of vesperd.
#ifndef VESPER_SERVER_OPTIONS_H_
#define VESPER_SERVER_OPTIONS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/worker.h"
#include "transport/endpoint.h"

namespace vesper::server {

/// Sessions at the same time, unless --max-sessions says otherwise. Each is a process with a driver
/// of its own in it, which takes some ten MiB even when it does nothing.
inline constexpr int kDefaultMaxSessions = 64;

struct Options {
  std::vector<transport::Endpoint> endpoints;  ///< Empty: the default place.
  bool allow_plaintext = false;                ///< TCP may be offered to the network.
  unsigned socket_mode = 0600;                 ///< Permission bits of Unix socket files.
  int max_sessions = kDefaultMaxSessions;
  std::string log_level = "info";
  WorkerOptions worker;

  /// The process is a worker: it serves the connection `worker_fd` for the front `front_pid`.
  int worker_fd = -1;
  pid_t front_pid = 0;
  uint64_t line_session = 0;  ///< Not 0: that is a serial line, and this the session on it.
};

/// Reads the command line. Nothing if the program is to end at once, with the exit status
/// `*status`: after --help or --version (0), or after a mistake (2), which was then said on stderr.
std::optional<Options> ParseOptions(int argc, const char* const* argv, int* status);

/// The place to listen when none was named: a socket of the system for root, else one of the user.
/// Nothing with one sentence in `*error` if the user has no folder for such things.
std::optional<transport::Endpoint> DefaultEndpoint(std::string* error);

}  // namespace vesper::server

#endif  // VESPER_SERVER_OPTIONS_H_
