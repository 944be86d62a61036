// SPDX-License-Identifier: Apache-2.0
#include "server/service_manager.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "transport/unique_fd.h"

namespace vesper::server {
namespace {

// The first descriptor that a manager hands over; the others follow.
constexpr int kFirstInherited = 3;

// More than any configuration has; a larger number is a mistake and not a wish.
constexpr int kMaxInherited = 64;

int NumberInEnvironment(const char* name) {
  const char* text = ::getenv(name);
  int number = 0;
  if (text != nullptr) {
    std::from_chars(text, text + std::strlen(text), number);
  }
  return number;
}

}  // namespace

std::vector<int> InheritedSockets() {
  std::vector<int> sockets;
  if (NumberInEnvironment("LISTEN_PID") == ::getpid()) {
    const int count = std::min(NumberInEnvironment("LISTEN_FDS"), kMaxInherited);
    for (int i = 0; i < count; ++i) {
      sockets.push_back(kFirstInherited + i);
    }
  }
  return sockets;
}

void NotifyManager(const std::string& assignments) {
  const char* name = ::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  if (name == nullptr || *name == '\0' || std::strlen(name) >= sizeof(address.sun_path)) {
    return;
  }
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(name);
  std::memcpy(address.sun_path, name, length);
  if (address.sun_path[0] == '@') {
    address.sun_path[0] = '\0';  // the abstract namespace
  }
  const transport::UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  // A manager that does not listen is no reason to fail.
  (void)::sendto(socket.get(), assignments.data(), assignments.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

}  // namespace vesper::server
