// SPDX-License-Identifier: Apache-2.0
// The socket file of a Unix listener. A server that died leaves its file behind, and binding to an
// existing file fails, so a file that nobody answers at has to be removed first. Looking, removing
// and binding are three steps; two servers that start together could both look, and the slower one
// would remove the file of the faster. So the three are done under a lock on the folder.
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <thread>

#include "transport/socket_address.h"
#include "transport/stream.h"

namespace vesper::transport {
namespace {

// How long to wait for another server that is starting in the same folder. Somebody else may hold a
// lock on the folder for reasons of their own; after this time the lock is done without.
constexpr int kLockAttempts = 50;
constexpr std::chrono::milliseconds kLockPause{20};

std::string SystemMessage(int code) { return std::system_category().message(code); }

UniqueFd LockFolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  UniqueFd fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; fd && i < kLockAttempts && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0; ++i) {
    std::this_thread::sleep_for(kLockPause);
  }
  return fd;
}

// Removes a socket file that nobody listens on. False with a sentence if the file must stay.
bool RemoveStaleFile(const std::string& path, const SocketAddress& address, std::string* error) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    return true;
  }
  if (!S_ISSOCK(status.st_mode)) {
    *error = "cannot listen on unix:" + path + ": a file that is not a socket is there";
    return false;
  }
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // A full backlog (EAGAIN) is a sign of life as well; only a refusal means that nobody is there.
  if (::connect(probe.get(), address.data(), address.size()) == 0 || errno != ECONNREFUSED) {
    *error = "cannot listen on unix:" + path + ": another server listens there already";
    return false;
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    *error = "cannot replace the abandoned socket " + path + ": " + SystemMessage(errno);
    return false;
  }
  return true;
}

// A mode that was asked for is meant: containers have a umask that nobody chose, and who opens a
// socket to a group does not think of it. Not where somebody else's file has come in between.
void GiveBackWhatUmaskTook(const std::string& path, const struct stat& status, mode_t mode) {
  if (S_ISSOCK(status.st_mode) && status.st_uid == ::geteuid() && (status.st_mode & 0777) != mode) {
    ::chmod(path.c_str(), mode);
  }
}

// A bound and listening socket, or none and the error code.
UniqueFd Listen(const SocketAddress& address, const ListenOptions& options, int* code) {
  UniqueFd socket(::socket(address.Family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) {
    *code = errno;
    return socket;
  }
  if (address.IsUnix()) {
    // bind() gives the file the mode of the socket (less the umask), so that it never exists with
    // more than what was asked for.
    ::fchmod(socket.get(), options.mode & 0777);
  } else {
    // A server that restarts may listen again while old connections are fading out.
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  }
  if (::bind(socket.get(), address.data(), address.size()) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0) {
    *code = errno;
    socket.Reset();
  }
  return socket;
}

}  // namespace

Listener::Listener(UniqueFd socket, Endpoint endpoint)
    : socket_(std::move(socket)), endpoint_(std::move(endpoint)) {}

std::unique_ptr<Listener> Listener::Open(const Endpoint& endpoint, const ListenOptions& options,
                                         std::string* error) {
  std::vector<SocketAddress> addresses = Resolve(endpoint, error);
  if (addresses.empty()) {
    return nullptr;
  }
  const bool is_unix = endpoint.kind == Endpoint::Kind::kUnix;
  UniqueFd lock;
  if (is_unix) {
    lock = LockFolderOf(endpoint.path);
    if (!RemoveStaleFile(endpoint.path, addresses.front(), error)) {
      return nullptr;
    }
  }
  if (endpoint.IsLoopback()) {
    // Only a strange hosts file says otherwise, but then "localhost" would be open to the network.
    std::erase_if(addresses, [](const SocketAddress& address) { return !address.IsLoopback(); });
  }
  std::stable_partition(addresses.begin(), addresses.end(),
                        [](const SocketAddress& address) { return address.Family() != AF_INET6; });
  int code = EADDRNOTAVAIL;
  for (const SocketAddress& address : addresses) {
    UniqueFd socket = Listen(address, options, &code);
    SocketAddress bound;
    if (!socket || !bound.ReadLocal(socket.get())) {
      continue;
    }
    std::unique_ptr<Listener> listener(
        new Listener(std::move(socket), is_unix ? endpoint : bound.ToEndpoint()));
    struct stat status{};
    if (is_unix && ::lstat(endpoint.path.c_str(), &status) == 0) {
      listener->file_device_ = status.st_dev;
      listener->file_inode_ = status.st_ino;
      GiveBackWhatUmaskTook(endpoint.path, status, options.mode & 0777);
    }
    return listener;
  }
  *error = "cannot listen on " + endpoint.ToString() + ": " + SystemMessage(code);
  return nullptr;
}

std::unique_ptr<Listener> Listener::Adopt(int fd, std::string* error) {
  UniqueFd socket(fd);
  int listens = 0;
  socklen_t size = sizeof(listens);
  SocketAddress address;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0 ||
      !address.ReadLocal(fd) || !(address.IsUnix() || address.IsInet() || address.IsVsock())) {
    *error = "the inherited descriptor " + std::to_string(fd) +
             " is not a listening Unix, TCP or vsock socket";
    return nullptr;
  }
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return std::unique_ptr<Listener>(new Listener(std::move(socket), address.ToEndpoint()));
}

Listener::~Listener() {
  struct stat status{};
  if (file_inode_ != 0 && ::lstat(endpoint_.path.c_str(), &status) == 0 &&
      status.st_dev == file_device_ && status.st_ino == file_inode_) {
    ::unlink(endpoint_.path.c_str());
  }
}

UniqueFd Listener::TryAccept(std::string* error) {
  error->clear();
  while (true) {
    UniqueFd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket) {
      return socket;
    }
    switch (errno) {
      case EAGAIN:
        return socket;
      case EINTR:
      // What follows happened to the one connection, which is gone; the next may be well.
      case ECONNABORTED:
      case EPERM:
      case EPROTO:
      case ENETDOWN:
      case ENOPROTOOPT:
      case EHOSTDOWN:
      case ENONET:
      case EHOSTUNREACH:
      case EOPNOTSUPP:
      case ENETUNREACH:
        continue;
      default:
        *error = "cannot accept on " + endpoint_.ToString() + ": " + SystemMessage(errno);
        return socket;
    }
  }
}

std::unique_ptr<Connection> Listener::Accept(std::chrono::milliseconds timeout,
                                             std::string* error) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    UniqueFd socket = TryAccept(error);
    if (socket) {
      return AdoptSocket(socket.Release(), error);
    }
    if (!error->empty()) {
      return nullptr;
    }
    const auto remaining =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (remaining.count() <= 0) {
      *error = "nobody connected to " + endpoint_.ToString() + " within " +
               std::to_string(timeout.count()) + " ms";
      return nullptr;
    }
    pollfd waiting{socket_.get(), POLLIN, 0};
    ::poll(&waiting, 1, static_cast<int>(std::min<int64_t>(remaining.count(), INT32_MAX)));
  }
}

}  // namespace vesper::transport
