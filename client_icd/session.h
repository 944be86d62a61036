// SPDX-License-Identifier: Apache-2.0
//
// A session: one VkInstance connected to one worker process of the host.
//
// Out: one ordered stream. A posted command is encoded into the batch under a short lock; the batch
// is written when somebody must wait, submits or polls, when it has grown, or when a few
// milliseconds have passed. Writing is what a submission costs most: when they follow each other
// closely they share a write, which waits for some ten microseconds. Writing happens outside that
// lock, so threads go on posting while a large batch is on its way. Much memory goes in pieces,
// written by a thread of their own while the next piece is made; between two of them passes what
// other threads have to say (docs/adr/0029-small-frames-pass-uploads.md).
// In: one reader thread, from set-up to the end of the session. It writes replies into the memory
// of the threads that wait for them (or has them do it, where that memory may be absent), applies
// what the host pushes, and never waits for the writers: so the host can always get rid of what it
// has to say, and neither side can block the other. Waits (fences, semaphores, queues) sleep on one
// bell (transport/doorbell.h) that the reader rings when progress arrives. Data that the device
// wrote arrive before the progress that releases the waiter. Where guest and host share memory,
// progress is a page there, and the host rings the bell itself.
//
// The end: a lost connection, a malformed message or the host's goodbye makes the session *lost*,
// for good. Everybody who waits wakes up, and every later command fails at once. In a forked child
// the session is lost from the start: a page that the kernel wipes at fork says so, and the child
// never touches the parent's socket or locks.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "client_icd/at_exit.h"
#include "client_icd/environment.h"
#include "client_icd/flusher.h"
#include "client_icd/object_store.h"
#include "client_icd/pushed_events.h"
#include "client_icd/pushed_queries.h"
#include "client_icd/questions.h"
#include "client_icd/statistics.h"
#include "client_icd/wsi/lossy_pictures.h"
#include "proto/chunks.h"
#include "proto/compression.h"
#include "proto/encoder.h"
#include "proto/frame.h"
#include "proto/setup.h"
#include "proto/snapshot.h"
#include "transport/background_writer.h"
#include "transport/connection.h"
#include "transport/doorbell.h"
#include "transport/spin.h"
#include "transport/turn_mutex.h"

namespace vesper::transport {
class RingMemory;
struct ProgressPage;
}  // namespace vesper::transport

namespace vesper::client {

class Answers;
class Shadows;
struct QueueProgress;
struct DeviceState;

class Session {
 public:
  /// Sets a session up over `connection`. Null and one sentence in `error` if the server cannot be
  /// understood, refuses, or does not answer within `timeout`.
  static std::unique_ptr<Session> Open(std::unique_ptr<transport::Connection> connection,
                                       const proto::Hello& hello, const Environment& environment,
                                       std::chrono::milliseconds timeout, std::string* error);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Queues a command, and writes the queue when it has grown. Any thread. `args` is the command's
  /// Args struct.
  void Post(uint16_t number, const void* args);
  /// Queues a command and never waits for the link: for callers that hold a lock which the reader
  /// takes too.
  void Enqueue(uint16_t number, const void* args);
  /// Sends one frame that was encoded before, in parts (proto/patch_parts.h), behind what is
  /// queued; without parts, for want of memory, the session is lost. A large one is read when it is
  /// written to the link: may wait for that. With `others_follow` it may also be read later, until
  /// the next frame is sent or FinishFrames. Frames of other threads may come before it.
  void PostFrame(std::span<const std::span<const std::byte>> parts, bool others_follow);
  /// Waits until the frames that were sent have been read.
  void FinishFrames();
  /// Queues commands that were encoded before (of a command buffer's stream).
  void PostEncoded(std::span<const std::byte> commands);
  /// Sends a command and waits for its reply, which is written into `args` and what it points to.
  /// False if the session is lost; outputs are then untouched. With `reply` it is kept, too.
  struct Reply {
    proto::Buffer body;
    bool is_skipped = false;  ///< the command was not executed: it names what is not there
  };
  bool Call(uint16_t number, void* args, Reply* reply = nullptr);

  // Questions that are asked ahead (questions.h, where these are).
  /// Queues a command whose reply somebody may want later. Null if it cannot be asked.
  std::shared_ptr<Question> AskAhead(uint16_t number, const void* args);
  /// True if the reply is there.
  bool IsAnswered(const Question& question);
  /// Waits for the reply and writes it into `args`, those of the question or the like; as Call.
  bool TakeAnswer(const Question& question, void* args);

  /// Writes what is queued.
  void Flush();
  /// The same, but if something has just been written it is left for others to join it, a few
  /// microseconds.
  void FlushSoon();
  /// True if the link is known to be fast (proto/compression.h).
  bool IsLinkFast() const { return is_link_fast_.load(std::memory_order_relaxed); }
  /// Bytes of one piece of much memory: more would hold others up.
  size_t PieceBytes() const {
    return UsesChunks() ? proto::kMaxPatchBytes : piece_bytes_.load(std::memory_order_relaxed);
  }
  /// Bytes queued and not yet written.
  size_t Queued() const { return queued_.load(std::memory_order_relaxed); }

