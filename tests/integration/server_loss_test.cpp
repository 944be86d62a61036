// SPDX-License-Identifier: Apache-2.0
// What happens when one side goes away: the worker, the server, the guest. Each test has a server
// of its own, which nobody else minds being killed.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include <future>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

using std::chrono::seconds;

class ServerLossTest : public VesperOnlyTest {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    old_endpoint_ = getenv("VESPER_SERVER");
    server_ = std::make_unique<TestServer>(target_);
    UseDriver(target_, server_->endpoint());
  }

  void TearDown() override {
    if (!old_endpoint_.empty()) {
      UseDriver(target_, old_endpoint_);
    }
    if (server_ != nullptr && HasFailure()) {
      std::cerr << "--- log of the test's own vesperd ---\n" << server_->Log();
    }
  }

  // Opens a device and finds out which process serves it.
  pid_t OpenAndFindWorker(Gpu& gpu) {
    const std::vector<pid_t> before = server_->Workers();
    gpu.Open();
    for (const pid_t worker : server_->Workers()) {
      if (std::find(before.begin(), before.end(), worker) == before.end()) {
        return worker;
      }
    }
    throw std::runtime_error("Expected a process for the new session; there is none.");
  }

  // Work that stays pending until the host sets the event.
  static void SubmitGated(Gpu& gpu, VkEvent gate, VkFence fence) {
    gpu.Submit(gpu.Record([&](VkCommandBuffer commands) {
      gpu.vk.CmdWaitEvents(commands, 1, &gate, VK_PIPELINE_STAGE_HOST_BIT,
                           VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, nullptr, 0, nullptr, 0, nullptr);
    }),
               fence);
  }

  static void ExpectWorks(Gpu& gpu) {
    const Buffer buffer = MakeHostBuffer(gpu, 4096);
    gpu.Execute([&](VkCommandBuffer commands) {
      gpu.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 11);
    });
    EXPECT_EQ(11u, buffer.As<uint32_t>()[1023]);
  }

  std::string old_endpoint_;
  std::unique_ptr<TestServer> server_;
};

