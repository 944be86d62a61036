// SPDX-License-Identifier: Apache-2.0
// Sessions one after the other on a line that outlives them. The line is a model of a virtual
// machine's port: bytes for a guest that isn't there wait, bytes of a guest that was killed end
// anywhere, and neither side hears when the other has closed it.
#include "transport/line_connection.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "tests/transport/stream_helpers.h"

namespace vesper::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr seconds kLimit{20};

// Quick, so that a test needn't wait for what is repeated.
LineLimits Quick() {
  LineLimits limits;
  limits.repeat = milliseconds(5);
  limits.absence = milliseconds(50);
  return limits;
}

std::pair<UniqueFd, UniqueFd> SocketPair() {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

UniqueFd Copy(const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

void Send(int fd, std::span<const std::byte> bytes) {
  ASSERT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

// The number of the next session that a guest opens, as the front of a server finds it.
uint64_t AwaitOpening(int line) {
  LineDecoder decoder;
  for (;;) {
    std::array<std::byte, 500> bytes;
    const ssize_t count = ::recv(line, bytes.data(), bytes.size(), MSG_PEEK);
    if (count < 0 && errno == EAGAIN) {
      pollfd state{line, POLLIN, 0};
      ::poll(&state, 1, -1);
      continue;
    }
    if (count <= 0) {
      return 0;
    }
    const LineDecoder::Step step =
        decoder.Decode(std::span(bytes).first(static_cast<size_t>(count)));
    ::recv(line, bytes.data(), step.taken, 0);
    if (step.sign && step.sign->kind == LineSign::Kind::kOpen) {
      return step.sign->session;
    }
  }
}

std::unique_ptr<LineConnection> AnswerNext(const UniqueFd& line, const LineLimits& limits = {}) {
  std::string error;
  auto host =
      LineConnection::Answer(Copy(line), AwaitOpening(line.get()), "the guest", limits, &error);
  EXPECT_TRUE(host) << error;
  return host;
}

class LineConnectionTest : public testing::Test {
 protected:
  // Begins a session.
  void Connect(const LineLimits& host_limits = {}) {
    std::thread front([&] { host_ = AnswerNext(host_line_, host_limits); });
    guest_ = LineConnection::Call(Copy(guest_line_), "the port", kLimit, Quick(), &error_);
    front.join();
    ASSERT_TRUE(guest_) << error_;
    ASSERT_TRUE(host_);
    // Openings that were said again are before that byte, so none is left in the line.
    ASSERT_TRUE(WriteAll(*guest_, ToBytes("!")));
    ASSERT_EQ(ReadUpTo(*host_, 1), ToBytes("!"));
  }

  std::pair<UniqueFd, UniqueFd> pair_ = SocketPair();
  UniqueFd& guest_line_ = pair_.first;
  UniqueFd& host_line_ = pair_.second;
  std::unique_ptr<LineConnection> guest_;
  std::unique_ptr<LineConnection> host_;
  std::string error_;
};

TEST_F(LineConnectionTest, CarriesAnyBytesBothWays) {
  Connect();
  Bytes sent = RandomBytes(300000, 1);
  std::fill_n(sent.begin(), 5000, kLineMark);
  std::thread writer([&] {
    const std::span<const std::byte> parts[] = {
        std::span(sent).first(3), {}, std::span(sent).subspan(3)};
    EXPECT_TRUE(guest_->Write(parts));
  });
  EXPECT_EQ(ReadUpTo(*host_, sent.size()), sent);
  writer.join();
  std::thread back([&] { EXPECT_TRUE(WriteAll(*host_, sent)); });
  EXPECT_EQ(ReadUpTo(*guest_, sent.size()), sent);
  back.join();
  EXPECT_TRUE(guest_->IsLocal());
  EXPECT_FALSE(guest_->PassesDescriptors());
  EXPECT_FALSE(guest_->PeerIsGone());
}

TEST_F(LineConnectionTest, EndsInOrderAndTheLineGoesOn) {
  for (int i = 0; i < 20; ++i) {
    Connect();
    ASSERT_TRUE(WriteAll(*guest_, ToBytes("last words")));
    guest_.reset();
    EXPECT_EQ(ReadUpTo(*host_, 100), ToBytes("last words"));
    EXPECT_EQ(host_->Error(), "");
    EXPECT_FALSE(WriteAll(*host_, ToBytes("x")));
    EXPECT_TRUE(host_->PeerIsGone());
    host_.reset();
  }
}

TEST_F(LineConnectionTest, TheHostEndsIt) {
  Connect();
  ASSERT_TRUE(WriteAll(*host_, ToBytes("goodbye")));
  host_.reset();
  EXPECT_EQ(ReadUpTo(*guest_, 100), ToBytes("goodbye"));
  EXPECT_EQ(guest_->Error(), "");
}

TEST_F(LineConnectionTest, ShutdownWakesReaderAndWriter) {
  Connect();
  std::thread reader([&] { EXPECT_EQ(ReadUpTo(*guest_, 1), Bytes()); });
  std::thread writer([&] { EXPECT_FALSE(WriteAll(*guest_, Bytes(16u << 20))); });
  guest_->Shutdown();
  guest_->Shutdown();
  reader.join();
  writer.join();
  EXPECT_THAT(guest_->Error(), HasSubstr("shut down on this side"));
}

TEST_F(LineConnectionTest, AClosedLineIsAnEndOfBoth) {
  Connect();
  std::thread reader([&] { EXPECT_EQ(ReadUpTo(*guest_, 1), Bytes()); });
  host_.reset();
  host_line_.Reset();
  reader.join();
  EXPECT_FALSE(WriteAll(*guest_, ToBytes("x")));
}

TEST_F(LineConnectionTest, NobodyOnTheHostIsToldSoon) {
  host_line_.Reset();
  EXPECT_FALSE(LineConnection::Call(Copy(guest_line_), "the port", kLimit, Quick(), &error_));
  EXPECT_NE(error_, "");
}

TEST_F(LineConnectionTest, AHostThatSaysNothingIsToldAfterTheTimeout) {
  EXPECT_FALSE(
      LineConnection::Call(Copy(guest_line_), "the port", milliseconds(30), Quick(), &error_));
  EXPECT_THAT(error_, HasSubstr("nobody answered on the port"));
}

TEST_F(LineConnectionTest, WhatLiesInTheLineIsNotHeard) {
  Connect();
  // Left for a guest that was killed: data, an acceptance and an end that are of its session.
  ASSERT_TRUE(WriteAll(*host_, RandomBytes(50000, 2)));
  const uint64_t old = host_->session();
  host_.reset();
  for (const auto kind : {LineSign::Kind::kAccept, LineSign::Kind::kEnd, LineSign::Kind::kProbe}) {
    Send(host_line_.get(), EncodeLineSign({kind, old}));
  }
  Send(host_line_.get(), EncodeLineSign({LineSign::Kind::kEnd, 0}));
  Connect();
  ASSERT_TRUE(WriteAll(*host_, ToBytes("new")));
  EXPECT_EQ(ReadUpTo(*guest_, 3), ToBytes("new"));
}

TEST_F(LineConnectionTest, AnotherSessionEndsTheOneBefore) {
  Connect();
  const std::unique_ptr<LineConnection> old_host = std::move(host_);
  const Bytes broken_off = ToBytes("half of a \xf5");
  Send(guest_line_.get(), broken_off);
  std::thread front([&] {
    EXPECT_EQ(ReadUpTo(*old_host, 100), ToBytes("half of a "));
    EXPECT_THAT(old_host->Error(), HasSubstr("another session"));
    host_ = AnswerNext(host_line_);
  });
  const auto next = LineConnection::Call(Copy(guest_line_), "the port", kLimit, Quick(), &error_);
  front.join();
  ASSERT_TRUE(next) << error_;
  ASSERT_TRUE(WriteAll(*next, ToBytes("whole")));
  EXPECT_EQ(ReadUpTo(*host_, 5), ToBytes("whole"));
}

TEST_F(LineConnectionTest, AServerThatKnowsNothingOfTheSessionSaysSo) {
  Connect();
  Send(host_line_.get(), EncodeLineSign({LineSign::Kind::kEnd, 0}));
  EXPECT_EQ(ReadUpTo(*guest_, 1), Bytes());
  EXPECT_THAT(guest_->Error(), HasSubstr("restarted"));
}

TEST_F(LineConnectionTest, AGuestThatTakesNothingIsGone) {
  LineLimits limits;
  limits.check_interval = milliseconds(5);
  limits.silence = milliseconds(50);
  Connect(limits);
  EXPECT_EQ(ReadUpTo(*host_, 1), Bytes());  // nobody reads on the guest's side
  EXPECT_THAT(host_->Error(), HasSubstr("nobody has taken"));
}

TEST_F(LineConnectionTest, AGuestThatIsSilentIsNotGone) {
  LineLimits limits;
  limits.check_interval = milliseconds(1);
  limits.longest_pause = milliseconds(2);
  limits.silence = milliseconds(2000);
  Connect(limits);
  std::thread reader([&] { EXPECT_EQ(ReadUpTo(*guest_, 4), ToBytes("done")); });
  std::thread host_reader([&] { EXPECT_EQ(ReadUpTo(*host_, 1), ToBytes("x")); });
  // Some hundred probes, which the guest takes and says nothing of.
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(host_->Error(), "");
  ASSERT_TRUE(WriteAll(*guest_, ToBytes("x")));
  ASSERT_TRUE(WriteAll(*host_, ToBytes("done")));
  reader.join();
  host_reader.join();
}

// What joins the guest's port and the host's socket. A guest may be plugged out at any byte: what
// it says afterwards is dropped.
class Emulator {
 public:
  explicit Emulator(UniqueFd host) : host_(std::move(host)) {
    thread_ = std::thread([this] { Pump(); });
  }
  ~Emulator() {
    Send(wake_.first.get(), ToBytes("q"));
    thread_.join();
  }

  // A new guest, of whose bytes so many get through.
  UniqueFd Plug(size_t allowance) {
    auto [inside, outside] = SocketPair();
    const std::lock_guard lock(mutex_);
    while (PassUp()) {
    }
    guest_ = std::move(inside);
    allowance_ = allowance;
    Send(wake_.first.get(), ToBytes("w"));
    return std::move(outside);
  }
  // Bytes that no guest has sent.
  void Babble(std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    while (PassUp()) {
    }
    Send(host_.get(), bytes);
  }

 private:
  void Pump() {
    for (;;) {
      std::array<pollfd, 3> states = {{{wake_.second.get(), POLLIN, 0}, {host_.get(), POLLIN, 0}}};
      {
        const std::lock_guard lock(mutex_);
        states[2] = {guest_.get(), POLLIN, 0};
      }
      ::poll(states.data(), states.size(), -1);
      const std::lock_guard lock(mutex_);
      std::array<std::byte, 1000> bytes;
      if (states[0].revents != 0) {
        ::recv(wake_.second.get(), bytes.data(), 1, 0);
        if (bytes[0] == std::byte{'q'}) {
          return;
        }
        continue;
      }
      PassUp();
      if (guest_) {  // else what the host says has to wait
        const ssize_t count = ::recv(host_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (count > 0) {
          ::send(guest_.get(), bytes.data(), static_cast<size_t>(count), MSG_NOSIGNAL);
        }
      }
    }
  }

  // What the guest says; false if it says nothing. Needs mutex_.
  bool PassUp() {
    std::array<std::byte, 1000> bytes;
    const ssize_t count = ::recv(guest_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count == 0) {
      guest_.Reset();  // closed; the host isn't told
    } else if (count > 0) {
      const size_t passed = std::min(static_cast<size_t>(count), allowance_);
      allowance_ -= passed;
      ::send(host_.get(), bytes.data(), passed, MSG_NOSIGNAL);
    }
    return count > 0;
  }

  std::mutex mutex_;
  UniqueFd host_;
  UniqueFd guest_;
  size_t allowance_ = 0;
  std::pair<UniqueFd, UniqueFd> wake_ = SocketPair();
  std::thread thread_;
};

// Sessions of random length, cut at a random byte of what their guests say or not at all, with
// noise in between: nobody ever reads a byte that isn't of its own session, in its order.
TEST(LinePropertyTest, StreamsNeverMix) {
  for (unsigned seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    auto [inside, outside] = SocketPair();
    const UniqueFd host_line = std::move(outside);
    Emulator emulator(std::move(inside));
    std::array<Bytes, 10> up;
    std::array<Bytes, 10> down;
    std::array<bool, 10> is_cut{};
    for (unsigned i = 0; i < up.size(); ++i) {
      up[i] = RandomBytes(random() % 3000, 100 * seed + i);
      down[i] = RandomBytes(random() % 3000, 100 * seed + 50 + i);
      for (Bytes* bytes : {&up[i], &down[i]}) {
        for (size_t at = random() % 7; at < bytes->size(); at += 1 + random() % 50) {
          (*bytes)[at] = kLineMark;
        }
        bytes->insert(bytes->begin(), static_cast<std::byte>(i));  // whose it is
      }
    }
    std::thread server([&] {
      bool is_last = false;
      while (!is_last) {
        const uint64_t session = AwaitOpening(host_line.get());
        ASSERT_NE(session, 0u);
        std::string error;
        const auto host =
            LineConnection::Answer(Copy(host_line), session, "guest", LineLimits(), &error);
        Bytes heard = ReadUpTo(*host, 1);
        if (heard.empty()) {
          continue;
        }
        const auto i = static_cast<size_t>(heard[0]);
        ASSERT_LT(i, up.size());
        is_last = i + 1 == up.size();
        std::thread writer([&] { (void)WriteAll(*host, down[i]); });
        const Bytes rest = ReadUpTo(*host, 100000);  // to its end
        heard.insert(heard.end(), rest.begin(), rest.end());
        writer.join();
        ASSERT_LE(heard.size(), up[i].size());
        EXPECT_TRUE(std::equal(heard.begin(), heard.end(), up[i].begin())) << seed << " " << i;
        EXPECT_TRUE(is_cut[i] || heard.size() == up[i].size()) << seed << " " << i;
      }
    });
    for (unsigned i = 0; i < up.size(); ++i) {
      is_cut[i] = i + 1 < up.size() && random() % 2 == 0;
      if (i == 0 || !is_cut[i - 1]) {  // a session that was cut goes on until the next is opened
        emulator.Babble(RandomBytes(random() % 100, random()));
      }
      UniqueFd port = emulator.Plug(is_cut[i] ? random() % (up[i].size() + 60) : SIZE_MAX);
      std::string error;
      const auto guest = LineConnection::Call(std::move(port), "port",
                                              is_cut[i] ? milliseconds(100) : milliseconds(kLimit),
                                              Quick(), &error);
      ASSERT_TRUE(guest || is_cut[i]) << seed << " " << i << ": " << error;
      if (guest) {
        EXPECT_TRUE(WriteAll(*guest, up[i]));
        if (!is_cut[i]) {  // else what it would have read is left in the line
          EXPECT_EQ(ReadUpTo(*guest, down[i].size()), down[i]) << seed << " " << i;
        }
      }
    }
    server.join();
  }
}

}  // namespace
}  // namespace vesper::transport
