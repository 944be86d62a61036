// SPDX-License-Identifier: Apache-2.0
// Running the `vesper` tool in an installation of the test's own.
#ifndef VESPER_TESTS_CLI_TOOL_H_
#define VESPER_TESTS_CLI_TOOL_H_

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/framework/process.h"

namespace vesper::cli {

class ToolTest : public testing::Test {
 protected:
  ToolTest() {
    std::filesystem::create_directories(folder_.Path("bin"));
    std::filesystem::create_directories(folder_.Path("share/vulkan/icd.d"));
    std::filesystem::copy(VESPER_TOOL, Tool());
    std::filesystem::copy(SCRIPTED_VESPERD, Server());
    WriteManifest("{}");
  }

  std::string Tool() const { return folder_.Path("bin/vesper"); }
  std::string Server() const { return folder_.Path("bin/vesperd"); }
  std::string Manifest() const {
    return folder_.Path("share/vulkan/icd.d/vesper_icd." VESPER_ARCHITECTURE ".json");
  }
  void WriteManifest(const std::string& text) const { std::ofstream(Manifest()) << text; }

  // Starts `vesper WORDS...`. What surrounds the tests must not show: no server is named, and
  // private servers put their sockets into this test's folder.
  tests::ChildProcess Start(std::vector<std::string> words,
                            std::map<std::string, std::string> environment = {}) {
    words.insert(words.begin(), Tool());
    environment.insert({{"VESPER_SERVER", ""},
                        {"XDG_RUNTIME_DIR", folder_.Path("")},
                        {"VESPER_CACHE_DIR", folder_.Path("cache")},
                        {"VK_DRIVER_FILES", ""},
                        {"VK_ICD_FILENAMES", ""}});
    output_ = folder_.Path("output" + std::to_string(++runs_));
    errors_ = folder_.Path("errors" + std::to_string(runs_));
    return tests::ChildProcess::Start(words, environment, output_, errors_);
  }

  // Runs it to its end; the exit status, or -1 if it does not end or a signal kills it.
  int Run(const std::vector<std::string>& words,
          const std::map<std::string, std::string>& environment = {}) {
    tests::ChildProcess process = Start(words, environment);
    return ExitStatus(process);
  }

  static int ExitStatus(tests::ChildProcess& process) {
    const std::optional<int> status = process.Wait(std::chrono::seconds(50));
    return status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
  }

  std::string Output() const { return tests::ReadFile(output_); }
  std::string Errors() const { return tests::ReadFile(errors_); }

  // The folders of private servers that are there at this moment.
  std::vector<std::filesystem::path> PrivateFolders() const {
    std::vector<std::filesystem::path> folders;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.Path(""))) {
      if (entry.path().filename().string().starts_with("vesper-")) {
        folders.push_back(entry.path());
      }
    }
    return folders;
  }

  tests::TemporaryFolder folder_;

 private:
  int runs_ = 0;
  std::string output_;
  std::string errors_;
};

}  // namespace vesper::cli

#endif  // VESPER_TESTS_CLI_TOOL_H_
