// SPDX-License-Identifier: Apache-2.0
#include "transport/socket_connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
// Needs what sys/socket.h declares.
#include <linux/vm_sockets.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "transport/socket_address.h"
#include "transport/stream.h"

namespace vesper::transport {
namespace {

// Parts handed to one system call; a writer with more of them makes several calls. Scattered pages
// of memory come in many parts, and a call costs more than most of them. The system takes 1024.
constexpr size_t kMaxParts = 512;

// Wanted send buffer of a Unix socket: enough that a frame of commands seldom waits for the reader.
// The kernel may give less. TCP sizes its buffers itself as long as nobody sets them.
constexpr int kUnixSendBuffer = 1 << 20;

// Bytes that a vsock peer may send before they are read. The kernel's own choice, a quarter of it,
// has the sender wait for news of room in the middle of most uploads.
constexpr uint64_t kVsockBuffer = 1 << 20;

// Bytes that the kernel takes of a TCP stream and has not sent yet. More would wait in front of
// whatever is written next: on a slow link the kernel's own limit, some MiB, is half a second. It
// does not bound what is under way, so a fast link with a long way stays full.
constexpr int kTcpUnsent = 256 << 10;

// Window probes without an answer before they count as a sign of death.
constexpr int kUnansweredProbes = 3;

template <class Value>
void SetOption(int fd, int level, int name, const Value& value) {
  // Each option only improves things; where a kernel or a sandbox refuses one the stream still
  // works.
  (void)::setsockopt(fd, level, name, &value, sizeof(value));
}

timeval ToTimeval(std::chrono::milliseconds time) {
  timeval value{};
  value.tv_sec = static_cast<time_t>(time.count() / 1000);
  value.tv_usec = static_cast<suseconds_t>(time.count() % 1000 * 1000);
  return value;
}

bool IsTimeout(int code) { return code == EAGAIN || code == EWOULDBLOCK; }

// Why the stream ended, from the error of a system call.
std::string Describe(const char* action, int code) {
  switch (code) {
    case EPIPE:
      return "the peer closed the connection before it had taken everything";
    case ECONNRESET:
      return "the peer dropped the connection";
    case ETIMEDOUT:
      return "the peer does not answer any more; it or the network between is down";
    default:
      return std::string(action) + " failed: " + std::system_category().message(code);
  }
}

}  // namespace

std::unique_ptr<SocketConnection> SocketConnection::Make(UniqueFd socket,
                                                         const SocketLimits& limits,
                                                         std::string* error) {
  int type = 0;
  socklen_t size = sizeof(type);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    *error = "descriptor " + std::to_string(socket.get()) +
             " is not a socket: " + std::system_category().message(errno);
    return nullptr;
  }
  SocketAddress address;
  if (type != SOCK_STREAM || !address.ReadPeer(socket.get())) {
    *error = "descriptor " + std::to_string(socket.get()) + " is not a connected stream socket";
    return nullptr;
  }
  if (!address.IsUnix() && !address.IsInet() && !address.IsVsock()) {
    *error = "descriptor " + std::to_string(socket.get()) + " is a socket of address family " +
             std::to_string(address.Family()) + "; only Unix, TCP and vsock sockets are supported";
    return nullptr;
  }
  // The other end of vsock is another machine in name only.
  const bool is_local = address.IsUnix() || address.IsVsock() || address.IsLoopback();
  return std::unique_ptr<SocketConnection>(
      new SocketConnection(std::move(socket), limits, address.ToEndpoint().kind, is_local));
}

SocketConnection::SocketConnection(UniqueFd socket, const SocketLimits& limits, Endpoint::Kind kind,
                                   bool is_local)
    : socket_(std::move(socket)),
      limits_(limits),
      kind_(kind),
      is_local_(is_local),
      peer_(DescribePeer(socket_.get())) {
  Configure();
}

void SocketConnection::Configure() {
  const int fd = socket_.get();
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  // An inherited descriptor may come out of an event loop.
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) != 0) {
    ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  }
  const timeval wake_up = ToTimeval(kind_ == Endpoint::Kind::kTcp ? limits_.check_interval
                                                                  : std::chrono::milliseconds(0));
  SetOption(fd, SOL_SOCKET, SO_RCVTIMEO, wake_up);
  SetOption(fd, SOL_SOCKET, SO_SNDTIMEO, wake_up);
  switch (kind_) {
    case Endpoint::Kind::kUnix:
      SetOption(fd, SOL_SOCKET, SO_SNDBUF, kUnixSendBuffer);
      return;
    case Endpoint::Kind::kVsock:
      SetOption(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, kVsockBuffer);
      SetOption(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, kVsockBuffer);
      return;
    case Endpoint::Kind::kTcp:
      ConfigureTcp();
      return;
    case Endpoint::Kind::kSerial:
      return;  // no socket
  }
}

