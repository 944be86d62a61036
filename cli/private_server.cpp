// SPDX-License-Identifier: Apache-2.0
// The server says that it listens in the way in which services tell systemd: a datagram to the
// socket that $NOTIFY_SOCKET names. Waiting for that and for the server's end at once leaves no gap
// and needs no trial connections, each of which would be a session.
#include "cli/private_server.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>

namespace vesper::cli {
namespace {

using std::chrono::milliseconds;

// A server only has to open a socket before it is ready; the rest is for machines in distress.
constexpr milliseconds kReadyLimit{30000};

// Somewhat more than the server gives its own workers.
constexpr milliseconds kStopLimit{4000};

constexpr char kReady[] = "READY=1";

std::string SystemMessage(int code) { return std::system_category().message(code); }

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

// The driver that programs are to use must not be the one that the server uses, in case somebody
// has exported the one for the programs.
void HideGuestDriver(const std::string& manifest) {
  for (const char* name : {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"}) {
    const char* value = ::getenv(name);
    if (value != nullptr && value == manifest) {
      ::unsetenv(name);
    }
  }
}

}  // namespace

std::unique_ptr<PrivateServer> PrivateServer::Start(const Installation& installation,
                                                    const Options& options, std::string* error) {
  std::unique_ptr<PrivateServer> server(new PrivateServer());
  if (!server->MakeFolder(error) || !server->Spawn(installation, options, error) ||
      !server->WaitUntilReady(error)) {
    return nullptr;
  }
  return server;
}

PrivateServer::~PrivateServer() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    pollfd ended{process_.get(), POLLIN, 0};
    if (::poll(&ended, 1, static_cast<int>(kStopLimit.count())) <= 0) {
      ::kill(pid_, SIGKILL);
    }
    ::waitpid(pid_, nullptr, 0);
  }
  if (!folder_.empty()) {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
}

bool PrivateServer::MakeFolder(std::string* error) {
  int code = ENOENT;
  for (const char* variable : {"XDG_RUNTIME_DIR", "TMPDIR", ""}) {
    const char* base = *variable == '\0' ? "/tmp" : ::getenv(variable);
    std::string folder = std::string(base == nullptr ? "" : base) + "/vesper-XXXXXX";
    // The name of a socket must be short, which a base folder may spoil.
    const size_t length = folder.size() + sizeof("/server.sock");
    if (base == nullptr || *base != '/' || length >= sizeof(sockaddr_un::sun_path)) {
      continue;
    }
    if (::mkdtemp(folder.data()) != nullptr) {
      folder_ = folder;
      endpoint_ = "unix:" + folder + "/server.sock";
      return true;
    }
    code = errno;
  }
  *error = "cannot make a folder for the private server's socket: " + SystemMessage(code);
  return false;
}

bool PrivateServer::Spawn(const Installation& installation, const Options& options,
                          std::string* error) {
  if (::access(installation.server.c_str(), X_OK) != 0) {
    *error = "the server program " + installation.server +
             " is not there: " + SystemMessage(errno) +
             "; install Vesper's server, or name one that runs with --server";
    return false;
  }
  const std::string news_path = folder_ + "/news.sock";
  const sockaddr_un address = AddressOf(news_path);
  news_.Reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (::bind(news_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    *error = "cannot wait for the private server: " + SystemMessage(errno);
    return false;
  }
  std::vector<std::string> arguments = {installation.server, "--listen", endpoint_, "--log-level",
                                        options.log_level};
  if (!options.driver.empty()) {
    arguments.insert(arguments.end(), {"--driver", options.driver});
  }
  if (!options.device.empty()) {
    arguments.insert(arguments.end(), {"--device", options.device});
  }
  std::vector<char*> pointers;
  for (std::string& argument : arguments) {
    pointers.push_back(argument.data());
  }
  pointers.push_back(nullptr);

  // fork() and not posix_spawn(), for the sake of the first two lines in the child. This process
  // has one thread.
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::setpgid(0, 0);  // Ctrl-C is for the program; the server stays until that has ended
    if (::getppid() != parent) {
      ::_exit(1);
    }
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    HideGuestDriver(installation.manifest);
    ::unsetenv("LISTEN_FDS");
    ::setenv("NOTIFY_SOCKET", news_path.c_str(), 1);
    ::execv(installation.server.c_str(), pointers.data());
    ::_exit(127);
  }
  if (pid_ < 0) {
    *error = "cannot start the private server: " + SystemMessage(errno);
    return false;
  }
  process_.Reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  return true;
}

bool PrivateServer::WaitUntilReady(std::string* error) {
  std::array<pollfd, 2> events = {pollfd{news_.get(), POLLIN, 0},
                                  pollfd{process_.get(), POLLIN, 0}};
  const auto deadline = std::chrono::steady_clock::now() + kReadyLimit;
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      *error = "the private server was not ready within " +
               std::to_string(kReadyLimit.count() / 1000) + " s";
      return false;
    }
    if (::poll(events.data(), events.size(), static_cast<int>(left.count())) < 0) {
      continue;
    }
    if (events[0].revents != 0) {
      std::array<char, 256> text{};
      const ssize_t size = ::recv(news_.get(), text.data(), text.size() - 1, 0);
      if (size > 0 && ::strncmp(text.data(), kReady, sizeof(kReady) - 1) == 0) {
        return true;
      }
    } else if (events[1].revents != 0) {
      ::waitpid(pid_, nullptr, 0);
      pid_ = -1;
      *error = "the private server ended before it was ready";
      return false;
    }
  }
}

}  // namespace vesper::cli
