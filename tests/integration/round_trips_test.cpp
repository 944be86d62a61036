// SPDX-License-Identifier: Apache-2.0
// Budgets: how often a program's threads may wait for the host. Round trips are counted by the
// guest (session_statistics.h) and none are timed.
#include <stdlib.h>

#include <chrono>
#include <cstring>
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

TEST_F(RoundTripsTest, AddressesOfBuffers) {
  bool offered = false;
  const auto program = [&offered](int buffers) {
    return [&offered, buffers] {
      Gpu gpu;
      gpu.Open();
      offered = gpu.features.v12.bufferDeviceAddress == VK_TRUE;
      std::set<VkDeviceAddress> addresses;
      std::vector<Buffer> made;
      for (int i = 0; offered && i < buffers; ++i) {
        made.push_back(MakeDeviceBuffer(gpu, 4096, VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT));
        VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
        info.buffer = made.back().handle;
        addresses.insert(gpu.vk.GetBufferDeviceAddress(gpu.device, &info));
      }
      EXPECT_EQ(made.size(), addresses.size());
      EXPECT_FALSE(addresses.contains(0));
    };
  };
  program(1)();  // learns
  const SessionStatistics few = SessionOf(program(2));
  VESPER_REQUIRE(offered);
  const SessionStatistics many = SessionOf(program(60));
  EXPECT_EQ(few.calls, many.calls);
  EXPECT_EQ(0u, many.Calls("vkGetBufferDeviceAddress")) << Describe(many);
  EXPECT_EQ(60u, many.Answered("vkGetBufferDeviceAddress"));
  setenv("VESPER_PUSH", "off", 1);
  const SessionStatistics called = SessionOf(program(2));
  unsetenv("VESPER_PUSH");
  EXPECT_EQ(2u, called.Calls("vkGetBufferDeviceAddress")) << "the switch";
}

