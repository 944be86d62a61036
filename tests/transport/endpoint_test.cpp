// SPDX-License-Identifier: Apache-2.0
#include "transport/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vesper::transport {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct GoodCase {
  std::string text;
  Endpoint endpoint;
  bool is_loopback;
};

Endpoint Unix(std::string path) { return {Endpoint::Kind::kUnix, std::move(path), "", 0, 0}; }
Endpoint Tcp(std::string host, uint16_t port) {
  return {Endpoint::Kind::kTcp, "", std::move(host), port, 0};
}
Endpoint Serial(std::string path) { return {Endpoint::Kind::kSerial, std::move(path), "", 0, 0}; }
Endpoint Vsock(uint32_t cid, uint32_t port) { return {Endpoint::Kind::kVsock, "", "", port, cid}; }

class GoodEndpointTest : public testing::TestWithParam<GoodCase> {};

TEST_P(GoodEndpointTest, ParsesAndPrintsBack) {
  std::string error;
  const std::optional<Endpoint> endpoint = Endpoint::Parse(GetParam().text, &error);
  ASSERT_TRUE(endpoint) << error;
  EXPECT_EQ(*endpoint, GetParam().endpoint);
  EXPECT_EQ(endpoint->ToString(), GetParam().text);
  EXPECT_EQ(endpoint->IsLoopback(), GetParam().is_loopback);
  EXPECT_EQ(error, "");
}

INSTANTIATE_TEST_SUITE_P(
    Table, GoodEndpointTest,
    testing::Values(GoodCase{"unix:/run/vesper/vesper.sock", Unix("/run/vesper/vesper.sock"),
                             false},
                    GoodCase{"unix:relative", Unix("relative"), false},
                    GoodCase{"unix:/with space:and:colons", Unix("/with space:and:colons"), false},
                    GoodCase{"unix:" + std::string(107, 'x'), Unix(std::string(107, 'x')), false},
                    GoodCase{"tcp:127.0.0.1:4242", Tcp("127.0.0.1", 4242), true},
                    GoodCase{"tcp:127.200.3.4:1", Tcp("127.200.3.4", 1), true},
                    GoodCase{"tcp:localhost:65535", Tcp("localhost", 65535), true},
                    GoodCase{"tcp:LocalHost:1", Tcp("LocalHost", 1), true},
                    GoodCase{"tcp:[::1]:4242", Tcp("::1", 4242), true},
                    GoodCase{"tcp:[::ffff:127.0.0.1]:1", Tcp("::ffff:127.0.0.1", 1), true},
                    GoodCase{"tcp:[::ffff:192.0.2.1]:1", Tcp("::ffff:192.0.2.1", 1), false},
                    GoodCase{"tcp:[fe80::1%lo]:7", Tcp("fe80::1%lo", 7), false},
                    GoodCase{"tcp:[::]:4242", Tcp("::", 4242), false},
                    GoodCase{"tcp:0.0.0.0:0", Tcp("0.0.0.0", 0), false},
                    GoodCase{"tcp:192.0.2.7:80", Tcp("192.0.2.7", 80), false},
                    GoodCase{"tcp:gpu-box.example:80", Tcp("gpu-box.example", 80), false},
                    GoodCase{"tcp:localhost.example:80", Tcp("localhost.example", 80), false},
                    GoodCase{"vsock:host:4242", Vsock(2, 4242), false},
                    GoodCase{"vsock:local:1", Vsock(1, 1), true},
                    GoodCase{"vsock:any:0", Vsock(4294967295, 0), false},
                    GoodCase{"vsock:0:1", Vsock(0, 1), false},
                    GoodCase{"vsock:3:4294967294", Vsock(3, 4294967294), false},
                    GoodCase{"serial:/dev/virtio-ports/vesper.*",
                             Serial("/dev/virtio-ports/vesper.*"), false}));

struct BadCase {
  std::string text;
  std::string hint;
};

class BadEndpointTest : public testing::TestWithParam<BadCase> {};

