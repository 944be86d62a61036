// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>

#include "tests/transport/stream_helpers.h"

namespace vesper::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class UnixListenerTest : public testing::Test {
 protected:
  std::unique_ptr<Listener> Open(const ListenOptions& options = {}) {
    return Listener::Open(Endpoint{Endpoint::Kind::kUnix, path_, "", 0, 0}, options, &error_);
  }

  mode_t Mode() const {
    struct stat status{};
    EXPECT_EQ(::lstat(path_.c_str(), &status), 0);
    return status.st_mode & 07777;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.Path("socket");
  std::string error_;
};

TEST_F(UnixListenerTest, SocketFileIsForItsOwnerWhateverTheUmask) {
  const mode_t before = ::umask(0);
  const auto listener = Open();
  ::umask(before);
  ASSERT_TRUE(listener) << error_;
  EXPECT_EQ(Mode(), 0600u);
}

TEST_F(UnixListenerTest, SocketFileHasTheModeAskedForWhateverTheUmask) {
  for (const mode_t mask : {0, 022, 077}) {
    const mode_t before = ::umask(mask);
    ListenOptions options;
    options.mode = 0666;
    const auto listener = Open(options);
    ::umask(before);
    ASSERT_TRUE(listener) << error_;
    EXPECT_EQ(Mode(), 0666u);
  }
}

TEST_F(UnixListenerTest, RemovesItsFileAtTheEnd) {
  auto listener = Open();
  ASSERT_TRUE(listener) << error_;
  EXPECT_TRUE(std::filesystem::exists(path_));
  listener.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(UnixListenerTest, LeavesAFileThatIsNotItsOwn) {
  auto listener = Open();
  ASSERT_TRUE(listener) << error_;
  std::filesystem::remove(path_);
  const auto successor = Open();
  ASSERT_TRUE(successor) << error_;
  listener.reset();
  EXPECT_TRUE(std::filesystem::exists(path_));
  EXPECT_TRUE(Connect(successor->endpoint(), seconds(10), &error_)) << error_;
}

TEST_F(UnixListenerTest, ReplacesAnAbandonedSocket) {
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(path_));
  const auto listener = Open();
  ASSERT_TRUE(listener) << error_;
  EXPECT_TRUE(Connect(listener->endpoint(), seconds(10), &error_)) << error_;
}

TEST_F(UnixListenerTest, RefusesToReplaceALiveServer) {
  const auto listener = Open();
  ASSERT_TRUE(listener) << error_;
  EXPECT_FALSE(Open());
  EXPECT_THAT(error_, HasSubstr("another server listens there already"));
  EXPECT_TRUE(Connect(listener->endpoint(), seconds(10), &error_)) << error_;
}

TEST_F(UnixListenerTest, RefusesToReplaceAnOrdinaryFile) {
  std::ofstream(path_) << "precious";
  EXPECT_FALSE(Open());
  EXPECT_THAT(error_, HasSubstr("not a socket"));
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(UnixListenerTest, MissingFolderIsOneSentence) {
  std::string error;
  EXPECT_FALSE(Listener::Open(
      Endpoint{Endpoint::Kind::kUnix, folder_.Path("none/socket"), "", 0, 0}, &error));
  EXPECT_THAT(error, HasSubstr("cannot listen on unix:"));
  EXPECT_THAT(error, HasSubstr("No such file or directory"));
}

TEST_F(UnixListenerTest, AdoptsAnInheritedSocketAndLeavesItsFile) {
  const auto original = Open();
  ASSERT_TRUE(original) << error_;
  auto adopted = Listener::Adopt(::dup(original->Descriptor()), &error_);
  ASSERT_TRUE(adopted) << error_;
  EXPECT_EQ(adopted->endpoint(), original->endpoint());
  const auto client = Connect(original->endpoint(), seconds(10), &error_);
  ASSERT_TRUE(client) << error_;
  EXPECT_TRUE(adopted->Accept(seconds(10), &error_)) << error_;
  adopted.reset();
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(UnixListenerTest, AdoptsOnlyListeningSockets) {
  EXPECT_FALSE(Listener::Adopt(::open("/dev/null", O_RDONLY), &error_));
  EXPECT_THAT(error_, HasSubstr("not a listening"));
  EXPECT_FALSE(Listener::Adopt(::socket(AF_UNIX, SOCK_STREAM, 0), &error_));
  EXPECT_THAT(error_, HasSubstr("not a listening"));
}

TEST_F(UnixListenerTest, NobodyWaitingIsNoError) {
  const auto listener = Open();
  ASSERT_TRUE(listener) << error_;
  EXPECT_FALSE(listener->TryAccept(&error_));
  EXPECT_EQ(error_, "");
  EXPECT_FALSE(listener->Accept(milliseconds(10), &error_));
  EXPECT_THAT(error_, HasSubstr("nobody connected"));
}

TEST_F(UnixListenerTest, OutOfDescriptorsIsSaidAndPasses) {
  const auto listener = Open();
  ASSERT_TRUE(listener) << error_;
  const auto client = Connect(listener->endpoint(), seconds(10), &error_);
  ASSERT_TRUE(client) << error_;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_FALSE(listener->TryAccept(&error_));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(error_, HasSubstr("Too many open files"));
  EXPECT_TRUE(listener->TryAccept(&error_)) << error_;
}

TEST(TcpListenerTest, TellsThePortThatWasGiven) {
  std::string error;
  const auto listener = Listener::Open(*Endpoint::Parse("tcp:localhost:0", &error), &error);
  ASSERT_TRUE(listener) << error;
  EXPECT_NE(listener->endpoint().port, 0);
  EXPECT_TRUE(listener->endpoint().IsLoopback());
  const auto client = Connect(listener->endpoint(), seconds(10), &error);
  EXPECT_TRUE(client) << error;
  EXPECT_TRUE(listener->Accept(seconds(10), &error)) << error;
}

TEST(TcpListenerTest, PortInUseIsOneSentence) {
  std::string error;
  const auto listener = Listener::Open(*Endpoint::Parse("tcp:127.0.0.1:0", &error), &error);
  ASSERT_TRUE(listener) << error;
  EXPECT_FALSE(Listener::Open(listener->endpoint(), &error));
  EXPECT_THAT(error, HasSubstr("cannot listen on " + listener->endpoint().ToString()));
  EXPECT_THAT(error, HasSubstr("in use"));
}

TEST(TcpListenerTest, PortCanBeTakenAgainAtOnce) {
  std::string error;
  auto listener = Listener::Open(*Endpoint::Parse("tcp:127.0.0.1:0", &error), &error);
  ASSERT_TRUE(listener) << error;
  const Endpoint endpoint = listener->endpoint();
  const auto client = Connect(endpoint, seconds(10), &error);
  ASSERT_TRUE(client) << error;
  auto server = listener->Accept(seconds(10), &error);
  ASSERT_TRUE(server) << error;
  server.reset();  // the side that closes first keeps the port busy for a minute
  listener.reset();
  EXPECT_TRUE(Listener::Open(endpoint, &error)) << error;
}

}  // namespace
}  // namespace vesper::transport
