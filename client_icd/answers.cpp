// SPDX-License-Identifier: Apache-2.0
#include "client_icd/answers.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "client_icd/session.h"
#include "proto/buffer.h"
#include "proto/encoder.h"
#include "proto/reader.h"
#include "proto/reply_decoder.h"
#include "proto/walk.h"

namespace vesper::client {
namespace {

/// What is remembered takes at most about this much memory.
constexpr size_t kMaxBytes = 16u << 20;

/// Which object it is does not matter, only that there is one.
uint64_t TypeOfHandle(proto::HandleType type, uint64_t) { return static_cast<uint64_t>(type); }

void PutString(proto::Buffer& buffer, const std::string& text) {
  buffer.PutValue<uint64_t>(text.size());
  buffer.Put(text.data(), text.size());
}

template <typename T>
void PutVector(proto::Buffer& buffer, const std::vector<T>& values) {
  buffer.PutValue<uint64_t>(values.size());
  for (const T value : values) {
    buffer.PutValue<uint64_t>(static_cast<uint64_t>(value));
  }
}

bool IsLasting(const VkResult* result) {
  return result == nullptr || *result >= 0 || *result == VK_ERROR_FORMAT_NOT_SUPPORTED;
}

/// The counts that a command reads as well as writes. A reply that turns out to be malformed may
/// have changed them, and they are what the next one is held to.
class Counts {
 public:
  Counts(const proto::Record& record, void* args) {
    for (const proto::Op& op : record.ops) {
      void* place =
          op.kind == proto::OpKind::kPlain ? proto::LoadField<void*>(args, op.offset) : nullptr;
      const bool is_both = (op.flags & proto::kIn) != 0 && (op.flags & proto::kOut) != 0;
      if (place != nullptr && is_both && op.size <= sizeof(uint64_t) &&
          op.length.kind == proto::LengthKind::kConstant && used_ < saved_.size()) {
        saved_[used_] = {place, op.size, {}};
        std::memcpy(saved_[used_++].bytes.data(), place, op.size);
      }
    }
  }
  void Restore() const {
    for (size_t i = 0; i < used_; ++i) {
      std::memcpy(saved_[i].place, saved_[i].bytes.data(), saved_[i].size);
    }
  }

 private:
  struct Saved {
    void* place;
    size_t size;
    std::array<std::byte, sizeof(uint64_t)> bytes;
  };
  std::array<Saved, 4> saved_{};
  size_t used_ = 0;
};

}  // namespace

proto::Hash128 SetupIdentity(const proto::Hello& hello, const proto::Welcome& welcome) {
  proto::Buffer buffer;
  buffer.PutValue<uint64_t>(proto::kProtocolVersion);
  PutString(buffer, welcome.server_version);
  PutVector(buffer, welcome.commands);
  PutVector(buffer, welcome.structs);
  PutVector(buffer, hello.command_hashes);
  PutVector(buffer, hello.struct_hashes);
  buffer.PutValue<uint64_t>(welcome.snapshot.size());
  buffer.Put(welcome.snapshot.data(), welcome.snapshot.size());
  buffer.PutValue<uint64_t>(hello.api_version);
  buffer.PutValue<uint64_t>(hello.application_version);
  buffer.PutValue<uint64_t>(hello.engine_version);
  PutString(buffer, hello.application_name);
  PutString(buffer, hello.engine_name);
  if (buffer.Failed()) {
    throw std::bad_alloc();
  }
  return proto::HashOf(buffer.Bytes());
}

std::optional<proto::Hash128> HashOfStruct(const Session& session, uint16_t record_index,
                                           const void* value, const proto::Hash128& salt) {
  proto::Buffer buffer;
  buffer.Put(&salt, sizeof(salt));
  proto::Encoder encoder(buffer, session.known_structs(), TypeOfHandle);
  encoder.ClearPadding();
  encoder.Struct(proto::Records()[record_index], value);
  if (buffer.Failed() || encoder.handles() != 0) {
    return std::nullopt;
  }
  return proto::HashOf(buffer.Bytes());
}

void Answers::Load() {
  if (folder_.empty()) {
    return;
  }
  for (Answer& answer : LoadAnswers(folder_, identity_)) {
    bytes_ += answer.reply->size();
    known_.emplace(answer.key, Known{std::move(answer.reply)});
  }
}

void Answers::Save() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || folder_.empty() || !has_news_) {
    return;
  }
  std::vector<Answer> answers;
  for (const bool used : {true, false}) {  // what matters most comes first
    for (const auto& [key, known] : known_) {
      if (known.is_used == used) {
        answers.push_back({key, known.reply});
      }
    }
  }
  has_news_ = !SaveAnswers(folder_, identity_, std::move(answers));
}

AnswerBytes Answers::Find(const proto::Hash128& key) {
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(key);
  if (found == known_.end()) {
    return nullptr;
  }
  found->second.is_used = true;
  return found->second.reply;
}

void Answers::Forget(const proto::Hash128& key) {
  const std::lock_guard lock(mutex_);
  if (known_.erase(key) != 0) {
    has_news_ = true;
  }
}

bool Answers::Ask(Session& session, const proto::Hash128& scope, uint16_t number, void* args,
                  const VkResult* result, const proto::Hash128* creation) {
  if (session.IsLost() || !session.KnowsCommand(number)) {
    return false;
  }
  const proto::Record& record = *proto::CommandRecord(number);
  proto::Buffer request;
  request.Put(&scope, sizeof(scope));
  request.PutValue<uint64_t>(number);
  const proto::Hash128 about = creation == nullptr ? proto::Hash128{} : *creation;
  request.Put(&about, sizeof(about));
  proto::Encoder encoder(request, session.known_structs(), TypeOfHandle);
  encoder.ClearPadding();
  encoder.Request(record, args);
  // The owner is one, the object that is asked about the other.
  if (request.Failed() || encoder.handles() != (creation == nullptr ? 1u : 2u)) {
    return session.Call(number, args);
  }
  const proto::Hash128 key = proto::HashOf(request.Bytes());
  if (const AnswerBytes known = Find(key)) {
    const Counts counts(record, args);
    proto::Reader reader(*known);
    if (proto::DecodeReply(record, reader, args)) {
      session.statistics().NoteAnswer(number);
      return true;
    }
    counts.Restore();
    Forget(key);
  }
  Session::Reply reply;
  if (!session.Call(number, args, &reply)) {
    return false;
  }
  if (!reply.is_skipped && IsLasting(result)) {
    Remember(key, reply.body.Bytes());
  }
  return true;
}

void Answers::Remember(const proto::Hash128& key, std::span<const std::byte> reply) {
  if (reply.size() > kMaxAnswerBytes) {
    return;
  }
  try {
    auto kept = std::make_shared<const std::vector<std::byte>>(reply.begin(), reply.end());
    const std::lock_guard lock(mutex_);
    if (bytes_ + reply.size() <= kMaxBytes) {
      Known& known = known_[key];
      bytes_ += reply.size() - (known.reply == nullptr ? 0 : known.reply->size());
      known = {std::move(kept), true};
      has_news_ = true;
    }
  } catch (const std::bad_alloc&) {
    // The program has its answer, and will ask again.
  }
}

}  // namespace vesper::client
