// SPDX-License-Identifier: Apache-2.0
//
// All shadows of a session, and what they share: the arena that they lie in and the tracker that
// tells what the program has written. What the tracker told of a shadow and is not in the stream
// yet is marked in the shadow, or the shadow is *taken* by the thread that posts it: a second
// thread that wants its bytes waits until it is free, and so may rely on their being in the stream.
// One mutex guards everything here, but while the link takes a piece of a shadow it is given up:
// who submits work that reaches other memory need not wait for a large upload.
#pragma once

#include <vulkan/vulkan_core.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "client_icd/downloads.h"
#include "client_icd/reach.h"
#include "client_icd/shadow.h"
#include "client_icd/shadow_sender.h"

namespace vesper::client {

class Session;
struct DriverView;
struct Environment;

/// Thread-safe.
class Shadows {
 public:
  /// `downloads`: null if everything is pushed.
  Shadows(std::unique_ptr<ShadowArena> arena, MemoryTier tier,
          std::unique_ptr<WriteTracker> tracker, std::unique_ptr<Downloads> downloads);
  ~Shadows();
  Shadows(const Shadows&) = delete;
  Shadows& operator=(const Shadows&) = delete;

  /// The best tier that works here, or the one that VESPER_MEMORY names, with its tracker; `note`
  /// says in a sentence what was chosen and why nothing better. A tier that was asked for and can't
  /// be had is replaced by comparing. `downloads` says when the program gets what the device wrote,
  /// and why; both VESPER_DOWNLOAD and the session's link have a say in that.
  static std::unique_ptr<Shadows> Create(Session& session, const Environment& environment,
                                         std::unique_ptr<ShadowArena> arena, bool is_link_local,
                                         std::string* note, std::string* downloads);

  MemoryTier tier() const { return tier_; }
  /// Null if everything is pushed.
  Downloads* downloads() { return downloads_.get(); }
  /// True if shadows can be mapped where the program wants them.
  bool CanPlace() const { return arena_->HasFile(); }

  /// A shadow of zeros for an allocation of `size` bytes; null if there is no memory.
  std::shared_ptr<Shadow> Add(proto::ObjectId memory, uint64_t size);
  /// Pages of the file for an allocation that does not have a name yet; false if there are none.
  bool Reserve(uint64_t size, ShadowArena::Piece* piece);
  /// The shadow of an allocation that pages were reserved for. `is_shared`: the host has made the
  /// allocation of these pages, so that the shadow is only a way to map them: it is never collected
  /// and not told of what is bound. Null, and the piece is released, if there is no memory.
  std::shared_ptr<Shadow> Add(proto::ObjectId memory, uint64_t size,
                              const ShadowArena::Piece& piece, bool is_shared);
  /// What was reserved is not needed.
  void Release(const ShadowArena::Piece& piece);
  /// The same over memory of the program's own, whose every byte may have to be sent. Never
  /// tracked, and not to be mapped.
  std::shared_ptr<Shadow> Import(proto::ObjectId memory, uint64_t size, std::byte* begin);
  void Remove(proto::ObjectId memory);
  std::shared_ptr<Shadow> Find(proto::ObjectId memory);

  /// Where the driver itself sees the shadow, and where it lies in the file.
  DriverView ViewForDriver(const Shadow& shadow);

  /// The program's pointer to the start of the allocation, where it chose nothing else. Null if the
  /// system refuses.
  std::byte* Map(Shadow& shadow);
  /// Maps `bytes` bytes (whole pages) of the shadow from `offset` at `address`, in place of what is
  /// there; false if the system refuses, and then the place is inaccessible at worst.
  bool MapAt(Shadow& shadow, uint64_t offset, std::byte* address, uint64_t bytes);
  /// The program gives its view up. With `reserve` the addresses stay taken and become
  /// inaccessible; false if that fails, which leaves everything as it was.
  bool Unmap(Shadow& shadow, bool reserve);

  /// Something was bound to a range, through which commands of that kind reach it, and which the
  /// device may write or not.
  void Bind(Session& session, VkDevice device, Shadow& shadow, uint32_t reach, bool is_written,
            uint64_t offset, uint64_t size);

  /// Posts what the program wrote in these since the last agreement. When it returns, the writes
  /// are in the stream, whoever found them.
  void Collect(Session& session, VkDevice device, std::span<const std::shared_ptr<Shadow>> shadows,
               const Reached& reached);
  /// The same for a range of one.
  void Collect(Session& session, VkDevice device, Shadow& shadow, uint64_t offset, uint64_t size);

 private:
  using Lock = std::unique_lock<std::mutex>;

  /// A shadow that this thread alone touches, even while it gives the mutex up; it waits for that.
  class Taken {
   public:
    Taken(Shadows& shadows, Shadow& shadow, Lock& lock);
    ~Taken();
    Taken(const Taken&) = delete;
    Taken& operator=(const Taken&) = delete;

   private:
    Shadows& shadows_;
    Shadow& shadow_;
  };
  static bool IsTaken(const Shadow& shadow) { return shadow.ticket_ != shadow.next_ticket_; }

  /// Gives the host's later writes up where the program does not read them.
  void Defer(Session& session, VkDevice device, Shadow& shadow, Lock& lock);
  /// A shadow over the piece, in the table; null if there is no memory.
  std::shared_ptr<Shadow> Make(proto::ObjectId memory, uint64_t size,
                               const ShadowArena::Piece& piece, bool tracks, bool is_shared);
  std::shared_ptr<Shadow> AddLocked(proto::ObjectId memory, uint64_t size,
                                    const ShadowArena::Piece& piece, bool is_shared);
  void Watch(Shadow& shadow, const ShadowView& view);
  void LeaveView(Shadow& shadow);
  /// Asks the tracker about shadows that nobody has taken, or this thread: about all of them, or
  /// what lies in `clip`.
  void Track(std::span<Shadow* const> shadows, const PageRange* clip);
  void CollectOne(Session& session, VkDevice device, Shadow& shadow, uint64_t begin, uint64_t end,
                  Lock& lock);

  const MemoryTier tier_;
  std::unique_ptr<WriteTracker> tracker_;

  std::mutex mutex_;
  const std::unique_ptr<ShadowArena> arena_;
  std::map<std::byte*, Shadow*> views_;  // by where the program sees them
  std::condition_variable freed_;        // a shadow that was taken
  // Memory that is used again.
  std::vector<Shadow*> spare_reached_;
  std::vector<PageRange> wanted_;
  std::vector<PageRange> written_;
  ShadowSender::Spares spares_;

  std::mutex table_mutex_;
  std::unordered_map<proto::ObjectId, std::shared_ptr<Shadow>> table_;

  std::unique_ptr<Downloads> downloads_;  // its thread ends first
};

}  // namespace vesper::client
