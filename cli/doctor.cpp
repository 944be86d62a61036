// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>

#include "cli/container_checks.h"
#include "cli/installation.h"
#include "cli/memory_checks.h"
#include "cli/private_server.h"
#include "cli/report.h"
#include "cli/server_probe.h"
#include "cli/vm_checks.h"
#include "cli/vulkan_checks.h"
#include "transport/endpoint.h"

namespace vesper::cli {
namespace {

std::string Milliseconds(std::chrono::microseconds time) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f ms", static_cast<double>(time.count()) / 1000);
  return text.data();
}

// The server to examine, and the private one behind it if there is one.
struct Target {
  std::optional<transport::Endpoint> endpoint;
  std::unique_ptr<PrivateServer> private_server;
};

Target FindServer(const DoctorOptions& options, const Installation& installation, Report& report) {
  Target target;
  std::string error;
  const std::string named = NamedServer(options.server);
  if (named.empty()) {
    PrivateServer::Options server_options;
    server_options.driver = options.driver;
    target.private_server = PrivateServer::Start(installation, server_options, &error);
    if (!target.private_server) {
      report.Add(Verdict::kBad, error, "name a server with --server or VESPER_SERVER");
      return target;
    }
    report.Add(Verdict::kGood,
               "no server is named; a private one was started, as `vesper run` does");
    target.endpoint = transport::Endpoint::Parse(target.private_server->endpoint(), &error);
    return target;
  }
  const std::string source = options.server.empty() ? "VESPER_SERVER" : "--server";
  target.endpoint = transport::Endpoint::Parse(named, &error);
  if (target.endpoint) {
    report.Add(Verdict::kGood, source + " names " + target.endpoint->ToString());
  } else {
    report.Add(Verdict::kBad, source + ": " + error);
  }
  return target;
}

// How commands would pass.
void CheckRings(const transport::Endpoint& endpoint, const ServerAnswer& answer, Report& report) {
  const char* transport = std::getenv("VESPER_TRANSPORT");
  const std::string beside = "commands pass through the socket, not through shared rings: ";
  if (endpoint.kind != transport::Endpoint::Kind::kUnix) {
    report.Add(Verdict::kMissing, beside + "only a Unix socket passes files");
  } else if (transport != nullptr && std::string_view(transport) == "stream") {
    report.Add(Verdict::kMissing, beside + "VESPER_TRANSPORT=stream asks for it");
  } else if (!answer.why_no_rings.empty()) {
    report.Add(Verdict::kMissing, beside + answer.why_no_rings);
  } else {
    report.Add(Verdict::kGood, "commands pass through rings in shared memory");
  }
}

// What the server answered; nothing if it did not.
std::optional<ServerAnswer> CheckServer(const transport::Endpoint& endpoint,
                                        std::chrono::seconds limit, Report& report) {
  std::string error;
  std::optional<ServerAnswer> answer = ProbeServer(endpoint, limit, &error);
  if (!answer) {
    report.Add(Verdict::kBad, error,
               LeadsOutOfAMachine(endpoint) ? AdviceOnMachine(endpoint) : AdviceOnServer(endpoint));
    return std::nullopt;
  }
  report.Add(Verdict::kGood, "connected in " + Milliseconds(answer->connect_time) + " (" +
                                 answer->peer + (answer->is_local ? ", on this machine)" : ")"));
  report.Add(Verdict::kGood, "Vesper " + answer->version + " answered in " +
                                 Milliseconds(answer->answer_time) + ", protocol version " +
                                 std::to_string(answer->protocol_version));
  if (answer->version != VESPER_VERSION) {
    report.Add(Verdict::kWarning,
               "this is Vesper " VESPER_VERSION "; different versions use what both know",
               "install the same version on both sides");
  }
  const bool is_complete = answer->common_commands == answer->own_commands;
  report.Add(is_complete ? Verdict::kGood : Verdict::kWarning,
             "guest and server share " + std::to_string(answer->common_commands) + " of " +
                 std::to_string(answer->own_commands) + " commands");
  CheckRings(endpoint, *answer, report);
  for (const ServerDevice& device : answer->devices) {
    report.Add(Verdict::kGood,
               "device " + device.name + ", Vulkan " + device.api_version + ", " + device.driver);
  }
  if (answer->devices.empty()) {
    report.Add(Verdict::kBad, "the server has no device",
               "install a Vulkan driver there, or name one with vesperd --driver");
  }
  return answer;
}

}  // namespace

int Doctor(const DoctorOptions& options) {
  std::string error;
  const std::optional<Installation> installation = Installation::Find(&error);
  if (!installation) {
    std::fprintf(stderr, "vesper doctor: %s\n", error.c_str());
    return 1;
  }
  Report report;
  report.Section("Vulkan loader");
  CheckLoader(report);
  report.Section("Guest driver");
  CheckGuestDriver(installation->manifest, report);
  report.Section("Server");
  const Target target = FindServer(options, *installation, report);
  std::optional<ServerAnswer> answer;
  if (target.endpoint) {
    answer = CheckServer(*target.endpoint, std::chrono::seconds(options.timeout), report);
  }
  report.Section("A program");
  if (report.bad_count() == 0) {
    CheckProgramView(installation->manifest, target.endpoint->ToString(), report);
  } else {
    report.Add(Verdict::kMissing, "not tried, since something above must be mended first");
  }
  report.Section("Tracking of written memory");
  CheckTracking(report);
  report.Section("Downloads of mapped memory");
  CheckDownloads(target.endpoint && target.endpoint->kind == transport::Endpoint::Kind::kTcp,
                 report);
  report.Section("Sharing of memory with the server");
  CheckSharing(target.endpoint && target.endpoint->kind == transport::Endpoint::Kind::kUnix,
               answer ? answer->why_not_shared : "it did not answer", report);

  report.Section("Surroundings");
  CheckSurroundings(report);

  const int bad_count = report.bad_count();
  if (bad_count != 0) {
    report.Section("Vulkan programs will not run: " + std::to_string(bad_count) +
                   (bad_count == 1 ? " problem is" : " problems are") + " marked FAIL.");
    return 1;
  }
  report.Section("Vulkan programs run: vesper run -- PROGRAM");
  return 0;
}

}  // namespace vesper::cli