TEST_P(BadEndpointTest, GivesOneSentence) {
  std::string error;
  EXPECT_FALSE(Endpoint::Parse(GetParam().text, &error));
  EXPECT_THAT(error, HasSubstr(GetParam().hint));
  EXPECT_THAT(error, Not(HasSubstr("\n")));
  EXPECT_LT(error.size(), 300u);
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadEndpointTest,
    testing::Values(
        BadCase{"", "write unix:/path/to/socket, tcp:HOST:PORT, vsock:CID:PORT or serial:"},
        BadCase{"/run/vesper.sock", "is no endpoint"}, BadCase{"UNIX:/x", "is no endpoint"},
        BadCase{"udp:127.0.0.1:1", "is no endpoint"}, BadCase{"unix", "is no endpoint"},
        BadCase{"unix:", "names no socket"}, BadCase{std::string("unix:/a\0b", 9), "zero byte"},
        BadCase{"unix:" + std::string(108, 'x'), "at most 107"},
        BadCase{"unix:/" + std::string(100000, 'x'), "at most 107"}, BadCase{"tcp:", "has no port"},
        BadCase{"tcp:host", "has no port"}, BadCase{"tcp:[::1]", "has no port"},
        BadCase{"tcp::4242", "neither an address nor a host name"},
        BadCase{"tcp:host:", "is no port"}, BadCase{"tcp:host:x", "is no port"},
        BadCase{"tcp:host:-1", "is no port"}, BadCase{"tcp:host:+1", "is no port"},
        BadCase{"tcp:host: 1", "is no port"}, BadCase{"tcp:host:1 ", "is no port"},
        BadCase{"tcp:host:65536", "is no port"},
        BadCase{"tcp:host:99999999999999999999", "is no port"}, BadCase{"tcp:::1:4242", "brackets"},
        BadCase{"tcp:[]:1", "neither"}, BadCase{"tcp:[127.0.0.1]:1", "no IPv6 address"},
        BadCase{"tcp:[::1:1", "brackets"}, BadCase{"tcp:::1]:1", "brackets"},
        BadCase{"tcp:[[::1]]:1", "no IPv6 address"},
        BadCase{std::string("tcp:[::1\0]:1", 12), "no IPv6 address"},
        BadCase{"tcp:ho st:1", "neither an address nor a host name"},
        BadCase{"tcp:h\xc3\xb6st:1", "neither an address nor a host name"},
        BadCase{"tcp:" + std::string(254, 'a') + ":1", "neither"},
        BadCase{"tcp:host\n:1", "neither an address nor a host name"},
        BadCase{"vsock:", "has no port"}, BadCase{"vsock:host", "has no port"},
        BadCase{"vsock:2", "write vsock:CID:PORT"}, BadCase{"vsock::1", "no context id"},
        BadCase{"vsock:Host:1", "no context id"}, BadCase{"vsock:-1:1", "no context id"},
        BadCase{"vsock:4294967296:1", "no context id"}, BadCase{"vsock:2:", "is no port"},
        BadCase{"vsock:2:x", "is no port"}, BadCase{"vsock:2:1:1", "is no port"},
        BadCase{"vsock:2:4294967295", "is no port"}, BadCase{"vsock:2: 1", "is no port"},
        BadCase{"serial:", "names no port"}, BadCase{"serial:port", "names no port"},
        BadCase{std::string("serial:/a\0b", 11), "names no port"},
        BadCase{"serial:/" + std::string(4095, 'x'), "names no port"}));

TEST(EndpointTest, ContextIdsThatHaveNamesPrintAsThose) {
  std::string error;
  EXPECT_EQ(Endpoint::Parse("vsock:2:7", &error)->ToString(), "vsock:host:7");
  EXPECT_EQ(Endpoint::Parse("vsock:1:7", &error)->ToString(), "vsock:local:7");
  EXPECT_EQ(Endpoint::Parse("vsock:4294967295:7", &error)->ToString(), "vsock:any:7");
}

TEST(EndpointTest, KeepsControlCharactersOutOfMessages) {
  std::string error;
  EXPECT_FALSE(Endpoint::Parse("\x1b[31mred\n", &error));
  EXPECT_THAT(error, HasSubstr("\"?[31mred?\""));
}

}  // namespace
}  // namespace vesper::transport
