// SPDX-License-Identifier: Apache-2.0
// The front as people meet it: a real server process, with workers that obey the test
// (scripted_worker.cpp).
#include "server/front.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <stdexcept>

#include "proto/frame.h"
#include "proto/setup.h"
#include "tests/framework/process.h"
#include "transport/line_connection.h"
#include "transport/stream.h"

namespace vesper::server {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

using tests::ChildProcess;
using tests::Descendants;
using tests::Eventually;
using tests::IsRunning;
using transport::Connection;
using transport::Endpoint;
using transport::UniqueFd;

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kLimit{20};

class FrontTest : public testing::Test {
 protected:
  // Starts a server that listens on the socket of this test (and elsewhere, if `arguments` say so).
  void Start(std::vector<std::string> arguments = {},
             const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), {SCRIPTED_VESPERD, "--listen", "unix:" + path_});
    StartAs(arguments, environment);
    ASSERT_TRUE(Eventually([&] { return !server_.Running() || LogHas("listening on"); }));
    ASSERT_TRUE(server_.Running()) << Log();
  }

  void StartAs(const std::vector<std::string>& arguments,
               const std::map<std::string, std::string>& environment = {}) {
    server_ = ChildProcess::Start(arguments, environment, log_, log_);
  }

  // The exit status of the server, or -1 if it does not end or dies of a signal.
  int ExitStatus() {
    const std::optional<int> status = server_.Wait(kLimit);
    return status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
  }

  std::unique_ptr<Connection> Join() { return JoinAt("unix:" + path_); }

  static std::unique_ptr<Connection> JoinAt(const std::string& endpoint) {
    std::string error;
    auto connection = transport::Connect(*Endpoint::Parse(endpoint, &error), kLimit, &error);
    if (!connection) {
      throw std::runtime_error(error);
    }
    return connection;
  }

  static bool Say(Connection& connection, const std::string& line) {
    const std::string text = line + "\n";
    const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
    return connection.Write(parts);
  }

  static std::string Ask(Connection& connection, const std::string& line) {
    std::string answer;
    std::byte byte;
    Say(connection, line);
    while (connection.ReadSome({&byte, 1}) == 1 && static_cast<char>(byte) != '\n') {
      answer += static_cast<char>(byte);
    }
    return answer;
  }

  // True when the stream ends, as opposed to an answer.
  static bool Ends(Connection& connection) {
    std::byte byte;
    return connection.ReadSome({&byte, 1}) == 0;
  }

  // The sentence with which the server refuses a guest; then the stream must end.
  static std::string RefusalTo(Connection& connection) {
    proto::FrameSplitter splitter(proto::kMaxSetupBytes);
    while (true) {
      if (const std::optional<proto::Frame> frame = splitter.Next()) {
        EXPECT_EQ(frame->type, proto::FrameType::kRefusal);
        EXPECT_TRUE(Ends(connection));
        return proto::DecodeRefusal(frame->payload);
      }
      const size_t count = connection.ReadSome(splitter.BeginReceive());
      if (count == 0) {
        return "nothing came";
      }
      splitter.EndReceive(count);
    }
  }

  std::vector<pid_t> Workers() const { return Descendants(server_.pid()); }
  std::string Log() const { return tests::ReadFile(log_); }
  bool LogHas(const std::string& text) const { return Log().find(text) != std::string::npos; }
  bool LogComesToHave(const std::string& text) const {
    return Eventually([&] { return LogHas(text); });
  }

  size_t OpenDescriptors() const {
    const auto folder = "/proc/" + std::to_string(server_.pid()) + "/fd";
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder),
                                             std::filesystem::directory_iterator()));
  }

  tests::TemporaryFolder folder_;
  const std::string path_ = folder_.Path("socket");
  const std::string log_ = folder_.Path("log");
  ChildProcess server_;
};

TEST_F(FrontTest, ServesEachGuestInAProcessOfItsOwn) {
  Start({"--driver", "/dev/null", "--device", "my GPU"});
  const auto one = Join();
  const auto two = Join();
  EXPECT_EQ(Ask(*one, "echo first"), "first");
  EXPECT_EQ(Ask(*two, "echo second"), "second");
  EXPECT_EQ(Workers().size(), 2u);
  EXPECT_EQ(Ask(*one, "options"), "/dev/null,my GPU,unix pid " + std::to_string(::getpid()) +
                                      " uid " + std::to_string(::getuid()));
  EXPECT_TRUE(LogHas("session 1: unix pid " + std::to_string(::getpid())));
  EXPECT_TRUE(LogHas("session 2: "));
}

