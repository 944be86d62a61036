// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/test_server.h"

#include <stdlib.h>

#include <filesystem>
#include <iterator>
#include <sstream>
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
  // With port 0 the server picks one and says in its log which; a connection just to see whether it
  // listens would already be a session.
  const std::string wanted = target.tcp ? "tcp:127.0.0.1:0" : "unix:" + folder_.Path("socket");
  std::vector<std::string> command = {VESPER_BUILD_DIR "/bin/vesperd", "--listen", wanted,
                                      "--driver", target.driver_manifest};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::istringstream more(Variable("VESPER_TEST_SERVER_ARGUMENTS", ""));
  command.insert(command.end(), std::istream_iterator<std::string>(more), {});
  // Layers are between the test and its driver, not between the server and the host's.
  const std::map<std::string, std::string> layers = {
      {"VK_INSTANCE_LAYERS", Variable("VESPER_TEST_SERVER_LAYERS", "")}};
  process_ = ChildProcess::Start(command, layers, folder_.Path("log"), folder_.Path("log"));
  const std::string phrase = "listening on ";
  Eventually(
      [&] {
        const std::string log = Log();
        const size_t begin = log.find(phrase);
        const size_t end = begin == std::string::npos ? begin : log.find('\n', begin);
        if (end != std::string::npos) {
          endpoint_ = log.substr(begin + phrase.size(), end - begin - phrase.size());
        }
        return !endpoint_.empty() || !process_.Running();
      },
      std::chrono::seconds(30));
  if (endpoint_.empty()) {
    throw std::runtime_error("vesperd did not begin to listen. Its log:\n" + Log());
  }
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
