// SPDX-License-Identifier: Apache-2.0
// What the host has seen travels as a hash: bytes of mapped memory, and of commands. The host keeps
// 4 MiB here.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/framework/random.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using client::UploadCache;
using Bytes = std::vector<std::byte>;

constexpr size_t kTexture = 1u << 20;

// Counts what the guest writes.
class Meter final : public transport::Connection {
 public:
  Meter(std::unique_ptr<transport::Connection> inner, std::atomic<size_t>& bytes)
      : inner_(std::move(inner)), bytes_(bytes) {}
  bool Write(std::span<const std::span<const std::byte>> parts) override {
    for (const auto part : parts) {
      bytes_ += part.size();
    }
    return inner_->Write(parts);
  }
  size_t ReadSome(std::span<std::byte> buffer) override { return inner_->ReadSome(buffer); }
  void Shutdown() override { inner_->Shutdown(); }
  bool PeerIsGone() const override { return inner_->PeerIsGone(); }
  std::string Error() const override { return inner_->Error(); }
  std::string Peer() const override { return inner_->Peer(); }
  bool IsLocal() const override { return inner_->IsLocal(); }

 private:
  std::unique_ptr<transport::Connection> inner_;
  std::atomic<size_t>& bytes_;
};

Bytes Noise(size_t size, uint64_t seed) {
  Bytes bytes(size);
  Random random(seed);
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t word = random.Next() | 1;
    std::memcpy(bytes.data() + i, &word, std::min<size_t>(8, size - i));
  }
  return bytes;
}

class UploadCacheTest : public WireTest {
 protected:
  void Start(UploadCache mode) {
    environment_.compression = 0;
    environment_.upload_cache = mode;
    Open();
  }
  std::unique_ptr<transport::Connection> Wrap(
      std::unique_ptr<transport::Connection> guest) override {
    return std::make_unique<Meter>(std::move(guest), sent_);
  }

  struct Mapped {
    VkDeviceMemory memory = VK_NULL_HANDLE;
    std::byte* data = nullptr;
    size_t index = 0;  // of the mock's
  };
  Mapped Map(size_t size) {
    Mapped mapped;
    mapped.index = mock_.MemoryCount();
    mapped.memory = Keep(Allocate(size, kMockCoherent));
    const VkBuffer buffer = Keep(CreateBuffer(size, VK_BUFFER_USAGE_TRANSFER_SRC_BIT));
    EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, mapped.memory, 0), VK_SUCCESS);
    void* data = nullptr;
    EXPECT_EQ(vk::vkMapMemory(device_, mapped.memory, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    mapped.data = static_cast<std::byte*>(data);
    Sync();
    return mapped;
  }
  // Writes the bytes there and flushes; returns what that sent.
  size_t Upload(const Mapped& to, size_t offset, const Bytes& bytes) {
    std::ranges::copy(bytes, to.data + offset);
    const size_t before = sent_;
    const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, to.memory, 0,
                                    VK_WHOLE_SIZE};
    EXPECT_EQ(vk::vkFlushMappedMemoryRanges(device_, 1, &range), VK_SUCCESS);
    return sent_ - before;
  }
  void ExpectThere(const Mapped& mapped, size_t offset, const Bytes& bytes) {
    Sync();
    EXPECT_EQ(std::memcmp(mock_.Memory(mapped.index).data() + offset, bytes.data(), bytes.size()),
              0);
  }

  std::atomic<size_t> sent_{0};
};

TEST_F(UploadCacheTest, TheSameTextureTravelsOnce) {
  Start(UploadCache::kAlways);
  const Bytes texture = Noise(kTexture, 1);
  const Mapped first = Map(kTexture);
  const Mapped second = Map(2 * kTexture);
  EXPECT_GT(Upload(first, 0, texture), kTexture);
  EXPECT_LT(Upload(second, 65536 + 4096 + 256, texture), kTexture / 2);
  ExpectThere(first, 0, texture);
  ExpectThere(second, 65536 + 4096 + 256, texture);
}

