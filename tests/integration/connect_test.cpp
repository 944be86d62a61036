// SPDX-License-Identifier: Apache-2.0
// Connections that can't succeed: nobody there, somebody else there, somebody who says nothing. The
// program gets an error and a sentence, never a hang; the server outlives whoever talks nonsense.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

using std::chrono::seconds;

// A socket that accepts connections and does with each what it is told.
class StrangeServer {
 public:
  explicit StrangeServer(std::function<void(int)> behaviour)
      : behaviour_(std::move(behaviour)),
        listener_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const std::string path = folder_.Path("socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(listener_, 8) != 0) {
      throw std::runtime_error("Could not listen on " + path);
    }
    endpoint_ = "unix:" + path;
    thread_ = std::thread([this] {
      for (int peer = accept(listener_, nullptr, nullptr); peer >= 0;
           peer = accept(listener_, nullptr, nullptr)) {
        peers_.push_back(peer);
        behaviour_(peer);
      }
    });
  }

  ~StrangeServer() {
    shutdown(listener_, SHUT_RDWR);  // Ends accept().
    thread_.join();
    close(listener_);
    for (const int peer : peers_) {
      close(peer);
    }
  }

  const std::string& endpoint() const { return endpoint_; }

 private:
  std::function<void(int)> behaviour_;
  TemporaryFolder folder_;
  std::string endpoint_;
  int listener_;
  std::vector<int> peers_;  // The thread's own until it was joined.
  std::thread thread_;
};

class ConnectTest : public VesperOnlyTest {
 protected:
  struct Outcome {
    int exit_status = -1;
    std::string output;
    std::string errors;
  };

  // A program that creates an instance with this VESPER_SERVER.
  static Outcome CreateInstanceWith(const std::string& endpoint) {
    const TemporaryFolder folder;
    ChildProcess guest =
        ChildProcess::Start({VESPER_GUEST_PROGRAM, "create"}, {{"VESPER_SERVER", endpoint}},
                            folder.Path("out"), folder.Path("err"));
    // The driver gives a silent server a minute, since a busy one needs time for its own driver.
    const std::optional<int> status = guest.Wait(seconds(150));
    Outcome outcome;
    EXPECT_TRUE(status.has_value()) << "vkCreateInstance hangs";
    if (status.has_value() && WIFEXITED(*status)) {
      outcome.exit_status = WEXITSTATUS(*status);
    }
    outcome.output = ReadFile(folder.Path("out"));
    outcome.errors = ReadFile(folder.Path("err"));
    return outcome;
  }

  // The program went on with an error, and one sentence says what is wrong.
  static void ExpectRefused(const Outcome& outcome) {
    EXPECT_EQ(3, outcome.exit_status) << outcome.errors;
    EXPECT_THAT(outcome.output, ::testing::StartsWith("VK_ERROR_"));
    EXPECT_THAT(outcome.errors, ::testing::HasSubstr("vesper"));
    EXPECT_EQ(1, std::count(outcome.errors.begin(), outcome.errors.end(), '\n')) << outcome.errors;
  }

