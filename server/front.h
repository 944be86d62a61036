// SPDX-License-Identifier: Apache-2.0
// The front of the server: the process that people start. It listens, hands each guest to a worker
// process of its own and keeps no connection but serial lines of virtual machines (visitor.h), so
// that nothing a guest sends is ever read here but the signs on those, and no driver is ever loaded
// here. What happens to one session, even the death of its worker, touches no other.
//
// The life of a session, as the front sees it: accept -> admit (or refuse with a sentence) -> spawn
// a worker with the connection -> close the own copy -> wait for the worker's end -> log why. On a
// Unix socket the visitor has to say something in between; a line's copy is kept, and the line
// watched again when the worker has ended.
//
// SIGTERM and SIGINT stop the server: it no longer listens, the workers get SIGTERM, those that are
// still there after kStopGrace get SIGKILL. A second SIGTERM or SIGINT cuts the grace short.
//
// Threads: one.
#ifndef VESPER_SERVER_FRONT_H_
#define VESPER_SERVER_FRONT_H_

#include <chrono>

#include "server/options.h"

namespace vesper::server {

/// What workers get to end their sessions in order when the server stops.
inline constexpr std::chrono::seconds kStopGrace{2};

/// Visitors who have not said anything yet, and lines without a session. If there are more, the one
/// who has been silent for longest is hung up on: nobody keeps others out by being silent, and an
/// emulator connects its line again.
inline constexpr size_t kMaxVisitors = 256;

/// How long accepting rests after the system had no descriptors or memory for another connection.
inline constexpr std::chrono::milliseconds kAcceptPause{100};

/// Serves until a signal stops it. Returns the exit status of the program: 0, or 1 if it could not
/// start, which was then logged. Logs to spdlog's default logger.
int RunFront(const Options& options);

}  // namespace vesper::server

#endif  // VESPER_SERVER_FRONT_H_
