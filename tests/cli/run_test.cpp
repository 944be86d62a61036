// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/cli/tool.h"
#include "transport/stream.h"

namespace vesper::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using tests::ChildProcess;
using tests::Descendants;
using tests::Eventually;
using tests::IsRunning;

constexpr char kServer[] = "unix:/nowhere/socket";

class RunTest : public ToolTest {
 protected:
  // The output once it has a whole line in it.
  std::string FirstLine() {
    EXPECT_TRUE(Eventually([&] { return Output().find('\n') != std::string::npos; })) << Errors();
    return Output().substr(0, Output().find('\n'));
  }

  // A shell script that prints the server's endpoint and then lasts until Go().
  std::string Waiting() const {
    return "echo $VESPER_SERVER; while [ ! -e " + folder_.Path("go") + " ]; do sleep 0.01; done";
  }
  void Go() const { std::ofstream(folder_.Path("go")) << "now"; }

  // Asks the scripted worker of the server at `endpoint`.
  static std::string Ask(const std::string& endpoint, const std::string& line) {
    std::string error;
    const auto connection = transport::Connect(*transport::Endpoint::Parse(endpoint, &error),
                                               std::chrono::seconds(10), &error);
    if (!connection) {
      return error;
    }
    const std::string text = line + "\n";
    const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
    connection->Write(parts);
    std::string answer;
    std::byte byte;
    while (connection->ReadSome({&byte, 1}) == 1 && static_cast<char>(byte) != '\n') {
      answer += static_cast<char>(byte);
    }
    return answer;
  }
};

