// SPDX-License-Identifier: Apache-2.0
//
// The set-up of a session: what the guest says in its hello, and what it is told (proto/setup.h).
#include <unistd.h>

#include <algorithm>

#include "proto/setup.h"
#include "server/session.h"

#ifndef VESPER_VERSION
#define VESPER_VERSION "unknown"
#endif

namespace vesper::server {

Session::Setup Session::HandleHello(std::span<const std::byte> payload, std::string* error) {
  proto::Buffer answer;
  if (!proto::DecodeHello(payload, &hello_, error)) {
    proto::EncodeRefusal(*error, answer);
    outbox_.Send(answer);
    return Setup::kInvalid;
  }
  instance_ = HostInstance::Create(get_, hello_, device_selector_, error);
  if (instance_ == nullptr) {
    proto::EncodeRefusal(*error, answer);
    outbox_.Send(answer);
    return Setup::kNoDriver;
  }
  proto::Welcome welcome;
  welcome.page_size = static_cast<uint32_t>(::sysconf(_SC_PAGESIZE));
  welcome.compression = hello_.compression & proto::kAllCompression;
  welcome.chunk_mebibytes = chunk_mebibytes_;
  if (open_archive_ && !hello_.archive_key.empty()) {
    proto::HashKey key;
    std::ranges::copy(hello_.archive_key, key.begin());
    welcome.archives = open_archive_(key);
  }
  welcome.server_version = VESPER_VERSION;
  welcome.commands = proto::Intersect(proto::CommandHashes(), hello_.command_hashes);
  welcome.structs = proto::Intersect(proto::StructHashes(), hello_.struct_hashes);
  ClassifyCommands(welcome.commands);
  const proto::KnownStructs known(welcome.structs);
  proto::Arena arena;
  proto::Buffer snapshot;
  proto::EncodeSnapshot(instance_->TakeSnapshot(known, arena), known, snapshot);
  welcome.snapshot.assign(snapshot.Bytes().begin(), snapshot.Bytes().end());
  outbox_.SetKnownStructs(known);
  objects_.Add(proto::MakeObjectId(proto::HandleType::kInstance, 1, 0),
               reinterpret_cast<uint64_t>(instance_->handle()), nullptr);
  for (size_t i = 0; i < instance_->devices().size(); ++i) {
    objects_.Add(PhysicalDeviceId(i), reinterpret_cast<uint64_t>(instance_->devices()[i].handle),
                 nullptr);
  }
  std::unique_ptr<transport::RingMemory> memory = TakeShared(welcome);
  why_no_rings_ = welcome.why_no_rings;
  proto::EncodeWelcome(welcome, answer);
  outbox_.Send(answer);
  if (memory != nullptr) {
    UseRings(std::move(memory));
  }
  outbox_.EnableCompression(welcome.compression, hello_.always_compress);
  return Setup::kDone;
}

void Session::TellArchived(std::span<const uint64_t> low, std::span<const uint64_t> high) {
  const proto::Args_vesperArchivedChunks args{static_cast<uint32_t>(low.size()), low.data(),
                                              high.data()};
  outbox_.Push(proto::command_number::vesperArchivedChunks, &args);
}

}  // namespace vesper::server
