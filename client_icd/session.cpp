// SPDX-License-Identifier: Apache-2.0
#include "client_icd/session.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "client_icd/answers.h"
#include "client_icd/generated_support.h"
#include "client_icd/object.h"
#include "client_icd/progress.h"
#include "client_icd/semaphore.h"
#include "client_icd/shadows.h"
#include "proto/decoder.h"
#include "proto/records_gen.h"
#include "proto/reply_decoder.h"

namespace vesper::client {
namespace {

using proto::FrameType;

/// Arrays of pushed bytes that are larger are used where they were received.
constexpr size_t kMinBorrowedBytes = 4096;

}  // namespace

Session::Session(std::unique_ptr<transport::Connection> connection, const Environment& environment)
    : connection_(std::move(connection)),
      environment_(environment),
      progress_spin_(environment.spinning) {
  void* page = ::mmap(nullptr, static_cast<size_t>(::sysconf(_SC_PAGESIZE)), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page != MAP_FAILED) {
    ::madvise(page, static_cast<size_t>(::sysconf(_SC_PAGESIZE)), MADV_WIPEONFORK);
    alive_in_this_process_ = new (page) std::atomic<uint32_t>(1);
  }
  background_ = std::make_unique<transport::BackgroundWriter>(
      [this](std::span<const std::span<const std::byte>> parts) { WriteParts(parts); });
  flusher_ = std::make_unique<Flusher>([this] { FlushNow(); });
  BeginBatch();
}

Session::~Session() {
  const bool own_process = alive_in_this_process_ != nullptr && alive_in_this_process_->load() != 0;
  if (own_process) {
    flusher_.reset();
    if (reader_.joinable()) {
      Flush();
    }
    connection_->Shutdown();
    if (reader_.joinable()) {
      reader_.join();
    }
    if (told_) {
      told_->Run();
    }
    if (saved_) {
      saved_->Run();
    }
    if (environment_.debug_log && may_stop_) {
      Say("downloads: " + shadows_->downloads()->Summary());
    }
  } else if (reader_.joinable()) {
    // A forked child has no reader thread and must leave the parent's connection alone: shutting it
    // down here would end the parent's session.
    reader_.detach();
    connection_.release();  // NOLINT(bugprone-unused-return-value): the parent's, see above
    socket_.release();      // NOLINT(bugprone-unused-return-value)
    // Their locks may be held, and their threads are not here.
    shadows_.release();     // NOLINT(bugprone-unused-return-value)
    background_.release();  // NOLINT(bugprone-unused-return-value)
    flusher_.release();     // NOLINT(bugprone-unused-return-value)
  }
  if (alive_in_this_process_ != nullptr) {
    ::munmap(alive_in_this_process_, static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
  }
}

// -- calls ---------------------------------------------------------------------------------------

bool Session::Call(uint16_t number, void* args, Reply* reply) {
  if (IsLost() || !KnowsCommand(number)) {
    return false;
  }
  const Statistics::Clock::time_point begin = Statistics::Clock::now();
  PendingCall call;
  call.record = proto::CommandRecord(number);
  call.args = args;
  call.is_kept = may_stop_ || reply != nullptr;
  if (!Append(number, args, &call)) {
    {
      const std::lock_guard calls_lock(calls_mutex_);
      TakeCall(call.serial);
    }
    LoseIfBroken();
    return false;
  }
  Flush();
  std::unique_lock lock(calls_mutex_);
  if (lost_.load(std::memory_order_acquire) && TakeCall(call.serial) != nullptr) {
    return false;
  }
  call.changed.wait(lock, [&call] { return call.done; });
  lock.unlock();
  statistics_->NoteCall(number, begin);
  if (call.ok && call.is_kept) {
    proto::Reader reader(call.reply.body.Bytes());
    call.ok = proto::DecodeReply(*call.record, reader, args);
    if (!call.ok) {
      Lose("the server sent something malformed");
    }
  }
  if (reply != nullptr) {
    *reply = std::move(call.reply);
  }
  return call.ok;
}

Session::PendingCall* Session::TakeCall(uint64_t serial) {
  for (PendingCall** place = &calls_; *place != nullptr; place = &(*place)->next) {
    if ((*place)->serial == serial) {
      return std::exchange(*place, (*place)->next);
    }
  }
  return nullptr;
}

// -- in -----------------------------------------------------------------------------------------

void Session::ReadLoop() {
  std::string reason;
  try {
    reason = ReadUntilTheEnd();
  } catch (const std::bad_alloc&) {
    reason = "memory is out";
  }
  Lose(reason);
  if (Downloads* downloads = shadows_->downloads()) {
    downloads->GiveUp();
  }
}

std::string Session::ReadUntilTheEnd() {
  while (true) {
    const std::span<std::byte> space = splitter_.BeginReceive();
    const size_t bytes = space.empty() ? 0 : connection_->ReadSome(space);
    if (bytes == 0) {
      return connection_->Error().empty() ? "the server closed the connection"
                                          : connection_->Error();
    }
    splitter_.EndReceive(bytes);
    statistics_->NoteBytes(Statistics::kWireIn, bytes);
    while (std::optional<proto::Frame> frame = splitter_.Next()) {
      if (!HandleFrame(*frame)) {
        return "the server sent something malformed, or said goodbye";
      }
      NoteHandledFrame();
    }
    if (splitter_.Failed()) {
      return splitter_.Error();
    }
  }
}

bool Session::HandleFrame(const proto::Frame& frame) {
  if (frame.type != FrameType::kCommands) {
    return false;
  }
  proto::CommandWalker walker(frame.payload);
  while (std::optional<proto::Command> command = walker.Next()) {
    const bool is_reply = (command->flags & proto::kIsReply) != 0;
    statistics_->NoteReceived(*command);
    const bool ok = is_reply ? HandleReply(*command) : HandlePush(*command);
    if (!ok) {
      return false;
    }
  }
  return !walker.Failed();
}

bool Session::HandleReply(const proto::Command& command) {
  PendingCall* call = nullptr;
  {
    const std::lock_guard lock(calls_mutex_);
    call = TakeCall(command.serial);
  }
  if (call == nullptr) {
    return questions_.Answer(command);
  }
  // The caller sleeps until `done`, so its memory stays where it is.
  bool ok = call->record->number == command.number;
  if (ok && call->is_kept) {
    call->reply.is_skipped = (command.flags & proto::kWasSkipped) != 0;
    call->reply.body.Put(command.body.data(), command.body.size());
    ok = !call->reply.body.Failed();
  } else if (ok) {
    proto::Reader reader(command.body);
    ok = proto::DecodeReply(*call->record, reader, call->args);
  }
  const std::lock_guard lock(calls_mutex_);
  call->ok = ok;
  call->done = true;
  call->changed.notify_one();
  return ok;
}

bool Session::HandlePush(const proto::Command& command) {
  namespace number = proto::command_number;
  const proto::Record* record = proto::CommandRecord(command.number);
  switch (command.number) {
    case number::vesperProgress:
    case number::vesperPushMemory:
    case number::vesperPushPicture:
    case number::vesperFetchedMemory:
    case number::vesperPoisoned:
    case number::vesperDeviceLost:
    case number::vesperLeaseMemory:
    case number::vesperShareTypes:
    case number::vesperSharedMemory:
    case number::vesperArchivedChunks:
    case number::vesperQueryResults:
    case number::vesperEventState:
    case number::vesperGoodbye:
      break;
    default:
      return false;
  }
  proto::Arena arena;
  proto::Reader reader(command.body);
  alignas(8) std::byte args[64];
  proto::Decoder decoder(arena, nullptr);
  decoder.BorrowArraysFrom(kMinBorrowedBytes);
  if (record->size > sizeof(args) ||
      decoder.Request(*record, reader, args) != proto::DecodeResult::kDecoded) {
    return false;
  }
  const void* raw = args;
  switch (command.number) {
    case number::vesperProgress: {
      const auto& progress = *static_cast<const proto::Args_vesperProgress*>(raw);
      HandleProgress(progress.queue, progress.value);
      return true;
    }
    case number::vesperPushMemory:
      return HandlePushMemory(raw);
    case number::vesperPushPicture:
      return lossy_pictures_.Apply(*static_cast<const proto::Args_vesperPushPicture*>(raw));
    case number::vesperFetchedMemory:
      return HandleFetchedMemory(raw);
    case number::vesperEventState:
      pushed_events_.Apply(*static_cast<const proto::Args_vesperEventState*>(raw));
      return true;
    case number::vesperArchivedChunks: {
      const auto& archived = *static_cast<const proto::Args_vesperArchivedChunks*>(raw);
      return chunks_ != nullptr && chunks_->Learn({archived.pLow, archived.chunkCount},
                                                  {archived.pHigh, archived.chunkCount});
    }
    case number::vesperQueryResults:
      return pushed_queries_.Apply(*static_cast<const proto::Args_vesperQueryResults*>(raw));
    case number::vesperPoisoned: {
      const auto& poisoned = *static_cast<const proto::Args_vesperPoisoned*>(raw);
      const std::lock_guard lock(objects_mutex_);
      if (const auto found = devices_.find(poisoned.device); found != devices_.end()) {
        found->second->pending_errors.fetch_or(ErrorBit(poisoned.result));
      }
      return true;
    }
    case number::vesperDeviceLost: {
      const auto& device_lost = *static_cast<const proto::Args_vesperDeviceLost*>(raw);
      {
        const std::lock_guard lock(objects_mutex_);
        if (const auto found = devices_.find(device_lost.device); found != devices_.end()) {
          found->second->lost.store(true, std::memory_order_release);
        }
      }
      const std::lock_guard lock(progress_mutex_);
      NotifyProgress();
      return true;
    }
    case number::vesperLeaseMemory: {
      const auto& lease = *static_cast<const proto::Args_vesperLeaseMemory*>(raw);
      if (lease.heap >= VK_MAX_MEMORY_HEAPS) {
        return false;
      }
      if (const auto device = FindDevice(lease.device)) {
        device->lease.Grant(lease.heap, lease.round, lease.size);
      }
      return true;
    }
    case number::vesperShareTypes: {
      const auto& share = *static_cast<const proto::Args_vesperShareTypes*>(raw);
      if (const auto device = FindDevice(share.device)) {
        device->sharing.SetTypes(share.memoryTypeBits);
      }
      return true;
    }
    case number::vesperSharedMemory: {
      const auto& shared = *static_cast<const proto::Args_vesperSharedMemory*>(raw);
      if (const auto device = FindDevice(shared.device)) {
        const std::lock_guard lock(progress_mutex_);
        device->sharing.Answer(shared.memory, shared.isShared == VK_TRUE);
        NotifyProgress();
      }
      return true;
    }
    default:
      return false;  // goodbye: the session ends
  }
}

bool Session::HandlePushMemory(const void* raw) {
  const auto& push = *static_cast<const proto::Args_vesperPushMemory*>(raw);
  const std::span patch(static_cast<const std::byte*>(push.pPatch), push.patchSize);
  const std::shared_ptr<Shadow> shadow = shadows_->Find(push.memory);
  if (shadow == nullptr) {
    return true;  // freed meanwhile
  }
  if (!shadow->Apply(patch)) {
    return false;
  }
  if (Downloads* downloads = shadows_->downloads()) {
    downloads->NotePushed(push.memory, patch);
  }
  return true;
}

bool Session::HandleFetchedMemory(const void* raw) {
  const auto& fetched = *static_cast<const proto::Args_vesperFetchedMemory*>(raw);
  Downloads* downloads = shadows_->downloads();
  if (downloads == nullptr) {
    return false;
  }
  downloads->HandleFetched(fetched.memory, fetched.round, fetched.offset, fetched.size);
  return true;
}

void Session::HandleProgress(proto::ObjectId queue_id, uint64_t value) {
  const std::lock_guard lock(progress_mutex_);
  const auto found = queues_.find(queue_id);
  if (found == queues_.end()) {
    return;
  }
  Reach(*found->second, value);
  NotifyProgress();
}

void Session::Reach(QueueProgress& queue, uint64_t value) {
  // The host can't have done what was not submitted.
  value = std::min(value, queue.submitted);
  if (value <= queue.reached.load()) {
    return;
  }
  while (!queue.signals.empty() && queue.signals.front().batch <= value) {
    const PendingSignal& signal = queue.signals.front();
    if (auto* semaphore = static_cast<Semaphore*>(store_.State(signal.semaphore))) {
      semaphore->value = std::max(semaphore->value, signal.value);
    }
    queue.signals.pop_front();
  }
  queue.reached.store(value, std::memory_order_release);
}

void Session::Lose(std::string_view reason) {
  if (lost_.exchange(true)) {
    return;
  }
  if (environment_.debug_log) {
    Say("the session ended: " + std::string(reason));
  }
  connection_->Shutdown();
  {
    const std::lock_guard lock(calls_mutex_);
    while (PendingCall* call = calls_) {
      calls_ = call->next;
      call->done = true;
      call->changed.notify_one();
    }
  }
  questions_.End();
  const std::lock_guard lock(progress_mutex_);
  progress_bell_.RingAlways();
}

}  // namespace vesper::client
