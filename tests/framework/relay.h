// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_RELAY_H_
#define VESPER_TESTS_FRAMEWORK_RELAY_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/framework/process.h"
#include "transport/stream.h"

namespace vesper::tests {

// A long way to a server: accepts connections in its place and hands every byte on, in both
// directions, half a round trip after it came. Bandwidth is not limited. Everything else is real:
// guest and server are programs with sockets.
class Relay {
 public:
  // Listens on a socket of the same kind as `server` is. Throws std::runtime_error if it can't.
  explicit Relay(const std::string& server);
  // Breaks the connections that there are.
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // For VESPER_SERVER.
  const std::string& endpoint() const { return endpoint_; }
  // Bytes that came from the server so far.
  uint64_t bytes_back() const { return bytes_back_; }
  // For bytes that come from now on. At first there is no delay.
  void SetRoundTrip(std::chrono::microseconds round_trip) { delay_us_ = round_trip.count() / 2; }

 private:
  class Direction;
  struct Link;

  void Accept();

  TemporaryFolder folder_;
  std::string server_;
  std::string endpoint_;
  std::atomic<int64_t> delay_us_ = 0;
  std::atomic<uint64_t> bytes_there_ = 0;
  std::atomic<uint64_t> bytes_back_ = 0;
  std::unique_ptr<transport::Listener> listener_;
  std::atomic<bool> stop_ = false;
  std::vector<std::unique_ptr<Link>> links_;  // the acceptor's, until it has ended
  std::thread acceptor_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_RELAY_H_