void SocketConnection::ConfigureTcp() {
  const int fd = socket_.get();
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kTcpUnsent);
  // Two unanswered probes after half of the time: together they take as long as `silence`.
  const int half = std::max(2, static_cast<int>(limits_.silence.count() / 1000)) / 2;
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, half);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, half / 2));
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

bool SocketConnection::WriteWithDescriptors(std::span<const std::span<const std::byte>> parts,
                                            std::span<const int> descriptors) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> control{};
  descriptors =
      descriptors.first(PassesDescriptors() ? std::min(descriptors.size(), kMaxDescriptors) : 0);
  size_t part = 0;
  size_t offset = 0;  // bytes of parts[part] that are written
  Silence silence;
  while (!unwritable_.load(std::memory_order_acquire)) {
    while (part < parts.size() && offset == parts[part].size()) {
      ++part;
      offset = 0;
    }
    if (part == parts.size()) {
      return true;
    }
    std::array<iovec, kMaxParts> vectors;
    const size_t count = std::min(kMaxParts, parts.size() - part);
    for (size_t i = 0; i < count; ++i) {
      const auto rest = parts[part + i].subspan(i == 0 ? offset : 0);
      vectors[i] = {const_cast<std::byte*>(rest.data()), rest.size()};
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    if (!descriptors.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
      std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
    }
    const ssize_t written = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (written < 0) {
      const int code = errno;
      if (code == EINTR || (IsTimeout(code) && !PeerIsDead(&silence))) {
        continue;
      }
      // Reading goes on: what the peer said before it left may explain why it did.
      unwritable_.store(true, std::memory_order_release);
      End(Describe("sending", code));
      return false;
    }
    silence = {};
    descriptors = {};  // they are on their way
    size_t left = static_cast<size_t>(written);
    while (left > 0) {
      const size_t step = std::min(left, parts[part].size() - offset);
      left -= step;
      offset += step;
      if (offset == parts[part].size()) {
        ++part;
        offset = 0;
      }
    }
  }
  return false;
}

ssize_t SocketConnection::Receive(std::span<std::byte> buffer) {
  if (!PassesDescriptors() || has_received_bytes_) {
    return ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  }
  // The system closes what a peer may send beyond this room.
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> control{};
  iovec vector{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  if (count <= 0) {
    return count;
  }
  has_received_bytes_ = true;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    std::array<int, kMaxDescriptors> descriptors;
    const size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::memcpy(descriptors.data(), CMSG_DATA(header), received * sizeof(int));
    for (size_t i = 0; i < received; ++i) {
      received_.emplace_back(descriptors[i]);
    }
  }
  return count;
}

size_t SocketConnection::ReadSome(std::span<std::byte> buffer) {
  Silence silence;
  while (!unreadable_.load(std::memory_order_acquire)) {
    const ssize_t count = Receive(buffer);
    if (count > 0) {
      // What was in flight when somebody shut the stream down is not to be seen any more.
      return unreadable_.load(std::memory_order_acquire) ? 0 : static_cast<size_t>(count);
    }
    if (count == 0) {
      unreadable_.store(true, std::memory_order_release);
      End("");
      return 0;
    }
    const int code = errno;
    if (code == EINTR || (IsTimeout(code) && !PeerIsDead(&silence))) {
      continue;
    }
    End(Describe("receiving", code));
    Shutdown();
  }
  return 0;
}

void SocketConnection::Shutdown() {
  End("the connection was shut down on this side");
  unreadable_.store(true, std::memory_order_release);
  unwritable_.store(true, std::memory_order_release);
  // Wakes whoever sleeps in recv() or sendmsg(), also in the future.
  ::shutdown(socket_.get(), SHUT_RDWR);
}

void SocketConnection::WaitForEnd() {
  pollfd state{socket_.get(), POLLRDHUP, 0};
  while (::poll(&state, 1, -1) < 0 && errno == EINTR) {
  }
}

bool SocketConnection::PeerIsGone() const {
  pollfd state{socket_.get(), POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

std::string SocketConnection::Error() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

bool SocketConnection::PeerIsDead(Silence* silence) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    return false;
  }
  const bool waits_for_peer = info.tcpi_unacked > 0 || info.tcpi_probes >= kUnansweredProbes;
  const auto last_answer = std::chrono::milliseconds(info.tcpi_last_ack_recv);
  if (!waits_for_peer || last_answer < limits_.check_interval) {
    *silence = {};
    return false;
  }
  silence->lasted += limits_.check_interval;
  if (silence->lasted < limits_.silence) {
    return false;
  }
  End("the peer has not answered for " + std::to_string(silence->lasted.count() / 1000) +
      " s; it or the network between is down");
  Shutdown();
  return true;
}

void SocketConnection::End(std::string reason) {
  const std::lock_guard lock(mutex_);
  if (!ended_) {
    ended_ = true;
    reason_ = std::move(reason);
  }
}

}  // namespace vesper::transport
