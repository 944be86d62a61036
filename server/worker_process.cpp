// SPDX-License-Identifier: Apache-2.0
#include "server/worker_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string_view>
#include <system_error>
#include <vector>

#include "server/worker.h"

namespace vesper::server {
namespace {

// The number of the connection in the worker. Everything above is closed.
constexpr int kWorkerFd = 3;

// A worker loads the real driver through the Vulkan loader, which on a machine with a guest driver
// installed would find that one too: a worker that is its own guest. This pattern of file names
// tells the loader to leave it alone.
constexpr std::string_view kDisabledDrivers = "VK_LOADER_DRIVERS_DISABLE=";
constexpr std::string_view kGuestDriverPattern = "*vesper_icd*";

// Variables that are meant for the front, or for guests.
constexpr std::array<std::string_view, 5> kNotForWorkers = {
    "VESPER_SERVER=", "NOTIFY_SOCKET=", "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES="};

std::vector<std::string> WorkerEnvironment() {
  std::vector<std::string> variables;
  std::string disabled_drivers(kDisabledDrivers);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable = *entry;
    bool keep = true;
    for (const std::string_view name : kNotForWorkers) {
      keep = keep && !variable.starts_with(name);
    }
    if (variable.starts_with(kDisabledDrivers)) {
      disabled_drivers = std::string(variable) + ",";
    } else if (keep) {
      variables.emplace_back(variable);
    }
  }
  variables.push_back(disabled_drivers + std::string(kGuestDriverPattern));
  return variables;
}

std::vector<std::string> WorkerArguments(const std::string& peer, const Options& options) {
  std::vector<std::string> arguments = {"vesperd", "--worker-fd=" + std::to_string(kWorkerFd),
                                        "--front-pid=" + std::to_string(::getpid()),
                                        "--peer=" + peer, "--log-level=" + options.log_level};
  if (!options.worker.driver_manifest.empty()) {
    arguments.push_back("--driver=" + options.worker.driver_manifest);
  }
  if (!options.worker.device_selector.empty()) {
    arguments.push_back("--device=" + options.worker.device_selector);
  }
  arguments.push_back("--upload-cache=" + std::to_string(options.worker.upload_cache_mebibytes));
  if (!options.worker.upload_archive.empty()) {
    arguments.push_back("--upload-archive=" + options.worker.upload_archive);
    arguments.push_back("--upload-archive-limit=" +
                        std::to_string(options.worker.upload_archive_mebibytes));
  }
  if (options.worker.threads) {
    arguments.push_back("--threads=" + std::to_string(*options.worker.threads));
  }
  if (!options.worker.share_memory) {
    arguments.push_back("--share-memory=never");
  }
  if (!options.worker.use_rings) {
    arguments.push_back("--rings=never");
  }
  if (!options.worker.use_progress_page) {
    arguments.push_back("--progress=push");
  }
  if (options.worker.spinning == transport::Spinning::kNever) {
    arguments.push_back("--spin=never");
  }
  if (options.worker.memory_reading != MemoryReading::kAuto) {
    arguments.push_back(options.worker.memory_reading == MemoryReading::kGpu ? "--read-memory=gpu"
                                                                             : "--read-memory=cpu");
  }
  return arguments;
}

std::vector<char*> Pointers(std::vector<std::string>* texts) {
  std::vector<char*> pointers;
  for (std::string& text : *texts) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

pid_t SpawnWorker(int connection, uint64_t line_session, const std::string& peer,
                  const Options& options, std::string* error) {
  std::vector<std::string> arguments = WorkerArguments(peer, options);
  if (line_session != 0) {
    arguments.push_back("--line-session=" + std::to_string(line_session));
  }
  std::vector<std::string> environment = WorkerEnvironment();

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, connection, kWorkerFd);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, kWorkerFd + 1);
  // What the front does with signals is its own affair. The worker gets a process group of its own,
  // so that Ctrl-C in a terminal reaches the front alone, which then ends the sessions in order.
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&attributes, &signals);
  ::sigfillset(&signals);
  ::posix_spawnattr_setsigdefault(&attributes, &signals);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

  pid_t pid = -1;
  const int code = ::posix_spawn(&pid, "/proc/self/exe", &actions, &attributes,
                                 Pointers(&arguments).data(), Pointers(&environment).data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (code != 0) {
    *error = "cannot start a worker process: " + std::system_category().message(code);
    return -1;
  }
  return pid;
}

bool TieToFront(pid_t front_pid) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  // The front may have died before the line above.
  return ::getppid() == front_pid;
}

std::string DescribeEnd(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    return "its worker was killed by signal " + std::to_string(signal) + " (" +
           ::strsignal(signal) + ")";
  }
  switch (WEXITSTATUS(wait_status)) {
    case kGuestLeft:
      return "the guest left";
    case kConnectionLost:
      return "the connection to the guest was lost";
    case kInvalidGuest:
      return "the guest sent something invalid";
    case kNoDriver:
      return "there is no usable driver or device";
    case kDriverFailed:
      return "the device was lost or the driver failed";
    default:
      return "its worker ended with the unexpected status " +
             std::to_string(WEXITSTATUS(wait_status));
  }
}

}  // namespace vesper::server
