// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_WIRE_HOST_H_
#define VESPER_TESTS_FRAMEWORK_WIRE_HOST_H_

#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "server/session.h"
#include "transport/connection.h"

namespace vesper::tests {

// The worker's session in a thread of the test: what RunWorker does, without the process around it.
// Ends when the stream does.
class WireHost {
 public:
  WireHost(std::unique_ptr<transport::Connection> connection, unsigned threads,
           server::CommandObserver* observer);
  // Ends the stream and waits for the thread.
  ~WireHost();
  WireHost(const WireHost&) = delete;
  WireHost& operator=(const WireHost&) = delete;

  // Waits for the end of the session. Then what was wrong with the guest; empty if nothing was.
  const std::string& Finish();
  // Waits until the session's tasks have ended, if there is a session.
  void WaitForTasks();
  // Breaks the link, as a worker that is killed does.
  void Kill();

 private:
  void Run();

  std::unique_ptr<transport::Connection> connection_;
  const unsigned threads_;
  server::CommandObserver* const observer_;
  std::string error_;
  std::mutex mutex_;
  server::Session* session_ = nullptr;  // while it lives
  std::thread thread_;                  // keep last
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_WIRE_HOST_H_
