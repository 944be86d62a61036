// SPDX-License-Identifier: Apache-2.0
// Servers of all sorts in this process, and drivers of all sorts in the installation; the one that
// works is the machine's own software driver, since the tool does not care what is behind the
// manifest.
#include <gmock/gmock.h>
#include <string.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "proto/frame.h"
#include "proto/setup.h"
#include "proto/snapshot.h"
#include "tests/cli/tool.h"
#include "tests/framework/test_server.h"
#include "transport/stream.h"

namespace vesper::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

using transport::Connection;
using transport::Endpoint;

// Serves one guest after the other on a socket.
class FakeServer {
 public:
  using Behaviour = std::function<void(Connection&)>;

  FakeServer(const std::string& endpoint, Behaviour behaviour) {
    std::string error;
    listener_ = transport::Listener::Open(*Endpoint::Parse(endpoint, &error), &error);
    EXPECT_TRUE(listener_) << error;
    thread_ = std::thread([this, serve = std::move(behaviour)] {
      std::string nobody;
      while (!is_done_) {
        if (const auto guest = listener_->Accept(std::chrono::milliseconds(20), &nobody)) {
          serve(*guest);
        }
      }
    });
  }
  ~FakeServer() {
    is_done_ = true;
    thread_.join();
  }

  std::string endpoint() const { return listener_->endpoint().ToString(); }

 private:
  std::unique_ptr<transport::Listener> listener_;
  std::atomic<bool> is_done_ = false;
  std::thread thread_;
};

void Send(Connection& connection, std::span<const std::byte> bytes) {
  const std::span<const std::byte> parts[] = {bytes};
  connection.Write(parts);
}

// Reads the guest's hello; nothing if what comes is none.
std::optional<proto::Hello> ReadHello(Connection& connection) {
  proto::FrameSplitter splitter(proto::kMaxSetupBytes);
  while (true) {
    if (const auto frame = splitter.Next()) {
      proto::Hello hello;
      std::string error;
      const bool is_good = frame->type == proto::FrameType::kHello &&
                           proto::DecodeHello(frame->payload, &hello, &error);
      return is_good ? std::optional(hello) : std::nullopt;
    }
    const size_t count = connection.ReadSome(splitter.BeginReceive());
    if (count == 0) {
      return std::nullopt;
    }
    splitter.EndReceive(count);
  }
}

// Answers as a server with `device_count` devices does.
FakeServer::Behaviour Welcome(uint32_t device_count, const std::string& version) {
  return [=](Connection& connection) {
    const std::optional<proto::Hello> hello = ReadHello(connection);
    ASSERT_TRUE(hello);
    EXPECT_TRUE(hello->probe);
    VkPhysicalDeviceDriverProperties driver{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    ::strcpy(driver.driverName, "Imaginary");
    ::strcpy(driver.driverInfo, "7.8");
    VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &driver};
    ::strcpy(properties.properties.deviceName, "Paper\nGPU");
    properties.properties.apiVersion = VK_MAKE_API_VERSION(0, 1, 4, 305);
    VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
    VkPhysicalDeviceMemoryProperties2 memory{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    proto::Snapshot snapshot;
    for (uint32_t i = 0; i < device_count; ++i) {
      proto::PhysicalDeviceSnapshot device;
      device.id = i + 1;
      device.properties = &properties;
      device.features = &features;
      device.memory = &memory;
      snapshot.devices.push_back(device);
    }
    proto::Welcome welcome;
    welcome.server_version = version;
    welcome.commands = proto::Intersect(proto::CommandHashes(), hello->command_hashes);
    welcome.structs = proto::Intersect(proto::StructHashes(), hello->struct_hashes);
    proto::Buffer encoded;
    proto::EncodeSnapshot(snapshot, proto::KnownStructs(welcome.structs), encoded);
    welcome.snapshot.assign(encoded.Bytes().begin(), encoded.Bytes().end());
    proto::Buffer answer;
    proto::EncodeWelcome(welcome, answer);
    Send(connection, answer.Bytes());
  };
}

class DoctorTest : public ToolTest {
 protected:
  DoctorTest() { WriteManifest(WorkingManifest().dump()); }

  static nlohmann::json WorkingManifest() {
    const auto native = tests::TestTarget::FromEnvironment().driver_manifest;
    nlohmann::json manifest = nlohmann::json::parse(tests::ReadFile(native));
    const std::string library = manifest["ICD"]["library_path"];
    if (library.find('/') != std::string::npos) {
      manifest["ICD"]["library_path"] =
          (std::filesystem::path(native).parent_path() / library).string();
    }
    return manifest;
  }

  void WriteLibraryPath(const std::string& path) {
    nlohmann::json manifest = WorkingManifest();
    manifest["ICD"]["library_path"] = path;
    WriteManifest(manifest.dump());
  }

  std::string Socket() const { return "unix:" + folder_.Path("socket"); }

  // A server that does nothing wrong, for tests of other things.
  FakeServer GoodServer() { return {Socket(), Welcome(1, "0.1.0")}; }
};

TEST_F(DoctorTest, SaysThatAllIsWell) {
  const FakeServer server(Socket(), Welcome(2, "9.9.9"));
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 0) << Output() << Errors();
  const std::string output = Output();
  EXPECT_THAT(output, HasSubstr("ok    libvulkan.so.1 loads and knows Vulkan 1."));
  EXPECT_THAT(output, HasSubstr("ok    manifest " + Manifest()));
  EXPECT_THAT(output, HasSubstr("ok    --server names " + Socket()));
  EXPECT_THAT(output, HasSubstr("ok    connected in "));
  EXPECT_THAT(output, HasSubstr("ok    Vesper 9.9.9 answered in "));
  EXPECT_THAT(output, HasSubstr("protocol version " + std::to_string(proto::kProtocolVersion)));
  EXPECT_THAT(output, HasSubstr("warn  this is Vesper "));
  EXPECT_THAT(output, HasSubstr("ok    device Paper?GPU, Vulkan 1.4.305, Imaginary 7.8"));
  EXPECT_THAT(output, HasSubstr("ok    a program gets an instance and finds "));
  EXPECT_THAT(output, HasSubstr("ok    programs use '"));
  EXPECT_THAT(output, HasSubstr("ok    compare, comparison with a twin: works here"));
  EXPECT_THAT(output, HasSubstr("memory passed through a Unix socket: works here"));
  EXPECT_THAT(output, HasSubstr("ok    programs share host-visible memory with the device"));
  EXPECT_THAT(output, Not(HasSubstr("FAIL")));
  EXPECT_THAT(output, Not(HasSubstr("\033"))) << "colour belongs on terminals only";
  EXPECT_EQ(Errors(), "");
}

