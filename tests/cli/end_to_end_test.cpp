// SPDX-License-Identifier: Apache-2.0
// The tool where it was built, with the real server and driver beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "tests/framework/process.h"
#include "tests/framework/test_server.h"

namespace vesper::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class EndToEndTest : public testing::Test {
 protected:
  int Run(std::vector<std::string> words) {
    words.insert(words.begin(), VESPER_TOOL);
    tests::ChildProcess process = tests::ChildProcess::Start(
        words, {{"VESPER_SERVER", ""}}, folder_.Path("output"), folder_.Path("errors"));
    const std::optional<int> status = process.Wait(std::chrono::seconds(100));
    return status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
  }
  std::string Output() const { return tests::ReadFile(folder_.Path("output")); }
  std::string Errors() const { return tests::ReadFile(folder_.Path("errors")); }

  const std::string driver_ = tests::TestTarget::FromEnvironment().driver_manifest;
  tests::TemporaryFolder folder_;
};

TEST_F(EndToEndTest, DoctorIsContentWithAPrivateServer) {
  EXPECT_EQ(Run({"doctor", "--driver", driver_}), 0) << Output() << Errors();
  EXPECT_THAT(Output(), AllOf(HasSubstr("ok    a program gets an instance and finds"),
                              Not(HasSubstr("FAIL"))));
}

TEST_F(EndToEndTest, DoctorIsContentWithANamedServer) {
  tests::TestServer server(tests::TestTarget::FromEnvironment());
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 0) << Output() << Errors();
}

TEST_F(EndToEndTest, PingSaysWhoAnswers) {
  tests::TestServer server(tests::TestTarget::FromEnvironment());
  EXPECT_EQ(Run({"ping", "--server", server.endpoint()}), 0) << Output() << Errors();
  EXPECT_THAT(Output(), AllOf(HasSubstr(server.endpoint()), HasSubstr(" answered in ")));
  EXPECT_EQ(Run({"ping", "--server", "tcp:127.0.0.1:1"}), 1);
}

TEST_F(EndToEndTest, RunGivesAProgramItsDevice) {
  EXPECT_EQ(Run({"run", "--driver", driver_, "--", "vulkaninfo", "--summary"}), 0)
      << Output() << Errors();
  EXPECT_THAT(Output(), HasSubstr("deviceName"));
}

}  // namespace
}  // namespace vesper::cli
