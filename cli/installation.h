// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_CLI_INSTALLATION_H_
#define VESPER_CLI_INSTALLATION_H_

#include <optional>
#include <string>

namespace vesper::cli {

/// Where the parts of Vesper lie. They are found beside the running program, so that a build tree,
/// a relocated folder and an installed package all work:
///
///   PREFIX/bin/vesper                             this program
///   PREFIX/bin/vesperd                            the server
///   PREFIX/share/vulkan/icd.d/vesper_icd.ARCH.json  the guest driver's manifest
struct Installation {
  std::string server;
  std::string manifest;

  /// The places, whether or not something lies there. Nothing if the system does not say where the
  /// running program is (no /proc).
  static std::optional<Installation> Find(std::string* error);
};

/// Where guests find their server: `option` if it is not empty, else the environment variable
/// VESPER_SERVER. An empty text means that neither names one.
std::string NamedServer(const std::string& option);

/// True if the variable is set to something.
bool HasVariable(const char* name);

}  // namespace vesper::cli

#endif  // VESPER_CLI_INSTALLATION_H_