TEST_F(DoctorTest, CountsTheCommandsThatBothKnow) {
  const FakeServer server = {Socket(), [](Connection& connection) {
                               const auto hello = ReadHello(connection);
                               ASSERT_TRUE(hello);
                               proto::Welcome welcome;
                               welcome.server_version = "0.0.1";
                               welcome.commands = {false, true, true};
                               proto::Buffer encoded;
                               proto::EncodeSnapshot({}, proto::KnownStructs(), encoded);
                               welcome.snapshot.assign(encoded.Bytes().begin(),
                                                       encoded.Bytes().end());
                               proto::Buffer answer;
                               proto::EncodeWelcome(welcome, answer);
                               Send(connection, answer.Bytes());
                             }};
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 1);
  EXPECT_THAT(Output(), HasSubstr("warn  guest and server share 2 of "));
  EXPECT_THAT(Output(), HasSubstr("FAIL  the server has no device"));
}

TEST_F(DoctorTest, SharingDependsOnTheEndpoint) {
  const FakeServer server("tcp:127.0.0.1:0", Welcome(1, "0.1.0"));
  EXPECT_EQ(Run({"doctor"}, {{"VESPER_SERVER", server.endpoint()}}), 0) << Output();
  EXPECT_THAT(Output(), HasSubstr("ok    VESPER_SERVER names tcp:127.0.0.1:"));
  EXPECT_THAT(Output(), HasSubstr("no    memory passed through a Unix socket"));
}

TEST_F(DoctorTest, UnreachableServer) {
  EXPECT_EQ(Run({"doctor", "--server", Socket()}), 1);
  EXPECT_THAT(Output(), HasSubstr("FAIL  no server listens at " + Socket()));
  EXPECT_THAT(Output(), HasSubstr("-> start vesperd"));
  EXPECT_THAT(Output(), HasSubstr("Vulkan programs will not run: 1 problem is marked FAIL."));
  EXPECT_THAT(Output(), HasSubstr("no    not tried"));
}

TEST_F(DoctorTest, ServerThatRefusesIsQuoted) {
  const FakeServer server(Socket(), [](Connection& connection) {
    proto::Buffer refusal;
    proto::EncodeRefusal("the inn is full", refusal);
    Send(connection, refusal.Bytes());
  });
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 1);
  EXPECT_THAT(Output(), HasSubstr("FAIL  the server refused: the inn is full"));
}

TEST_F(DoctorTest, ServerOfAnotherProtocolVersion) {
  const FakeServer server(Socket(), [](Connection& connection) {
    ReadHello(connection);
    proto::Welcome welcome;
    welcome.protocol_version = 77;
    proto::Buffer answer;
    proto::EncodeWelcome(welcome, answer);
    Send(connection, answer.Bytes());
  });
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 1);
  EXPECT_THAT(Output(), HasSubstr("FAIL  expected protocol version " +
                                  std::to_string(proto::kProtocolVersion) + ", got 77"));
}

TEST_F(DoctorTest, ServerOfAnotherKind) {
  const FakeServer server(Socket(), [](Connection& connection) {
    const std::string text = "HTTP/1.1 400 Bad Request\r\n\r\n";
    Send(connection, std::as_bytes(std::span(text)));
  });
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 1);
  EXPECT_THAT(Output(), HasSubstr("FAIL  what answered does not speak Vesper's protocol"));
}