// As ffmpeg uploads its frames: pages of the program's own for each, and gone when it is done.
TEST_F(RoundTripsTest, FramesThatAreImported) {
  Gpu probe;
  probe.OpenInstance();
  VESPER_REQUIRE(probe.HasDeviceExtension(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME));
  probe.Close();
  const auto program = [](int frames) {
    return [frames] {
      GpuOptions options;
      options.device_extensions = {VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME};
      Gpu gpu;
      gpu.OpenInstance();
      gpu.OpenDevice(options);
      const Buffer target = MakeHostBuffer(gpu, 1u << 16);
      for (int frame = 1; frame <= frames; ++frame) {
        const Buffer imported = MakeImportedBuffer(gpu, 1u << 16, VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
        std::memset(imported.data, frame, 1u << 16);
        gpu.Execute([&](VkCommandBuffer commands) {
          const VkBufferCopy all{0, 0, 1u << 16};
          gpu.vk.CmdCopyBuffer(commands, imported.handle, target.handle, 1, &all);
        });
        EXPECT_EQ(frame, target.data[0]);
        EXPECT_EQ(frame, target.data[(1u << 16) - 1]);
      }
    };
  };
  SessionOf(program(1));  // what such a buffer needs is known from now on
  const SessionStatistics few = SessionOf(program(2));
  const SessionStatistics many = SessionOf(program(40));
  EXPECT_EQ(few.round_trips, many.round_trips) << Describe(many);
}

TEST_F(RoundTripsTest, TimestampsOfEachFrame) {
  bool offered = false;
  const auto program = [&offered](int frames) {
    return [&offered, frames] {
      Gpu gpu;
      gpu.Open();
      offered = gpu.queue_families[gpu.queue_family].timestampValidBits > 0;
      if (!offered) {
        return;
      }
      VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
      info.queryType = VK_QUERY_TYPE_TIMESTAMP;
      info.queryCount = 64;
      const auto pool = gpu.Make(gpu.vk.CreateQueryPool, gpu.vk.DestroyQueryPool, info);
      uint64_t last = 0;
      for (int i = 0; i < frames; ++i) {
        const uint32_t first = 2 * static_cast<uint32_t>(i % 3);
        gpu.vk.ResetQueryPool(gpu.device, pool, first, 2);
        gpu.Execute([&](VkCommandBuffer commands) {
          for (uint32_t k = 0; k < 2; ++k) {
            gpu.vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool,
                                     first + k);
          }
        });
        uint64_t times[2] = {};
        ASSERT_EQ(VK_SUCCESS,
                  gpu.vk.GetQueryPoolResults(gpu.device, pool, first, 2, sizeof(times), times, 8,
                                             VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
        EXPECT_GE(times[1], times[0]);
        EXPECT_GE(times[0], last);
        last = times[1];
      }
    };
  };
  program(1)();  // learns
  const SessionStatistics few = SessionOf(program(2));
  VESPER_REQUIRE(offered);
  const SessionStatistics many = SessionOf(program(50));
  EXPECT_EQ(1u, many.Calls("vkGetQueryPoolResults")) << "the first";
  EXPECT_EQ(49u, many.Answered("vkGetQueryPoolResults"));
  EXPECT_EQ(few.round_trips, many.round_trips) << Describe(many);
}

TEST_F(RoundTripsTest, QueriesThatArePolled) {
  bool offered = false;
  const SessionStatistics session = SessionOf([&offered] {
    Gpu gpu;
    gpu.Open();
    offered = gpu.queue_families[gpu.queue_family].timestampValidBits > 0;
    if (!offered) {
      return;
    }
    VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
    info.queryType = VK_QUERY_TYPE_TIMESTAMP;
    info.queryCount = 1;
    const auto pool = gpu.Make(gpu.vk.CreateQueryPool, gpu.vk.DestroyQueryPool, info);
    const Buffer buffer = MakeHostBuffer(gpu, 1u << 20);
    const VkCommandBuffer commands = gpu.Record([&](VkCommandBuffer recorded) {
      gpu.vk.CmdFillBuffer(recorded, buffer.handle, 0, VK_WHOLE_SIZE, 1);
      gpu.vk.CmdWriteTimestamp(recorded, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 0);
    });
    const Owned<VkFence> fence = gpu.MakeFence();
    uint64_t last = 0;
    for (int i = 0; i < 50; ++i) {
      gpu.vk.ResetQueryPool(gpu.device, pool, 0, 1);
      gpu.Submit(commands, fence);
      uint64_t time = 0;
      VkResult result = VK_NOT_READY;
      while (result == VK_NOT_READY) {
        result =
            gpu.vk.GetQueryPoolResults(gpu.device, pool, 0, 1, 8, &time, 8, VK_QUERY_RESULT_64_BIT);
      }
      ASSERT_EQ(VK_SUCCESS, result);
      EXPECT_GT(time, last);
      last = time;
      gpu.Wait(fence);
      VESPER_CHECK(gpu.vk.ResetFences(gpu.device, 1, fence.address()));
    }
  });
  VESPER_REQUIRE(offered);
  EXPECT_EQ(1u, session.Calls("vkGetQueryPoolResults")) << "the first";
  EXPECT_LE(49u, session.Answered("vkGetQueryPoolResults"));
}

TEST_F(RoundTripsTest, EventsThatArePolled) {
  const SessionStatistics session = SessionOf([] {
    Gpu gpu;
    gpu.Open();
    const Owned<VkEvent> event = gpu.MakeEvent();
    const VkCommandBuffer commands = gpu.Record([&](VkCommandBuffer recorded) {
      gpu.vk.CmdSetEvent(recorded, event, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT);
    });
    const Owned<VkFence> fence = gpu.MakeFence();
    for (int i = 0; i < 50; ++i) {
      VESPER_CHECK(gpu.vk.ResetEvent(gpu.device, event));
      EXPECT_EQ(VK_EVENT_RESET, gpu.vk.GetEventStatus(gpu.device, event));
      gpu.Submit(commands, fence);
      if (i % 2 == 0) {
        gpu.Wait(fence);
        EXPECT_EQ(VK_EVENT_SET, gpu.vk.GetEventStatus(gpu.device, event));
      }
      while (gpu.vk.GetEventStatus(gpu.device, event) != VK_EVENT_SET) {
      }
      gpu.Wait(fence);
      VESPER_CHECK(gpu.vk.ResetFences(gpu.device, 1, fence.address()));
    }
  });
  EXPECT_EQ(1u, session.Calls("vkGetEventStatus")) << "the first";
  EXPECT_LE(100u, session.Answered("vkGetEventStatus"));
}

TEST_F(RoundTripsTest, BudgetInEachFrame) {
  constexpr int kFrames = 60;
  uint64_t pauses = 0;
  const SessionStatistics session = SessionOf([&pauses] {
    Gpu gpu;
    gpu.Open();
    // What is older than a second is not told, and this process may be stopped for as long.
    std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();
    for (int i = 0; i < kFrames; ++i) {
      VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
      VkPhysicalDeviceMemoryProperties2 memory{
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, &budget, {}};
      gpu.vk.GetPhysicalDeviceMemoryProperties2(gpu.physical_device, &memory);
      EXPECT_GT(budget.heapBudget[0], 0u);
      gpu.Execute([](VkCommandBuffer) {});
      const std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now();
      pauses += now - last > std::chrono::milliseconds(400) ? 1 : 0;
      last = now;
    }
  });
  EXPECT_LE(session.Calls("vkGetPhysicalDeviceMemoryProperties2"), 1 + pauses);
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
