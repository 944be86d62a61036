// SPDX-License-Identifier: Apache-2.0
#include "cli/ping.h"

#include <chrono>
#include <cstdio>
#include <optional>

#include "cli/installation.h"
#include "cli/server_probe.h"
#include "client_icd/environment.h"
#include "transport/endpoint.h"

namespace vesper::cli {
namespace {

int Fail(const std::string& sentence) {
  std::fprintf(stderr, "vesper ping: %s\n", sentence.c_str());
  return 1;
}

}  // namespace

int Ping(const PingOptions& options) {
  std::string server = NamedServer(options.server);
  if (server.empty()) {
    server = client::DefaultServer();
  }
  std::string error;
  const auto endpoint = transport::Endpoint::Parse(server, &error);
  if (!endpoint) {
    return Fail(error);
  }
  const auto answer = ProbeServer(*endpoint, std::chrono::seconds(options.timeout), &error);
  if (!answer) {
    return Fail(error);
  }
  if (answer->devices.empty()) {
    return Fail(endpoint->ToString() + " has no device");
  }
  std::printf("%s: Vesper %s answered in %.1f ms; it has %s\n", endpoint->ToString().c_str(),
              answer->version.c_str(), static_cast<double>(answer->answer_time.count()) / 1000,
              answer->devices.front().name.c_str());
  return 0;
}

}  // namespace vesper::cli