TEST_F(FrontTest, ListensInSeveralPlaces) {
  Start({"--listen", "tcp:127.0.0.1:0", "--listen", "unix:" + path_ + "2"});
  ASSERT_TRUE(LogComesToHave("socket2"));
  const std::string log = Log();
  const size_t tcp = log.find("tcp:127.0.0.1:");
  ASSERT_NE(tcp, std::string::npos) << log;
  const auto over_tcp = JoinAt(log.substr(tcp, log.find('\n', tcp) - tcp));
  const auto over_unix = JoinAt("unix:" + path_ + "2");
  EXPECT_EQ(Ask(*over_tcp, "echo a"), "a");
  EXPECT_EQ(Ask(*over_unix, "echo b"), "b");
  EXPECT_THAT(Ask(*over_tcp, "options"), MatchesRegex(",,tcp 127\\.0\\.0\\.1:[0-9]+"));
}

TEST_F(FrontTest, WorkersInheritNothingButTheConnection) {
  Start({}, {{"VESPER_SERVER", "unix:/nowhere"}, {"VK_LOADER_DRIVERS_DISABLE", "*other*"}});
  const std::array guests = {Join(), Join(), Join()};
  for (const auto& guest : guests) {
    EXPECT_EQ(Ask(*guest, "descriptors"), "0 1 2 3");
    EXPECT_EQ(Ask(*guest, "variable VESPER_SERVER"), "");
    EXPECT_EQ(Ask(*guest, "variable VK_LOADER_DRIVERS_DISABLE"), "*other*,*vesper_icd*");
  }
}

TEST_F(FrontTest, LogsWhySessionsEnd) {
  Start();
  const std::pair<const char*, const char*> ends[] = {
      {"exit 0", "the guest left"},
      {"exit 1", "the connection to the guest was lost"},
      {"exit 2", "the guest sent something invalid"},
      {"exit 3", "there is no usable driver or device"},
      {"exit 4", "the device was lost or the driver failed"},
      {"exit 77", "its worker ended with the unexpected status 77"},
      {"abort", "its worker was killed by signal 6"}};
  for (const auto& [command, reason] : ends) {
    const auto guest = Join();
    ASSERT_TRUE(Say(*guest, command));
    EXPECT_TRUE(Ends(*guest));
    EXPECT_TRUE(LogComesToHave(reason)) << command << "\n" << Log();
  }
}

TEST_F(FrontTest, GuestThatLeavesTakesItsWorkerAlong) {
  Start();
  auto guest = Join();
  EXPECT_EQ(Ask(*guest, "echo x"), "x");
  guest.reset();
  EXPECT_TRUE(LogComesToHave("ended after"));
  EXPECT_TRUE(LogHas("the guest left"));
  EXPECT_TRUE(Workers().empty());
}

TEST_F(FrontTest, KilledWorkerEndsItsSessionAndNoOther) {
  Start();
  const auto victim = Join();
  EXPECT_EQ(Ask(*victim, "echo x"), "x");
  const std::vector<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 1u);
  const auto other = Join();
  EXPECT_EQ(Ask(*other, "echo y"), "y");

  ::kill(workers.front(), SIGKILL);
  EXPECT_TRUE(Ends(*victim));
  EXPECT_TRUE(LogComesToHave("session 1: unix pid " + std::to_string(::getpid()) + " uid " +
                             std::to_string(::getuid()) + " ended after"));
  EXPECT_TRUE(LogHas("killed by signal 9"));
  EXPECT_EQ(Ask(*other, "echo still here"), "still here");
  EXPECT_EQ(Ask(*Join(), "echo newcomer"), "newcomer");
}

