// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_SESSION_STATISTICS_H_
#define VESPER_TESTS_FRAMEWORK_SESSION_STATISTICS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace vesper::tests {

// What the guest says that a session cost (VESPER_STATS, docs/debugging.md).
struct SessionStatistics {
  uint64_t pid = 0;
  uint64_t round_trips = 0;
  uint64_t waits = 0;
  uint64_t sleeps = 0;
  uint64_t recordings = 0;
  std::map<std::string, uint64_t> calls;     // that the program waited for
  std::map<std::string, uint64_t> answered;  // by the guest's cache
  std::map<std::string, uint64_t> posts;
  std::map<std::string, uint64_t> bytes;

  uint64_t Calls(const std::string& command) const;
  uint64_t Answered(const std::string& command) const;
  uint64_t Posts(const std::string& command) const;
};

// Runs `program` with VESPER_STATS set to a file and says what its sessions cost, in the order of
// their ends. `program` must end them. Throws std::runtime_error if a line is not JSON.
std::vector<SessionStatistics> SessionsOf(const std::function<void()>& program);
// The same for a program with one session; throws if it had another number.
SessionStatistics SessionOf(const std::function<void()>& program);
// What is in a file that a guest wrote.
std::vector<SessionStatistics> ReadSessionStatistics(const std::string& path);

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_SESSION_STATISTICS_H_
