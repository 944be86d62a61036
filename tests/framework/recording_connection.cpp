// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/recording_connection.h"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <vector>

#include "proto/frame.h"

namespace vesper::tests {
namespace {

/// Longer recordings teach a fuzzer nothing that shorter ones don't.
constexpr size_t kMaxSeedBytes = 64u << 10;

using Bytes = std::vector<std::byte>;

uint64_t Hash(const Bytes& bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) {
    hash = (hash ^ std::to_integer<uint64_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

/// Writes what follows the first frame.
void Save(const std::string& folder, const char* name, const Bytes& bytes) {
  uint32_t first = 0;
  if (bytes.size() < proto::kFrameHeaderBytes) {
    return;
  }
  std::memcpy(&first, bytes.data(), sizeof(first));
  const size_t begin = proto::kFrameHeaderBytes + first;
  if (begin >= bytes.size() || bytes.size() - begin > kMaxSeedBytes) {
    return;
  }
  const Bytes rest(bytes.begin() + static_cast<ptrdiff_t>(begin), bytes.end());
  std::ofstream file(folder + "/" + name + "/" + std::to_string(Hash(rest)), std::ios::binary);
  file.write(reinterpret_cast<const char*>(rest.data()), static_cast<std::streamsize>(rest.size()));
}

class RecordingConnection : public transport::Connection {
 public:
  RecordingConnection(std::unique_ptr<transport::Connection> connection, std::string folder)
      : connection_(std::move(connection)), folder_(std::move(folder)) {}
  ~RecordingConnection() override {
    Save(folder_, "host", sent_);
    Save(folder_, "guest", received_);
  }

  bool Write(std::span<const std::span<const std::byte>> parts) override {
    for (const std::span<const std::byte> part : parts) {
      sent_.insert(sent_.end(), part.begin(), part.end());
    }
    return connection_->Write(parts);
  }
  size_t ReadSome(std::span<std::byte> buffer) override {
    const size_t bytes = connection_->ReadSome(buffer);
    received_.insert(received_.end(), buffer.begin(),
                     buffer.begin() + static_cast<ptrdiff_t>(bytes));
    return bytes;
  }
  void Shutdown() override { connection_->Shutdown(); }
  bool PeerIsGone() const override { return connection_->PeerIsGone(); }
  std::string Error() const override { return connection_->Error(); }
  std::string Peer() const override { return connection_->Peer(); }
  bool IsLocal() const override { return connection_->IsLocal(); }

 private:
  std::unique_ptr<transport::Connection> connection_;
  const std::string folder_;
  Bytes sent_;
  Bytes received_;
};

}  // namespace

std::unique_ptr<transport::Connection> RecordConnection(
    std::unique_ptr<transport::Connection> connection, const std::string& folder) {
  return std::make_unique<RecordingConnection>(std::move(connection), folder);
}

}  // namespace vesper::tests