TEST_F(FrontTest, StopsInOrderOnSigtermAndSigint) {
  for (const int signal : {SIGTERM, SIGINT}) {
    std::filesystem::remove(log_);
    Start();
    const auto guest = Join();
    EXPECT_EQ(Ask(*guest, "echo x"), "x");
    server_.Signal(signal);
    EXPECT_EQ(ExitStatus(), 0) << Log();
    EXPECT_TRUE(Ends(*guest));
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
}

TEST_F(FrontTest, StopsWithoutSessions) {
  Start();
  server_.Signal(SIGTERM);
  EXPECT_EQ(ExitStatus(), 0) << Log();
  EXPECT_TRUE(LogHas("stopped"));
}

TEST_F(FrontTest, KillsWorkersThatDoNotStop) {
  Start();
  const auto guest = Join();
  EXPECT_EQ(Ask(*guest, "stubborn"), "ok");
  const std::vector<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 1u);
  server_.Signal(SIGTERM);
  EXPECT_EQ(ExitStatus(), 0) << Log();
  EXPECT_FALSE(IsRunning(workers.front()));
  EXPECT_TRUE(LogHas("did not end in time"));
}

TEST_F(FrontTest, SecondSignalDoesNotWait) {
  Start();
  const auto guest = Join();
  EXPECT_EQ(Ask(*guest, "stubborn"), "ok");
  server_.Signal(SIGINT);
  ASSERT_TRUE(LogComesToHave("stopping on signal"));
  server_.Signal(SIGINT);
  EXPECT_EQ(ExitStatus(), 0) << Log();
  EXPECT_FALSE(LogHas("did not end in time"));
}

TEST_F(FrontTest, WorkersDoNotOutliveAFrontThatWasKilled) {
  Start();
  const auto guest = Join();
  EXPECT_EQ(Ask(*guest, "echo x"), "x");
  const std::vector<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 1u);
  server_.Signal(SIGKILL);
  EXPECT_TRUE(Ends(*guest));
  EXPECT_TRUE(Eventually([&] { return !IsRunning(workers.front()); }));
}

TEST_F(FrontTest, RefusesMoreSessionsThanAllowed) {
  Start({"--max-sessions", "2"});
  auto one = Join();
  const auto two = Join();
  EXPECT_EQ(Ask(*one, "echo 1"), "1");
  EXPECT_EQ(Ask(*two, "echo 2"), "2");
  const auto three = Join();
  EXPECT_EQ(RefusalTo(*three), "the server has no room for another session; all 2 are taken");
  EXPECT_TRUE(LogComesToHave("no room for another session"));
  EXPECT_EQ(Ask(*two, "echo still served"), "still served");
  one.reset();
  ASSERT_TRUE(LogComesToHave("session 1: unix pid " + std::to_string(::getpid()) + " uid " +
                             std::to_string(::getuid()) + " ended"));
  EXPECT_EQ(Ask(*Join(), "echo room again"), "room again");
}

TEST_F(FrontTest, LeaksNoDescriptors) {
  Start();
  EXPECT_EQ(Ask(*Join(), "echo warm"), "warm");
  ASSERT_TRUE(Eventually([&] { return Workers().empty(); }));
  const size_t before = OpenDescriptors();
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Ask(*Join(), "echo x"), "x");
  }
  EXPECT_TRUE(LogComesToHave("session 51: "));
  EXPECT_TRUE(Eventually([&] { return Workers().empty(); }));
  // The first worker's may still have been open when they were counted.
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() <= before; }))
      << OpenDescriptors() << " are open, it were " << before;
}

