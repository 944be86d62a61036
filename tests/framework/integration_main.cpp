// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <exception>
#include <iostream>
#include <memory>
#include <string>

#include "tests/framework/test_server.h"

namespace vesper::tests {
namespace {

// Gives all tests of the program one server, and sees that it ends as it should.
class TargetEnvironment : public ::testing::Environment {
 public:
  void SetUp() override {
    try {
      const TestTarget target = TestTarget::FromEnvironment();
      if (!target.native) {
        server_ = std::make_unique<TestServer>(target);
      }
      UseDriver(target, target.native ? "" : server_->endpoint());
    } catch (const std::exception& error) {
      FAIL() << error.what();
    }
  }

  void TearDown() override {
    if (server_ == nullptr) {
      return;
    }
    server_->process().Signal(SIGTERM);
    const std::optional<int> status = server_->process().Wait(std::chrono::seconds(20));
    EXPECT_TRUE(status.has_value()) << "vesperd did not end on SIGTERM.";
    if (status.has_value()) {
      EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 0)
          << "vesperd ended with the wait status " << *status << ".";
    }
    // A worker that falls after its guest has gone fails no test by itself.
    for (const char* phrase : {"killed by signal", "unexpected status"}) {
      EXPECT_EQ(std::string::npos, server_->Log().find(phrase))
          << "A worker ended badly: " << phrase << ".";
    }
    if (::testing::UnitTest::GetInstance()->Failed()) {
      std::cerr << "--- log of vesperd ---\n" << server_->Log() << "--- end of the log ---\n";
    }
    server_.reset();
  }

 private:
  std::unique_ptr<TestServer> server_;
};

}  // namespace
}  // namespace vesper::tests

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new vesper::tests::TargetEnvironment);
  return RUN_ALL_TESTS();
}