  /// True once the session has ended for any reason, and in a forked child.
  bool IsLost() const {
    return lost_.load(std::memory_order_acquire) || alive_in_this_process_->load() == 0;
  }

  /// Ends the session for good. Any thread; takes calls_mutex_ and progress_mutex().
  void Lose(std::string_view reason);

  /// VESPER_DEBUG=sync: whatever could be posted is called.
  bool IsSync() const { return environment_.debug_sync; }
  /// Recordings are sent in parts, and not only when they end.
  bool SendsParts() const { return !IsSync() && environment_.records_in_parts; }

  /// True if this command, of class `post`, is sent without waiting (VESPER_POST, VESPER_DEBUG).
  bool Posts(uint16_t number) const {
    const uint32_t kind = PostKindOf(number);
    return !IsSync() && (environment_.posts & kind) == kind;
  }

  /// What the user wants of pictures (VESPER_PRESENT).
  const PresentOptions& present() const { return environment_.present; }
  /// Pictures that come as JPEG, which the reader unpacks.
  LossyPictures& lossy_pictures() { return lossy_pictures_; }

  /// True if the guest is to have facts of this kind before the program asks (VESPER_PUSH).
  bool Pushes(PushKind kind) const { return !IsSync() && (environment_.pushes & kind) != 0; }

  const proto::Snapshot& snapshot() const { return snapshot_; }
  const proto::KnownStructs& known_structs() const { return known_structs_; }
  bool KnowsCommand(uint16_t number) const {
    return number < welcome_.commands.size() && welcome_.commands[number];
  }
  ObjectStore& store() { return store_; }
  Statistics& statistics() { return *statistics_; }
  /// What the host has answered before; null if the host is to be asked each time.
  Answers* answers() { return answers_.get(); }

  // Progress. Guarded by progress_mutex(); waiters sleep until it changes.
  std::mutex& progress_mutex() { return progress_mutex_; }
  /// Waits until `done()` (called with the mutex held) or the deadline; true if done. Also returns
  /// when the session is lost: the caller checks.
  bool WaitForProgress(std::unique_lock<std::mutex>& lock,
                       std::chrono::steady_clock::time_point deadline,
                       const std::function<bool()>& done);
  void NotifyProgress() { progress_bell_.Ring(); }
  /// Takes what the host shows of how far queues have come. With progress_mutex() held, before
  /// looking at any of it.
  void LookAtProgress();
  void AddQueue(proto::ObjectId id, std::shared_ptr<QueueProgress> queue);
  void RemoveQueue(proto::ObjectId id);

  /// States of events and results of queries, which the reader brings.
  PushedEvents& pushed_events() { return pushed_events_; }
  PushedQueries& pushed_queries() { return pushed_queries_; }

  /// Mapped memory, which the reader writes pushed bytes to.
  Shadows& shadows() { return *shadows_; }

  // Devices, to be told of failures.
  /// A device is being created: what the host says about one that isn't known is remembered …
  void ExpectDevice();
  /// … and forgotten now, unless it was about one that has been added.
  void StopExpectingDevice();
  /// The device's state, which may know already what the host has said about the device.
  std::shared_ptr<DeviceState> AddDevice(proto::ObjectId id);
  void RemoveDevice(proto::ObjectId id);

 private:
  /// Lies on the stack of the thread that waits for it, so that calling needs no memory.
  struct PendingCall {
    uint64_t serial = 0;
    PendingCall* next = nullptr;
    const proto::Record* record = nullptr;
    void* args = nullptr;
    bool is_kept = false;  // the reply is left to the caller, who writes it to args
    Reply reply;
    bool done = false;
    bool ok = false;
    std::condition_variable changed;
  };

  Session(std::unique_ptr<transport::Connection> connection, const Environment& environment);

