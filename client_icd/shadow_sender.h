// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "client_icd/object.h"
#include "client_icd/session.h"
#include "proto/limits.h"
#include "proto/patch_parts.h"
#include "proto/records_gen.h"

namespace vesper::client {

/// Posts what one collection finds in one allocation, in patches of a limited size: while one is on
/// its way the next is made, and the host writes the one before. The caller has taken the shadow
/// and holds the mutex of Shadows, which is given up while the link takes bytes.
class ShadowSender {
 public:
  /// Patches take turns. They keep their memory from one collection to the next.
  using Scratch = std::array<proto::PatchParts, 2>;
  /// Those that nobody uses, guarded by the mutex of Shadows.
  using Spares = std::vector<std::unique_ptr<Scratch>>;

  ShadowSender(Session& session, VkDevice device, proto::ObjectId memory, Spares& spares,
               std::unique_lock<std::mutex>& lock)
      : session_(session),
        device_(device),
        memory_(memory),
        piece_bytes_(session.PieceBytes()),
        spares_(spares),
        lock_(lock) {
    if (spares.empty()) {
      spares.push_back(std::make_unique<Scratch>());
    }
    scratch_ = std::move(spares.back());
    spares.pop_back();
    parts().Clear();
  }
  ~ShadowSender() {
    Finish();
    if (spares_.size() < spares_.capacity()) {
      spares_.push_back(std::move(scratch_));
    }
  }
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
  proto::PatchParts& parts() { return (*scratch_)[turn_]; }
  size_t Room() { return piece_bytes_ - std::min(piece_bytes_, parts().size()); }
  /// Posts a patch that has grown large enough. May wait for the link, without the mutex of Shadows
  /// then: not with a lock that the session's reader takes, or that is taken after that.
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
      lock_.unlock();
      session_.FinishFrames();
      lock_.lock();
      is_ahead_ = false;
    }
  }

 private:
  void Post(bool others_follow) {
    const auto frame = parts().Frame(session_.known_structs(), IdOfHandle,
                                     proto::command_number::vesperWriteMemory,
                                     proto::Args_vesperWriteMemory{device_, memory_, 0, nullptr});
    lock_.unlock();
    session_.PostFrame(frame, others_follow);
    lock_.lock();
  }

  Session& session_;
  const VkDevice device_;
  const proto::ObjectId memory_;
  const size_t piece_bytes_;
  Spares& spares_;
  std::unique_lock<std::mutex>& lock_;
  std::unique_ptr<Scratch> scratch_;
  size_t turn_ = 0;
  bool is_ahead_ = false;
};

}  // namespace vesper::client
