// SPDX-License-Identifier: Apache-2.0
#include "client_icd/questions.h"

#include <chrono>
#include <utility>

#include "client_icd/session.h"
#include "proto/reader.h"
#include "proto/record.h"
#include "proto/reply_decoder.h"

namespace vesper::client {

void Questions::Expect(uint64_t serial, std::shared_ptr<Question> question) {
  const std::lock_guard lock(mutex_);
  expected_.emplace(serial, std::move(question));
}

void Questions::Forget(uint64_t serial) {
  const std::lock_guard lock(mutex_);
  expected_.erase(serial);
}

bool Questions::Answer(const proto::Command& reply) {
  const std::lock_guard lock(mutex_);
  const auto found = expected_.find(reply.serial);
  if (found == expected_.end() || found->second->number_ != reply.number) {
    return false;
  }
  Question& question = *found->second;
  question.reply_.Put(reply.body.data(), reply.body.size());
  if (question.reply_.Failed()) {
    return false;
  }
  // The steady clock is CLOCK_MONOTONIC.
  question.answered_at_ = static_cast<uint64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
  question.is_answered_ = true;
  expected_.erase(found);
  changed_.notify_all();
  return true;
}

bool Questions::IsAnswered(const Question& question) {
  const std::lock_guard lock(mutex_);
  return question.is_answered_;
}

void Questions::End() {
  const std::lock_guard lock(mutex_);
  has_ended_ = true;
  expected_.clear();
  changed_.notify_all();
}

std::shared_ptr<Question> Session::AskAhead(uint16_t number, const void* args) {
  if (IsLost() || !KnowsCommand(number)) {
    return nullptr;
  }
  try {
    auto question = std::make_shared<Question>(number);
    if (!Append(number, args, nullptr, question)) {
      LoseIfBroken();
      return nullptr;
    }
    statistics_->NotePost(number);
    return question;
  } catch (const std::bad_alloc&) {
    return nullptr;  // the program's question will be a call
  }
}

bool Session::IsAnswered(const Question& question) {
  return !IsLost() && questions_.IsAnswered(question);
}

bool Session::TakeAnswer(const Question& question, void* args) {
  if (IsLost()) {
    return false;
  }
  const proto::Record& record = *proto::CommandRecord(question.number());
  {
    WaitNote note(*statistics_);
    const bool is_answered = questions_.Wait(question, [&] {
      note.Sleeps();
      Flush();
    });
    if (!is_answered) {
      return false;
    }
  }
  statistics_->NoteAnswer(record.number);
  proto::Reader reader(Questions::Reply(question).Bytes());
  if (!proto::DecodeReply(record, reader, args)) {
    Lose("the server sent something malformed");
    return false;
  }
  return true;
}

}  // namespace vesper::client