  static int ConnectTo(const std::string& endpoint) {
    int fd = -1;
    int connected = -1;
    if (endpoint.starts_with("unix:")) {
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      strncpy(address.sun_path, endpoint.c_str() + 5, sizeof(address.sun_path) - 1);
      fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      connected = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    } else {
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      address.sin_port =
          htons(static_cast<uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
      fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      connected = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    }
    EXPECT_EQ(0, connected) << strerror(errno);
    const timeval limit{30, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
  }
};

TEST_F(ConnectTest, NobodyListens) {
  const TemporaryFolder folder;
  const std::string endpoint = "unix:" + folder.Path("nobody");
  const Outcome outcome = CreateInstanceWith(endpoint);
  ExpectRefused(outcome);
  EXPECT_THAT(outcome.errors, ::testing::HasSubstr(folder.Path("nobody")));
  // Port 1 is nobody's on a machine like this.
  ExpectRefused(CreateInstanceWith("tcp:127.0.0.1:1"));
}

TEST_F(ConnectTest, EndpointMakesNoSense) {
  for (const char* endpoint :
       {"nonsense", "tcp:", "tcp:127.0.0.1", "tcp:127.0.0.1:99999", "unix:", "carrier-pigeon:3"}) {
    SCOPED_TRACE(endpoint);
    ExpectRefused(CreateInstanceWith(endpoint));
  }
}

TEST_F(ConnectTest, NoServerGiven) {
  // An empty variable is the same as none.
  ExpectRefused(CreateInstanceWith(""));
}

TEST_F(ConnectTest, PeerHangsUp) {
  const StrangeServer server([](int peer) { shutdown(peer, SHUT_RDWR); });
  ExpectRefused(CreateInstanceWith(server.endpoint()));
}

TEST_F(ConnectTest, PeerIsSomethingElse) {
  const StrangeServer server([](int peer) {
    const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    EXPECT_GT(write(peer, text, sizeof(text) - 1), 0);
  });
  ExpectRefused(CreateInstanceWith(server.endpoint()));
}

TEST_F(ConnectTest, PeerTalksNonsense) {
  const StrangeServer server([](int peer) {
    const std::vector<uint8_t> noise = Random(90).Bytes(100'000);
    // The guest may hang up in the middle of it.
    [[maybe_unused]] const ssize_t sent = send(peer, noise.data(), noise.size(), MSG_NOSIGNAL);
  });
  ExpectRefused(CreateInstanceWith(server.endpoint()));
}

TEST_F(ConnectTest, PeerSaysNothing) {
  const StrangeServer server([](int) {});
  ExpectRefused(CreateInstanceWith(server.endpoint()));
}

TEST_F(ConnectTest, ServerOutlivesNonsense) {
  TestServer server(target_);
  Random random(91);
  std::vector<std::vector<uint8_t>> greetings;
  const std::string http = "GET / HTTP/1.0\r\n\r\n";
  greetings.emplace_back(http.begin(), http.end());
  greetings.push_back({});
  greetings.push_back(std::vector<uint8_t>(64, 0));
  greetings.push_back(std::vector<uint8_t>(64, 0xFF));
  for (int i = 0; i < 10; ++i) {
    greetings.push_back(random.Bytes(random.Between(1, 5000)));
  }
  for (const std::vector<uint8_t>& greeting : greetings) {
    const int fd = ConnectTo(server.endpoint());
    send(fd, greeting.data(), greeting.size(), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    // The server ends it: an answer perhaps, then the end.
    char answer[4096];
    ssize_t got = 1;
    while (got > 0) {
      got = recv(fd, answer, sizeof(answer), 0);
    }
    EXPECT_TRUE(got == 0 || errno == ECONNRESET) << strerror(errno);
    close(fd);
  }
  ASSERT_TRUE(server.process().Running());
  EXPECT_TRUE(Eventually([&] { return server.Workers().empty(); }));
  const Outcome outcome = CreateInstanceWith(server.endpoint());
  EXPECT_EQ(0, outcome.exit_status) << outcome.errors << server.Log();
}

TEST_F(ConnectTest, ManyGuestsAtOnce) {
  TestServer server(target_);
  const TemporaryFolder folder;
  std::vector<ChildProcess> guests;
  for (int i = 0; i < 8; ++i) {
    guests.push_back(ChildProcess::Start({VESPER_GUEST_PROGRAM, "create"},
                                         {{"VESPER_SERVER", server.endpoint()}},
                                         folder.Path("out")));
  }
  for (ChildProcess& guest : guests) {
    EXPECT_EQ(std::optional<int>(0), guest.Wait(seconds(60)));
  }
  EXPECT_TRUE(Eventually([&] { return server.Workers().empty(); }));
}

}  // namespace
}  // namespace vesper::tests
