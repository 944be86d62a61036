// SPDX-License-Identifier: Apache-2.0
// A program that forks with Vulkan open. The child has the memory and the sockets but none of the
// threads: what it inherited is lost to it, and must fail cleanly; a new instance works; and the
// parent notices nothing.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <thread>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class ForkTest : public VesperOnlyTest {
 protected:
  // Runs the body in a child. The body returns 0 for success, or a number that tells where it
  // failed; a child that hangs is killed by its own alarm.
  static void RunInChild(const std::function<int()>& body) {
#ifdef __SANITIZE_ADDRESS__
    // A child can never open a lock of the sanitizer's allocator that another thread held in the
    // fork, so they come to rest before it. The C library's own allocator knows of forks.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
#endif
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(60);
      int outcome = 99;
      try {
        outcome = body();
      } catch (const std::exception& error) {
        fprintf(stderr, "in the child: %s\n", error.what());
      }
      _exit(outcome);
    }
    int status = 0;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    EXPECT_TRUE(WIFEXITED(status)) << "the child ended by signal " << WTERMSIG(status);
    EXPECT_EQ(0, WEXITSTATUS(status)) << "the number of the step that failed";
  }

  static bool FillWorks(Gpu& gpu, uint32_t value) {
    const Buffer buffer = MakeHostBuffer(gpu, 4096);
    gpu.Execute([&](VkCommandBuffer commands) {
      gpu.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, value);
    });
    return buffer.As<uint32_t>()[1023] == value;
  }
};

TEST_F(ForkTest, InheritedDeviceIsLostInTheChild) {
  Gpu gpu;
  gpu.Open();
  ASSERT_TRUE(FillWorks(gpu, 1));
  const Owned<VkFence> fence = gpu.MakeFence();
  RunInChild([&] {
    if (gpu.vk.QueueSubmit(gpu.queue, 0, nullptr, fence) != VK_ERROR_DEVICE_LOST) {
      return 1;
    }
    if (gpu.vk.WaitForFences(gpu.device, 1, fence.address(), VK_TRUE, kWaitLimitNs) !=
        VK_ERROR_DEVICE_LOST) {
      return 2;
    }
    if (gpu.vk.QueueWaitIdle(gpu.queue) != VK_ERROR_DEVICE_LOST) {
      return 3;
    }
    return 0;
  });
  EXPECT_TRUE(FillWorks(gpu, 2));
}

TEST_F(ForkTest, ChildMayDestroyWhatItInherited) {
  Gpu gpu;
  gpu.Open();
  RunInChild([&] {
    gpu.Close();
    return 0;
  });
  EXPECT_TRUE(FillWorks(gpu, 3));
}

TEST_F(ForkTest, ChildMayOpenItsOwn) {
  Gpu gpu;
  gpu.Open();
  RunInChild([&] {
    Gpu own;
    own.Open();
    return FillWorks(own, 4) ? 0 : 1;
  });
  EXPECT_TRUE(FillWorks(gpu, 5));
}

TEST_F(ForkTest, ForkBetweenTwoInstances) {
  {
    Gpu gpu;
    gpu.Open();
    ASSERT_TRUE(FillWorks(gpu, 6));
  }
  RunInChild([&] {
    Gpu own;
    own.Open();
    return FillWorks(own, 7) ? 0 : 1;
  });
  Gpu gpu;
  gpu.Open();
  EXPECT_TRUE(FillWorks(gpu, 8));
}

TEST_F(ForkTest, MappedMemoryStaysTheParents) {
  Gpu gpu;
  gpu.Open();
  const Buffer source = MakeHostBuffer(gpu, 4096);
  const Buffer target = MakeHostBuffer(gpu, 4096);
  std::fill_n(source.data, 4096, uint8_t{1});
  RunInChild([&] { return 0; });
  gpu.Execute([&](VkCommandBuffer commands) {
    CopyBytes(gpu, commands, source.handle, target.handle, 4096);
  });
  EXPECT_EQ(1, target.data[4095]);
}

}  // namespace
}  // namespace vesper::tests
