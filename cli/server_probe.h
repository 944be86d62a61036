// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_CLI_SERVER_PROBE_H_
#define VESPER_CLI_SERVER_PROBE_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "transport/endpoint.h"

namespace vesper::cli {

struct ServerDevice {
  std::string name;
  std::string api_version;
  std::string driver;  ///< Name and version of the driver, as it calls itself.
};

struct ServerAnswer {
  std::string version;
  uint32_t protocol_version = 0;
  size_t common_commands = 0;  ///< Commands that this build and the server both know alike.
  size_t own_commands = 0;     ///< Commands that this build knows.
  std::vector<ServerDevice> devices;
  std::chrono::microseconds connect_time{0};
  std::chrono::microseconds answer_time{0};
  std::string peer;
  bool is_local = false;
  std::string why_no_rings;    ///< Why commands pass through the socket; empty if they don't.
  std::string why_not_shared;  ///< Why it does not share memory; empty if it does.
};

/// Connects to a server and does session set-up, as a guest does, but says that it only asks.
/// Nothing with one sentence in `*error` if the server cannot be reached, does not answer within
/// `limit`, refuses, or is not a server of Vesper.
std::optional<ServerAnswer> ProbeServer(const transport::Endpoint& endpoint,
                                        std::chrono::milliseconds limit, std::string* error);

}  // namespace vesper::cli

#endif  // VESPER_CLI_SERVER_PROBE_H_
