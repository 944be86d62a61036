// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

extern char** environ;

namespace vesper::tests {
namespace {

struct ProcessState {
  pid_t parent = 0;
  char state = 'X';
};

// From /proc/PID/stat: "pid (name) state parent ...", where the name may hold anything.
std::optional<ProcessState> StateOf(const std::string& pid) {
  const std::string text = ReadFile("/proc/" + pid + "/stat");
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) {
    return std::nullopt;
  }
  ProcessState state;
  std::istringstream rest(text.substr(name_end + 1));
  rest >> state.state >> state.parent;
  return state;
}

bool IsGone(char state) { return state == 'Z' || state == 'X'; }

std::vector<std::string> MergedEnvironment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!changes.contains(text.substr(0, text.find('=')))) {
      merged.push_back(text);
    }
  }
  for (const auto& [name, value] : changes) {
    merged.push_back(name + "=" + value);
  }
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

// Makes a file the descriptor's, or leaves it as it is for an empty name. Only system calls.
bool OpenAs(int descriptor, const std::string& file) {
  if (file.empty()) {
    return true;
  }
  const int opened = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  return opened >= 0 && dup2(opened, descriptor) == descriptor;
}

}  // namespace

bool Eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

bool IsRunning(pid_t pid) {
  const std::optional<ProcessState> state = StateOf(std::to_string(pid));
  return state.has_value() && !IsGone(state->state);
}

std::vector<pid_t> Descendants(pid_t pid) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    const std::optional<ProcessState> state = StateOf(name);
    if (state.has_value() && state->parent == pid && !IsGone(state->state)) {
      const pid_t child = static_cast<pid_t>(std::stol(name));
      found.push_back(child);
      const std::vector<pid_t> below = Descendants(child);
      found.insert(found.end(), below.begin(), below.end());
    }
  }
  return found;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept { *this = std::move(other); }

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    Kill();
    pid_ = std::exchange(other.pid_, -1);
    status_ = std::exchange(other.status_, std::nullopt);
  }
  return *this;
}

ChildProcess ChildProcess::Start(const std::vector<std::string>& arguments,
                                 const std::map<std::string, std::string>& environment,
                                 const std::string& output_file, const std::string& error_file) {
  std::vector<std::string> argument_texts = arguments;
  std::vector<std::string> environment_texts = MergedEnvironment(environment);
  // Everything that allocates comes before the fork: other threads may hold the allocator's lock.
  const std::vector<char*> argument_pointers = Pointers(argument_texts);
  const std::vector<char*> environment_pointers = Pointers(environment_texts);
  ChildProcess child;
  child.pid_ = fork();
  if (child.pid_ == 0) {
    // A test that crashes must not leave programs behind.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (OpenAs(STDOUT_FILENO, output_file) && OpenAs(STDERR_FILENO, error_file)) {
      execve(argument_pointers.front(), argument_pointers.data(), environment_pointers.data());
    }
    _exit(127);
  }
  if (child.pid_ < 0) {
    throw std::runtime_error("Could not start " + arguments.front() + ": " + strerror(errno));
  }
  return child;
}

bool ChildProcess::Running() { return !Wait(std::chrono::milliseconds(0)).has_value(); }

void ChildProcess::Signal(int signal) const {
  if (pid_ > 0 && !status_.has_value()) {
    kill(pid_, signal);
  }
}

std::optional<int> ChildProcess::Wait(std::chrono::milliseconds limit) {
  if (pid_ > 0) {
    Eventually(
        [this] {
          int status = 0;
          if (!status_.has_value() && waitpid(pid_, &status, WNOHANG) == pid_) {
            status_ = status;
          }
          return status_.has_value();
        },
        limit);
  }
  return status_;
}

void ChildProcess::Kill() {
  if (pid_ > 0 && Running()) {
    Signal(SIGKILL);
    Wait(std::chrono::seconds(10));
  }
  pid_ = -1;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = std::filesystem::temp_directory_path() / "vesper_test_XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error("Could not make a temporary folder: " + std::string(strerror(errno)));
  }
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace vesper::tests
