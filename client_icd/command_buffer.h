// SPDX-License-Identifier: Apache-2.0
//
// Command pools and buffers. Recording encodes into the command buffer's own stream, without a lock
// (Vulkan already makes the program synchronise a pool); vkEndCommandBuffer appends that stream to
// the session's. A long recording goes out in parts, so that the host replays one while the program
// records the next. To the host it makes no difference: commands of one command buffer are replayed
// in the order in which they come, whatever comes in between.
#pragma once

#include <vector>

#include "client_icd/named_memory.h"
#include "client_icd/object.h"
#include "client_icd/reach.h"
#include "client_icd/session.h"
#include "proto/buffer.h"

namespace vesper::client {

class Device;
class CommandPool;

class CommandBuffer : public Dispatchable {
 public:
  static CommandBuffer& From(VkCommandBuffer buffer) {
    return *reinterpret_cast<CommandBuffer*>(buffer);
  }

  CommandBuffer(proto::ObjectId object_id, CommandPool& pool, Session& session, bool is_primary)
      : Dispatchable(object_id), pool_(pool), session_(session), is_primary_(is_primary) {}

  CommandPool& pool() { return pool_; }
  Session& session() { return session_; }
  bool is_primary() const { return is_primary_; }

  /// Encodes one command. `args` is its Args struct, `reach` what of mapped memory it may touch.
  void Record(uint16_t number, const void* args, uint32_t reach = kReachEverything) {
    reach_ |= reach;
    if (!session_.KnowsCommand(number)) {
      complete_ = false;  // the host is of another age and could not execute it
      return;
    }
    const size_t header = proto::BeginCommand(stream_, number, 0, 0);
    proto::Encoder(stream_, session_.known_structs(), IdOfHandle)
        .Request(*proto::CommandRecord(number), args);
    complete_ = proto::FinishCommand(stream_, header) && complete_;
    if (stream_.size() >= kPartBytes) {
      SendPart();
    }
  }

  /// Remembers what a recorded command names of memory.
  template <typename Args>
  void Name(const Args& args) {
    named_.Note(session_.store(), args);
  }
  void NameAllOf(const CommandBuffer& secondary) { named_.Add(secondary.named_); }

  /// What of mapped memory the recorded commands may touch. Work that may touch buffers which have
  /// to be named touches those of `named`.
  uint32_t reach() const { return reach_; }
  const NamedMemory& named() const { return named_; }

  /// What is being recorded can't be completed.
  void Fail() { complete_ = false; }
  void Clear();
  void ForgetReach() {
    reach_ = kReachNothing;
    named_.Clear();
  }
  /// Sends what was recorded and not sent yet; false if some of it was lost for want of memory.
  bool Send();

 private:
  /// So much is sent ahead of the rest: what both sides do at the same time is worth a frame.
  static constexpr size_t kPartBytes = 64u << 10;

  void SendPart();

  CommandPool& pool_;
  Session& session_;
  const bool is_primary_;
  bool complete_ = true;
  bool has_parts_ = false;  // that were sent
  uint32_t reach_ = kReachNothing;
  NamedMemory named_;
  proto::Buffer stream_;
};

class CommandPool {
 public:
  CommandPool(Device& owner, const Allocator& callbacks) : device(owner), allocator(callbacks) {}

  Device& device;
  const Allocator allocator;
  std::vector<CommandBuffer*> buffers;
};

}  // namespace vesper::client
