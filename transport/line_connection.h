// SPDX-License-Identifier: Apache-2.0
//
// One session on a serial line (line_code.h), as a connection.
//
// The guest's side has the port of the virtual machine, for itself as long as the session lasts.
// The host's side has the Unix socket that the machine's emulator connected the port to. That
// socket outlives the session: the front of the server keeps a copy of it, so it is never shut
// down here, and reading and writing never block in the system, where only that could wake them.
//
// The beginning. The guest says "open" with a random number, and says it again until the host has
// accepted: the first may have gone to a server that was about to notice the end of the last
// session. It forgets all that comes before "accept" with its own number.
//
// The end. Who leaves in order says "end". A program that is killed says nothing, and the socket
// doesn't tell: to the emulator a closed port is no reason to hang up. But it takes nothing from
// the socket any more. So the host, when it has heard nothing for a while, sends a sign that means
// nothing, and looks whether it is taken. A program that a debugger holds takes it: the guest's
// kernel has room for some hundreds of them, which is why they become rare. What is not taken for
// LineLimits::silence has nobody left to take it.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport/connection.h"
#include "transport/line_code.h"
#include "transport/unique_fd.h"

namespace vesper::transport {

struct LineLimits {
  /// The guest says "open" again after this long.
  std::chrono::milliseconds repeat{250};
  /// How long the guest waits for a host that isn't connected to the line, which may be about to.
  std::chrono::milliseconds absence{2500};
  /// The host looks at a line on which nothing comes this often; probes begin with this pause, and
  /// each pause is twice as long as the last, up to `longest_pause`.
  std::chrono::milliseconds check_interval{5000};
  std::chrono::milliseconds longest_pause{600000};
  /// Nobody is there any more if nothing was taken for this long.
  std::chrono::milliseconds silence{60000};
};

class LineConnection final : public Connection {
 public:
  /// The guest's side: begins a session on the line, which `name` stands for in sentences. Null
  /// with one of those in `*error` if the host hasn't accepted it by `timeout`.
  static std::unique_ptr<LineConnection> Call(UniqueFd line, const std::string& name,
                                              std::chrono::milliseconds timeout,
                                              const LineLimits& limits, std::string* error);
  /// The host's side: accepts a session that a guest has opened.
  static std::unique_ptr<LineConnection> Answer(UniqueFd line, uint64_t session,
                                                const std::string& name, const LineLimits& limits,
                                                std::string* error);
  /// Says "end".
  ~LineConnection() override;

  bool Write(std::span<const std::span<const std::byte>> parts) override;
  size_t ReadSome(std::span<std::byte> buffer) override;
  void Shutdown() override;
  bool PeerIsGone() const override;
  std::string Error() const override;
  std::string Peer() const override { return name_; }
  bool IsLocal() const override { return true; }

  uint64_t session() const { return session_; }

 private:
  using Clock = std::chrono::steady_clock;
  // What waiting came to.
  enum class Wait : uint8_t { kReady, kTimeout, kHungUp, kEnded };

  LineConnection(UniqueFd line, UniqueFd alarm, uint64_t session, std::string name, bool is_host,
                 const LineLimits& limits);
  static std::unique_ptr<LineConnection> Make(UniqueFd line, uint64_t session,
                                              const std::string& name, bool is_host,
                                              const LineLimits& limits, std::string* error);

  // Guest: says "open" until the host has accepted.
  bool Open(Clock::time_point deadline, std::string* error);
  Wait AwaitAcceptance(Clock::time_point until);
  // Waits for `events` of the line.
  Wait WaitFor(short events, std::chrono::milliseconds timeout);
  // Writes all that is staged; false if the stream has ended. Needs write_mutex_.
  bool WriteStaged();
  // One sign, if there is room for it on the line right now. Needs write_mutex_.
  void TrySay(LineSign::Kind kind);
  // What came: moves the session's bytes to the front of `bytes` and returns how many they are.
  size_t Sort(std::span<std::byte> bytes);
  void Heed(const LineSign& sign);
  // Host, when nothing has come for limits_.check_interval: sees to it that the guest is there.
  void LookAfterGuest();
  void End(std::string reason);

  const UniqueFd line_;
  const UniqueFd alarm_;  // readable once the stream has ended on this side
  const uint64_t session_;
  const std::string name_;
  const bool is_host_;
  const LineLimits limits_;

  LineDecoder decoder_;                   // the reader's
  std::vector<std::byte> waiting_;        // the reader's: came with the acceptance
  std::chrono::milliseconds quiet_{0};    // the reader's: since something came or was probed
  std::chrono::milliseconds pause_;       // the reader's: before the next probe
  std::chrono::milliseconds untaken_{0};  // the reader's: that nothing was taken
  int last_untaken_bytes_ = 0;            // the reader's

  std::mutex write_mutex_;
  std::vector<std::byte> staging_;  // guarded by write_mutex_
  size_t staged_ = 0;               // guarded by write_mutex_

  std::atomic<bool> has_ended_{false};
  mutable std::mutex mutex_;
  std::string reason_;  // guarded by mutex_
};

}  // namespace vesper::transport
