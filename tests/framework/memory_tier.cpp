// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/memory_tier.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/framework/gpu.h"
#include "tests/framework/process.h"

namespace vesper::tests {
namespace {

// The rest of the line that begins with the phrase.
std::string LineInLog(const std::string& log, const std::string& phrase) {
  const size_t begin = log.find(phrase);
  if (begin == std::string::npos) {
    return "";
  }
  const size_t end = log.find('\n', begin);
  return log.substr(begin + phrase.size(), end - begin - phrase.size());
}

}  // namespace

std::string TierInLog(const std::string& log) {
  const std::string line = TierLineInLog(log);
  return line.substr(0, line.find(';'));
}

std::string TierLineInLog(const std::string& log) { return LineInLog(log, "mapped memory: "); }

std::string DownloadsInLog(const std::string& log) { return LineInLog(log, "downloads: "); }

std::string LogOfAnInstance() {
  const TemporaryFolder folder;
  const std::string path = folder.Path("log");
  const int log = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const int before = dup(STDERR_FILENO);
  const char* debug = getenv("VESPER_DEBUG");
  const std::string old_debug = debug == nullptr ? "" : debug;
  setenv("VESPER_DEBUG", "log", 1);
  dup2(log, STDERR_FILENO);
  {
    Gpu gpu;
    gpu.OpenInstance();
  }
  dup2(before, STDERR_FILENO);
  setenv("VESPER_DEBUG", old_debug.c_str(), 1);
  close(before);
  close(log);
  return ReadFile(path);
}

}  // namespace vesper::tests
