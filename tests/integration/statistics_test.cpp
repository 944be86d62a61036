// SPDX-License-Identifier: Apache-2.0
// What a session says that it cost: the right numbers, once, also for programs that never destroy
// their instance, and never by a forked child.
#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "tests/framework/random.h"
#include "tests/framework/session_statistics.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

using ::testing::HasSubstr;

class StatisticsTest : public VesperOnlyTest {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    folder_ = std::make_unique<TemporaryFolder>();
  }
  void TearDown() override {
    unsetenv("VESPER_STATS");
    unsetenv("VESPER_COMPRESS");
    unsetenv("VESPER_MEMORY");
    unsetenv("VESPER_UPLOAD_CACHE");
  }

  // Runs guest_program and returns what it wrote to stderr.
  std::string RunProgram(const std::string& mode, const std::string& stats) {
    const std::string errors = folder_->Path("stderr");
    ChildProcess program =
        ChildProcess::Start({VESPER_GUEST_PROGRAM, mode}, {{"VESPER_STATS", stats}}, "", errors);
    const std::optional<int> status = program.Wait(std::chrono::seconds(60));
    EXPECT_TRUE(status.has_value() && *status == 0) << mode << "\n" << ReadFile(errors);
    return ReadFile(errors);
  }

  std::unique_ptr<TemporaryFolder> folder_;
};

TEST_F(StatisticsTest, CountsCallsPostsAndWaits) {
  const SessionStatistics session = SessionOf([] {
    Gpu gpu;
    gpu.Open();
    const VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    const auto cache = gpu.Make(gpu.vk.CreatePipelineCache, gpu.vk.DestroyPipelineCache, info);
    for (int i = 0; i < 3; ++i) {
      size_t size = 0;
      gpu.vk.GetPipelineCacheData(gpu.device, cache, &size, nullptr);
    }
    for (int i = 0; i < 5; ++i) {
      gpu.MakeEvent();
    }
    gpu.Execute([](VkCommandBuffer) {});
  });
  EXPECT_EQ(static_cast<uint64_t>(getpid()), session.pid);
  EXPECT_EQ(3u, session.Calls("vkGetPipelineCacheData"));
  EXPECT_EQ(5u, session.Posts("vkDestroyEvent"));
  EXPECT_EQ(1u, session.recordings);
  EXPECT_LE(1u, session.waits);
  EXPECT_LE(session.sleeps, session.waits);
  uint64_t calls = 0;
  for (const auto& [command, count] : session.calls) {
    calls += count;
  }
  // One more, for the set-up.
  EXPECT_EQ(calls + 1 + session.Posts("vesperFetchMemory"), session.round_trips);
}

TEST_F(StatisticsTest, WhatIsUploadedTwiceTravelsOnce) {
  constexpr VkDeviceSize kTexture = 1u << 20;
  const auto program = [] {
    Gpu gpu;
    gpu.Open();
    std::vector<uint64_t> texture(kTexture / sizeof(uint64_t));
    Random random(1);
    // No byte is 0: what differs from new memory is all of it.
    std::ranges::generate(texture, [&] { return random.Next() | 0x0101010101010101; });
    const Buffer target = MakeHostBuffer(gpu, kTexture);
    for (int i = 0; i < 2; ++i) {
      const Buffer staging = MakeHostBuffer(gpu, kTexture);
      std::memcpy(staging.data, texture.data(), kTexture);
      gpu.Execute([&](VkCommandBuffer commands) {
        const VkBufferCopy region{0, 0, kTexture};
        gpu.vk.CmdCopyBuffer(commands, staging.handle, target.handle, 1, &region);
      });
      EXPECT_EQ(0, std::memcmp(target.data, texture.data(), kTexture));
    }
  };
  setenv("VESPER_MEMORY", "shadow", 1);  // what is shared is not sent
  setenv("VESPER_COMPRESS", "off", 1);
  setenv("VESPER_UPLOAD_CACHE", "off", 1);
  EXPECT_LE(2 * kTexture, SessionOf(program).bytes.at("wire_out"));
  setenv("VESPER_UPLOAD_CACHE", "always", 1);
  const uint64_t bytes = SessionOf(program).bytes.at("wire_out");
  EXPECT_LE(kTexture, bytes);
  EXPECT_GE(kTexture + kTexture / 4, bytes);
}