TEST_F(ServerLossTest, KilledWorkerIsALostDevice) {
  Gpu gpu;
  const pid_t worker = OpenAndFindWorker(gpu);
  const Owned<VkEvent> gate = gpu.MakeEvent();
  const Owned<VkFence> fence = gpu.MakeFence();
  const Owned<VkSemaphore> timeline = gpu.MakeTimeline();
  Buffer buffer = MakeHostBuffer(gpu, 1 << 16);
  VkCommandBuffer commands = gpu.Record([&](VkCommandBuffer recording) {
    gpu.vk.CmdFillBuffer(recording, buffer.handle, 0, VK_WHOLE_SIZE, 1);
  });
  SubmitGated(gpu, gate, fence);
  ASSERT_EQ(VK_NOT_READY, gpu.vk.GetFenceStatus(gpu.device, fence));
  std::future<VkResult> waiting = std::async(std::launch::async, [&] {
    return gpu.vk.WaitForFences(gpu.device, 1, fence.address(), VK_TRUE, kWaitLimitNs);
  });
  kill(worker, SIGKILL);
  // The loss ends the wait, and not its limit.
  ASSERT_EQ(VK_ERROR_DEVICE_LOST, waiting.get());

  EXPECT_EQ(VK_ERROR_DEVICE_LOST, gpu.vk.GetFenceStatus(gpu.device, fence));
  EXPECT_EQ(VK_ERROR_DEVICE_LOST, gpu.vk.QueueWaitIdle(gpu.queue));
  EXPECT_EQ(VK_ERROR_DEVICE_LOST, gpu.vk.DeviceWaitIdle(gpu.device));
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  EXPECT_EQ(VK_ERROR_DEVICE_LOST, gpu.vk.QueueSubmit(gpu.queue, 1, &submit, VK_NULL_HANDLE));
  EXPECT_EQ(VK_ERROR_DEVICE_LOST, gpu.vk.QueueSubmit2(gpu.queue, 0, nullptr, VK_NULL_HANDLE));
  const uint64_t one = 1;
  VkSemaphoreWaitInfo wait{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
  wait.semaphoreCount = 1;
  wait.pSemaphores = timeline.address();
  wait.pValues = &one;
  EXPECT_EQ(VK_ERROR_DEVICE_LOST, gpu.vk.WaitSemaphores(gpu.device, &wait, kWaitLimitNs));
  uint64_t value = 0;
  EXPECT_EQ(VK_ERROR_DEVICE_LOST, gpu.vk.GetSemaphoreCounterValue(gpu.device, timeline, &value));
  EXPECT_EQ(VK_ERROR_DEVICE_LOST, gpu.vk.GetEventStatus(gpu.device, gate));
  // The mapping is the program's own: it may be written until it is given back.
  buffer.data[5] = 5;
  gpu.vk.UnmapMemory(gpu.device, buffer.memory);
  // What else a program may call on its way out: it returns, whatever it returns.
  void* data = nullptr;
  gpu.vk.MapMemory(gpu.device, buffer.memory, 0, VK_WHOLE_SIZE, 0, &data);
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = 64;
  info.usage = kTransferUsage;
  VkBuffer late = VK_NULL_HANDLE;
  if (gpu.vk.CreateBuffer(gpu.device, &info, nullptr, &late) == VK_SUCCESS) {
    gpu.vk.DestroyBuffer(gpu.device, late, nullptr);
  }
  VkMemoryRequirements requirements{};
  gpu.vk.GetBufferMemoryRequirements(gpu.device, buffer.handle, &requirements);
  VkPhysicalDeviceProperties properties{};
  gpu.vk.GetPhysicalDeviceProperties(gpu.physical_device, &properties);
  // And everything is destroyed as the test ends.
}

TEST_F(ServerLossTest, OtherSessionsDoNotNotice) {
  Gpu first;
  const pid_t worker = OpenAndFindWorker(first);
  Gpu second;
  const pid_t other_worker = OpenAndFindWorker(second);
  ASSERT_NE(worker, other_worker);
  ExpectWorks(first);
  ExpectWorks(second);
  kill(worker, SIGKILL);
  ExpectWorks(second);
  EXPECT_TRUE(Eventually([&] {
    return first.vk.QueueSubmit(first.queue, 0, nullptr, VK_NULL_HANDLE) == VK_ERROR_DEVICE_LOST;
  }));
  ExpectWorks(second);
  // And new ones are served.
  first.Close();
  Gpu third;
  third.Open();
  ExpectWorks(third);
  EXPECT_TRUE(server_->process().Running());
}

TEST_F(ServerLossTest, KilledWhileSubmittingAllTheTime) {
  Gpu gpu;
  const pid_t worker = OpenAndFindWorker(gpu);
  const Buffer buffer = MakeHostBuffer(gpu, 1 << 16);
  VkCommandBuffer commands = gpu.Record([&](VkCommandBuffer recording) {
    gpu.vk.CmdFillBuffer(recording, buffer.handle, 0, VK_WHOLE_SIZE, 1);
  });
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  VkResult result = VK_SUCCESS;
  for (int i = 0; result == VK_SUCCESS; ++i) {
    if (i == 100) {
      kill(worker, SIGKILL);
    }
    buffer.data[i % 65536] = static_cast<uint8_t>(i);
    result = gpu.vk.QueueSubmit(gpu.queue, 1, &submit, VK_NULL_HANDLE);
    if (result == VK_SUCCESS) {
      result = gpu.vk.QueueWaitIdle(gpu.queue);
    }
  }
  EXPECT_EQ(VK_ERROR_DEVICE_LOST, result);
}

TEST_F(ServerLossTest, TerminatedServerEndsItsSessions) {
  Gpu gpu;
  const pid_t worker = OpenAndFindWorker(gpu);
  ExpectWorks(gpu);
  server_->process().Signal(SIGTERM);
  const std::optional<int> status = server_->process().Wait(seconds(20));
  ASSERT_TRUE(status.has_value()) << "vesperd did not end.";
  EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) == 0) << "wait status " << *status;
  EXPECT_TRUE(Eventually([&] { return !IsRunning(worker); }));
  EXPECT_TRUE(Eventually([&] {
    return gpu.vk.QueueSubmit(gpu.queue, 0, nullptr, VK_NULL_HANDLE) == VK_ERROR_DEVICE_LOST;
  }));
}

TEST_F(ServerLossTest, KilledServerIsALostDevice) {
  Gpu gpu;
  const pid_t worker = OpenAndFindWorker(gpu);
  ExpectWorks(gpu);
  server_->process().Signal(SIGKILL);
  ASSERT_TRUE(server_->process().Wait(seconds(20)).has_value());
  // Whether the worker goes on alone is its affair, but it must not outlive the session.
  gpu.Close();
  EXPECT_TRUE(Eventually([&] { return !IsRunning(worker); }));
}

TEST_F(ServerLossTest, WorkerGoesWithItsGuest) {
  for (const char* mode : {"hold", "render", "stuck"}) {
    SCOPED_TRACE(mode);
    const TemporaryFolder folder;
    ChildProcess guest = ChildProcess::Start({VESPER_GUEST_PROGRAM, mode}, {}, folder.Path("out"));
    ASSERT_TRUE(Eventually([&] { return ReadFile(folder.Path("out")) == "ready\n"; }, seconds(30)));
    ASSERT_FALSE(server_->Workers().empty());
    guest.Signal(SIGKILL);
    EXPECT_TRUE(Eventually([&] { return server_->Workers().empty(); }));
    EXPECT_TRUE(server_->process().Running());
  }
}

TEST_F(ServerLossTest, WorkerGoesWithTheInstance) {
  {
    Gpu gpu;
    gpu.Open();
    EXPECT_EQ(1u, server_->Workers().size());
  }
  EXPECT_TRUE(Eventually([&] { return server_->Workers().empty(); }));
}

TEST_F(ServerLossTest, SessionsAreLogged) {
  {
    Gpu gpu;
    gpu.Open();
  }
  ASSERT_TRUE(Eventually([&] { return server_->Workers().empty(); }));
  EXPECT_THAT(server_->Log(), ::testing::Not(::testing::IsEmpty()));
}

}  // namespace
}  // namespace vesper::tests
