// SPDX-License-Identifier: Apache-2.0
#include "transport/line_connection.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>

namespace vesper::transport {
namespace {

using std::chrono::milliseconds;

// Bytes for one write: the guest's kernel takes no more at once.
constexpr size_t kStagingBytes = 32u << 10;

// Bytes of earlier sessions that are read at once while the guest waits to be accepted.
constexpr size_t kDiscardBytes = 4u << 10;

// How long saying "end" may wait for room.
constexpr milliseconds kFarewellTime{100};

// A line on which nobody is at the other end is looked at this often: the system doesn't tell.
constexpr milliseconds kAbsencePause{50};

bool WouldBlock(int code) { return code == EAGAIN || code == EWOULDBLOCK; }

// A socket must not raise SIGPIPE, and a port of a virtual machine is none.
ssize_t WriteTo(int line, std::span<const std::byte> bytes) {
  const ssize_t sent = ::send(line, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent < 0 && errno == ENOTSOCK ? ::write(line, bytes.data(), bytes.size()) : sent;
}

milliseconds Until(std::chrono::steady_clock::time_point time) {
  const auto left = time - std::chrono::steady_clock::now();
  return std::max(std::chrono::ceil<milliseconds>(left), milliseconds(0));
}

}  // namespace

std::unique_ptr<LineConnection> LineConnection::Make(UniqueFd line, uint64_t session,
                                                     const std::string& name, bool is_host,
                                                     const LineLimits& limits, std::string* error) {
  UniqueFd alarm(::eventfd(0, EFD_CLOEXEC));
  const int flags = ::fcntl(line.get(), F_GETFL);
  if (!alarm || flags < 0 || ::fcntl(line.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      ::fcntl(line.get(), F_SETFD, FD_CLOEXEC) != 0) {
    *error = "cannot use " + name + ": " + std::system_category().message(errno);
    return nullptr;
  }
  return std::unique_ptr<LineConnection>(
      new LineConnection(std::move(line), std::move(alarm), session, name, is_host, limits));
}

LineConnection::LineConnection(UniqueFd line, UniqueFd alarm, uint64_t session, std::string name,
                               bool is_host, const LineLimits& limits)
    : line_(std::move(line)),
      alarm_(std::move(alarm)),
      session_(session),
      name_(std::move(name)),
      is_host_(is_host),
      limits_(limits),
      pause_(limits.check_interval),
      staging_(kStagingBytes) {}

LineConnection::~LineConnection() { Shutdown(); }

std::unique_ptr<LineConnection> LineConnection::Call(UniqueFd line, const std::string& name,
                                                     milliseconds timeout, const LineLimits& limits,
                                                     std::string* error) {
  const Clock::time_point deadline = Clock::now() + timeout;
  uint64_t session = 0;
  while (session == 0) {
    if (::getrandom(&session, sizeof(session), 0) != sizeof(session) && errno != EINTR) {
      *error = "the system gives no random number for a session on " + name;
      return nullptr;
    }
  }
  auto connection = Make(std::move(line), session, name, false, limits, error);
  return connection && connection->Open(deadline, error) ? std::move(connection) : nullptr;
}

std::unique_ptr<LineConnection> LineConnection::Answer(UniqueFd line, uint64_t session,
                                                       const std::string& name,
                                                       const LineLimits& limits,
                                                       std::string* error) {
  auto connection = Make(std::move(line), session, name, true, limits, error);
  if (connection) {
    const std::lock_guard lock(connection->write_mutex_);
    const auto sign = EncodeLineSign({LineSign::Kind::kAccept, session});
    std::copy(sign.begin(), sign.end(), connection->staging_.begin());
    connection->staged_ = sign.size();
    if (!connection->WriteStaged()) {
      *error = connection->Error();
      return nullptr;
    }
  }
  return connection;
}

bool LineConnection::Open(Clock::time_point deadline, std::string* error) {
  const Clock::time_point absence = Clock::now() + limits_.absence;
  const auto sign = EncodeLineSign({LineSign::Kind::kOpen, session_});
  bool was_there = false;
  while (Clock::now() < deadline) {
    const ssize_t written = WriteTo(line_.get(), sign);
    if (written < 0 && !WouldBlock(errno) && errno != EINTR) {
      *error = "writing to " + name_ + " failed: " + std::system_category().message(errno);
      return false;
    }
    const Clock::time_point until = std::min(deadline, Clock::now() + limits_.repeat);
    const Wait wait = AwaitAcceptance(until);
    if (wait == Wait::kReady) {
      return true;
    }
    was_there = was_there || wait != Wait::kHungUp;
    if (wait == Wait::kHungUp) {
      if (Clock::now() >= absence) {
        break;
      }
      std::this_thread::sleep_for(kAbsencePause);
    }
  }
  *error = was_there ? "nobody answered on " + name_ +
                           "; is it a vesperd that the virtual machine's emulator connects it to?"
                     : "nobody is connected to " + name_ +
                           " on the host; start vesperd there, listening where the emulator's "
                           "chardev connects to, and give that reconnect=1";
  return false;
}

LineConnection::Wait LineConnection::AwaitAcceptance(Clock::time_point until) {
  std::array<std::byte, kDiscardBytes> scratch;
  for (;;) {
    const Wait wait = WaitFor(POLLIN, Until(until));
    if (wait != Wait::kReady) {
      return wait;
    }
    const ssize_t count = ::read(line_.get(), scratch.data(), scratch.size());
    if (count < 0 && (WouldBlock(errno) || errno == EINTR)) {
      continue;
    }
    if (count <= 0) {
      return Wait::kHungUp;
    }
    std::span<std::byte> bytes(scratch.data(), static_cast<size_t>(count));
    while (!bytes.empty()) {
      const LineDecoder::Step step = decoder_.Decode(bytes);
      bytes = bytes.subspan(step.taken);
      if (step.sign == LineSign{LineSign::Kind::kAccept, session_}) {
        waiting_.assign(bytes.begin(), bytes.end());
        return Wait::kReady;
      }
    }
  }
}

LineConnection::Wait LineConnection::WaitFor(short events, milliseconds timeout) {
  std::array<pollfd, 2> states = {{{line_.get(), events, 0}, {alarm_.get(), POLLIN, 0}}};
  const int count = ::poll(states.data(), states.size(), static_cast<int>(timeout.count()));
  if (has_ended_.load(std::memory_order_acquire)) {
    return Wait::kEnded;
  }
  if (count == 0) {
    return Wait::kTimeout;
  }
  if (count > 0 && (states[0].revents & events) == 0 && states[0].revents != 0) {
    return Wait::kHungUp;
  }
  return Wait::kReady;  // or a signal came: trying is harmless
}

bool LineConnection::WriteStaged() {
  size_t written = 0;
  while (written < staged_ && !has_ended_.load(std::memory_order_acquire)) {
    const ssize_t step =
        WriteTo(line_.get(), std::span(staging_).subspan(written, staged_ - written));
    if (step >= 0) {
      written += static_cast<size_t>(step);
    } else if (errno != EINTR && !WouldBlock(errno)) {
      End("writing to " + name_ + " failed: " + std::system_category().message(errno));
    } else if (WaitFor(POLLOUT, milliseconds(-1)) == Wait::kHungUp) {
      End("the other end of " + name_ + " hung up");
    }
  }
  staged_ = 0;
  return !has_ended_.load(std::memory_order_acquire);
}

bool LineConnection::Write(std::span<const std::span<const std::byte>> parts) {
  const std::lock_guard lock(write_mutex_);
  bool is_well = !has_ended_.load(std::memory_order_acquire);
  for (std::span<const std::byte> part : parts) {
    while (is_well && !part.empty()) {
      staged_ += EncodeLine(part, std::span(staging_).subspan(staged_));
      if (!part.empty()) {  // no room for another byte
        is_well = WriteStaged();
      }
    }
  }
  return is_well && WriteStaged();
}

void LineConnection::TrySay(LineSign::Kind kind) {
  (void)WriteTo(line_.get(), EncodeLineSign({kind, session_}));
}

size_t LineConnection::Sort(std::span<std::byte> bytes) {
  size_t kept = 0;
  size_t taken = 0;
  while (taken < bytes.size() && !has_ended_.load(std::memory_order_acquire)) {
    const LineDecoder::Step step = decoder_.Decode(bytes.subspan(taken));
    std::memmove(&bytes[kept], &bytes[taken], step.data);
    kept += step.data;
    taken += step.taken;
    if (step.sign) {
      Heed(*step.sign);
    }
  }
  return kept;
}

void LineConnection::Heed(const LineSign& sign) {
  const bool is_ours = sign.session == session_;
  if (sign.kind == LineSign::Kind::kEnd && (is_ours || (sign.session == 0 && !is_host_))) {
    End(is_ours ? "" : "the host knows nothing of this session; it has been restarted");
  } else if (sign.kind == LineSign::Kind::kOpen && is_host_ && !is_ours) {
    End("the guest began another session on the line without ending this one");
  }
}

size_t LineConnection::ReadSome(std::span<std::byte> buffer) {
  while (!has_ended_.load(std::memory_order_acquire)) {
    size_t count = std::min(buffer.size(), waiting_.size());
    if (count != 0) {
      std::copy_n(waiting_.begin(), count, buffer.begin());
      waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(count));
    } else {
      const ssize_t result = ::read(line_.get(), buffer.data(), buffer.size());
      if (result == 0) {
        End("the other end of " + name_ + " hung up");
        break;
      }
      if (result < 0 && errno != EINTR && !WouldBlock(errno)) {
        End("reading from " + name_ + " failed: " + std::system_category().message(errno));
        break;
      }
      if (result < 0) {
        const milliseconds limit = is_host_ ? limits_.check_interval : milliseconds(-1);
        const Wait wait = WaitFor(POLLIN, limit);
        if (wait == Wait::kTimeout) {
          LookAfterGuest();
        } else if (wait == Wait::kHungUp) {
          End("the other end of " + name_ + " hung up");
        }
        continue;
      }
      count = static_cast<size_t>(result);
    }
    quiet_ = untaken_ = milliseconds(0);
    pause_ = limits_.check_interval;
    const size_t kept = Sort(buffer.first(count));
    if (kept != 0) {
      return kept;
    }
  }
  return 0;
}

void LineConnection::LookAfterGuest() {
  int bytes = 0;
  if (::ioctl(line_.get(), SIOCOUTQ, &bytes) != 0) {
    return;
  }
  if (bytes != 0 && bytes == last_untaken_bytes_) {
    untaken_ += limits_.check_interval;
    if (untaken_ >= limits_.silence) {
      End("nobody has taken what was sent for " + std::to_string(untaken_.count() / 1000) +
          " s; the program in the virtual machine is gone");
    }
    return;
  }
  last_untaken_bytes_ = bytes;
  untaken_ = milliseconds(0);
  quiet_ += limits_.check_interval;
  if (bytes == 0 && quiet_ >= pause_) {
    const std::unique_lock lock(write_mutex_, std::try_to_lock);
    if (lock.owns_lock()) {  // else what is being written serves as well
      TrySay(LineSign::Kind::kProbe);
    }
    quiet_ = milliseconds(0);
    pause_ = std::min(2 * pause_, limits_.longest_pause);
  }
}

void LineConnection::Shutdown() {
  if (has_ended_.load(std::memory_order_acquire)) {
    return;
  }
  End("the connection was shut down on this side");
  // A writer sees the alarm and leaves.
  const std::lock_guard lock(write_mutex_);
  pollfd state{line_.get(), POLLOUT, 0};
  (void)::poll(&state, 1, static_cast<int>(kFarewellTime.count()));
  TrySay(LineSign::Kind::kEnd);
}

bool LineConnection::PeerIsGone() const {
  pollfd state{line_.get(), 0, 0};
  return has_ended_.load(std::memory_order_acquire) ||
         (::poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR)) != 0);
}

std::string LineConnection::Error() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

void LineConnection::End(std::string reason) {
  const std::lock_guard lock(mutex_);
  if (!has_ended_.load(std::memory_order_relaxed)) {
    reason_ = std::move(reason);
    has_ended_.store(true, std::memory_order_release);
    const uint64_t one = 1;
    (void)!::write(alarm_.get(), &one, sizeof(one));
  }
}

}  // namespace vesper::transport