TEST_F(FrontTest, KeepsNoCopyOfAConnection) {
  Start();
  const size_t before = OpenDescriptors();
  const std::array guests = {Join(), Join(), Join()};
  for (const auto& guest : guests) {
    EXPECT_EQ(Ask(*guest, "echo x"), "x");
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(FrontTest, RefusesTheNetworkUnlessAskedByName) {
  StartAs({SCRIPTED_VESPERD, "--listen", "tcp:0.0.0.0:0"});
  EXPECT_EQ(ExitStatus(), 1);
  EXPECT_THAT(Log(), HasSubstr("refusing to listen on tcp:0.0.0.0:0"));
  EXPECT_THAT(Log(), HasSubstr("--allow-plaintext"));
  EXPECT_THAT(Log(), Not(HasSubstr("listening on")));
}

TEST_F(FrontTest, ServesTheNetworkWhenAskedByName) {
  // The wildcard address includes this machine, so no other network is touched.
  Start({"--listen", "tcp:0.0.0.0:0", "--allow-plaintext"});
  ASSERT_TRUE(LogComesToHave("listening on tcp:0.0.0.0:"));
  const std::string log = Log();
  const size_t port = log.find("tcp:0.0.0.0:") + 12;
  const auto guest = JoinAt("tcp:127.0.0.1:" + log.substr(port, log.find('\n', port) - port));
  EXPECT_EQ(Ask(*guest, "echo x"), "x");
}

TEST_F(FrontTest, TwoServersDoNotShareASocket) {
  Start();
  ChildProcess second = ChildProcess::Start({SCRIPTED_VESPERD, "--listen", "unix:" + path_}, {},
                                            folder_.Path("log2"), folder_.Path("log2"));
  const std::optional<int> status = second.Wait(kLimit);
  ASSERT_TRUE(status && WIFEXITED(*status));
  EXPECT_EQ(WEXITSTATUS(*status), 1);
  EXPECT_THAT(tests::ReadFile(folder_.Path("log2")), HasSubstr("another server listens there"));
  EXPECT_EQ(Ask(*Join(), "echo x"), "x");
}

TEST_F(FrontTest, ReplacesTheSocketOfAServerThatWasKilled) {
  Start();
  server_.Kill();
  ASSERT_TRUE(std::filesystem::exists(path_));
  std::filesystem::remove(log_);
  Start();
  EXPECT_EQ(Ask(*Join(), "echo x"), "x");
}

TEST_F(FrontTest, SocketModeIsAsAsked) {
  Start({"--socket-mode", "0660"});
  struct stat status{};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660u);
}

TEST_F(FrontTest, TellsTheServiceManagerWhenItIsReady) {
  const std::string manager_path = folder_.Path("notify");
  const UniqueFd manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  manager_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(manager.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  Start({}, {{"NOTIFY_SOCKET", manager_path}});
  char news[64] = {};
  ASSERT_GT(::recv(manager.get(), news, sizeof(news) - 1, 0), 0);
  EXPECT_STREQ(news, "READY=1");
  EXPECT_EQ(Ask(*Join(), "variable NOTIFY_SOCKET"), "");
}

TEST_F(FrontTest, UsesTheSocketsOfItsServiceManager) {
  std::string error;
  const auto listener =
      transport::Listener::Open(*Endpoint::Parse("unix:" + path_, &error), &error);
  ASSERT_TRUE(listener) << error;
  // A shell plays the manager: the descriptor gets the number 3, and LISTEN_PID is the process that
  // the shell turns into.
  const UniqueFd inherited(::fcntl(listener->Descriptor(), F_DUPFD, 100));
  StartAs({"/bin/bash", "-c",
           "exec 3<&" + std::to_string(inherited.get()) + "; LISTEN_FDS=1 LISTEN_PID=$$ exec " +
               SCRIPTED_VESPERD});
  const auto guest = Join();
  EXPECT_EQ(Ask(*guest, "echo x"), "x");
  EXPECT_EQ(Ask(*guest, "variable LISTEN_FDS"), "");
  EXPECT_EQ(Ask(*guest, "descriptors"), "0 1 2 3");
  EXPECT_TRUE(LogHas("listening on unix:" + path_));
}

// A virtual machine's line, as its emulator connects it: guests call on it one after the other.
class LineFrontTest : public FrontTest {
 protected:
  void ConnectLine() {
    line_.Reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::connect(line_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }

  std::unique_ptr<Connection> Call() {
    std::string error;
    transport::LineLimits limits;
    limits.repeat = milliseconds(20);
    auto connection = transport::LineConnection::Call(
        UniqueFd(::fcntl(line_.get(), F_DUPFD_CLOEXEC, 0)), "port", kLimit, limits, &error);
    if (!connection) {
      throw std::runtime_error(error);
    }
    return connection;
  }

  UniqueFd line_;
};

TEST_F(LineFrontTest, ServesOneGuestAfterTheOther) {
  Start();
  ConnectLine();
  for (int i = 0; i < 5; ++i) {
    const auto guest = Call();
    EXPECT_EQ(Ask(*guest, "echo a line"), "a line");
    EXPECT_EQ(Workers().size(), 1u);
    EXPECT_EQ(Ask(*guest, "descriptors"), "0 1 2 3 4");  // and what wakes its reader
  }
  EXPECT_TRUE(LogComesToHave("session 5: "));
  EXPECT_TRUE(LogHas("is a serial line"));
  EXPECT_TRUE(Eventually([&] { return Workers().empty(); }));
}

TEST_F(LineFrontTest, NoWorkerWaitsForALineOnWhichNobodySpeaks) {
  Start();
  ConnectLine();
  EXPECT_EQ(Ask(*Join(), "echo x"), "x");
  EXPECT_TRUE(Eventually([&] { return Workers().empty(); }));
  EXPECT_EQ(Ask(*Call(), "echo y"), "y");
}

TEST_F(LineFrontTest, AGuestThatWasKilledMakesRoomForTheNext) {
  Start();
  ConnectLine();
  const auto killed = Call();
  EXPECT_EQ(Ask(*killed, "echo x"), "x");
  const auto next = Call();
  EXPECT_EQ(Ask(*next, "echo y"), "y");
  EXPECT_TRUE(LogComesToHave("session 1: unix pid " + std::to_string(::getpid()) + " uid " +
                             std::to_string(::getuid()) + " ended"));
}

TEST_F(LineFrontTest, TheEndOfAWorkerReachesTheGuest) {
  Start();
  ConnectLine();
  for (const char* const command : {"exit 3", "abort"}) {
    const auto guest = Call();
    ASSERT_TRUE(Say(*guest, command));
    EXPECT_TRUE(Ends(*guest));
  }
  EXPECT_EQ(Ask(*Call(), "echo still here"), "still here");
}

TEST_F(LineFrontTest, RefusesOnTheLine) {
  Start({"--max-sessions", "1"});
  ConnectLine();
  EXPECT_EQ(Ask(*Call(), "echo x"), "x");
  ASSERT_TRUE(Eventually([&] { return Workers().empty(); }));
  auto other = Join();
  EXPECT_EQ(Ask(*other, "echo x"), "x");
  EXPECT_EQ(RefusalTo(*Call()), "the server has no room for another session; all 1 are taken");
  other.reset();
  ASSERT_TRUE(Eventually([&] { return Workers().empty(); }));
  EXPECT_EQ(Ask(*Call(), "echo room again"), "room again");
}

TEST_F(LineFrontTest, AGuestOfAnEarlierServerIsToldThatItIsGone) {
  Start();
  ConnectLine();
  const auto guest = Call();
  EXPECT_EQ(Ask(*guest, "echo x"), "x");
  server_.Kill();
  std::filesystem::remove(log_);
  Start();
  // The emulator connects again, to a server that begins with a session and then hears the rest of
  // another.
  ConnectLine();
  auto last = Call();
  last.reset();
  ASSERT_TRUE(Eventually([&] { return Workers().empty(); }));
  const std::string rest = "the middle of something";
  ASSERT_EQ(::send(line_.get(), rest.data(), rest.size(), 0), static_cast<ssize_t>(rest.size()));
  std::array<std::byte, 200> answer;
  transport::LineDecoder decoder;
  std::optional<transport::LineSign> sign;
  while (!sign || sign->session != 0) {
    pollfd state{line_.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&state, 1, -1), 1);
    const ssize_t count = ::recv(line_.get(), answer.data(), answer.size(), 0);
    ASSERT_GT(count, 0);
    std::span<std::byte> bytes(answer.data(), static_cast<size_t>(count));
    while (!bytes.empty()) {
      const transport::LineDecoder::Step step = decoder.Decode(bytes);
      sign = step.sign ? step.sign : sign;
      bytes = bytes.subspan(step.taken);
    }
  }
  EXPECT_EQ(sign->kind, transport::LineSign::Kind::kEnd);
  EXPECT_EQ(Ask(*Call(), "echo y"), "y");
}

TEST_F(LineFrontTest, SilenceKeepsNobodyOut) {
  Start();
  std::vector<std::unique_ptr<Connection>> silent;
  for (size_t i = 0; i < kMaxVisitors + 3; ++i) {
    silent.push_back(Join());
  }
  EXPECT_TRUE(Ends(*silent.front()));
  EXPECT_EQ(Ask(*silent.back(), "echo x"), "x");
  EXPECT_EQ(Ask(*Join(), "echo y"), "y");
  EXPECT_TRUE(LogHas("hanging up on"));
}

}  // namespace
}  // namespace vesper::server