// With a server named, and with a private one.
class RunBothWaysTest : public RunTest, public testing::WithParamInterface<bool> {
 protected:
  int RunProgram(std::vector<std::string> words) {
    words.insert(words.begin(), "run");
    if (GetParam()) {
      words.insert(words.begin() + 1, {"--server", kServer});
    }
    return Run(words);
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, RunBothWaysTest, testing::Bool(), [](const auto& test) {
  return test.param ? "NamedServer" : "PrivateServer";
});

TEST_P(RunBothWaysTest, ExitStatusIsTheProgramsOwn) {
  EXPECT_EQ(RunProgram({"--", "/bin/sh", "-c", "exit 0"}), 0);
  EXPECT_EQ(RunProgram({"--", "/bin/sh", "-c", "exit 7"}), 7);
  EXPECT_EQ(RunProgram({"/bin/sh", "-c", "exit 255"}), 255);
}

TEST_P(RunBothWaysTest, ArgumentsReachTheProgramAsTheyAre) {
  const std::vector<std::string> arguments = {"two words", "",       "--server", "x",
                                              "--",        "--help", "$HOME",    "-v=\"q\""};
  for (const bool has_marker : {true, false}) {
    std::vector<std::string> words = {"/usr/bin/printf", "[%s]\n"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    if (has_marker) {
      words.insert(words.begin(), "--");
    }
    EXPECT_EQ(RunProgram(words), 0) << Errors();
    std::string expected;
    for (const std::string& argument : arguments) {
      expected += "[" + argument + "]\n";
    }
    EXPECT_EQ(Output(), expected);
  }
}

TEST_P(RunBothWaysTest, ProgramsAreFoundInThePath) {
  EXPECT_EQ(RunProgram({"--", "sh", "-c", "exit 3"}), 3);
}

TEST_P(RunBothWaysTest, ProgramThatIsNotThere) {
  EXPECT_EQ(RunProgram({"--", "/no/such/program"}), 127);
  EXPECT_EQ(Errors(), "vesper run: cannot run /no/such/program: No such file or directory\n");
}

TEST_P(RunBothWaysTest, ProgramThatCannotBeExecuted) {
  EXPECT_EQ(RunProgram({"--", Manifest()}), 126);
  EXPECT_THAT(Errors(), HasSubstr("cannot run"));
}

TEST_P(RunBothWaysTest, LoaderIsPointedAtTheGuestDriver) {
  EXPECT_EQ(RunProgram({"--", "/bin/sh", "-c",
                        "echo $VK_DRIVER_FILES; echo $VK_ICD_FILENAMES; echo $VESPER_SERVER"}),
            0);
  EXPECT_THAT(Output(), StartsWith(Manifest() + "\n" + Manifest() + "\nunix:/"));
}

TEST_P(RunBothWaysTest, MissingGuestDriverIsOneSentence) {
  std::filesystem::remove(Manifest());
  EXPECT_EQ(RunProgram({"--", "/bin/sh", "-c", "echo ran"}), 125);
  EXPECT_THAT(Errors(), AllOf(HasSubstr(Manifest()), HasSubstr("install")));
  EXPECT_EQ(Output(), "");
}

TEST_F(RunTest, WithANamedServerTheToolBecomesTheProgram) {
  ChildProcess process = Start({"run", "--server", kServer, "--", "/bin/sh", "-c", "echo $$"});
  const std::string pid = std::to_string(process.pid());
  EXPECT_EQ(ExitStatus(process), 0);
  EXPECT_EQ(Output(), pid + "\n");
}

TEST_F(RunTest, ServerIsNamedByOptionBeforeEnvironment) {
  EXPECT_EQ(Run({"run", "--", "/bin/sh", "-c", "echo $VESPER_SERVER"},
                {{"VESPER_SERVER", "tcp:127.0.0.1:1"}}),
            0);
  EXPECT_EQ(Output(), "tcp:127.0.0.1:1\n");
  EXPECT_EQ(Run({"run", "--server=" + std::string(kServer), "/bin/sh", "-c", "echo $VESPER_SERVER"},
                {{"VESPER_SERVER", "tcp:127.0.0.1:1"}}),
            0);
  EXPECT_EQ(Output(), std::string(kServer) + "\n");
}

TEST_F(RunTest, NonsenseIsOneSentence) {
  EXPECT_EQ(Run({"run", "--server", "somewhere", "--", "/bin/true"}), 2);
  EXPECT_THAT(Errors(), HasSubstr("\"somewhere\" is no endpoint"));
  EXPECT_EQ(Run({"run", "--", "/bin/true"}, {{"VESPER_SERVER", "somewhere"}}), 125);
  EXPECT_THAT(Errors(), HasSubstr("\"somewhere\" is no endpoint"));
  EXPECT_EQ(Run({"run"}), 2);
  EXPECT_THAT(Errors(), HasSubstr("PROGRAM"));
  EXPECT_EQ(Run({
                "run",
                "--",
            }),
            2);
  EXPECT_EQ(Run({"run", "--frobnicate", "/bin/true"}), 2);
  EXPECT_EQ(Run({"run", "--server", kServer, "--device", "0", "/bin/true"}), 2);
  EXPECT_EQ(Run({"run", "--server"}), 2);
}

TEST_F(RunTest, HelpAndVersion) {
  EXPECT_EQ(Run({"run", "--help"}), 0);
  EXPECT_THAT(Output(), HasSubstr("PROGRAM"));
  EXPECT_EQ(Run({"--version"}), 0);
  EXPECT_THAT(Output(), StartsWith("vesper "));
}

TEST_F(RunTest, PrivateServerIsThereForTheProgramAndGoneAfterwards) {
  ChildProcess process = Start(
      {"run", "--driver", "/dev/null", "--device", "the one", "--", "/bin/sh", "-c", Waiting()});
  const std::string endpoint = FirstLine();
  EXPECT_THAT(Ask(endpoint, "options"), StartsWith("/dev/null,the one,unix pid "));
  EXPECT_EQ(Ask(endpoint, "variable NOTIFY_SOCKET"), "");
  const auto folders = PrivateFolders();
  ASSERT_EQ(folders.size(), 1u);
  struct stat status{};
  ASSERT_EQ(::stat(folders.front().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  const std::vector<pid_t> processes = Descendants(process.pid());

  Go();
  EXPECT_EQ(ExitStatus(process), 0) << Errors();
  EXPECT_TRUE(PrivateFolders().empty());
  for (const pid_t pid : processes) {
    EXPECT_FALSE(IsRunning(pid));
  }
  EXPECT_EQ(Errors(), "");
}

TEST_F(RunTest, VerboseShowsTheServersLog) {
  EXPECT_EQ(Run({"run", "--verbose", "/bin/true"}), 0);
  EXPECT_THAT(Errors(), HasSubstr("listening on unix:"));
}

TEST_F(RunTest, StandardInputIsTheProgramsOwn) {
  std::ofstream(folder_.Path("input")) << "some words\n";
  EXPECT_EQ(tests::ChildProcess::Start({"/bin/sh", "-c",
                                        "VESPER_SERVER= " + Tool() + " run -- cat < " +
                                            folder_.Path("input") + " > " + folder_.Path("copy")})
                .Wait(std::chrono::seconds(50)),
            0);
  EXPECT_EQ(tests::ReadFile(folder_.Path("copy")), "some words\n");
}

TEST_F(RunTest, DeathBySignalIsPassedOn) {
  EXPECT_EQ(Run({"run", "/bin/sh", "-c", "kill -KILL $$"}), 128 + SIGKILL);
  EXPECT_EQ(Run({"run", "/bin/sh", "-c", "kill -SEGV $$"}), 128 + SIGSEGV);
  EXPECT_TRUE(PrivateFolders().empty());
}

TEST_F(RunTest, SignalsReachTheProgram) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const std::string name = signal == SIGINT ? "INT" : signal == SIGTERM ? "TERM" : "HUP";
    ChildProcess process =
        Start({"run", "--", "/bin/sh", "-c",
               "trap 'exit 42' " + name + "; echo ready; while :; do sleep 0.01; done"});
    EXPECT_EQ(FirstLine(), "ready");
    process.Signal(signal);
    EXPECT_EQ(ExitStatus(process), 42) << name << "\n" << Errors();
    EXPECT_TRUE(PrivateFolders().empty());
  }
}

TEST_F(RunTest, ProgramThatDiesOfATerminationLeavesNothingBehind) {
  ChildProcess process = Start({"run", "--", "/bin/sh", "-c", "echo ready; exec sleep 1000"});
  EXPECT_EQ(FirstLine(), "ready");
  process.Signal(SIGTERM);
  EXPECT_EQ(ExitStatus(process), 128 + SIGTERM);
  EXPECT_TRUE(PrivateFolders().empty());
}

TEST_F(RunTest, PrivateServerDiesWithTheTool) {
  ChildProcess process = Start({"run", "--", "/bin/sh", "-c", "echo $VESPER_SERVER; exec sleep 2"});
  FirstLine();
  const std::vector<pid_t> processes = Descendants(process.pid());
  ASSERT_EQ(processes.size(), 2u);
  process.Kill();
  EXPECT_TRUE(Eventually([&] { return !IsRunning(processes[0]) || !IsRunning(processes[1]); }));
}

TEST_F(RunTest, MissingServerProgramIsOneSentence) {
  std::filesystem::remove(Server());
  EXPECT_EQ(Run({"run", "/bin/sh", "-c", "echo ran"}), 125);
  EXPECT_THAT(Errors(), AllOf(HasSubstr(Server()), HasSubstr("--server")));
  EXPECT_EQ(Output(), "");
  EXPECT_TRUE(PrivateFolders().empty());
}

TEST_F(RunTest, ServerThatCannotStartIsOneSentence) {
  std::filesystem::remove(Server());
  std::ofstream(Server()) << "#!/bin/sh\nexit 1\n";
  std::filesystem::permissions(Server(), std::filesystem::perms::owner_all);
  EXPECT_EQ(Run({"run", "/bin/sh", "-c", "echo ran"}), 125);
  EXPECT_EQ(Errors(), "vesper run: the private server ended before it was ready\n");
  EXPECT_EQ(Output(), "");
  EXPECT_TRUE(PrivateFolders().empty());
}

TEST_F(RunTest, LongFolderNamesDoNotBreakTheSocket) {
  const std::string deep = folder_.Path(std::string(120, 'd'));
  std::filesystem::create_directory(deep);
  EXPECT_EQ(Run({"run", "/bin/sh", "-c", "echo $VESPER_SERVER"},
                {{"XDG_RUNTIME_DIR", deep}, {"TMPDIR", deep}}),
            0)
      << Errors();
  EXPECT_THAT(Output(), StartsWith("unix:/tmp/vesper-"));
}

TEST_F(RunTest, ExportedGuestDriverIsNotTheServersDriver) {
  ChildProcess process = Start({"run", "--", "/bin/sh", "-c", Waiting()},
                               {{"VK_DRIVER_FILES", Manifest()}, {"VK_ICD_FILENAMES", "/other"}});
  const std::string endpoint = FirstLine();
  EXPECT_EQ(Ask(endpoint, "variable VK_DRIVER_FILES"), "");
  EXPECT_EQ(Ask(endpoint, "variable VK_ICD_FILENAMES"), "/other");
  Go();
  EXPECT_EQ(ExitStatus(process), 0) << Errors();
}

}  // namespace
}  // namespace vesper::cli
