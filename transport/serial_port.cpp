// SPDX-License-Identifier: Apache-2.0
#include "transport/serial_port.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <vector>

#include "transport/line_connection.h"
#include "transport/unique_fd.h"

namespace vesper::transport {
namespace {

std::vector<std::string> PathsOf(const std::string& pattern) {
  std::vector<std::string> paths;
  glob_t found{};
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  ::globfree(&found);
  return paths;
}

// Why none of the ports could be opened, from the last that couldn't.
std::string Describe(const std::string& pattern, const std::vector<std::string>& paths, int code) {
  if (paths.empty()) {
    return "there is no port " + pattern +
           "; give the virtual machine a virtserialport of that name (docs/vm.md), and load "
           "virtio_console in the guest";
  }
  switch (code) {
    case EBUSY:
      return "other sessions have all of the " + std::to_string(paths.size()) + " ports " +
             pattern + "; give the virtual machine more of them";
    case EACCES:
    case EPERM:
      return "this user may not open " + paths.back() +
             "; let a group of theirs by a rule of udev (docs/vm.md)";
    case ENOTTY:
      return paths.back() + " is no port of a virtual machine";
    default:
      return "cannot open " + paths.back() + ": " + std::system_category().message(code);
  }
}

// As open(), for a port alone.
UniqueFd OpenPort(const std::string& path) {
  UniqueFd port(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat status{};
  if (port && (::fstat(port.get(), &status) != 0 || !S_ISCHR(status.st_mode))) {
    port.Reset();
    errno = ENOTTY;
  }
  return port;
}

}  // namespace

std::unique_ptr<Connection> CallOnSerialPort(const std::string& pattern,
                                             std::chrono::milliseconds timeout,
                                             std::string* error) {
  const std::vector<std::string> paths = PathsOf(pattern);
  int code = 0;
  for (const std::string& path : paths) {
    if (UniqueFd port = OpenPort(path)) {
      return LineConnection::Call(std::move(port), "serial " + path, timeout, LineLimits(), error);
    }
    // That one is taken is the ordinary case, and says less than anything else.
    code = code == 0 || code == EBUSY ? errno : code;
  }
  *error = Describe(pattern, paths, code);
  return nullptr;
}

}  // namespace vesper::transport
