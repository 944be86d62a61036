// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include "tests/framework/memory_tier.h"
#include "tests/framework/test_server.h"

namespace vesper::tests {
namespace {

// What CTest reports as skipped.
constexpr int kSkippedStatus = 77;

// Gives all tests of the program one server, and sees that it ends as it should. With
// VESPER_MEMORY, or VESPER_DOWNLOAD=always, sees that the guest can do what is asked for: a machine
// on which it can't has not passed. It can always do without sharing (VESPER_MEMORY=shadow).
class TargetEnvironment : public ::testing::Environment {
 public:
  void SetUp() override {
    try {
      const TestTarget target = TestTarget::FromEnvironment();
      if (!target.native) {
        server_ = std::make_unique<TestServer>(target);
      }
      UseDriver(target, target.native ? "" : server_->endpoint());
      // What guests remember stays among those of this program.
      setenv("VESPER_CACHE_DIR", cache_.Path("cache").c_str(), 0);
      const char* tier = std::getenv("VESPER_MEMORY");
      if (!target.native && tier != nullptr && *tier != '\0' &&
          std::string_view(tier) != "shadow") {
        ExpectTier(tier);
      }
      const char* download = std::getenv("VESPER_DOWNLOAD");
      if (!target.native && !lacks_tier_ && download != nullptr &&
          std::string_view(download) == "always") {
        ExpectDownloads();
      }
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
    if (::testing::UnitTest::GetInstance()->Failed() ||
        std::getenv("VESPER_TEST_SERVER_LAYERS") != nullptr) {
      std::cerr << "--- log of vesperd ---\n" << server_->Log() << "--- end of the log ---\n";
    }
    server_.reset();
  }

  bool lacks_tier() const { return lacks_tier_; }

 private:
  void ExpectTier(const std::string& wanted) {
    const std::string log = LogOfAnInstance();
    if (TierInLog(log) != wanted) {
      lacks_tier_ = true;
      std::cerr << "Not tested, since this machine can't have VESPER_MEMORY=" << wanted
                << ". The guest says: " << TierLineInLog(log) << "\n";
      GTEST_SKIP();
    }
  }

  void ExpectDownloads() {
    const std::string line = DownloadsInLog(LogOfAnInstance());
    if (line.find("all is fetched") == std::string::npos) {
      lacks_tier_ = true;
      std::cerr << "Not tested, since this machine can't have VESPER_DOWNLOAD=always. The guest "
                << "says: " << line << "\n";
      GTEST_SKIP();
    }
  }

  TemporaryFolder cache_;
  std::unique_ptr<TestServer> server_;
  bool lacks_tier_ = false;
};

}  // namespace
}  // namespace vesper::tests

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  auto* environment = new vesper::tests::TargetEnvironment;  // GoogleTest's from now on.
  ::testing::AddGlobalTestEnvironment(environment);
  const int status = RUN_ALL_TESTS();
  return status == 0 && environment->lacks_tier() ? vesper::tests::kSkippedStatus : status;
}
