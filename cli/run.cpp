// SPDX-License-Identifier: Apache-2.0
#include "cli/run.h"

#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "cli/installation.h"
#include "transport/endpoint.h"

namespace vesper::cli {
namespace {

// Signals that ask the program to do something; the terminal sends them to it by itself.
constexpr std::array kForwarded = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

int Fail(const std::string& sentence, int status = kRunFailed) {
  std::fprintf(stderr, "vesper run: %s\n", sentence.c_str());
  return status;
}

int FailToExecute(const std::string& program, int code) {
  return Fail("cannot run " + program + ": " + std::system_category().message(code),
              code == ENOENT ? kNotFound : kCannotExecute);
}

std::vector<char*> Pointers(std::vector<std::string>* texts) {
  std::vector<char*> pointers;
  for (std::string& text : *texts) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

// Makes the Vulkan loader of the programs to come use the guest driver, and that driver the server.
void SetUpEnvironment(const Installation& installation, const std::string& endpoint) {
  ::setenv("VESPER_SERVER", endpoint.c_str(), 1);
  ::setenv("VK_DRIVER_FILES", installation.manifest.c_str(), 1);
  ::setenv("VK_ICD_FILENAMES", installation.manifest.c_str(), 1);  // loaders before 1.3.207
}

// Starts the program with the signal mask `mask`. 0, or the error.
int Spawn(std::vector<std::string> command, const sigset_t& mask, pid_t* pid) {
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setsigmask(&attributes, &mask);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int code = ::posix_spawnp(pid, command.front().c_str(), nullptr, &attributes,
                                  Pointers(&command).data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  return code;
}

// Passes signals on until the program has ended; returns the exit status to report.
int Attend(pid_t program, int signals) {
  while (true) {
    signalfd_siginfo signal{};
    if (::read(signals, &signal, sizeof(signal)) != static_cast<ssize_t>(sizeof(signal))) {
      continue;
    }
    if (signal.ssi_signo != SIGCHLD) {
      // What comes from the terminal (SI_KERNEL) went to the whole process group already.
      if (signal.ssi_code != SI_KERNEL) {
        ::kill(program, static_cast<int>(signal.ssi_signo));
      }
      continue;
    }
    int status = 0;
    if (::waitpid(program, &status, WNOHANG) == program) {
      return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
  }
}

int RunWithPrivateServer(const RunOptions& options, const Installation& installation) {
  // Signals are blocked from the start: one that comes while the server starts is not lost, and the
  // server and its folder are never left behind.
  sigset_t handled;
  sigset_t before;
  ::sigemptyset(&handled);
  ::sigaddset(&handled, SIGCHLD);
  for (const int signal : kForwarded) {
    ::sigaddset(&handled, signal);
  }
  ::sigprocmask(SIG_BLOCK, &handled, &before);
  const transport::UniqueFd signals(::signalfd(-1, &handled, SFD_CLOEXEC));
  std::string error;
  const auto server = PrivateServer::Start(installation, options.private_server, &error);
  if (!server || !signals) {
    return Fail(server ? "cannot watch signals" : error);
  }
  SetUpEnvironment(installation, server->endpoint());
  pid_t program = -1;
  const int code = Spawn(options.command, before, &program);
  if (code != 0) {
    return FailToExecute(options.command.front(), code);
  }
  return Attend(program, signals.get());
}

}  // namespace

int Run(const RunOptions& options) {
  std::string error;
  const std::optional<Installation> installation = Installation::Find(&error);
  if (!installation) {
    return Fail(error);
  }
  if (!std::filesystem::exists(installation->manifest)) {
    return Fail("the guest driver's manifest " + installation->manifest +
                " is not there; install Vesper's guest driver");
  }
  const std::string server = NamedServer(options.server);
  if (server.empty()) {
    return RunWithPrivateServer(options, *installation);
  }
  if (!transport::Endpoint::Parse(server, &error)) {
    return Fail(error);
  }
  SetUpEnvironment(*installation, server);
  std::vector<std::string> command = options.command;
  ::execvp(command.front().c_str(), Pointers(&command).data());
  return FailToExecute(command.front(), errno);
}

}  // namespace vesper::cli
