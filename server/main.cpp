// SPDX-License-Identifier: Apache-2.0
// vesperd: the front (front.h) when people start it, a worker (worker.h) when the front does.
#include <fcntl.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/front.h"
#include "server/options.h"
#include "server/worker.h"
#include "server/worker_process.h"
#include "transport/line_connection.h"
#include "transport/stream.h"

namespace {

// A server that was started without standard streams must not get a socket in their place.
void FillStandardStreams() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  ::close(fd);
}

void SetUpLog(const std::string& level) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("vesperd"));
  // The journal notes the time itself.
  const bool has_journal = ::getenv("JOURNAL_STREAM") != nullptr;
  spdlog::set_pattern(has_journal ? "%l: %v" : "%Y-%m-%d %H:%M:%S.%e vesperd[%P] %^%l%$: %v");
  spdlog::set_level(spdlog::level::from_str(level));
}

int RunWorkerProcess(const vesper::server::Options& options) {
  std::string error;
  std::unique_ptr<vesper::transport::Connection> connection;
  if (options.line_session != 0) {
    connection = vesper::transport::LineConnection::Answer(
        vesper::transport::UniqueFd(options.worker_fd), options.line_session, options.worker.peer,
        vesper::transport::LineLimits(), &error);
  } else {
    connection = vesper::transport::AdoptSocket(options.worker_fd, &error);
  }
  if (!connection || !vesper::server::TieToFront(options.front_pid)) {
    spdlog::error("{}", connection ? "the front is gone" : error);
    return vesper::server::kConnectionLost;
  }
  return vesper::server::RunWorker(std::move(connection), options.worker);
}

}  // namespace

int main(int argc, char** argv) {
  FillStandardStreams();
  ::signal(SIGPIPE, SIG_IGN);  // logs may go to a pipe that nobody reads any more
  int status = 0;
  const auto options = vesper::server::ParseOptions(argc, argv, &status);
  if (!options) {
    return status;
  }
  SetUpLog(options->log_level);
  return options->worker_fd >= 0 ? RunWorkerProcess(*options) : vesper::server::RunFront(*options);
}
