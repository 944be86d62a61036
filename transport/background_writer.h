// SPDX-License-Identifier: Apache-2.0
//
// Writing while the next is prepared. Finding out what changed in memory takes about as long as
// handing it to a socket, so who sends much of it does both at once: it begins to write one piece
// and goes on to make the next. There is one piece under way at most, and it stays where it is.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <span>
#include <thread>

namespace vesper::transport {

/// The caller keeps calls apart (one thread, or with a mutex held). The thread starts at the first
/// Begin.
class BackgroundWriter {
 public:
  using Parts = std::span<const std::span<const std::byte>>;

  /// `write` is called on the writer's own thread, never twice at once, and throws nothing.
  explicit BackgroundWriter(std::function<void(Parts)> write) : write_(std::move(write)) {}
  /// Waits for what is under way.
  ~BackgroundWriter();
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;

  /// Begins to write, once what was begun before is written. The parts and what they name must stay
  /// as they are until the next Begin or Wait returns. Writes them itself if there is no thread.
  void Begin(Parts parts);
  /// Returns when nothing is under way.
  void Wait();

 private:
  void Run();

  const std::function<void(Parts)> write_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Parts parts_;
  bool is_writing_ = false;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace vesper::transport
