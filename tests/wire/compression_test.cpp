// SPDX-License-Identifier: Apache-2.0
// Both directions of a session, compressed.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

struct Counts {
  std::atomic<size_t> sent{0};
  std::atomic<size_t> received{0};
};

// Counts what passes, and says whether it leaves the machine.
class Counter : public transport::Connection {
 public:
  Counter(std::unique_ptr<transport::Connection> inner, Counts& counts)
      : inner_(std::move(inner)), counts_(counts) {}
  bool Write(std::span<const std::span<const std::byte>> parts) override {
    for (const auto part : parts) {
      counts_.sent += part.size();
    }
    return inner_->Write(parts);
  }
  size_t ReadSome(std::span<std::byte> buffer) override {
    const size_t bytes = inner_->ReadSome(buffer);
    counts_.received += bytes;
    return bytes;
  }
  void Shutdown() override { inner_->Shutdown(); }
  bool PeerIsGone() const override { return inner_->PeerIsGone(); }
  std::string Error() const override { return inner_->Error(); }
  std::string Peer() const override { return inner_->Peer(); }
  bool IsLocal() const override { return inner_->IsLocal(); }

 private:
  std::unique_ptr<transport::Connection> inner_;
  Counts& counts_;
};

class CompressedSession : public WireTest, public testing::WithParamInterface<uint32_t> {
 protected:
  std::unique_ptr<transport::Connection> Wrap(
      std::unique_ptr<transport::Connection> guest) override {
    return std::make_unique<Counter>(std::move(guest), counts_);
  }

  Counts counts_;
};

TEST_P(CompressedSession, CarriesMemoryBothWays) {
  constexpr size_t kSize = 12u << 20;
  environment_.compression = GetParam();
  environment_.always_compress = true;
  Open();
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::byte* data = MapNewMemory(kSize, kMockCoherent, &memory);
  const VkFence fence = CreateFence();
  Sync();
  const size_t sent_before = counts_.sent;
  const size_t received_before = counts_.received;
  for (size_t i = 0; i < kSize; ++i) {
    data[i] = static_cast<std::byte>(i / 100);
  }
  std::vector<std::byte> arrived(kSize);
  mock_.OnExecute([&] {
    std::memcpy(arrived.data(), mock_.Memory(0).data(), kSize);
    for (std::byte& byte : mock_.Memory(0)) {
      byte ^= std::byte{0x55};
    }
  });
  ASSERT_EQ(Submit(ShaderWork(), fence), VK_SUCCESS);
  ASSERT_EQ(Wait(fence), VK_SUCCESS);
  size_t wrong = 0;
  for (size_t i = 0; i < kSize; ++i) {
    wrong += arrived[i] != static_cast<std::byte>(i / 100) ? 1 : 0;
    wrong += data[i] != (static_cast<std::byte>(i / 100) ^ std::byte{0x55}) ? 1 : 0;
  }
  EXPECT_EQ(wrong, 0u);
  if (GetParam() != 0) {
    EXPECT_LT(counts_.sent - sent_before, kSize / 4);
    EXPECT_LT(counts_.received - received_before, kSize / 4);
  } else {
    EXPECT_GT(counts_.sent - sent_before, kSize / 2) << "turned off, whatever else is asked for";
    EXPECT_GT(counts_.received - received_before, kSize / 2);
  }
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Algorithms, CompressedSession,
                         testing::Values(uint32_t{0}, uint32_t{proto::kLz4}, uint32_t{proto::kZstd},
                                         proto::kAllCompression));

}  // namespace
}  // namespace vesper::tests
