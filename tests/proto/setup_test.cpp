// SPDX-License-Identifier: Apache-2.0
#include "proto/setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/frame.h"
#include "proto/hash.h"
#include "proto/record.h"
#include "proto/walk.h"

namespace vesper::proto {
namespace {

using testing::HasSubstr;

Hello MakeHello() {
  Hello hello;
  hello.page_size = 16384;
  hello.pid = 77;
  hello.probe = true;
  hello.compare_all_memory = true;
  hello.compression = 3;
  hello.always_compress = true;
  hello.offers_memory = true;
  hello.ring_bytes = 1u << 20;
  hello.archive_key.assign(sizeof(HashKey), std::byte{3});
  hello.application_version = 3;
  hello.engine_version = 4;
  hello.api_version = 0x404000;
  hello.application_name = "application";
  hello.engine_name = "engine";
  hello.program = "program";
  hello.command_hashes = CommandHashes();
  hello.struct_hashes = StructHashes();
  hello.extensions = {"VK_KHR_one", "VK_KHR_two"};
  return hello;
}

Welcome MakeWelcome() {
  Welcome welcome;
  welcome.page_size = 4096;
  welcome.compression = 2;
  welcome.server_version = "1.2.3";
  welcome.archives = true;
  welcome.why_not_shared = "no reason";
  welcome.why_no_rings = "no memory";
  welcome.commands = {false, true, true, false};
  welcome.structs = {true, false};
  welcome.snapshot = std::vector<std::byte>(1001, std::byte{7});
  return welcome;
}

std::vector<std::byte> Payload(const Buffer& frame) {
  return {frame.Bytes().begin() + kFrameHeaderBytes, frame.Bytes().end()};
}

TEST(Setup, HelloArrivesAsItWasSent) {
  const Hello hello = MakeHello();
  Buffer buffer;
  EncodeHello(hello, buffer);
  Hello decoded;
  std::string error;
  ASSERT_TRUE(DecodeHello(Payload(buffer), &decoded, &error)) << error;
  EXPECT_EQ(decoded.protocol_version, kProtocolVersion);
  EXPECT_EQ(decoded.page_size, hello.page_size);
  EXPECT_EQ(decoded.pid, hello.pid);
  EXPECT_EQ(decoded.probe, hello.probe);
  EXPECT_EQ(decoded.compare_all_memory, hello.compare_all_memory);
  EXPECT_EQ(decoded.compression, hello.compression);
  EXPECT_EQ(decoded.always_compress, hello.always_compress);
  EXPECT_EQ(decoded.offers_memory, hello.offers_memory);
  EXPECT_EQ(decoded.ring_bytes, hello.ring_bytes);
  EXPECT_EQ(decoded.archive_key, hello.archive_key);
  EXPECT_EQ(decoded.application_version, hello.application_version);
  EXPECT_EQ(decoded.engine_version, hello.engine_version);
  EXPECT_EQ(decoded.api_version, hello.api_version);
  EXPECT_EQ(decoded.application_name, hello.application_name);
  EXPECT_EQ(decoded.engine_name, hello.engine_name);
  EXPECT_EQ(decoded.program, hello.program);
  EXPECT_EQ(decoded.command_hashes, hello.command_hashes);
  EXPECT_EQ(decoded.struct_hashes, hello.struct_hashes);
  EXPECT_EQ(decoded.extensions, hello.extensions);
}

TEST(Setup, WelcomeArrivesAsItWasSent) {
  const Welcome welcome = MakeWelcome();
  Buffer buffer;
  EncodeWelcome(welcome, buffer);
  Welcome decoded;
  std::string error;
  ASSERT_TRUE(DecodeWelcome(Payload(buffer), &decoded, &error)) << error;
  EXPECT_EQ(decoded.page_size, welcome.page_size);
  EXPECT_EQ(decoded.compression, welcome.compression);
  EXPECT_EQ(decoded.server_version, welcome.server_version);
  EXPECT_EQ(decoded.archives, welcome.archives);
  EXPECT_EQ(decoded.why_not_shared, welcome.why_not_shared);
  EXPECT_EQ(decoded.why_no_rings, welcome.why_no_rings);
  EXPECT_EQ(decoded.commands, welcome.commands);
  EXPECT_EQ(decoded.structs, welcome.structs);
  EXPECT_EQ(decoded.snapshot, welcome.snapshot);
}

TEST(Setup, AKeyHasItsSize) {
  for (const size_t size : {size_t{1}, sizeof(HashKey) - 1, sizeof(HashKey) + 1}) {
    Hello hello = MakeHello();
    hello.archive_key.resize(size);
    Buffer buffer;
    EncodeHello(hello, buffer);
    Hello decoded;
    std::string error;
    EXPECT_FALSE(DecodeHello(Payload(buffer), &decoded, &error)) << size;
  }
}

TEST(Setup, OtherVersionsAreRefusedWithASentence) {
  Hello hello = MakeHello();
  hello.protocol_version = 9;
  Buffer buffer;
  EncodeHello(hello, buffer);
  Hello decoded;
  std::string error;
  EXPECT_FALSE(DecodeHello(Payload(buffer), &decoded, &error));
  EXPECT_EQ(error, "expected protocol version 5, got 9; install the same Vesper on both sides");
}

TEST(Setup, OtherProtocolsAreRefusedWithASentence) {
  const std::string http = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n....";
  Hello hello;
  Welcome welcome;
  std::string error;
  EXPECT_FALSE(DecodeHello(std::as_bytes(std::span(http)), &hello, &error));
  EXPECT_THAT(error, HasSubstr("expected Vesper's set-up"));
  error.clear();
  EXPECT_FALSE(DecodeWelcome(std::as_bytes(std::span(http)), &welcome, &error));
  EXPECT_THAT(error, HasSubstr("expected Vesper's set-up"));
}

TEST(Setup, ExtensionsOfAHelloAreBounded) {
  const auto accepts = [](std::vector<std::string> extensions) {
    Hello hello = MakeHello();
    hello.extensions = std::move(extensions);
    Buffer buffer;
    EncodeHello(hello, buffer);
    Hello decoded;
    std::string error;
    const bool accepted = DecodeHello(Payload(buffer), &decoded, &error);
    EXPECT_EQ(accepted, error.empty()) << error;
    return accepted;
  };
  EXPECT_TRUE(accepts({}));
  EXPECT_TRUE(accepts(std::vector<std::string>(kMaxExtensions, "VK_KHR_one")));
  EXPECT_FALSE(accepts(std::vector<std::string>(kMaxExtensions + 1, "VK_KHR_one")));
  EXPECT_TRUE(accepts({std::string(256, 'x')}));
  EXPECT_FALSE(accepts({std::string(257, 'x')}));
  EXPECT_FALSE(accepts({"VK_KHR_one", ""}));
}

TEST(Setup, EveryPrefixIsRefused) {
  Hello small = MakeHello();
  small.command_hashes.resize(20);
  small.struct_hashes.resize(20);
  Buffer hello;
  EncodeHello(small, hello);
  Buffer welcome;
  EncodeWelcome(MakeWelcome(), welcome);
  const std::vector<std::byte> hello_payload = Payload(hello);
  for (size_t length = 0; length < hello_payload.size(); ++length) {
    const std::vector<std::byte> cut(hello_payload.begin(), hello_payload.begin() + length);
    Hello decoded;
    std::string error;
    ASSERT_FALSE(DecodeHello(cut, &decoded, &error)) << length;
    ASSERT_FALSE(error.empty());
  }
  const std::vector<std::byte> welcome_payload = Payload(welcome);
  for (size_t length = 0; length < welcome_payload.size(); ++length) {
    const std::vector<std::byte> cut(welcome_payload.begin(), welcome_payload.begin() + length);
    Welcome decoded;
    std::string error;
    ASSERT_FALSE(DecodeWelcome(cut, &decoded, &error)) << length;
  }
}

TEST(Setup, BytesLeftOverAreRefused) {
  Buffer buffer;
  EncodeHello(MakeHello(), buffer);
  std::vector<std::byte> payload = Payload(buffer);
  payload.resize(payload.size() + 8);
  Hello decoded;
  std::string error;
  EXPECT_FALSE(DecodeHello(payload, &decoded, &error));
  EXPECT_THAT(error, HasSubstr("bytes left over"));
}

TEST(Setup, CountsThatLieCostNothing) {
  Buffer buffer;
  EncodeHello(MakeHello(), buffer);
  const std::vector<std::byte> payload = Payload(buffer);
  for (size_t offset = 16; offset < payload.size(); offset += 8) {
    for (const uint64_t lie : {uint64_t{0xffff}, uint64_t{1} << 32, ~uint64_t{0}}) {
      std::vector<std::byte> corrupt = payload;
      StoreField(corrupt.data(), offset, lie);
      Hello decoded;
      std::string error;
      (void)DecodeHello(corrupt, &decoded, &error);
      EXPECT_LE(decoded.command_hashes.size(), 0x10000u);
      EXPECT_LE(decoded.extensions.size(), payload.size());
    }
    if (offset == 400) {
      break;  // behind the scalars and names come thousands of hashes, all alike
    }
  }
}

TEST(Setup, NamesAreMadeSafeToPrint) {
  Hello hello = MakeHello();
  hello.program = "evil\x1b[2J\nname\x7f";
  Buffer buffer;
  EncodeHello(hello, buffer);
  Hello decoded;
  std::string error;
  ASSERT_TRUE(DecodeHello(Payload(buffer), &decoded, &error));
  EXPECT_EQ(decoded.program, "evil?[2J?name?");
}

TEST(Setup, RefusalCarriesASentence) {
  Buffer buffer;
  EncodeRefusal("no room; try later", buffer);
  EXPECT_EQ(DecodeRefusal(Payload(buffer)), "no room; try later");
  EXPECT_THAT(DecodeRefusal({}), HasSubstr("not readable"));
  Buffer long_one;
  EncodeRefusal(std::string(100'000, 'x'), long_one);
  EXPECT_EQ(DecodeRefusal(Payload(long_one)).size(), kMaxSentenceBytes);
}

TEST(Setup, IntersectionNeedsTheSameHash) {
  const std::vector<uint32_t> ours{0, 5, 6, 0, 8};
  const std::vector<uint32_t> theirs{0, 5, 7, 0};
  EXPECT_EQ(Intersect(ours, theirs), (std::vector<bool>{false, true, false, false, false}));
}

TEST(Setup, HashesCoverEveryNumber) {
  const std::vector<uint32_t> commands = CommandHashes();
  for (uint16_t number = 1; number <= MaxCommandNumber(); ++number) {
    EXPECT_EQ(commands[number] != 0, CommandRecord(number) != nullptr) << number;
  }
  const std::vector<uint32_t> structs = StructHashes();
  for (uint16_t number = 1; number <= MaxStructNumber(); ++number) {
    EXPECT_EQ(structs[number] != 0, StructRecord(number) != nullptr) << number;
  }
}

}  // namespace
}  // namespace vesper::proto
