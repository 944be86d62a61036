// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/test_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace vesper::tests {
namespace {

std::string Variable(const char* name, const std::string& otherwise) {
  const char* value = getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

// Where scripts/setup unpacks lavapipe if the system's is too old, and where Debian has it.
std::string LavapipeManifest() {
  for (const char* path :
       {VESPER_SOURCE_DIR "/.deps/lavapipe/lvp_icd.json", "/usr/share/vulkan/icd.d/lvp_icd.json",
        "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"}) {
    if (std::filesystem::exists(path)) {
      return path;
    }
  }
  throw std::runtime_error(
      "No manifest of lavapipe was found; run scripts/setup, or name a driver's "
      "manifest in VESPER_TEST_DRIVER.");
}

// A port of the loopback interface that was free a moment ago. Somebody else may take it before the
// server does; the server then ends at once, and the caller tries another.
uint16_t ProbablyFreePort() {
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (bind(socket_fd, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      getsockname(socket_fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    close(socket_fd);
    throw std::runtime_error(std::string("No loopback port could be had: ") + strerror(errno));
  }
  close(socket_fd);
  return ntohs(address.sin_port);
}

bool Connects(const sockaddr* address, socklen_t length) {
  const int socket_fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = connect(socket_fd, address, length) == 0;
  close(socket_fd);
  return connected;
}

bool UnixAccepts(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return Connects(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

bool TcpAccepts(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return Connects(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

}  // namespace

TestTarget TestTarget::FromEnvironment() {
  TestTarget target;
  target.native = Variable("VESPER_TEST_TARGET", "vesper") == "native";
  target.tcp = Variable("VESPER_TEST_TRANSPORT", "unix") == "tcp";
  const std::string driver = Variable("VESPER_TEST_DRIVER", "");
  target.driver_manifest = driver.empty() ? LavapipeManifest() : driver;
  return target;
}

std::string GuestManifest() {
  return VESPER_BUILD_DIR "/share/vulkan/icd.d/vesper_icd.x86_64.json";
}

TestServer::TestServer(const TestTarget& target, const std::vector<std::string>& arguments) {
  const int attempts = target.tcp ? 5 : 1;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (TryStart(target, arguments)) {
      return;
    }
  }
  throw std::runtime_error("vesperd did not start to listen. Its log:\n" + Log());
}

bool TestServer::TryStart(const TestTarget& target, const std::vector<std::string>& arguments) {
  const uint16_t port = target.tcp ? ProbablyFreePort() : 0;
  const std::string path = folder_.Path("socket");
  endpoint_ = target.tcp ? "tcp:127.0.0.1:" + std::to_string(port) : "unix:" + path;
  std::vector<std::string> command = {VESPER_BUILD_DIR "/bin/vesperd", "--listen", endpoint_,
                                      "--driver", target.driver_manifest};
  command.insert(command.end(), arguments.begin(), arguments.end());
  process_ = ChildProcess::Start(command, {}, folder_.Path("log"), folder_.Path("log"));
  return Eventually(
             [&] {
               return !process_.Running() || (target.tcp ? TcpAccepts(port) : UnixAccepts(path));
             },
             std::chrono::seconds(30)) &&
         process_.Running();
}

void UseDriver(const TestTarget& target, const std::string& endpoint) {
  const std::string manifest = target.native ? target.driver_manifest : GuestManifest();
  setenv("VK_DRIVER_FILES", manifest.c_str(), 1);
  setenv("VK_ICD_FILENAMES", manifest.c_str(), 1);
  // Implicit layers are another matter than drivers: none of them belongs between test and driver.
  setenv("VK_LOADER_LAYERS_DISABLE", "~implicit~", 1);
  setenv("NODEVICE_SELECT", "1", 1);
  if (!target.native) {
    setenv("VESPER_SERVER", endpoint.c_str(), 1);
  }
}

}  // namespace vesper::tests
