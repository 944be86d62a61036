// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <span>

#include "client_icd/object.h"
#include "client_icd/session.h"
#include "proto/limits.h"
#include "proto/patch_parts.h"
#include "proto/records_gen.h"

namespace vesper::client {

/// Posts what one collection finds in one allocation, in patches of a limited size, so that the
/// host writes the first while the next is made.
class ShadowSender {
 public:
  /// `parts` is scratch, which keeps its memory from one collection to the next.
  ShadowSender(Session& session, VkDevice device, proto::ObjectId memory, proto::PatchParts& parts)
      : session_(session), device_(device), memory_(memory), parts_(parts) {
    parts_.Clear();
  }
  ~ShadowSender() { Post(); }
  ShadowSender(const ShadowSender&) = delete;
  ShadowSender& operator=(const ShadowSender&) = delete;

  bool IsLost() const { return session_.IsLost(); }

  /// Bytes that are read when they are written to the link. What the program stores meanwhile is
  /// told by the tracker and sent next time.
  void Whole(uint64_t offset, std::span<const std::byte> bytes) {
    parts_.AddSpan(offset, bytes);
    Breathe();
  }
  /// For entries of a patch, as many as there is Room() for.
  proto::Buffer& entries() { return parts_.entries(); }
  size_t Room() const {
    return proto::kMaxPatchBytes - std::min(proto::kMaxPatchBytes, parts_.size());
  }
  /// Posts a patch that has grown large enough. May wait for the link: not with a lock that the
  /// session's reader takes.
  void Breathe() {
    if (Room() == 0) {
      Post();
    }
  }

 private:
  void Post() {
    if (parts_.size() != 0) {
      session_.PostFrame(parts_.Frame(session_.known_structs(), IdOfHandle,
                                      proto::command_number::vesperWriteMemory,
                                      proto::Args_vesperWriteMemory{device_, memory_, 0, nullptr}));
      parts_.Clear();
    }
  }

  Session& session_;
  const VkDevice device_;
  const proto::ObjectId memory_;
  proto::PatchParts& parts_;
};

}  // namespace vesper::client
