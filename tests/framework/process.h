// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_PROCESS_H_
#define VESPER_TESTS_FRAMEWORK_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace vesper::tests {

// Looks at `condition` again and again until it holds; false if it did not within `limit`. For
// facts about other processes, which tell nobody when they change.
bool Eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds limit = std::chrono::seconds(10));

// True while the process exists and is not a zombie.
bool IsRunning(pid_t pid);

// The processes whose parent is `pid`, and theirs, and so on; no zombies.
std::vector<pid_t> Descendants(pid_t pid);

// A program that a test started. It is killed with SIGKILL when the object goes, if it still runs.
class ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess() { Kill(); }

  // Starts `arguments[0]` with this process's environment changed by `environment`. Output and
  // errors go to the files named, or stay where this process's go. It gets SIGTERM when the calling
  // thread ends. Throws std::runtime_error; a program that can't be run ends with the status 127.
  static ChildProcess Start(const std::vector<std::string>& arguments,
                            const std::map<std::string, std::string>& environment = {},
                            const std::string& output_file = "",
                            const std::string& error_file = "");

  pid_t pid() const { return pid_; }
  bool Running();
  void Signal(int signal) const;
  // Waits for the end; the wait status as waitpid gives it, nothing if it did not end in time.
  std::optional<int> Wait(std::chrono::milliseconds limit);
  void Kill();

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
};

// A folder for sockets and logs, removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string Path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string ReadFile(const std::string& path);

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_PROCESS_H_
