// SPDX-License-Identifier: Apache-2.0
#include "transport/stream.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
// Needs what sys/socket.h declares.
#include <linux/vm_sockets.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "transport/serial_port.h"
#include "transport/socket_address.h"
#include "transport/socket_connection.h"

namespace vesper::transport {
namespace {

using Clock = std::chrono::steady_clock;

std::chrono::milliseconds Remaining(Clock::time_point deadline) {
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()),
                  std::chrono::milliseconds(0));
}

// Connects one socket before `deadline`; returns 0 or the error, ETIMEDOUT if there was no answer.
// The call blocks with a send time-out and not with poll(): that is the only way to wait for a Unix
// listener whose backlog is full, and it needs no reactor.
int ConnectBefore(int fd, const SocketAddress& address, Clock::time_point deadline) {
  while (true) {
    const std::chrono::milliseconds remaining = Remaining(deadline);
    if (remaining.count() == 0) {
      return ETIMEDOUT;
    }
    timeval limit{};
    limit.tv_sec = static_cast<time_t>(remaining.count() / 1000);
    limit.tv_usec = static_cast<suseconds_t>(remaining.count() % 1000 * 1000);
    if (address.IsVsock()) {
      ::setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit));
    } else {
      ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    }
    if (::connect(fd, address.data(), address.size()) == 0 || errno == EISCONN) {
      return 0;
    }
    switch (errno) {
      case EINTR:  // a signal; the attempt goes on where it was
      case EALREADY:
      case EAGAIN:  // a Unix listener's backlog stayed full
      case EINPROGRESS:
        break;
      default:
        return errno;
    }
  }
}

std::string DescribeFailure(const Endpoint& endpoint, std::chrono::milliseconds timeout, int code) {
  const std::string where = endpoint.ToString();
  if (endpoint.kind == Endpoint::Kind::kVsock) {
    switch (code) {
      case EAFNOSUPPORT:
        return "this kernel has no vsock for " + where +
               "; load its module: modprobe vmw_vsock_virtio_transport in a guest, vhost_vsock on "
               "the host";
      case ENODEV:
        return "this machine has no vsock device that leads to " + where +
               "; give the virtual machine one (vhost-vsock-pci in QEMU) and load its module, "
               "vmw_vsock_virtio_transport";
      case ECONNRESET:
        return "no server listens at " + where;
      case ETIMEDOUT:
        return "no server answered at " + where +
               "; is that the right context id? The host's is 2, a guest's is what its virtual "
               "machine was given";
      default:
        break;
    }
  }
  const std::string reason = " (" + std::system_category().message(code) + ")";
  switch (code) {
    case ETIMEDOUT:
      return "no server answered at " + where + " within " + std::to_string(timeout.count()) +
             " ms";
    case ECONNREFUSED:
    case ENOENT:
      return "no server listens at " + where + reason;
    case EACCES:
    case EPERM:
      return "this user may not connect to " + where + reason;
    default:
      return "connecting to " + where + " failed" + reason;
  }
}

}  // namespace

std::unique_ptr<Connection> Connect(const Endpoint& endpoint, std::chrono::milliseconds timeout,
                                    std::string* error) {
  const Clock::time_point deadline = Clock::now() + timeout;
  if (endpoint.kind == Endpoint::Kind::kTcp && endpoint.port == 0) {
    *error = "cannot connect to " + endpoint.ToString() + ", which names no port";
    return nullptr;
  }
  if (endpoint.kind == Endpoint::Kind::kSerial) {
    return CallOnSerialPort(endpoint.path, timeout, error);
  }
  const std::vector<SocketAddress> addresses = Resolve(endpoint, error);
  if (addresses.empty()) {
    return nullptr;
  }
  int code = ETIMEDOUT;
  for (size_t i = 0; i < addresses.size(); ++i) {
    UniqueFd socket(::socket(addresses[i].Family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) {
      code = errno;
      continue;
    }
    // A name with several addresses, of which the first is silent, still gets through.
    const auto share = Remaining(deadline) / static_cast<int>(addresses.size() - i);
    code = ConnectBefore(socket.get(), addresses[i], Clock::now() + share);
    if (code == 0) {
      return SocketConnection::Make(std::move(socket), SocketLimits(), error);
    }
  }
  *error = DescribeFailure(endpoint, timeout, code);
  return nullptr;
}

std::unique_ptr<Connection> AdoptSocket(int fd, std::string* error) {
  return SocketConnection::Make(UniqueFd(fd), SocketLimits(), error);
}

}  // namespace vesper::transport
