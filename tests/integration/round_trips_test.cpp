// SPDX-License-Identifier: Apache-2.0
// Budgets: how often a program's threads may wait for the host. Round trips are counted by the
// guest (session_statistics.h) and none are timed.
#include <stdlib.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "shaders/accumulate_comp.h"
#include "tests/framework/session_statistics.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

// The program asks whether its pipelines could be made.
const std::set<std::string> kDemanded = {"vkCreateComputePipelines", "vkCreateGraphicsPipelines"};

uint64_t RoundTrips(const SessionStatistics& session) {
  uint64_t count = session.round_trips;
  for (const auto& [command, calls] : session.calls) {
    if (kDemanded.contains(command)) {
      count -= calls;
    }
  }
  return count;
}

std::string Describe(const SessionStatistics& session) {
  std::string text = "calls:";
  for (const auto& [command, calls] : session.calls) {
    text += " " + command + " " + std::to_string(calls);
  }
  return text;
}

class RoundTripsTest : public VesperOnlyTest {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    const char* folder = getenv("VESPER_CACHE_DIR");
    earlier_folder_ = folder == nullptr ? "" : folder;
    setenv("VESPER_CACHE_DIR", folder_.Path("cache").c_str(), 1);
  }
  void TearDown() override { setenv("VESPER_CACHE_DIR", earlier_folder_.c_str(), 1); }

  // From nothing to work that is done, with a buffer, a pipeline and its descriptors.
  static void StartUp() {
    Gpu gpu;
    gpu.Open();
    const Buffer buffer = MakeHostBuffer(gpu, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    const VkBuffer handle = buffer.handle;
    const Kernel kernel = MakeKernel(gpu, kAccumulateComp, {&handle, 1});
    gpu.Execute([&](VkCommandBuffer commands) {
      kernel.Dispatch(gpu, commands, 1);
      gpu.FullBarrier(commands);
    });
    EXPECT_EQ(1u, buffer.As<uint32_t>()[0]);
  }

  const TemporaryFolder folder_;
  std::string earlier_folder_;
};

TEST_F(RoundTripsTest, SetUpToFirstSubmission) {
  // Set-up, vkCreateDevice, and what memory such a buffer needs.
  const SessionStatistics cold = SessionOf(StartUp);
  EXPECT_LE(RoundTrips(cold), 3u) << Describe(cold);
  // An earlier session has asked.
  const SessionStatistics warm = SessionOf(StartUp);
  EXPECT_LE(RoundTrips(warm), 2u) << Describe(warm);
}

// Frames are many, and what they wait for is pushed.
TEST_F(RoundTripsTest, SteadyStateOfLoops) {
  const auto program = [](int frames) {
    return [frames] {
      Gpu gpu;
      gpu.Open();
      const Buffer buffer = MakeHostBuffer(gpu, 1u << 16);
      const VkCommandBuffer commands = gpu.Record([&](VkCommandBuffer recorded) {
        gpu.vk.CmdFillBuffer(recorded, buffer.handle, 0, 4096, 7);
      });
      const Owned<VkFence> fence = gpu.MakeFence();
      for (int i = 0; i < frames; ++i) {
        buffer.data[8192] = static_cast<uint8_t>(i);
        gpu.Submit(commands, fence);
        gpu.Wait(fence);
        EXPECT_EQ(VK_SUCCESS, gpu.vk.GetFenceStatus(gpu.device, fence));
        VESPER_CHECK(gpu.vk.ResetFences(gpu.device, 1, fence.address()));
      }
      EXPECT_EQ(7, buffer.data[0]);
    };
  };
  program(1)();  // learns
  const SessionStatistics few = SessionOf(program(2));
  const SessionStatistics many = SessionOf(program(50));
  EXPECT_EQ(few.calls, many.calls) << "frames wait for something but progress";
  EXPECT_EQ(few.round_trips, many.round_trips);
  EXPECT_LE(few.waits + 48, many.waits);
}

TEST_F(RoundTripsTest, SteadyStateOfTheSample) {
  const auto run = [this](const std::string& frames) {
    const std::string stats = folder_.Path(frames + ".json");
    ChildProcess program = ChildProcess::Start(
        {VESPER_BUILD_DIR "/bin/turntable", "--frames", frames, "--checksums", "--size", "64x48"},
        {{"VESPER_STATS", stats}}, folder_.Path("out"), folder_.Path("err"));
    const std::optional<int> status = program.Wait(std::chrono::seconds(200));
    EXPECT_TRUE(status.has_value() && *status == 0) << ReadFile(folder_.Path("err"));
    const std::vector<SessionStatistics> sessions = ReadSessionStatistics(stats);
    return sessions.empty() ? SessionStatistics() : sessions.front();
  };
  run("1");  // learns
  const SessionStatistics few = run("4");
  const SessionStatistics many = run("40");
  EXPECT_EQ(few.calls, many.calls);
  EXPECT_EQ(few.round_trips, many.round_trips);
  EXPECT_LT(few.recordings, many.recordings);
  // Whatever is remembered was asked by the first run.
  EXPECT_LE(RoundTrips(few), 2u) << Describe(few);
}

}  // namespace
}  // namespace vesper::tests