TEST_F(StatisticsTest, CountsBytesByKindBeforeAndAfterCompression) {
  constexpr VkDeviceSize kSize = 4u << 20;
  const auto program = [] {
    Gpu gpu;
    gpu.Open();
    const Buffer up = MakeHostBuffer(gpu, kSize);
    const Buffer down = MakeHostBuffer(gpu, kSize);
    std::memset(up.data, 0x11, kSize);
    gpu.Execute([&](VkCommandBuffer commands) {
      const VkBufferCopy all{0, 0, kSize};
      gpu.vk.CmdCopyBuffer(commands, up.handle, down.handle, 1, &all);
    });
    EXPECT_EQ(0x11, down.As<uint8_t>()[kSize - 1]);
  };
  setenv("VESPER_MEMORY", "shadow", 1);  // what is shared is not sent
  setenv("VESPER_COMPRESS", "off", 1);
  const SessionStatistics plain = SessionOf(program);
  EXPECT_LE(kSize, plain.bytes.at("memory_out"));
  EXPECT_LE(kSize, plain.bytes.at("memory_in"));
  EXPECT_LT(0u, plain.bytes.at("recordings_out"));
  EXPECT_LT(0u, plain.bytes.at("pushes_in"));
  const auto out = [](const SessionStatistics& session) {
    return session.bytes.at("commands_out") + session.bytes.at("recordings_out") +
           session.bytes.at("memory_out");
  };
  EXPECT_LE(out(plain), plain.bytes.at("wire_out"));
  EXPECT_LE(plain.bytes.at("replies_in") + plain.bytes.at("memory_in"), plain.bytes.at("wire_in"));

  setenv("VESPER_COMPRESS", "zstd", 1);
  const SessionStatistics packed = SessionOf(program);
  EXPECT_LE(kSize, packed.bytes.at("memory_out"));
  EXPECT_LT(packed.bytes.at("wire_out"), kSize / 4);
  EXPECT_LT(packed.bytes.at("wire_in"), kSize / 4);
}

TEST_F(StatisticsTest, TableOnStderr) {
  const std::string errors = RunProgram("create", "1");
  EXPECT_THAT(errors, HasSubstr("vesper: a session of guest_program, process "));
  EXPECT_THAT(errors, HasSubstr("1 round trips"));
}

TEST_F(StatisticsTest, TableInAFileThatGrows) {
  const std::string path = folder_->Path("table");
  EXPECT_EQ("", RunProgram("create", path));
  const size_t size = ReadFile(path).size();
  EXPECT_LT(0u, size);
  RunProgram("create", path);
  EXPECT_LT(size, ReadFile(path).size());
}

TEST_F(StatisticsTest, FileThatCannotBeWrittenIsSaid) {
  EXPECT_THAT(RunProgram("create", folder_->Path("no/such/folder.json")),
              HasSubstr("VESPER_STATS: expected a file"));
}

TEST_F(StatisticsTest, ToldOnceByAProgramThatNeverDestroysItsInstance) {
  const std::string path = folder_->Path("sessions.json");
  RunProgram("leave", path);
  ASSERT_EQ(1u, ReadSessionStatistics(path).size());
  EXPECT_EQ(1u, ReadSessionStatistics(path)[0].Calls("vkCreateDevice"));
}

TEST_F(StatisticsTest, NotToldByAForkedChild) {
  const std::string path = folder_->Path("sessions.json");
  RunProgram("fork", path);
  EXPECT_EQ(1u, ReadSessionStatistics(path).size());
}

TEST_F(StatisticsTest, ServerLogsEachSession) {
  const TestServer server(target_);
  const std::string endpoint = getenv("VESPER_SERVER");
  UseDriver(target_, server.endpoint());
  {
    Gpu gpu;
    gpu.Open();
  }
  UseDriver(target_, endpoint);
  EXPECT_TRUE(Eventually([&] {
    return server.Log().find("the session was ") != std::string::npos;
  })) << server.Log();
  EXPECT_THAT(server.Log(), HasSubstr("vkCreateDevice 1"));
}

}  // namespace
}  // namespace vesper::tests
