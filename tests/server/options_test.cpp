// SPDX-License-Identifier: Apache-2.0
#include "server/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

namespace vesper::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::internal::CaptureStderr;
using ::testing::internal::CaptureStdout;
using ::testing::internal::GetCapturedStderr;
using ::testing::internal::GetCapturedStdout;

std::optional<Options> Parse(std::vector<const char*> arguments, int* status) {
  arguments.insert(arguments.begin(), "vesperd");
  return ParseOptions(static_cast<int>(arguments.size()), arguments.data(), status);
}

Options ParseGood(const std::vector<const char*>& arguments) {
  int status = -1;
  const std::optional<Options> options = Parse(arguments, &status);
  EXPECT_TRUE(options) << "ended with status " << status;
  return options.value_or(Options());
}

TEST(OptionsTest, DefaultsAreForOnePrivateUser) {
  const Options options = ParseGood({});
  EXPECT_TRUE(options.endpoints.empty());
  EXPECT_FALSE(options.allow_plaintext);
  EXPECT_EQ(options.socket_mode, 0600u);
  EXPECT_EQ(options.max_sessions, kDefaultMaxSessions);
  EXPECT_EQ(options.worker_fd, -1);
  EXPECT_EQ(options.log_level, "info");
  EXPECT_EQ(options.worker.memory_reading, MemoryReading::kAuto);
  EXPECT_FALSE(options.worker.threads.has_value());
}

TEST(OptionsTest, WhoReadsMemoryIsAChoiceOfThree) {
  EXPECT_EQ(ParseGood({"--threads=0"}).worker.threads, 0u);
  EXPECT_EQ(ParseGood({"--threads", "5"}).worker.threads, 5u);
  EXPECT_EQ(ParseGood({"--read-memory=gpu"}).worker.memory_reading, MemoryReading::kGpu);
  EXPECT_EQ(ParseGood({"--read-memory=cpu"}).worker.memory_reading, MemoryReading::kCpu);
  int status = -1;
  CaptureStderr();
  EXPECT_FALSE(Parse({"--read-memory=nobody"}, &status));
  EXPECT_THAT(GetCapturedStderr(), HasSubstr("nobody"));
  EXPECT_EQ(status, 2);
}

TEST(OptionsTest, TakesEverything) {
  const Options options =
      ParseGood({"--listen", "unix:/a b", "--listen=tcp:[::1]:42", "--allow-plaintext",
                 "--socket-mode", "0660", "--driver", "/dev/null", "--device", "NVIDIA H100",
                 "--max-sessions", "3", "--log-level", "debug"});
  ASSERT_EQ(options.endpoints.size(), 2u);
  EXPECT_EQ(options.endpoints[0].ToString(), "unix:/a b");
  EXPECT_EQ(options.endpoints[1].ToString(), "tcp:[::1]:42");
  EXPECT_TRUE(options.allow_plaintext);
  EXPECT_EQ(options.socket_mode, 0660u);
  EXPECT_EQ(options.worker.driver_manifest, "/dev/null");
  EXPECT_EQ(options.worker.device_selector, "NVIDIA H100");
  EXPECT_EQ(options.max_sessions, 3);
  EXPECT_EQ(options.log_level, "debug");
}

TEST(OptionsTest, TakesWhatTheFrontGivesItsWorkers) {
  const Options options = ParseGood({"--worker-fd=3", "--front-pid=77", "--peer=unix pid 1 uid 2",
                                     "--log-level=info", "--driver=/dev/null", "--device=-1"});
  EXPECT_EQ(options.worker_fd, 3);
  EXPECT_EQ(options.front_pid, 77);
  EXPECT_EQ(options.worker.peer, "unix pid 1 uid 2");
  EXPECT_EQ(options.worker.device_selector, "-1");
}

struct Mistake {
  std::vector<const char*> arguments;
  const char* hint;
};

class MistakeTest : public testing::TestWithParam<Mistake> {};

TEST_P(MistakeTest, IsSaidOnStderr) {
  CaptureStderr();
  int status = -1;
  const std::optional<Options> options = Parse(GetParam().arguments, &status);
  EXPECT_THAT(GetCapturedStderr(), HasSubstr(GetParam().hint));
  EXPECT_FALSE(options);
  EXPECT_EQ(status, 2);
}

INSTANTIATE_TEST_SUITE_P(
    Table, MistakeTest,
    testing::Values(Mistake{{"--listen", "here"}, "\"here\" is no endpoint"},
                    Mistake{{"--listen", "tcp:localhost"}, "has no port"},
                    Mistake{{"--listen"}, "--listen"},
                    Mistake{{"--socket-mode", "rw"}, "write it in octal"},
                    Mistake{{"--socket-mode", "0888"}, "write it in octal"},
                    Mistake{{"--socket-mode", "7777"}, "write it in octal"},
                    Mistake{{"--driver", "/no/such/file.json"}, "/no/such/file.json"},
                    Mistake{{"--max-sessions", "0"}, "--max-sessions"},
                    Mistake{{"--max-sessions", "many"}, "--max-sessions"},
                    Mistake{{"--log-level", "loud"}, "--log-level"},
                    Mistake{{"--frobnicate"}, "--frobnicate"}, Mistake{{"extra"}, "extra"}));

TEST(OptionsTest, HelpTellsAllButTheInternals) {
  CaptureStdout();
  int status = -1;
  EXPECT_FALSE(Parse({"--help"}, &status));
  const std::string help = GetCapturedStdout();
  EXPECT_EQ(status, 0);
  EXPECT_THAT(help, AllOf(HasSubstr("--listen"), HasSubstr("--driver"), HasSubstr("--device"),
                          HasSubstr("VESPER_SERVER")));
  EXPECT_THAT(help, ::testing::Not(HasSubstr("worker-fd")));
}

TEST(OptionsTest, VersionIsOneLine) {
  CaptureStdout();
  int status = -1;
  EXPECT_FALSE(Parse({"--version"}, &status));
  EXPECT_THAT(GetCapturedStdout(), ::testing::MatchesRegex("vesperd [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_EQ(status, 0);
}

TEST(DefaultEndpointTest, IsTheSystemsForRootAndTheUsersForOthers) {
  std::string error;
  ::setenv("XDG_RUNTIME_DIR", "/run/user/42", 1);
  const bool is_root = ::geteuid() == 0;
  EXPECT_EQ(DefaultEndpoint(&error)->ToString(),
            is_root ? "unix:/run/vesper/vesper.sock" : "unix:/run/user/42/vesper.sock");
  ::unsetenv("XDG_RUNTIME_DIR");
  EXPECT_EQ(DefaultEndpoint(&error).has_value(), is_root);
  if (!is_root) {
    EXPECT_THAT(error, HasSubstr("--listen"));
  }
}

}  // namespace
}  // namespace vesper::server
