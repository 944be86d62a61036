// SPDX-License-Identifier: Apache-2.0
// Memory that guest and device share: that it is shared where it can be and nowhere else, and what
// becomes of it when one side goes away.
#include <signal.h>
#include <stdlib.h>

#include <cstring>

#include "tests/framework/session_statistics.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kSize = 1u << 20;

class MemorySharingTest : public VesperOnlyTest {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    old_endpoint_ = getenv("VESPER_SERVER");
  }
  void TearDown() override {
    unsetenv("VESPER_MEMORY");
    unsetenv("VESPER_DOWNLOAD");
    UseDriver(target_, old_endpoint_);
  }

  // The program writes, the device copies, the program reads; and what of it travelled.
  struct Travelled {
    uint64_t out = 0;
    uint64_t in = 0;
  };
  Travelled RunProgram() {
    const SessionStatistics session = SessionOf([] {
      Gpu gpu;
      gpu.Open();
      const Buffer up = MakeHostBuffer(gpu, kSize);
      const Buffer down = MakeHostBuffer(gpu, kSize);
      for (uint8_t round = 1; round < 4; ++round) {
        for (VkDeviceSize i = 0; i < kSize; ++i) {
          up.As<uint8_t>()[i] = static_cast<uint8_t>(i * round);
        }
        gpu.Execute([&](VkCommandBuffer commands) {
          const VkBufferCopy all{0, 0, kSize};
          gpu.vk.CmdCopyBuffer(commands, up.handle, down.handle, 1, &all);
        });
        EXPECT_EQ(0, std::memcmp(up.data, down.data, kSize)) << "round " << int{round};
      }
    });
    return {session.bytes.at("memory_out"), session.bytes.at("memory_in")};
  }
  void ExpectCopied() {
    const Travelled travelled = RunProgram();
    EXPECT_LE(kSize, travelled.out);
    EXPECT_LE(kSize, travelled.in);
  }

  std::string old_endpoint_;
};

TEST_F(MemorySharingTest, NothingTravelsOnOneMachine) {
  if (target_.tcp) {
    ExpectCopied();
    return;
  }
  const Travelled travelled = RunProgram();
  EXPECT_EQ(0u, travelled.out);
  EXPECT_EQ(0u, travelled.in);
}

TEST_F(MemorySharingTest, WhoAsksForCopiesHasThem) {
  for (const char* tier : {"shadow", "compare"}) {
    setenv("VESPER_MEMORY", tier, 1);
    ExpectCopied();
  }
  unsetenv("VESPER_MEMORY");
  setenv("VESPER_DOWNLOAD", "lazy", 1);
  ExpectCopied();
}

TEST_F(MemorySharingTest, TheServerMayForbidIt) {
  const TestServer server(target_, {"--share-memory=never"});
  UseDriver(target_, server.endpoint());
  ExpectCopied();
}

TEST_F(MemorySharingTest, MappingsOutliveTheWorker) {
  TestServer server(target_);
  UseDriver(target_, server.endpoint());
  Gpu gpu;
  gpu.Open();
  const std::vector<pid_t> workers = server.Workers();
  ASSERT_EQ(1u, workers.size());
  const Buffer buffer = MakeHostBuffer(gpu, kSize);
  std::memset(buffer.data, 0x5a, kSize);
  gpu.Execute([](VkCommandBuffer) {});
  const auto fence = gpu.MakeFence();
  ASSERT_EQ(0, kill(workers[0], SIGKILL));
  // However long the program goes on with its memory: it has the pages.
  while (gpu.vk.GetFenceStatus(gpu.device, fence) == VK_NOT_READY) {
    buffer.As<uint8_t>()[7] = static_cast<uint8_t>(buffer.As<uint8_t>()[7] + 1);
  }
  buffer.As<uint8_t>()[7] = 0x5a;
  for (VkDeviceSize i = 0; i < kSize; ++i) {
    ASSERT_EQ(0x5a, buffer.As<uint8_t>()[i]);
  }
  std::memset(buffer.data, 1, kSize);
  EXPECT_EQ(1, buffer.As<uint8_t>()[kSize - 1]);
}

TEST_F(MemorySharingTest, FreedMemoryIsGivenBackAndCleanForTheNext) {
  Gpu gpu;
  gpu.Open();
  for (int round = 0; round < 20; ++round) {
    // Two of different sizes, so that the next ones lie elsewhere.
    const Buffer first = MakeHostBuffer(gpu, kSize + 4096u * static_cast<unsigned>(round));
    const Buffer second = MakeHostBuffer(gpu, kSize);
    for (VkDeviceSize i = 0; i < kSize; i += 512) {
      ASSERT_EQ(0, first.As<uint8_t>()[i]) << "what another allocation held, at " << i;
    }
    std::memset(first.data, 0xee, kSize);
    gpu.Execute([&](VkCommandBuffer commands) {
      const VkBufferCopy all{0, 0, kSize};
      gpu.vk.CmdCopyBuffer(commands, first.handle, second.handle, 1, &all);
    });
    ASSERT_EQ(0, std::memcmp(first.data, second.data, kSize));
  }
}

}  // namespace
}  // namespace vesper::tests
