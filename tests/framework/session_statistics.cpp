// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/session_statistics.h"

#include <stdlib.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "tests/framework/process.h"

namespace vesper::tests {
namespace {

uint64_t Find(const std::map<std::string, uint64_t>& counts, const std::string& command) {
  const auto found = counts.find(command);
  return found == counts.end() ? 0 : found->second;
}

}  // namespace

uint64_t SessionStatistics::Calls(const std::string& command) const { return Find(calls, command); }
uint64_t SessionStatistics::Answered(const std::string& command) const {
  return Find(answered, command);
}
uint64_t SessionStatistics::Posts(const std::string& command) const { return Find(posts, command); }

std::vector<SessionStatistics> ReadSessionStatistics(const std::string& path) {
  std::vector<SessionStatistics> sessions;
  std::istringstream lines(ReadFile(path));
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) {
      throw std::runtime_error("Not a line of JSON: " + line);
    }
    SessionStatistics& session = sessions.emplace_back();
    json.at("pid").get_to(session.pid);
    json.at("round_trips").get_to(session.round_trips);
    json.at("waits").get_to(session.waits);
    json.at("sleeps").get_to(session.sleeps);
    json.at("recordings").get_to(session.recordings);
    json.at("calls").get_to(session.calls);
    json.at("answered").get_to(session.answered);
    json.at("posts").get_to(session.posts);
    json.at("bytes").get_to(session.bytes);
  }
  return sessions;
}

std::vector<SessionStatistics> SessionsOf(const std::function<void()>& program) {
  const TemporaryFolder folder;
  const std::string path = folder.Path("sessions.json");
  setenv("VESPER_STATS", path.c_str(), 1);
  program();
  unsetenv("VESPER_STATS");
  return ReadSessionStatistics(path);
}

SessionStatistics SessionOf(const std::function<void()>& program) {
  std::vector<SessionStatistics> sessions = SessionsOf(program);
  if (sessions.size() != 1) {
    throw std::runtime_error("The program had " + std::to_string(sessions.size()) +
                             " sessions, and one was expected.");
  }
  return sessions.front();
}

}  // namespace vesper::tests
