// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_CLI_PRIVATE_SERVER_H_
#define VESPER_CLI_PRIVATE_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/installation.h"
#include "transport/unique_fd.h"

namespace vesper::cli {

/// A server for one user of it: it listens on a Unix socket in a folder that only this user may
/// enter. It is gone with the object, and also if this process dies.
class PrivateServer {
 public:
  struct Options {
    std::string driver;  ///< As vesperd's --driver.
    std::string device;  ///< As vesperd's --device.
    std::string log_level = "warning";
  };

  /// Starts the server and waits until it listens. Null with one sentence in `*error` on failure;
  /// the server has then said more on stderr.
  static std::unique_ptr<PrivateServer> Start(const Installation& installation,
                                              const Options& options, std::string* error);

  /// Stops the server, which ends the sessions that are left, and removes the folder.
  ~PrivateServer();
  PrivateServer(const PrivateServer&) = delete;
  PrivateServer& operator=(const PrivateServer&) = delete;

  const std::string& endpoint() const { return endpoint_; }

 private:
  PrivateServer() = default;

  bool MakeFolder(std::string* error);
  bool Spawn(const Installation& installation, const Options& options, std::string* error);
  bool WaitUntilReady(std::string* error);

  std::string folder_;
  std::string endpoint_;
  transport::UniqueFd news_;     // where the server says that it is ready
  transport::UniqueFd process_;  // readable once the server has ended
  pid_t pid_ = -1;
};

}  // namespace vesper::cli

#endif  // VESPER_CLI_PRIVATE_SERVER_H_
