// SPDX-License-Identifier: Apache-2.0
// Uploads that a server archives travel once for a tenant, whatever sessions, workers and servers
// come in between; and for nobody else.
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <span>
#include <thread>

#include "tests/framework/random.h"
#include "tests/framework/session_statistics.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kTexture = 4u << 20;

// No byte is 0: what differs from new memory is all of it.
void Fill(std::span<uint64_t> texture, uint64_t seed) {
  Random random(seed);
  for (uint64_t& word : texture) {
    word = random.Next() | 0x0101010101010101;
  }
}

class UploadArchiveTest : public VesperOnlyTest {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    old_endpoint_ = getenv("VESPER_SERVER");
    Set("VESPER_MEMORY", "shadow");  // what is shared is not sent
    Set("VESPER_COMPRESS", "off");
    Set("VESPER_UPLOAD_CACHE", "always");
    Set("VESPER_UPLOAD_ARCHIVE", "on");
    BeTenant("a");
  }
  void TearDown() override {
    for (const std::string& variable : variables_) {
      unsetenv(variable.c_str());
    }
    UseDriver(target_, old_endpoint_);
  }
  void Set(const std::string& variable, const std::string& value) {
    setenv(variable.c_str(), value.c_str(), 1);
    variables_.push_back(variable);
  }
  // A user with a folder of their own, and so a key.
  void BeTenant(const std::string& name) { Set("VESPER_CACHE_DIR", folder_.Path(name)); }
  std::vector<std::string> Arguments() const {
    return {"--upload-archive=" + folder_.Path("uploads")};
  }

  // A program that shows a texture to the device; what travelled for that.
  static uint64_t Upload(uint64_t seed) {
    return SessionOf([seed] {
             std::vector<uint64_t> texture(kTexture / 8);
             Fill(texture, seed);
             Gpu gpu;
             gpu.Open();
             const Buffer up = MakeHostBuffer(gpu, kTexture);
             const Buffer down = MakeHostBuffer(gpu, kTexture);
             // As programs do that load something first: the server tells what it has meanwhile.
             std::this_thread::sleep_for(std::chrono::milliseconds(50));
             std::memcpy(up.data, texture.data(), kTexture);
             gpu.Execute([&](VkCommandBuffer commands) {
               const VkBufferCopy all{0, 0, kTexture};
               gpu.vk.CmdCopyBuffer(commands, up.handle, down.handle, 1, &all);
             });
             EXPECT_EQ(0, std::memcmp(down.data, texture.data(), kTexture));
           })
        .bytes.at("wire_out");
  }
  // Machines are slow at times, so the server may tell too late.
  static bool TravelsAsNames(uint64_t seed) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      if (Upload(seed) < kTexture / 8) {
        return true;
      }
    }
    return false;
  }

  TemporaryFolder folder_;
  std::string old_endpoint_;
  std::vector<std::string> variables_;
};

TEST_F(UploadArchiveTest, WhatASessionUploadedTheNextNames) {
  {
    const TestServer server(target_, Arguments());
    UseDriver(target_, server.endpoint());
    EXPECT_LE(kTexture, Upload(1));
    EXPECT_TRUE(TravelsAsNames(1));
    EXPECT_LE(kTexture, Upload(2)) << "something else";
  }
  const TestServer server(target_, Arguments());
  UseDriver(target_, server.endpoint());
  EXPECT_TRUE(TravelsAsNames(1)) << "after the server was started again";
  EXPECT_TRUE(TravelsAsNames(2));
}

TEST_F(UploadArchiveTest, AnotherTenantUploadsTheSameAgain) {
  const TestServer server(target_, Arguments());
  UseDriver(target_, server.endpoint());
  EXPECT_LE(kTexture, Upload(1));
  EXPECT_TRUE(TravelsAsNames(1));
  BeTenant("b");
  EXPECT_LE(kTexture, Upload(1));
  EXPECT_TRUE(TravelsAsNames(1)) << "now b has it, too";
}

TEST_F(UploadArchiveTest, BothSidesMustWantIt) {
  {
    const TestServer server(target_, Arguments());
    UseDriver(target_, server.endpoint());
    unsetenv("VESPER_UPLOAD_ARCHIVE");
    EXPECT_LE(kTexture, Upload(1));
    EXPECT_FALSE(std::filesystem::exists(folder_.Path("uploads"))) << "nobody has asked for it";
    EXPECT_FALSE(std::filesystem::exists(folder_.Path("a/upload-key")));
    Set("VESPER_UPLOAD_ARCHIVE", "on");
    EXPECT_LE(kTexture, Upload(1));
    unsetenv("VESPER_UPLOAD_ARCHIVE");
    EXPECT_LE(kTexture, Upload(1)) << "without the key nothing is there";
  }
  const TestServer server(target_);
  UseDriver(target_, server.endpoint());
  Set("VESPER_UPLOAD_ARCHIVE", "on");
  EXPECT_LE(kTexture, Upload(1));
  EXPECT_LE(kTexture, Upload(1));
}

TEST_F(UploadArchiveTest, AFolderThatCanNotBeUsedIsDoneWithout) {
  std::filesystem::create_directory(folder_.Path("uploads"));
  ASSERT_EQ(0, chmod(folder_.Path("uploads").c_str(), 0755));
  const TestServer server(target_, Arguments());
  UseDriver(target_, server.endpoint());
  EXPECT_LE(kTexture, Upload(1));
  EXPECT_LE(kTexture, Upload(1));
  EXPECT_NE(std::string::npos, server.Log().find("uploads are not kept: expected a folder"));
}

// A worker that is killed leaves what it has kept.
TEST_F(UploadArchiveTest, AWorkerIsKilled) {
  const TestServer server(target_, Arguments());
  UseDriver(target_, server.endpoint());
  {
    Gpu gpu;
    gpu.Open();
    const Buffer up = MakeHostBuffer(gpu, kTexture);
    const Buffer down = MakeHostBuffer(gpu, kTexture);
    Fill(up.As<uint64_t>(), 1);
    gpu.Execute([&](VkCommandBuffer commands) {
      const VkBufferCopy all{0, 0, kTexture};
      gpu.vk.CmdCopyBuffer(commands, up.handle, down.handle, 1, &all);
    });
    const std::vector<pid_t> workers = server.Workers();
    ASSERT_EQ(1u, workers.size());
    ASSERT_EQ(0, kill(workers[0], SIGKILL));
  }
  EXPECT_TRUE(TravelsAsNames(1));
}

}  // namespace
}  // namespace vesper::tests
