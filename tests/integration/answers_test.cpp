// SPDX-License-Identifier: Apache-2.0
// What the guest remembers is what the driver says: a sweep over formats, images and buffers
// (answer_sweep.cpp) prints the same natively, without memory, with an empty one, and with that of
// an earlier process, which needs no round trip for any of it.
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/framework/session_statistics.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

namespace fs = std::filesystem;

class AnswersTest : public VesperOnlyTest {
 protected:
  struct Outcome {
    std::string answers;
    SessionStatistics session;
  };
  using Environment = std::map<std::string, std::string>;

  ChildProcess Start(const std::string& name, const Environment& changes) {
    Environment environment = {{"VESPER_CACHE_DIR", folder_.Path("cache")},
                               {"VESPER_STATS", folder_.Path(name + ".json")}};
    for (const auto& [variable, value] : changes) {
      environment[variable] = value;
    }
    return ChildProcess::Start({VESPER_ANSWER_SWEEP, "guest"}, environment,
                               folder_.Path(name + ".out"), folder_.Path(name + ".err"));
  }

  Outcome Finish(const std::string& name, ChildProcess program) {
    const std::optional<int> status = program.Wait(std::chrono::seconds(120));
    EXPECT_TRUE(status.has_value() && *status == 0) << ReadFile(folder_.Path(name + ".err"));
    Outcome outcome;
    outcome.answers = ReadFile(folder_.Path(name + ".out"));
    const std::vector<SessionStatistics> sessions =
        ReadSessionStatistics(folder_.Path(name + ".json"));
    EXPECT_EQ(1u, sessions.size());
    if (!sessions.empty()) {
      outcome.session = sessions.front();
    }
    return outcome;
  }

  Outcome Run(const std::string& name, const Environment& changes = {}) {
    return Finish(name, Start(name, changes));
  }

  std::string RunNatively() {
    const std::string out = folder_.Path("native.out");
    ChildProcess program = ChildProcess::Start({VESPER_ANSWER_SWEEP, "native"}, {}, out);
    const std::optional<int> status = program.Wait(std::chrono::seconds(120));
    EXPECT_TRUE(status.has_value() && *status == 0);
    return ReadFile(out);
  }

  // Round trips of everything that is remembered.
  static uint64_t Asked(const SessionStatistics& session) {
    uint64_t count = 0;
    for (const auto& [command, calls] : session.calls) {
      count += command.starts_with("vkGet") ? calls : 0;
    }
    return count;
  }

  static uint64_t Answered(const SessionStatistics& session) {
    uint64_t count = 0;
    for (const auto& [command, answers] : session.answered) {
      count += answers;
    }
    return count;
  }

  fs::path TheFile() {
    fs::path path;
    for (const auto& entry : fs::directory_iterator(folder_.Path("cache"))) {
      EXPECT_EQ("", path) << "one file for one server and program";
      path = entry.path();
    }
    return path;
  }

  // Comparing the answers as a whole prints megabytes when it fails.
  static void ExpectSame(const std::string& expected, const std::string& found,
                         const std::string& what) {
    EXPECT_LT(100'000u, expected.size());
    EXPECT_TRUE(expected == found)
        << what << " has other answers, from byte "
        << std::mismatch(expected.begin(), expected.end(), found.begin(), found.end()).first -
               expected.begin();
  }

  const TemporaryFolder folder_;
};

TEST_F(AnswersTest, AreThoseOfTheDriverColdAndWarm) {
  const std::string native = RunNatively();
  const Outcome off = Run("off", {{"VESPER_CACHE", "off"}});
  ExpectSame(native, off.answers, "the guest without memory");
  EXPECT_EQ(0u, Answered(off.session));

  const Outcome cold = Run("cold");
  ExpectSame(native, cold.answers, "the guest with an empty memory");
  EXPECT_LT(0u, Answered(cold.session)) << "some questions of the sweep are the same";
  EXPECT_EQ(Asked(off.session), Asked(cold.session) + Answered(cold.session));

  const Outcome warm = Run("warm");
  ExpectSame(native, warm.answers, "the guest with an earlier process's memory");
  EXPECT_EQ(0u, Asked(warm.session));
  EXPECT_EQ(Asked(off.session), Answered(warm.session));

  const Outcome memory = Run("memory", {{"VESPER_CACHE", "memory"}});
  ExpectSame(native, memory.answers, "the guest that does not use the disk");
  EXPECT_EQ(Asked(cold.session), Asked(memory.session));
}

TEST_F(AnswersTest, SyncAsksForEverything) {
  Run("first");
  const Outcome sync = Run("sync", {{"VESPER_DEBUG", "sync"}});
  EXPECT_EQ(0u, Answered(sync.session));
  EXPECT_LT(0u, Asked(sync.session));
}

TEST_F(AnswersTest, OffWritesNothing) {
  Run("off", {{"VESPER_CACHE", "off"}});
  Run("memory", {{"VESPER_CACHE", "memory"}});
  EXPECT_FALSE(fs::exists(folder_.Path("cache")));
}

TEST_F(AnswersTest, DamagedFilesAreAsIfThereWereNone) {
  const Outcome cold = Run("cold");
  const fs::path path = TheFile();
  const uintmax_t size = fs::file_size(path);
  const auto overwrite = [&path](uintmax_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get() ^ 0x40);
    file.seekp(static_cast<std::streamoff>(offset)).put(byte);
  };
  int runs = 0;
  for (const auto& damage : std::initializer_list<std::function<void()>>{
           [&] { fs::resize_file(path, size / 2); }, [&] { fs::resize_file(path, 0); },
           [&] { overwrite(size / 2); }, [&] { overwrite(3); },
           [&] { std::ofstream(path, std::ios::app) << "more"; }}) {
    damage();
    const Outcome after = Run("damaged" + std::to_string(runs++));
    ExpectSame(cold.answers, after.answers, "the guest after damage " + std::to_string(runs));
    EXPECT_EQ(Asked(cold.session), Asked(after.session)) << "damage " << runs;
    EXPECT_EQ(size, fs::file_size(path)) << "and it is whole again";
  }
}

TEST_F(AnswersTest, TwoProcessesAtOnce) {
  std::vector<ChildProcess> programs;
  for (const char* name : {"one", "two", "three"}) {
    programs.push_back(Start(name, {}));
  }
  const Outcome one = Finish("one", std::move(programs[0]));
  const Outcome two = Finish("two", std::move(programs[1]));
  const Outcome three = Finish("three", std::move(programs[2]));
  ExpectSame(one.answers, two.answers, "the second process");
  ExpectSame(one.answers, three.answers, "the third process");
  const Outcome warm = Run("warm");
  ExpectSame(one.answers, warm.answers, "the one after them");
  EXPECT_EQ(0u, Asked(warm.session));
}

TEST_F(AnswersTest, SavedByAProgramThatNeverDestroysItsInstance) {
  ChildProcess program = ChildProcess::Start({VESPER_GUEST_PROGRAM, "leave"},
                                             {{"VESPER_CACHE_DIR", folder_.Path("cache")}});
  const std::optional<int> status = program.Wait(std::chrono::seconds(60));
  ASSERT_TRUE(status.has_value() && *status == 0);
  EXPECT_TRUE(fs::is_regular_file(TheFile()));
}

}  // namespace
}  // namespace vesper::tests