  /// `shadows`: the file that the host may be offered, or -1.
  bool SetUp(proto::Hello hello, int shadows, std::chrono::milliseconds timeout,
             std::string* error);
  /// The memory for rings, if the connection can pass it; else says why not.
  std::unique_ptr<transport::RingMemory> MakeRings(std::string* why_not) const;
  void OfferGuestExtensions();
  void ReadLoop();
  std::string ReadUntilTheEnd();
  bool HandleFrame(const proto::Frame& frame);
  bool HandleReply(const proto::Command& command);
  bool HandlePush(const proto::Command& command);
  bool HandlePushMemory(const void* args);
  void HandleProgress(proto::ObjectId queue, uint64_t value);
  /// The queue has come so far. With progress_mutex_ held.
  void Reach(QueueProgress& queue, uint64_t value);
  /// A frame of the host's has been dealt with.
  void NoteHandledFrame();
  /// The state of a device that there is, or is about to be; null for others.
  std::shared_ptr<DeviceState> FindDevice(proto::ObjectId id);
  /// Takes a call out of calls_; null if there is none. With calls_mutex_ held.
  PendingCall* TakeCall(uint64_t serial);
  /// Queues one command, encoded apart from the stream if its arguments may be absent.
  /// `wants_reply` waits in calls_ from before it is in the stream, or `question` in questions_.
  /// False if it can't be encoded.
  bool Append(uint16_t number, const void* args, PendingCall* wants_reply,
              const std::shared_ptr<Question>& question = nullptr);
  /// After a command could not be encoded: what others have posted may be in the same batch.
  void LoseIfBroken();
  bool HandleFetchedMemory(const void* args);
  void BeginBatch();
  void CutBatch();
  void FlushIfLarge();
  void FlushNow();
  /// Something was appended; with stream_mutex_ held.
  void NoteQueued(bool is_written_next = false);
  // Both with write_mutex_ held.
  /// Moves what is queued to sending_; false if there is nothing.
  bool TakeBatch();
  bool WriteQueued();
  bool WriteParts(std::span<const std::span<const std::byte>> parts);
  /// Writes one frame, and what the host doesn't have of it before.
  bool WriteChunked(const proto::ChunkedFrame& frame);

  /// True if what the host has seen already travels as a hash (VESPER_UPLOAD_CACHE).
  bool UsesChunks() const {
    return chunks_ != nullptr && (environment_.upload_cache == UploadCache::kAlways ||
                                  is_link_slow_.load(std::memory_order_relaxed));
  }
  void PostChunked(std::span<const std::span<const std::byte>> parts);

  std::unique_ptr<transport::Connection> socket_;  // beneath the rings, if there are any
  std::unique_ptr<transport::Connection> connection_;
  const Environment environment_;
  const std::shared_ptr<Statistics> statistics_ = std::make_shared<Statistics>();
  std::optional<AtExit> told_;  // the statistics, if somebody wants to know
  std::shared_ptr<Answers> answers_;
  std::optional<AtExit> saved_;  // the answers
  proto::Welcome welcome_;
  proto::KnownStructs known_structs_;
  proto::Arena snapshot_arena_;
  proto::Snapshot snapshot_;
  ObjectStore store_;
  /// A thread that touches the program's memory may stop until the reader has received something
  /// (downloads.h): never with a lock that the reader or the stream needs.
  bool may_stop_ = false;

  // One word in a page that fork() leaves zeroed in the child.
  std::atomic<uint32_t>* alive_in_this_process_ = nullptr;
  std::atomic<bool> lost_{false};

  std::mutex stream_mutex_;  // batch_, batch_frame_, next_serial_
  proto::Buffer batch_;
  size_t batch_frame_ = 0;
  uint64_t next_serial_ = 1;
  std::atomic<size_t> queued_{0};
  std::atomic<int64_t> last_taken_{0};  // when the batch was last taken to be written
  // Submissions since somebody last waited for anything.
  std::atomic<uint32_t> submissions_in_a_row_{0};
  // sending_ and the connection's writing side; taken before stream_mutex_.
  transport::TurnMutex write_mutex_;
  proto::Buffer sending_;
  proto::FrameCompressor compressor_;           // as sending_
  std::unique_ptr<proto::ChunkSender> chunks_;  // as sending_; null: not used
  std::atomic<bool> is_link_fast_{false};
  std::atomic<bool> is_link_slow_{false};
  std::atomic<size_t> piece_bytes_{proto::kMaxPatchBytes};
  std::unique_ptr<transport::BackgroundWriter> background_;  // as sending_; waited for first
  std::unique_ptr<Flusher> flusher_;

  std::mutex calls_mutex_;        // calls_
  PendingCall* calls_ = nullptr;  // a list, as long as there are threads that wait

  Questions questions_;

  std::mutex progress_mutex_;
  std::atomic<uint32_t> bell_words_[2] = {};
  transport::Doorbell progress_bell_{bell_words_[0], bell_words_[1]};  // or on the page
  transport::AdaptiveSpin progress_spin_;
  transport::ProgressPage* progress_page_ = nullptr;  // null: progress is pushed
  uint64_t handled_frames_ = 0;                       // guarded by progress_mutex_
  uint64_t awaited_frames_ = UINT64_MAX;              // likewise: then somebody can go on
  std::unordered_map<proto::ObjectId, std::shared_ptr<QueueProgress>> queues_;

  std::unique_ptr<Shadows> shadows_;
  PushedEvents pushed_events_;
  PushedQueries pushed_queries_;
  LossyPictures lossy_pictures_{environment_.present};

  std::mutex objects_mutex_;  // devices_, expected_devices_
  size_t expected_devices_ = 0;
  std::unordered_map<proto::ObjectId, std::shared_ptr<DeviceState>> devices_;

  proto::FrameSplitter splitter_{proto::kMaxSetupBytes};
  std::thread reader_;  // keep last: it uses everything above
};

}  // namespace vesper::client
