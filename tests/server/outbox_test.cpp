// SPDX-License-Identifier: Apache-2.0
// A large push beside other things that the worker has to say and to do, over a link that holds the
// push back.
#include "server/outbox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "proto/frame.h"
#include "proto/records_gen.h"
#include "server/device_memory.h"
#include "tests/framework/gate_connection.h"
#include "transport/loopback.h"

namespace vesper::server {
namespace {

using tests::Gate;
using tests::GateConnection;

constexpr uint64_t kSize = 16u << 20;
constexpr size_t kPieces = kSize / proto::kFirstPieceBytes;

// A link of which nobody knows how fast it is.
class Unmeasured final : public transport::Connection {
 public:
  bool Write(std::span<const std::span<const std::byte>> parts) override {
    for (const auto part : parts) {
      bytes_.insert(bytes_.end(), part.begin(), part.end());
    }
    return true;
  }
  size_t ReadSome(std::span<std::byte>) override { return 0; }
  void Shutdown() override {}
  bool PeerIsGone() const override { return false; }
  std::string Error() const override { return {}; }
  std::string Peer() const override { return "unmeasured"; }
  bool IsLocal() const override { return false; }

  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

VKAPI_ATTR VkResult VKAPI_CALL MapMemory(VkDevice, VkDeviceMemory memory, VkDeviceSize,
                                         VkDeviceSize, VkMemoryMapFlags, void** data) {
  *data = reinterpret_cast<void*>(memory);  // a handle is the address of the memory
  return VK_SUCCESS;
}

class OutboxTest : public testing::Test {
 protected:
  OutboxTest() {
    auto link = std::make_unique<Unmeasured>();
    link_ = link.get();
    connection_ = std::make_unique<GateConnection>(std::move(link), gate_);
    outbox_ = std::make_unique<Outbox>(*connection_, statistics_);
    outbox_->EnableCompression(0, false);
    vk_.vkMapMemory = MapMemory;
    live_.resize(kSize);
    memory_ = std::make_shared<HostMemory>(
        vk_, VK_NULL_HANDLE,
        HostMemory::Info{proto::MakeObjectId(proto::HandleType::kDeviceMemory, 1, 0),
                         reinterpret_cast<VkDeviceMemory>(live_.data()), kSize, true, 64});
    memory_->SetWritable(0, kSize, Writers::kShaders);
    EXPECT_EQ(memory_->Map({}, *outbox_), VK_SUCCESS);
    for (uint64_t i = 0; i < kSize; ++i) {
      live_[i] = static_cast<std::byte>(i % 251 + 1);
    }
    gate_.Close();
    pusher_ = std::thread([this] {
      const ByteRanges all(0, kSize);
      memory_->PushWritten({&all}, *outbox_);
    });
    gate_.WaitForWriter();
  }
  ~OutboxTest() override { Finish(); }

  void Finish() {
    gate_.Open();
    if (pusher_.joinable()) {
      pusher_.join();
    }
  }
  // What the guest has when everything has arrived, and how many patches were before the first
  // progress.
  std::vector<std::byte> GuestsBytes(size_t* patches_before_progress) {
    std::vector<std::byte> guest(kSize);
    size_t patches = 0;
    const std::vector<std::byte>& bytes = link_->bytes();
    for (size_t at = 0; at < bytes.size();) {
      uint32_t size = 0;
      std::memcpy(&size, bytes.data() + at, sizeof(size));
      const std::span<const std::byte> all(bytes);
      proto::CommandWalker walker(all.subspan(at + proto::kFrameHeaderBytes, size));
      const std::optional<proto::Command> command = walker.Next();
      if (command->number == proto::command_number::vesperProgress) {
        *patches_before_progress = patches;
      } else {
        ++patches;
        proto::PatchReader reader(command->body.subspan(sizeof(proto::Args_vesperPushMemory)));
        while (const std::optional<proto::PatchEntry> entry = reader.Next()) {
          proto::ApplyEntry(*entry, guest.data(), entry->offset, entry->end());
        }
      }
      at += proto::kFrameHeaderBytes + size;
    }
    return guest;
  }

  Gate gate_;
  Unmeasured* link_ = nullptr;
  std::unique_ptr<transport::Connection> connection_;
  Statistics statistics_;
  std::unique_ptr<Outbox> outbox_;
  DeviceTable vk_;
  std::vector<std::byte> live_;
  std::shared_ptr<HostMemory> memory_;
  std::thread pusher_;
};

TEST_F(OutboxTest, ProgressPassesAPush) {
  std::atomic<bool> done{false};
  std::thread other([&] {
    const proto::Args_vesperProgress args{proto::MakeObjectId(proto::HandleType::kQueue, 1, 0), 1};
    outbox_->Push(proto::command_number::vesperProgress, &args);
    done = true;
  });
  EXPECT_LT(gate_.PermitsUntil(done, kPieces), kPieces);
  Finish();
  other.join();
  size_t before = kPieces;
  EXPECT_EQ(GuestsBytes(&before), live_);
  EXPECT_LT(before, kPieces);
}

TEST_F(OutboxTest, TheGuestsWritesPassAPush) {
  std::atomic<bool> done{false};
  std::thread other([&] {
    proto::Buffer patch;
    patch.PutValue<uint64_t>(kSize - 8);
    patch.PutValue<uint64_t>(8);
    patch.PutValue<uint64_t>(42);
    EXPECT_TRUE(memory_->Write(patch.Bytes()));
    done = true;
  });
  EXPECT_LT(gate_.PermitsUntil(done, kPieces), kPieces);
  Finish();
  other.join();
  size_t before = 0;
  std::vector<std::byte> guest = GuestsBytes(&before);
  const uint64_t written = 42;  // the guest has it already
  std::memcpy(guest.data() + kSize - 8, &written, sizeof(written));
  EXPECT_EQ(guest, live_);
}

TEST_F(OutboxTest, WhatIsUnmappedMeanwhileIsPushedWhenItIsMapped) {
  std::atomic<bool> done{false};
  std::thread other([&] {
    memory_->Unmap();
    done = true;
  });
  EXPECT_LT(gate_.PermitsUntil(done, kPieces), kPieces);
  Finish();
  other.join();
  size_t before = 0;
  EXPECT_NE(GuestsBytes(&before), live_);
  EXPECT_EQ(memory_->Map({}, *outbox_), VK_SUCCESS);
  EXPECT_EQ(GuestsBytes(&before), live_);
}

TEST_F(OutboxTest, WhatIsFreedMeanwhileIsNotRead) {
  std::atomic<bool> done{false};
  std::thread other([&] {
    memory_->Retire();
    std::ranges::fill(live_, std::byte{0xff});
    done = true;
  });
  EXPECT_LT(gate_.PermitsUntil(done, kPieces), kPieces);
  Finish();
  other.join();
  size_t before = 0;
  const std::vector<std::byte> guest = GuestsBytes(&before);
  EXPECT_EQ(std::ranges::count(guest, std::byte{0xff}), 0);
}

}  // namespace
}  // namespace vesper::server
