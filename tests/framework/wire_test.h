// SPDX-License-Identifier: Apache-2.0
//
// Guest and host in one process: the real guest driver, the loopback, the real session of the
// worker, and the mock driver behind it. Tests call the guest's entry points and ask the mock what
// reached the driver.
#ifndef VESPER_TESTS_FRAMEWORK_WIRE_TEST_H_
#define VESPER_TESTS_FRAMEWORK_WIRE_TEST_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vulkan/vulkan_core.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client_icd/entry_points_gen.h"
#include "client_icd/environment.h"
#include "proto/arena.h"
#include "proto/records_gen.h"
#include "tests/framework/mock_vulkan.h"
#include "tests/framework/wire_host.h"
#include "transport/loopback.h"

namespace vesper::tests {

namespace vk = client::entry;
namespace number = proto::command_number;

// The use of a buffer that shaders may write without a descriptor.
inline constexpr VkBufferUsageFlags kShaderTarget =
    VK_BUFFER_USAGE_TRANSFORM_FEEDBACK_BUFFER_BIT_EXT;

class WireTest : public testing::Test {
 protected:
  // Destroys what is left, and expects that the host had nothing to say against this guest.
  ~WireTest() override;

  // Connects and makes an instance; with `faults`, whatever comes of it.
  VkResult Connect(const transport::Faults& to_host = {}, const transport::Faults& to_guest = {});
  // What a test puts between the guest and the loopback.
  virtual std::unique_ptr<transport::Connection> Wrap(
      std::unique_ptr<transport::Connection> guest) {
    return guest;
  }
  // An instance, a device with two queues of family 0 and one of family 1, and a command pool.
  void Open(const transport::Faults& to_host = {}, const transport::Faults& to_guest = {});
  VkResult CreateDevice();
  // Waits until the host has executed everything that was posted, and the guest has heard of it.
  void Sync();
  // Waits until the stream has come here. What the worker's tasks do may be under way.
  void PassStream();
  // What reached the driver since the last time, once everything that was posted has.
  std::vector<std::string> Calls();
  void DestroyAll();

  VkCommandBuffer AllocateCommandBuffer();
  VkCommandBuffer Begin();
  // A recorded command buffer with one dispatch: work that may write whatever shaders can write
  // without a descriptor.
  VkCommandBuffer ShaderWork();
  VkBuffer CreateBuffer(VkDeviceSize size, VkBufferUsageFlags usage);
  // Destroys it at the end, before the device. Any thread.
  VkBuffer Keep(VkBuffer buffer);
  VkImage Keep(VkImage image);
  VkDeviceMemory Keep(VkDeviceMemory memory);
  VkDeviceMemory Allocate(VkDeviceSize size, uint32_t type);
  // A buffer with memory that such work may write, mapped.
  std::byte* MapNewMemory(VkDeviceSize size, uint32_t type, VkDeviceMemory* memory);
  VkFence CreateFence();
  VkSemaphore CreateTimeline(uint64_t value);
  VkResult Submit(VkCommandBuffer buffer, VkFence fence);
  VkResult Wait(VkFence fence, uint64_t timeout = 60'000'000'000);
  template <typename Args>
  const Args& Arguments(const std::string& name, size_t index = 0) {
    const Args* args = mock_.Arguments<Args>(name, index, arena_);
    if (args == nullptr) {
      ADD_FAILURE() << "no call " << index << " of " << name;
      static const Args kNone{};
      return kNone;
    }
    return *args;
  }

  MockVulkan mock_;
  proto::Arena arena_;
  client::Environment environment_;
  uint32_t excluded_pushes_ = client::kPushBudget;  // Sync() needs a command that is always called
  std::mutex host_mutex_;                           // host_, where a thread of the test looks at it
  std::unique_ptr<WireHost> host_;
  unsigned host_threads_ = 2;
  bool shares_memory_ = false;  // most tests are about copies
  bool uses_rings_ = false;     // and about what the loopback does to the stream
  server::CommandObserver* host_observer_ = nullptr;
  bool host_may_complain_ = false;
  VkInstance instance_ = VK_NULL_HANDLE;
  VkPhysicalDevice physical_device_ = VK_NULL_HANDLE;
  VkDevice device_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  VkCommandPool pool_ = VK_NULL_HANDLE;

 private:
  std::mutex kept_mutex_;
  std::vector<VkBuffer> kept_buffers_;
  std::vector<VkImage> kept_images_;
  std::vector<VkDeviceMemory> kept_memories_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_WIRE_TEST_H_
