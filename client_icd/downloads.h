// SPDX-License-Identifier: Apache-2.0
//
// Downloads on first touch. What the device writes is pushed by default, whether the program reads
// it or not. Over a slow link that is dear for what it never reads. So ranges that are pushed to
// again and again without being looked at are *deferred*: the host keeps what the device writes
// there, and the program's view of them is absent (absent_pages.h). Who touches such a page stops
// until the host was asked for it, and for some of what follows.
//
// The rule that all rests on: *while the host defers a range, the program's view of it is absent.*
// So nobody can see old bytes, whatever the host has not told. It holds because
//   - a range is emptied and vesperDeferMemory is queued under one lock, mutex_; and what is queued
//     later comes later: a vesperFetchMemory for it reaches the host after that;
//   - the range is shown again when vesperFetchedMemory arrives, behind the bytes. By then the host
//     has pushed what it had kept, and defers the range no longer;
//   - unmapping and mapping end all deferring in the host, and come after the guest has forgotten.
// The reverse, an absent range that the host pushes to, costs a question and harms nobody. `round`
// tells an answer to a question of before such an end from one of after it.
//
// And no store is lost. Emptying a range makes the tracker forget what was stored there; so the
// emptied ranges are compared with the twin, once, before the collection ends in which they were
// emptied (Shadows::Collect). Later stores fault first, and the page is tracked from then on.
//
// Who waits for whom. A thread that touches an absent page may be stopped anywhere: in the program,
// in a system call, in this driver while it reads an array of the program's or writes a result. It
// goes on when the handler thread here has asked the host, and the session's reader has shown the
// page. So neither may ever wait for a thread that may be stopped:
//   - The handler takes mutex_, and the locks of the session's stream. No thread reads or writes
//     the program's memory while it holds one of these: commands are encoded apart from the stream
//     (Session::Append), and what is written to the link is the driver's own.
//   - The reader takes mutex_, and the session's other locks: of progress, of the calls that wait,
//     of what each shadow merges. No thread touches the program's memory with those either: arrays
//     of fences and semaphores are copied before, results stored after. The reader itself writes
//     no reply to the program's memory: the thread that called does (Session::Call).
//   - Under mutex_ nobody waits for the link, nor for another lock than the stream's.
//   - Handler and reader use the driver's view of memory only, and no callbacks of the program. (A
//     program whose callbacks put the driver's own objects into mapped memory is beyond help.)
//   - When the session is lost, the reader's last act is to show everything. Whoever touches a page
//     later is shown what is there. In a forked child there is no userfaultfd: pages are just
//     there.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "client_icd/absent_pages.h"
#include "client_icd/download_blocks.h"
#include "client_icd/object.h"
#include "proto/object_id.h"
#include "transport/unique_fd.h"

namespace vesper::client {

class Session;

/// Where the program sees the shadow.
struct ShadowView {
  PageRange range;
  uint64_t offset = 0;  // of range.begin in the allocation
  bool is_own = false;  // not the arena's: unmapped, or left reserved, when the program unmaps
};

/// Which ranges are downloaded when they are touched.
enum class DownloadMode {
  kPush,        ///< none
  kAuto,        ///< those that the program rarely reads, if the link is slow enough for it
  kRarelyRead,  ///< the same over any link
  kAlways,      ///< whatever the device writes; for tests
};
/// The mode that VESPER_DOWNLOAD names; false if there is none.
bool DownloadModeFromName(std::string_view name, DownloadMode* mode);

/// Thread-safe.
class Downloads {
 public:
  Downloads(Session& session, std::unique_ptr<AbsentPages> pages, DownloadMode mode);
  ~Downloads();
  Downloads(const Downloads&) = delete;
  Downloads& operator=(const Downloads&) = delete;

  /// Everything is deferred, at whatever cost.
  bool is_eager() const { return at_once_; }

  /// The program sees so many bytes of this memory here, and nowhere else.
  void AddView(proto::ObjectId memory, const ShadowView& view, uint64_t size);
  void RemoveView(proto::ObjectId memory);

  /// Defers what is worth it, and looks where the program looks. Appends the ranges whose pages
  /// were taken from the program to `emptied`: they must be compared. `can_leave(range, visit)`
  /// calls visit(part) for parts of a range that may be deferred, in blocks: the file has all their
  /// pages, and there is a twin.
  using Parts = std::function<void(DownloadBlocks::Run)>;
  using CanLeave = std::function<void(DownloadBlocks::Run, const Parts&)>;
  void Defer(proto::ObjectId device, proto::ObjectId memory, const CanLeave& can_leave,
             std::vector<DownloadBlocks::Run>& emptied);

  /// The program unmaps: everything is present from now on. True if something was not; the host
  /// has to be told, by the commands that unmap or map.
  bool Forget(proto::ObjectId memory);
  /// The device goes, and with it the host's answers.
  void ForgetDevice(proto::ObjectId device);

  /// What was done so far, in a sentence.
  std::string Summary();

  // For the session's reader.
  void NotePushed(proto::ObjectId memory, std::span<const std::byte> patch);
  void HandleFetched(proto::ObjectId memory, uint64_t round, uint64_t offset, uint64_t size);
  /// The session is lost: shows everything, now and from now on.
  void GiveUp();

 private:
  using Run = DownloadBlocks::Run;
  struct View {
    View(proto::ObjectId memory_id, const ShadowView& where, uint64_t size, bool at_once);

    PageRange PagesOf(Run run) const;

    const proto::ObjectId memory;
    const ShadowView at;
    DownloadBlocks blocks;
    Run whole;  // the blocks that lie in the view from end to end
    proto::ObjectId device = 0;
    uint64_t round = 0;
    bool is_registered = false;
    bool is_refused = false;  // by the system: leave it alone
  };

  bool StartHandler();
  void HandleFaults();
  /// True if something was queued for the host.
  bool HandleFault(std::byte* address);
  bool ForgetLocked(View& view);
  void EmptyLocked(View& view, Run run, DownloadBlocks::Advice advice, std::vector<Run>& emptied);

  Session& session_;
  const std::unique_ptr<AbsentPages> pages_;
  const bool at_once_;
  const transport::UniqueFd stop_;
  std::mutex mutex_;
  // All under mutex_:
  std::unordered_map<proto::ObjectId, std::unique_ptr<View>> views_;
  std::map<std::byte*, View*> by_address_;
  bool is_lost_ = false;
  uint64_t last_round_ = 0;
  uint64_t deferred_blocks_ = 0;
  uint64_t fetched_blocks_ = 0;
  uint64_t fetches_ = 0;
  std::thread handler_;
};

}  // namespace vesper::client
