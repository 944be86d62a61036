// SPDX-License-Identifier: Apache-2.0
//
// How a session begins: one message each way (proto/PROTOCOL.md, "Set-up"), and what the guest adds
// to what the host offers.
#include <utility>

#include "client_icd/answers.h"
#include "client_icd/archive_key.h"
#include "client_icd/session.h"
#include "client_icd/shadows.h"
#include "proto/record.h"
#include "transport/quiet_thread.h"
#include "transport/ring_connection.h"

namespace vesper::client {
namespace {

using proto::FrameType;

/// Wakes the reader of a connection that does not answer in time: blocking reads have no timeout.
class SetupDeadline {
 public:
  SetupDeadline(transport::Connection& connection, std::chrono::milliseconds timeout)
      : thread_(transport::StartQuietThread([this, &connection, timeout] {
          std::unique_lock lock(mutex_);
          if (!changed_.wait_for(lock, timeout, [this] { return done_; })) {
            expired_ = true;
            connection.Shutdown();
          }
        })) {}
  ~SetupDeadline() { Finish(); }

  /// Stops the clock; true if the time had run out.
  bool Finish() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) {
      thread_.join();
    }
    return expired_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  bool expired_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Session> Session::Open(std::unique_ptr<transport::Connection> connection,
                                       const proto::Hello& hello, const Environment& environment,
                                       std::chrono::milliseconds timeout, std::string* error) {
  std::unique_ptr<Session> session(new Session(std::move(connection), environment));
  if (session->alive_in_this_process_ == nullptr) {
    *error = "expected a page of memory from the system, got none; free some memory";
    return nullptr;
  }
  auto arena = std::make_unique<ShadowArena>();
  if (!session->SetUp(hello, arena->file(), timeout, error)) {
    return nullptr;
  }
  std::string note;
  std::string downloads;
  session->shadows_ = Shadows::Create(*session, environment, std::move(arena),
                                      session->connection_->IsLocal(), &note, &downloads);
  session->may_stop_ = session->shadows_->downloads() != nullptr;
  // Who asked for a tier hears if it is another.
  if (environment.debug_log || (!environment.memory.empty() && !note.empty())) {
    const std::string& why = session->welcome_.why_not_shared;
    Say(std::string("mapped memory: ") + (why.empty() ? "shared where the device can, else " : "") +
        TierName(session->shadows_->tier()) + (note.empty() ? "" : "; " + note) +
        (why.empty() ? "" : "; not shared: " + why));
  }
  const bool is_lazy_asked = environment.download == "lazy" || environment.download == "always";
  if (environment.debug_log || (is_lazy_asked && !session->may_stop_)) {
    Say("downloads: " + downloads);
  }
  if (!environment.stats.empty()) {
    session->told_.emplace([statistics = session->statistics_, where = environment.stats] {
      Tell(*statistics, where);
    });
  }
  if (environment.cache && !environment.debug_sync) {
    session->answers_ = std::make_shared<Answers>(SetupIdentity(hello, session->welcome_),
                                                  environment.cache_folder);
    session->answers_->Load();
    session->saved_.emplace([answers = session->answers_] { answers->Save(); });
  }
  session->OfferGuestExtensions();
  session->splitter_.SetMaxPayload(proto::kMaxFrameBytes);
  session->reader_ = transport::StartQuietThread([raw = session.get()] { raw->ReadLoop(); });
  return session;
}

bool Session::SetUp(proto::Hello hello, int shadows, std::chrono::milliseconds timeout,
                    std::string* error) {
  hello.offers_memory =
      shadows >= 0 && environment_.shares_memory && connection_->PassesDescriptors();
  std::optional<proto::HashKey> archive_key;
  if (environment_.archives_uploads && environment_.upload_cache != UploadCache::kOff &&
      !environment_.debug_sync) {
    archive_key = ReadArchiveKey(environment_.key_folder);
    if (archive_key) {
      hello.archive_key.assign(archive_key->begin(), archive_key->end());
    } else {
      Say("uploads are not archived: expected a folder for this user's key, got '" +
          environment_.key_folder + "', which can't be used; set VESPER_CACHE_DIR to one that can");
    }
  }
  std::string why_no_rings;
  std::unique_ptr<transport::RingMemory> rings = MakeRings(&why_no_rings);
  std::vector<int> files;
  if (hello.offers_memory) {
    files.push_back(shadows);
  }
  if (rings != nullptr) {
    hello.ring_bytes = rings->ring_bytes();
    files.push_back(rings->file());
  }
  proto::Buffer buffer;
  proto::EncodeHello(hello, buffer);
  SetupDeadline deadline(*connection_, timeout);
  const std::span<const std::byte> parts[] = {buffer.Bytes()};
  // A server that refuses at once may have closed before all was written; its reason can be read.
  connection_->WriteWithDescriptors(parts, files);
  statistics_->NoteBytes(Statistics::kWireOut, buffer.size());
  std::optional<proto::Frame> frame;
  while (!frame && !splitter_.Failed()) {
    const std::span<std::byte> space = splitter_.BeginReceive();
    const size_t bytes = space.empty() ? 0 : connection_->ReadSome(space);
    if (bytes == 0) {
      break;
    }
    splitter_.EndReceive(bytes);
    statistics_->NoteBytes(Statistics::kWireIn, bytes);
    frame = splitter_.Next();
  }
  if (deadline.Finish()) {
    *error = "expected an answer of the server within " + std::to_string(timeout.count()) +
             " ms, got none; is it a vesperd, and is it overloaded?";
    return false;
  }
  if (!frame) {
    const std::string why = splitter_.Failed() ? splitter_.Error() : connection_->Error();
    *error = "expected the server's welcome, but the connection ended" +
             (why.empty() ? std::string() : " (" + why + ")") + "; see the server's log";
    return false;
  }
  if (frame->type == FrameType::kRefusal) {
    *error = "the server refused: " + proto::DecodeRefusal(frame->payload);
    return false;
  }
  if (frame->type != FrameType::kWelcome) {
    *error =
        "expected the server's welcome, got another message; install the same Vesper on both "
        "sides";
    return false;
  }
  if (!proto::DecodeWelcome(frame->payload, &welcome_, error)) {
    return false;
  }
  // Only what both sides know; the server can't add to what this build can encode.
  welcome_.commands.resize(proto::MaxCommandNumber() + 1u, false);
  welcome_.structs.resize(proto::MaxStructNumber() + 1u, false);
  // What only the guest implements is none of the host's business, even if its driver has it.
  for (const VkStructureType type :
       {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAP_MEMORY_PLACED_FEATURES_EXT,
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAP_MEMORY_PLACED_PROPERTIES_EXT,
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_ID_FEATURES_KHR,
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRESENT_WAIT_FEATURES_KHR,
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SWAPCHAIN_MAINTENANCE_1_FEATURES_EXT}) {
    welcome_.structs[proto::StructRecordByType(type)->number] = false;
  }
  known_structs_ = proto::KnownStructs(welcome_.structs);
  const uint32_t compression = welcome_.compression & hello.compression;
  splitter_.AllowCompression(compression);
  compressor_.Enable(compression, hello.always_compress, connection_->IsLocal());
  piece_bytes_.store(compressor_.PieceBytes());
  if (welcome_.chunk_mebibytes > 1 && environment_.upload_cache != UploadCache::kOff &&
      !environment_.debug_sync) {
    chunks_ = std::make_unique<proto::ChunkSender>(size_t{welcome_.chunk_mebibytes} << 20,
                                                   welcome_.archives ? archive_key : std::nullopt);
  }
  if (rings != nullptr && welcome_.why_no_rings.empty()) {
    socket_ = std::move(connection_);
    auto connection = std::make_unique<transport::RingConnection>(
        *socket_, std::move(rings), transport::RingConnection::Side::kGuest, environment_.spinning);
    progress_page_ = &connection->progress();
    progress_bell_ = progress_page_->Bell();
    connection_ = std::move(connection);
  } else if (rings != nullptr) {
    why_no_rings = welcome_.why_no_rings;
  }
  if (environment_.debug_log) {
    Say(socket_ != nullptr ? "commands pass through shared rings"
                           : "commands pass through the connection: " + why_no_rings);
  }
  return proto::DecodeSnapshot(welcome_.snapshot, snapshot_arena_, &snapshot_, error);
}

std::unique_ptr<transport::RingMemory> Session::MakeRings(std::string* why_not) const {
  if (!environment_.uses_rings) {
    *why_not = "VESPER_TRANSPORT=stream";
  } else if (!connection_->PassesDescriptors()) {
    *why_not = "it passes no files, as Unix sockets do";
  } else {
    return transport::RingMemory::Create(environment_.ring_bytes, why_not);
  }
  return nullptr;
}

void Session::OfferGuestExtensions() {
  for (const proto::ExtensionInfo& extension : proto::Extensions()) {
    const std::string_view name = extension.name;
    if (!extension.is_guest || extension.is_instance ||
        (name == VK_EXT_MAP_MEMORY_PLACED_EXTENSION_NAME && !shadows_->CanPlace())) {
      continue;
    }
    VkExtensionProperties offered{};
    name.copy(offered.extensionName, VK_MAX_EXTENSION_NAME_SIZE - 1);
    offered.specVersion = extension.spec_version;
    for (proto::PhysicalDeviceSnapshot& device : snapshot_.devices) {
      device.extensions.push_back(offered);
    }
  }
}

}  // namespace vesper::client