TEST_F(UploadCacheTest, SwitchedOffItTravelsTwice) {
  for (const UploadCache mode : {UploadCache::kOff, UploadCache::kAuto}) {
    Start(mode);  // nor by itself, on a link that does not leave the machine
    const Bytes texture = Noise(kTexture, 2);
    EXPECT_GT(Upload(Map(kTexture), 0, texture), kTexture);
    const Mapped second = Map(kTexture);
    EXPECT_GT(Upload(second, 0, texture), kTexture);
    ExpectThere(second, 0, texture);
    DestroyAll();
  }
}

TEST_F(UploadCacheTest, WhatWasForgottenTravelsAgain) {
  Start(UploadCache::kAlways);
  for (const uint64_t seed : {1, 2, 3, 4, 5, 6, 1}) {
    const Mapped memory = Map(kTexture);
    const Bytes texture = Noise(kTexture, seed);
    EXPECT_GT(Upload(memory, 0, texture), kTexture / 2);
    ExpectThere(memory, 0, texture);
  }
  EXPECT_LT(Upload(Map(kTexture), 0, Noise(kTexture, 6)), kTexture / 2);
}

TEST_F(UploadCacheTest, DataOfCommandsTravelsOnce) {
  Start(UploadCache::kAlways);
  const Bytes data = Noise(kTexture, 3);
  size_t sent[2];
  for (size_t& bytes : sent) {
    const VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO, nullptr, 0,
                                         data.size(), data.data()};
    const size_t before = sent_;
    VkPipelineCache cache = VK_NULL_HANDLE;
    ASSERT_EQ(vk::vkCreatePipelineCache(device_, &info, nullptr, &cache), VK_SUCCESS);
    Sync();
    bytes = sent_ - before;
    const auto& args = Arguments<proto::Args_vkCreatePipelineCache>("vkCreatePipelineCache");
    ASSERT_EQ(args.pCreateInfo->initialDataSize, data.size());
    EXPECT_EQ(std::memcmp(args.pCreateInfo->pInitialData, data.data(), data.size()), 0);
    vk::vkDestroyPipelineCache(device_, cache, nullptr);
    mock_.Clear();
  }
  EXPECT_GT(sent[0], kTexture);
  EXPECT_LT(sent[1], kTexture / 2);
}

// Chunks of two threads come between each other, and push each other out.
TEST_F(UploadCacheTest, EverythingArrivesFromSeveralThreads) {
  Start(UploadCache::kAlways);
  std::vector<Bytes> textures;
  for (uint64_t i = 0; i < 20; ++i) {
    textures.push_back(Noise(300'000 + 1000 * i, 50 + i));
  }
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 3; ++thread) {
    const Mapped memory = Map(kTexture);
    threads.emplace_back([&, thread, memory] {
      Random random(thread);
      for (int round = 0; round < 40; ++round) {
        const Bytes& texture = textures[random.Below(textures.size())];
        const size_t offset = random.Below(kTexture - texture.size());
        Upload(memory, offset, texture);
        if (round % 10 == 9) {
          ExpectThere(memory, offset, texture);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

// The program stores while it is collected: what is named is what was hashed.
TEST_F(UploadCacheTest, StoresBesideACollection) {
  Start(UploadCache::kAlways);
  const Mapped memory = Map(kTexture);
  std::atomic<bool> is_stopping{false};
  std::thread writer([&] {
    for (uint64_t i = 1; !is_stopping.load(); ++i) {
      std::memcpy(memory.data + (i * 4096 * 7 + i * 64) % (kTexture / 2 - 8), &i, 8);
    }
  });
  for (uint64_t i = 0; i < 20; ++i) {
    Bytes part = Noise(kTexture / 4, i);
    Upload(memory, kTexture / 2, part);
  }
  is_stopping = true;
  writer.join();
  Upload(memory, 0, {});
  ExpectThere(memory, 0, Bytes(memory.data, memory.data + kTexture));
}

}  // namespace
}  // namespace vesper::tests
