// SPDX-License-Identifier: Apache-2.0
#include "cli/experiment.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "transport/unique_fd.h"

namespace vesper::cli {
namespace {

using transport::UniqueFd;

[[noreturn]] void RunChild(const std::function<bool(std::string*)>& experiment, int output) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(output, STDERR_FILENO);
  std::string text;
  const bool succeeded = experiment(&text);
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t count = ::write(output, text.data() + sent, text.size() - sent);
    if (count <= 0) {
      break;
    }
    sent += static_cast<size_t>(count);
  }
  // Without the destructors of whatever libraries the experiment brought in.
  ::_exit(succeeded ? 0 : 1);
}

}  // namespace

ExperimentResult RunExperiment(const std::function<bool(std::string*)>& experiment,
                               std::chrono::milliseconds limit) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return {false, "cannot make a pipe: " + std::system_category().message(errno)};
  }
  const UniqueFd input(ends[0]);
  UniqueFd output(ends[1]);
  const pid_t pid = ::fork();
  if (pid == 0) {
    RunChild(experiment, output.get());
  }
  output.Reset();
  if (pid < 0) {
    return {false, "cannot start a process: " + std::system_category().message(errno)};
  }

  ExperimentResult result;
  bool is_late = false;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd event{input.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&event, 1, static_cast<int>(left.count())) == 0) {
      is_late = true;
      ::kill(pid, SIGKILL);
      break;
    }
    std::array<char, 4096> buffer;
    const ssize_t count = ::read(input.get(), buffer.data(), buffer.size());
    if (count == 0 || (count < 0 && errno != EINTR)) {
      break;
    }
    result.text.append(buffer.data(), static_cast<size_t>(std::max<ssize_t>(count, 0)));
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (is_late) {
    result.text = "no answer within " + std::to_string(limit.count() / 1000) + " s";
  } else if (WIFSIGNALED(status)) {
    result.text = std::string("the process died of signal ") + std::to_string(WTERMSIG(status)) +
                  " (" + ::strsignal(WTERMSIG(status)) + ")";
  } else {
    result.succeeded = WEXITSTATUS(status) == 0;
  }
  return result;
}

}  // namespace vesper::cli