TEST_F(DoctorTest, ServerThatHangsUp) {
  const FakeServer server(Socket(), [](Connection& connection) { ReadHello(connection); });
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 1);
  EXPECT_THAT(Output(), HasSubstr("FAIL  the server closed the connection without a word"));
}

TEST_F(DoctorTest, ServerThatSaysNothing) {
  const FakeServer server(Socket(), [](Connection& connection) {
    std::array<std::byte, 4096> buffer;
    while (connection.ReadSome(buffer) != 0) {
    }
  });
  EXPECT_EQ(Run({"doctor", "--timeout", "1", "--server", server.endpoint()}), 1);
  EXPECT_THAT(Output(), HasSubstr("did not answer within 1 s"));
}

TEST_F(DoctorTest, EndpointThatIsNone) {
  EXPECT_EQ(Run({"doctor"}, {{"VESPER_SERVER", "over there"}}), 1);
  EXPECT_THAT(Output(), HasSubstr("FAIL  VESPER_SERVER: \"over there\" is no endpoint"));
}

TEST_F(DoctorTest, PrivateServerIsStartedWhenNoneIsNamed) {
  // This one's workers do not understand set-up, but it is found, and ended again.
  EXPECT_EQ(Run({"doctor"}), 1);
  EXPECT_THAT(Output(), HasSubstr("ok    no server is named; a private one was started"));
  EXPECT_TRUE(PrivateFolders().empty());
}

TEST_F(DoctorTest, PrivateServerThatIsNotInstalled) {
  std::filesystem::remove(Server());
  EXPECT_EQ(Run({"doctor"}), 1);
  EXPECT_THAT(Output(), HasSubstr("FAIL  the server program " + Server() + " is not there"));
}

TEST_F(DoctorTest, MissingManifest) {
  const FakeServer server = GoodServer();
  std::filesystem::remove(Manifest());
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 1);
  EXPECT_THAT(Output(), HasSubstr("FAIL  the manifest " + Manifest() + " is not there"));
}

TEST_F(DoctorTest, DamagedManifests) {
  const FakeServer server = GoodServer();
  const std::pair<const char*, const char*> damages[] = {
      {"", "it is not JSON"},
      {"{\"ICD\": {", "it is not JSON"},
      {"[]", "it has no ICD.library_path"},
      {"{\"ICD\": 5}", "it has no ICD.library_path"},
      {"{\"ICD\": {\"library_path\": 5}}", "it has no ICD.library_path"}};
  for (const auto& [text, complaint] : damages) {
    WriteManifest(text);
    EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 1);
    EXPECT_THAT(Output(), AllOf(HasSubstr("FAIL  the manifest"), HasSubstr(complaint))) << text;
  }
}

TEST_F(DoctorTest, DriverThatDoesNotLoad) {
  const FakeServer server = GoodServer();
  WriteLibraryPath("../lib/libvesper_icd.so");
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 1);
  EXPECT_THAT(Output(),
              HasSubstr("FAIL  the driver " + folder_.Path("share/vulkan/lib/libvesper_icd.so") +
                        " does not work: "));
  EXPECT_THAT(Output(), HasSubstr("cannot open shared object file"));
}

TEST_F(DoctorTest, LibraryThatIsNoDriver) {
  const FakeServer server = GoodServer();
  WriteLibraryPath("libc.so.6");
  EXPECT_EQ(Run({"doctor", "--server", server.endpoint()}), 1);
  EXPECT_THAT(Output(), HasSubstr("it lacks the functions that every Vulkan driver has"));
}

TEST_F(DoctorTest, TellsHowProgramsFindTheDriver) {
  const FakeServer server = GoodServer();
  const std::vector<std::string> words = {"doctor", "--server", server.endpoint()};
  EXPECT_EQ(Run(words), 0);
  EXPECT_THAT(Output(), HasSubstr("no    programs do not find this driver by themselves"));
  EXPECT_THAT(Output(), HasSubstr("VK_DRIVER_FILES=" + Manifest()));
  EXPECT_EQ(Run(words, {{"VK_DRIVER_FILES", Manifest()}}), 0);
  EXPECT_THAT(Output(), HasSubstr("ok    VK_DRIVER_FILES names this driver"));
  EXPECT_EQ(Run(words, {{"VK_ICD_FILENAMES", "/a.json:/b.json"}}), 0);
  EXPECT_THAT(Output(), HasSubstr("no    VK_ICD_FILENAMES names other drivers"));
  EXPECT_EQ(Run(words, {{"XDG_DATA_DIRS", "/x:" + folder_.Path("share")}}), 0);
  EXPECT_THAT(Output(), HasSubstr("ok    programs find this driver by themselves"));
}

TEST_F(DoctorTest, UsageMistakes) {
  EXPECT_EQ(Run({"doctor", "--server", "x"}), 2);
  EXPECT_EQ(Run({"doctor", "--server", Socket(), "--driver", "/dev/null"}), 2);
  EXPECT_EQ(Run({"doctor", "--timeout", "0"}), 2);
  EXPECT_EQ(Run({"doctor", "extra"}), 2);
}

}  // namespace
}  // namespace vesper::cli
