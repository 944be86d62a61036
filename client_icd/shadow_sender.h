// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "client_icd/object.h"
#include "client_icd/session.h"
#include "proto/limits.h"
#include "proto/patch_parts.h"
#include "proto/records_gen.h"

namespace vesper::client {

/// Posts what one collection finds in one allocation, in patches of a limited size: while one is on
/// its way the next is made, and the host writes the one before.
class ShadowSender {
 public:
  /// Patches take turns. They keep their memory from one collection to the next.
  using Scratch = std::array<proto::PatchParts, 2>;

  ShadowSender(Session& session, VkDevice device, proto::ObjectId memory, Scratch& scratch)
      : session_(session), device_(device), memory_(memory), scratch_(scratch) {
    parts().Clear();
  }
  ~ShadowSender() { Finish(); }
  ShadowSender(const ShadowSender&) = delete;
  ShadowSender& operator=(const ShadowSender&) = delete;

  bool IsLost() const { return session_.IsLost(); }
  /// True if bytes on the link cost less than finding out whether they are needed.
  bool IsLinkFast() const { return session_.IsLinkFast(); }

  /// Bytes that are read when they are written to the link. What the program stores meanwhile is
  /// told by the tracker and sent next time.
  void Whole(uint64_t offset, std::span<const std::byte> bytes) {
    parts().AddSpan(offset, bytes);
    Breathe();
  }
  /// Bytes that have become zeros.
  void Zeros(uint64_t offset, uint64_t size) {
    parts().AddZeros(offset, size);
    Breathe();
  }
  /// For entries of a patch, as many as there is Room() for.
  proto::Buffer& entries() { return parts().entries(); }
  /// The same; what is named there in place of being copied must be there until Finish().
  proto::PatchParts& parts() { return scratch_[turn_]; }
  size_t Room() { return proto::kMaxPatchBytes - std::min(proto::kMaxPatchBytes, parts().size()); }
  /// Posts a patch that has grown large enough. May wait for the link: not with a lock that the
  /// session's reader takes.
  void Breathe() {
    if (Room() == 0) {
      Post(true);
      is_ahead_ = true;
      turn_ = 1 - turn_;  // what it was used for before is on its way since
      parts().Clear();
    }
  }
  /// Posts what there is. Nothing that was named is needed any more once this returns. Waits like
  /// Breathe.
  void Finish() {
    if (parts().size() != 0) {
      Post(false);
      parts().Clear();
    }
    if (is_ahead_) {
      session_.FinishFrames();
      is_ahead_ = false;
    }
  }

 private:
  void Post(bool others_follow) {
    session_.PostFrame(parts().Frame(session_.known_structs(), IdOfHandle,
                                     proto::command_number::vesperWriteMemory,
                                     proto::Args_vesperWriteMemory{device_, memory_, 0, nullptr}),
                       others_follow);
  }

  Session& session_;
  const VkDevice device_;
  const proto::ObjectId memory_;
  Scratch& scratch_;
  size_t turn_ = 0;
  bool is_ahead_ = false;
};

}  // namespace vesper::client
