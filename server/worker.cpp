// SPDX-License-Identifier: Apache-2.0
//
// A worker: the process that serves one session.
//
// Three threads besides those of the queues, the tasks and the driver. The reader receives frames
// into a bounded inbox and notices when the guest goes; the session's thread executes them; a third
// waits for the front's SIGTERM, so that the guest can be told. (One more, at the beginning, may
// read what earlier sessions have archived.) When the guest is gone, nothing
// that is left matters: the process ends at once, even from the middle of a driver call, and the
// system takes back what the GPU held. That is also why nothing is destroyed here at the end.
#include "server/worker.h"

#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "proto/chunks.h"
#include "proto/compression.h"
#include "proto/frame.h"
#include "server/file_archive.h"
#include "server/inbox.h"
#include "server/session.h"

namespace vesper::server {
namespace {

/// Frames that wait for the session's thread. More would let a guest fill the host's memory.
constexpr size_t kInboxBytes = 16u << 20;
/// How long a guest may take to say hello. Until then it holds a place among the sessions.
constexpr std::chrono::seconds kHelloTimeout{10};
/// How long a driver call may go on after the guest has gone.
constexpr std::chrono::milliseconds kGrace{300};

/// Ends the process without running destructors: driver threads may be anywhere.
[[noreturn]] void End(WorkerStatus status) {
  spdlog::default_logger()->flush();
  ::_exit(status);
}

/// Receives and forgets what is left of a stream whose peer is gone; then its end is known.
void Drain(transport::Connection& connection) {
  std::vector<std::byte> scratch(64u << 10);
  while (connection.ReadSome(scratch) != 0) {
  }
}

void ReadFrames(transport::Connection& connection, Inbox& inbox, Session& session,
                proto::ChunkStore& chunks) {
  proto::FrameSplitter splitter(proto::kMaxSetupBytes);
  WorkerStatus status = kGuestLeft;
  bool peer_is_gone = false;
  for (;;) {
    const std::span<std::byte> space = splitter.BeginReceive();
    const size_t bytes = space.empty() || peer_is_gone ? 0 : connection.ReadSome(space);
    if (bytes == 0) {
      if (!connection.Error().empty()) {
        spdlog::warn("the connection was lost: {}", connection.Error());
        status = kConnectionLost;
      }
      break;
    }
    if (session.UsesRings()) {
      spdlog::warn("the guest sent something invalid: bytes beside the shared rings");
      status = kInvalidGuest;
      break;
    }
    splitter.EndReceive(bytes);
    session.statistics().NoteReceived(bytes);
    while (const std::optional<proto::Frame> frame = splitter.Next()) {
      splitter.SetMaxPayload(proto::kMaxFrameBytes);  // the first frame, the hello, may be less
      // The guest has the welcome, and so knows what it may use, before it sends a second.
      splitter.AllowCompression(proto::kAllCompression);
      splitter.SetChunks(&chunks);
      std::optional<proto::FrameMemory> memory = splitter.TakeOver(*frame);
      if (!memory || !inbox.Put({frame->type, std::move(*memory)}, connection)) {
        inbox.Close();
        Drain(connection);
        peer_is_gone = true;
        break;
      }
    }
    if (splitter.Failed()) {
      spdlog::warn("the guest sent something invalid: {}", splitter.Error());
      status = kInvalidGuest;
      break;
    }
  }
  if (session.HasLostDevice() && status != kInvalidGuest) {
    status = kDriverFailed;
  }
  inbox.Close();
  std::this_thread::sleep_for(kGrace);
  spdlog::info("the session was {}", session.statistics().Summary());
  End(status);
}

void TellArchive(FileArchive& archive, Session& session) {
  size_t count = 0;
  archive.Load([&](std::span<const uint64_t> low, std::span<const uint64_t> high) {
    count += low.size();
    session.TellArchived(low, high);
  });
  spdlog::debug("{} chunks of earlier uploads are there", count);
}

/// Executes what comes out of the inbox until it is closed; false if the guest sent something
/// invalid.
bool ServeInbox(Inbox& inbox, Session& session, std::string* error) {
  while (const std::optional<ReceivedFrame> frame = inbox.Take()) {
    if (frame->type != proto::FrameType::kCommands) {
      *error = "expected commands, got another hello";
      return false;
    }
    if (!session.HandleCommands(frame->payload(), error)) {
      return false;
    }
  }
  return true;
}

/// The same for the rings, which hold as much as an inbox needs to: there is no thread in between.
bool ServeRings(transport::RingConnection& rings, proto::ChunkStore& chunks, Session& session,
                std::string* error) {
  proto::FrameSplitter splitter(proto::kMaxFrameBytes);
  splitter.AllowCompression(proto::kAllCompression);
  splitter.SetChunks(&chunks);
  while (error->empty()) {
    const std::span<std::byte> space = splitter.BeginReceive();
    const size_t bytes = space.empty() ? 0 : rings.ReadSome(space);
    if (bytes == 0 && rings.IsBroken()) {
      *error = rings.Error();
    } else if (bytes == 0 && !splitter.Failed()) {
      return true;
    }
    splitter.EndReceive(bytes);
    session.statistics().NoteReceived(bytes);
    while (const std::optional<proto::Frame> frame = splitter.Next()) {
      if (frame->type != proto::FrameType::kCommands) {
        *error = "expected commands, got another hello";
      }
      if (!error->empty() || !session.HandleCommands(frame->payload, error)) {
        return false;
      }
    }
    if (splitter.Failed()) {
      *error = splitter.Error();
    }
  }
  return false;
}

/// SIGTERM, blocked everywhere else, becomes a goodbye.
void WaitForTermination(Session& session) {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  int signal = 0;
  ::sigwait(&signals, &signal);
  session.SayGoodbye("the server is shutting down");
  End(kGuestLeft);
}

}  // namespace

unsigned DefaultThreads() { return std::clamp(std::thread::hardware_concurrency(), 2u, 8u); }

int RunWorker(std::unique_ptr<transport::Connection> connection, const WorkerOptions& options) {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  std::string error;
  const PFN_vkGetInstanceProcAddr get = OpenVulkanLoader(options.driver_manifest, &error);
  if (get == nullptr) {
    spdlog::error("{}", error);
    proto::Buffer refusal;
    proto::EncodeRefusal(error, refusal);
    const std::span<const std::byte> parts[] = {refusal.Bytes()};
    connection->Write(parts);
    return kNoDriver;
  }
  Inbox inbox(kInboxBytes);
  Session session(*connection, get, options.device_selector, options.memory_reading,
                  options.threads.value_or(DefaultThreads()));
  if (!options.share_memory) {
    session.ForbidSharing();
  }
  if (!options.use_rings) {
    session.ForbidRings();
  }
  if (!options.use_progress_page) {
    session.ForbidProgressPage();
  }
  session.SetSpinning(options.spinning);
  session.OnFailure([&](const std::string& failure) {
    spdlog::warn("the guest sent something invalid: {}", failure);
    session.SayGoodbye(failure.c_str());
    End(kInvalidGuest);
  });
  session.OfferChunks(options.upload_cache_mebibytes);
  proto::ChunkStore chunks(size_t{options.upload_cache_mebibytes} << 20);
  proto::ChunkStore ring_chunks(size_t{options.upload_cache_mebibytes} << 20);  // the session's
  std::unique_ptr<FileArchive> archive;
  if (!options.upload_archive.empty() && options.upload_cache_mebibytes != 0) {
    session.OfferArchive([&](const proto::HashKey& key) {
      std::string why;
      archive = FileArchive::Open(options.upload_archive, key,
                                  uint64_t{options.upload_archive_mebibytes} << 20, &why);
      if (archive == nullptr) {
        spdlog::warn("uploads are not kept: {}", why);
        return false;
      }
      chunks.SetArchive(archive.get());
      ring_chunks.SetArchive(archive.get());
      return true;
    });
  }
  std::thread reader([&] { ReadFrames(*connection, inbox, session, chunks); });
  std::thread terminator([&] { WaitForTermination(session); });

  const std::optional<ReceivedFrame> hello = inbox.Take(kHelloTimeout);
  WorkerStatus status = kGuestLeft;
  if (!hello && !inbox.IsClosed()) {
    spdlog::warn("{} said no hello within {} s", options.peer, kHelloTimeout.count());
    status = kInvalidGuest;
  }
  if (hello && hello->type != proto::FrameType::kHello) {
    spdlog::warn("the guest sent something invalid: commands before its hello");
    status = kInvalidGuest;
  } else if (hello) {
    const Session::Setup setup = session.HandleHello(hello->payload(), &error);
    if (setup != Session::Setup::kDone) {
      spdlog::warn("{} refused: {}", options.peer, error);
      status = setup == Session::Setup::kNoDriver ? kNoDriver : kInvalidGuest;
    } else {
      spdlog::info("{} is '{}', process {}", options.peer, session.hello().program,
                   session.hello().pid);
      if (archive != nullptr) {
        // The guest need not wait for the disk.
        std::thread([&] { TellArchive(*archive, session); }).detach();
      }
      transport::RingConnection* const rings = session.rings();
      spdlog::info("commands pass through {}",
                   rings != nullptr ? "shared rings" : "the connection: " + session.why_no_rings());
      const bool is_valid = rings != nullptr ? ServeRings(*rings, ring_chunks, session, &error)
                                             : ServeInbox(inbox, session, &error);
      if (!is_valid) {
        spdlog::warn("the guest sent something invalid: {}", error);
        session.SayGoodbye(error.c_str());
        status = kInvalidGuest;
      }
    }
  }
  if (status != kGuestLeft) {
    End(status);
  }
  // The stream has ended; the reader knows how, and ends the process.
  reader.join();
  End(status);
}

}  // namespace vesper::server
