// SPDX-License-Identifier: Apache-2.0
//
// Questions that are asked ahead. What the program is sure to ask about an object, a buffer's
// address for one, can be asked for it as soon as the object is there: the question follows what
// makes the object in the stream, nobody waits for the reply, and by the time that the program asks
// it has come, or is on its way. It is the same command with the same reply as a call. So what
// holds for calls holds here: the host answers each one, even if the object was not made, and a
// session's end ends every wait.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "proto/buffer.h"
#include "proto/frame.h"

namespace vesper::client {

/// One question, and its reply once it has come.
class Question {
 public:
  explicit Question(uint16_t number) : number_(number) {}
  uint16_t number() const { return number_; }
  /// When the reply had come (ns of CLOCK_MONOTONIC); once it has.
  uint64_t answered_at() const { return answered_at_; }

 private:
  friend class Questions;

  const uint16_t number_;
  bool is_answered_ = false;
  uint64_t answered_at_ = 0;
  proto::Buffer reply_;
};

/// Those of a session. Thread-safe.
class Questions {
 public:
  /// The question is about to be in the stream, with this serial.
  void Expect(uint64_t serial, std::shared_ptr<Question> question);
  /// It is not, after all.
  void Forget(uint64_t serial);
  /// A reply has come. False if it is none to a question.
  bool Answer(const proto::Command& reply);
  bool IsAnswered(const Question& question);
  /// Waits for the reply; calls `sleeps` before it does. False if there will be none.
  template <typename Sleeps>
  bool Wait(const Question& question, const Sleeps& sleeps) {
    std::unique_lock lock(mutex_);
    if (!question.is_answered_ && !has_ended_) {
      lock.unlock();
      sleeps();
      lock.lock();
      changed_.wait(lock, [&] { return question.is_answered_ || has_ended_; });
    }
    return question.is_answered_;
  }
  /// The reply to what is answered, which doesn't change any more.
  static const proto::Buffer& Reply(const Question& question) { return question.reply_; }
  /// Nothing more will come. Ends every wait.
  void End();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<uint64_t, std::shared_ptr<Question>> expected_;
  bool has_ended_ = false;
};

}  // namespace vesper::client
