// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_TEST_SERVER_H_
#define VESPER_TESTS_FRAMEWORK_TEST_SERVER_H_

#include <string>
#include <vector>

#include "tests/framework/process.h"

namespace vesper::tests {

// What the tests run against, read from the environment:
//
//   VESPER_TEST_TARGET     "vesper" (the default) or "native": the driver without Vesper
//   VESPER_TEST_TRANSPORT  "unix" (the default) or "tcp": what joins guest and server
//   VESPER_TEST_DRIVER     manifest of the real driver; lavapipe's when not given
//
// and VESPER_TEST_SERVER_ARGUMENTS, words that are added to the server's command line.
struct TestTarget {
  static TestTarget FromEnvironment();

  bool native = false;
  bool tcp = false;
  std::string driver_manifest;
};

// The manifest of the guest driver in the build tree.
std::string GuestManifest();

// A private vesperd, listening on a socket or port that nobody else knows.
class TestServer {
 public:
  // Starts it and waits until it accepts connections; throws std::runtime_error with its log if it
  // does not. `arguments` are added to the command line.
  explicit TestServer(const TestTarget& target, const std::vector<std::string>& arguments = {});

  const std::string& endpoint() const { return endpoint_; }
  pid_t pid() const { return process_.pid(); }
  ChildProcess& process() { return process_; }
  std::string Log() const { return ReadFile(folder_.Path("log")); }
  // The processes that serve sessions at this moment.
  std::vector<pid_t> Workers() const { return Descendants(pid()); }

 private:
  TemporaryFolder folder_;
  std::string endpoint_;
  ChildProcess process_;
};

// Makes the Vulkan loader of this process find the target's driver and nothing else. Takes effect
// at the next vkCreateInstance, or vkEnumerate*; call it while no other thread reads the
// environment.
void UseDriver(const TestTarget& target, const std::string& endpoint);

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_TEST_SERVER_H_
