// SPDX-License-Identifier: Apache-2.0
// A worker seen from the front: a process of the same program, started with the guest's connection
// and nothing else that the front has open.
#ifndef VESPER_SERVER_WORKER_PROCESS_H_
#define VESPER_SERVER_WORKER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "server/options.h"

namespace vesper::server {

/// Starts a worker for the connection, which stays open in this process as well, or for the session
/// `line_session` on the line that it is, unless that is 0. Returns its id, or -1 with one sentence
/// in `*error`.
pid_t SpawnWorker(int connection, uint64_t line_session, const std::string& peer,
                  const Options& options, std::string* error);

/// To be called first in a worker: makes the process end when the front does. False if the front
/// is gone already.
bool TieToFront(pid_t front_pid);

/// Why a session ended, from the wait status of its worker.
std::string DescribeEnd(int wait_status);

}  // namespace vesper::server

#endif  // VESPER_SERVER_WORKER_PROCESS_H_
