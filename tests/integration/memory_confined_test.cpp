// SPDX-License-Identifier: Apache-2.0
// Places where a kernel, a container or an administrator forbids what tracking mapped memory would
// like to use. What is written must arrive all the same, by a way that is allowed; which one it is,
// the guest says in its log. The program that is confined is confined_program.cpp.
#include <signal.h>
#include <sys/wait.h>

#include <memory>
#include <ostream>

#include "tests/framework/memory_tier.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

struct Place {
  friend std::ostream& operator<<(std::ostream& stream, const Place& place) {
    return stream << place.name;
  }

  std::string name;
  std::vector<std::string> words;
  // Does what is denied here leave room for the asynchronous way?
  bool allows_async;
  // Or is that nobody's business, as long as everything is right?
  bool may_have_any = false;
};

std::vector<Place> Places() {
  return {
      {"Free", {}, true},
      {"Nobody", {"nobody"}, true},
      {"NoUserfaultfd", {"nobody", "no-userfaultfd"}, false},
      {"NoPagemapScan", {"no-pagemap-scan"}, false},
      {"NoProc", {"no-proc"}, false},
      {"NothingAtAll", {"no-proc", "nobody", "no-userfaultfd", "no-pagemap-scan"}, false},
      {"LittleAddressSpace", {"address-space=200"}, true, true},
      {"SmallFiles", {"file-size=16384"}, true, true},
      {"FewMappings", {"few-maps"}, true, true},
      {"NoDescriptorToSpare", {"descriptors=6"}, true, true},
      {"TwoDescriptorsToSpare", {"descriptors=8"}, true, true},
  };
}

class MemoryConfinedTest : public VesperOnlyTest, public ::testing::WithParamInterface<Place> {
 protected:
  struct Outcome {
    int status = -1;  // of the exit; -1 for any other end
    std::string log;
  };

  void SetUp() override {
    VesperOnlyTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    // A socket file of this user would be closed to nobody.
    target_.tcp = true;
    server_ = std::make_unique<TestServer>(target_);
  }

  Outcome Run(const std::vector<std::string>& words, const std::string& tier) {
    std::vector<std::string> command = {VESPER_CONFINED_PROGRAM};
    command.insert(command.end(), words.begin(), words.end());
    const std::string log = folder_.Path("log");
    std::remove(log.c_str());
    ChildProcess program = ChildProcess::Start(
        command,
        {{"VESPER_SERVER", server_->endpoint()}, {"VESPER_DEBUG", "log"}, {"VESPER_MEMORY", tier}},
        log, log);
    Outcome outcome;
    const std::optional<int> status = program.Wait(std::chrono::seconds(60));
    if (status.has_value() && WIFEXITED(*status)) {
      outcome.status = WEXITSTATUS(*status);
    }
    program.Kill();
    outcome.log = ReadFile(log);
    return outcome;
  }

  static constexpr int kCannotConfine = 77;  // the program's exit status

  TemporaryFolder folder_;
  std::unique_ptr<TestServer> server_;
};

TEST_P(MemoryConfinedTest, EverythingArrives) {
  const Place& place = GetParam();
  const std::string free_tier = TierInLog(Run({}, "").log);
  const Outcome outcome = Run(place.words, "");
  if (outcome.status == kCannotConfine) {
    GTEST_SKIP() << "This machine doesn't let a test do that: " << outcome.log;
  }
  EXPECT_EQ(0, outcome.status) << outcome.log;
  ASSERT_NE("", free_tier) << "the guest doesn't say which tier it uses";
  if (!place.may_have_any) {
    EXPECT_EQ(place.allows_async ? free_tier : "compare", TierInLog(outcome.log)) << outcome.log;
  }
}

TEST_P(MemoryConfinedTest, EverythingArrivesWhateverIsAskedFor) {
  // What can't be had is replaced, and the log says so.
  for (const std::string tier : {"async", "compare", "fault", "signal"}) {
    SCOPED_TRACE(tier);
    const Outcome outcome = Run(GetParam().words, tier);
    if (outcome.status == kCannotConfine) {
      GTEST_SKIP() << "This machine doesn't let a test do that: " << outcome.log;
    }
    EXPECT_EQ(0, outcome.status) << outcome.log;
    if (tier == "compare") {
      EXPECT_EQ(tier, TierInLog(outcome.log)) << "it needs nothing, so it can always be had";
    } else if (TierInLog(outcome.log) != tier) {
      EXPECT_EQ("compare", TierInLog(outcome.log)) << outcome.log;
      EXPECT_NE(std::string::npos, TierLineInLog(outcome.log).find(';'))
          << "no reason was given: " << outcome.log;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Places, MemoryConfinedTest, ::testing::ValuesIn(Places()),
                         [](const ::testing::TestParamInfo<Place>& place) {
                           return place.param.name;
                         });

}  // namespace
}  // namespace vesper::tests
