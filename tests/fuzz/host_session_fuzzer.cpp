// SPDX-License-Identifier: Apache-2.0
//
// A whole session of the worker over a mock driver: what a guest may send after its hello. Seeds
// are what real guests sent in the tests of the wire.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "proto/frame.h"
#include "proto/setup.h"
#include "server/session.h"
#include "tests/framework/mock_vulkan.h"

namespace {

namespace proto = vesper::proto;

/// Nobody listens.
class Nowhere : public vesper::transport::Connection {
 public:
  bool Write(std::span<const std::span<const std::byte>>) override { return true; }
  size_t ReadSome(std::span<std::byte>) override { return 0; }
  void Shutdown() override {}
  bool PeerIsGone() const override { return false; }
  std::string Error() const override { return {}; }
  std::string Peer() const override { return "fuzzer"; }
  bool IsLocal() const override { return true; }
};

/// A hello that knows everything but the structs of the snapshot, so that each run starts quickly.
std::vector<std::byte> MakeHello() {
  proto::Hello hello;
  hello.program = "fuzzer";
  hello.command_hashes = proto::CommandHashes();
  hello.struct_hashes = proto::StructHashes();
  for (uint16_t number = 1; number <= proto::MaxStructNumber(); ++number) {
    const proto::Record* record = proto::StructRecord(number);
    const bool in_snapshot =
        record != nullptr && (std::strncmp(record->name, "VkPhysicalDevice", 16) == 0 &&
                              std::strcmp(record->name, "VkPhysicalDeviceFeatures2") != 0);
    if (in_snapshot) {
      hello.struct_hashes[number] = 0;
    }
  }
  for (const proto::ExtensionInfo& extension : proto::Extensions()) {
    hello.extensions.emplace_back(extension.name);
  }
  proto::Buffer frame;
  proto::EncodeHello(hello, frame);
  return {frame.Bytes().begin() + proto::kFrameHeaderBytes, frame.Bytes().end()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::byte> hello = MakeHello();
  vesper::tests::MockVulkan mock;
  mock.SetRecording(false);
  mock.SetExtensions(false);
  mock.SetMemoryLimit(4u << 20);
  Nowhere connection;
  vesper::server::Session session(connection, &vesper::tests::MockVulkan::GetProcAddr, "");
  std::string error;
  if (session.HandleHello(hello, &error) != vesper::server::Session::Setup::kDone) {
    std::abort();
  }
  proto::FrameSplitter splitter(proto::kMaxFrameBytes);
  while (size > 0) {
    const std::span<std::byte> space = splitter.BeginReceive();
    const size_t piece = std::min(space.size(), size);
    if (piece == 0) {
      break;
    }
    std::memcpy(space.data(), data, piece);
    splitter.EndReceive(piece);
    data += piece;
    size -= piece;
    while (const auto frame = splitter.Next()) {
      if (frame->type != proto::FrameType::kCommands ||
          !session.HandleCommands(frame->payload, &error)) {
        session.SayGoodbye(error.c_str());
        return 0;
      }
    }
  }
  return 0;
}
