// SPDX-License-Identifier: Apache-2.0
// Whether commands pass through shared rings, and why not; and what a guest can do with them that
// means harm.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstdlib>

#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

class RingsTest : public VesperOnlyTest {
 protected:
  void TearDown() override {
    if (!old_endpoint_.empty()) {
      UseDriver(target_, old_endpoint_);
    }
  }

  void Serve(const std::vector<std::string>& arguments = {}, bool tcp = false) {
    TestTarget target = target_;
    target.tcp = tcp;
    server_ = std::make_unique<TestServer>(target, arguments);
  }

  // What the driver of a program says about its connection.
  std::string Say(std::map<std::string, std::string> environment = {},
                  const std::string& before = "true") const {
    const TemporaryFolder folder;
    environment["VESPER_SERVER"] = server_->endpoint();
    environment["VESPER_DEBUG"] = "log";
    ChildProcess guest = ChildProcess::Start(
        {"/bin/sh", "-c", before + "; exec \"$0\" create", VESPER_GUEST_PROGRAM}, environment,
        folder.Path("out"), folder.Path("err"));
    const std::optional<int> status = guest.Wait(seconds(60));
    EXPECT_TRUE(status && WIFEXITED(*status) && WEXITSTATUS(*status) == 0);
    return ReadFile(folder.Path("err"));
  }

  void ExpectLogged(const std::string& words) const {
    EXPECT_TRUE(Eventually([&] { return server_->Log().find(words) != std::string::npos; }))
        << server_->Log();
  }

  static void ExpectWorks(Gpu& gpu, uint32_t value) {
    const Buffer buffer = MakeHostBuffer(gpu, 4096);
    gpu.Execute([&](VkCommandBuffer commands) {
      gpu.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, value);
    });
    EXPECT_EQ(value, buffer.As<uint32_t>()[1023]);
  }

  std::string old_endpoint_;
  std::unique_ptr<TestServer> server_;
};

TEST_F(RingsTest, AreUsedOverUnixSockets) {
  Serve();
  EXPECT_THAT(Say(), HasSubstr("commands pass through shared rings"));
  ExpectLogged("commands pass through shared rings");
}

TEST_F(RingsTest, AreNotUsedWhenTheUserWantsTheStream) {
  Serve();
  EXPECT_THAT(Say({{"VESPER_TRANSPORT", "stream"}}),
              HasSubstr("commands pass through the connection: VESPER_TRANSPORT=stream"));
  ExpectLogged("commands pass through the connection: the guest does not offer any");
}

TEST_F(RingsTest, AreNotUsedWhenTheServerMayNot) {
  Serve({"--rings=never"});
  EXPECT_THAT(Say(), HasSubstr("commands pass through the connection: the server was told not to"));
}

TEST_F(RingsTest, AreNotUsedWhereFilesMayNotBecomeLarge) {
  Serve();
  EXPECT_THAT(Say({}, "ulimit -f 1000"),
              HasSubstr("commands pass through the connection: files of this process may not"));
}

TEST_F(RingsTest, AreNotUsedOverTcp) {
  Serve({}, true);
  EXPECT_THAT(Say(), HasSubstr("commands pass through the connection: it passes no files"));
}

// The program itself writes to the memory that its session shares with the host, at random: rings,
// words, progress and its own allocations. VESPER_TEST_HOSTILE_SECONDS of it.
TEST_F(RingsTest, AScribblingGuestHarmsOnlyItself) {
  Serve();
  old_endpoint_ = getenv("VESPER_SERVER");
  UseDriver(target_, server_->endpoint());
  Gpu bystander;
  bystander.Open();
  const char* wanted = std::getenv("VESPER_TEST_HOSTILE_SECONDS");
  const auto end =
      std::chrono::steady_clock::now() + seconds(wanted == nullptr ? 3 : std::atoi(wanted));
  uint32_t round = 0;
  uint32_t ready = 0;
  do {
    ++round;
    const TemporaryFolder folder;
    ChildProcess guest = ChildProcess::Start({VESPER_SCRIBBLING_PROGRAM, std::to_string(round)},
                                             {{"VESPER_SERVER", server_->endpoint()}},
                                             folder.Path("out"), folder.Path("err"));
    // It may hang as well: what it waits for has been scribbled over.
    guest.Wait(std::chrono::milliseconds(1000));
    guest.Kill();
    const std::string output = ReadFile(folder.Path("out"));
    EXPECT_THAT(output, testing::Not(HasSubstr("no rings")));
    ready += output.starts_with("ready") ? 1 : 0;
    ExpectWorks(bystander, round);
  } while (std::chrono::steady_clock::now() < end || ready == 0);
  {
    Gpu late;
    late.Open();
    ExpectWorks(late, 1);
  }
  EXPECT_TRUE(server_->process().Running());
  // A driver may crash on what a hostile program asks of it. The worker's own memory is its own.
  for (const char* kind : {"heap-", "stack-", "global-", "container-", "double-free"}) {
    EXPECT_THAT(server_->Log(), testing::Not(HasSubstr(std::string("AddressSanitizer: ") + kind)));
  }
}

}  // namespace
}  // namespace vesper::tests
