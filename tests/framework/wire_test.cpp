// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/wire_test.h"

#include <cstdlib>

#include "client_icd/instance.h"
#include "tests/framework/recording_connection.h"

namespace vesper::tests {

WireTest::~WireTest() {
  DestroyAll();
  if (host_ != nullptr) {
    const std::string& complaint = host_->Finish();
    if (!host_may_complain_) {
      EXPECT_EQ(complaint, "");
    }
  }
}

VkResult WireTest::Connect(const transport::Faults& to_host, const transport::Faults& to_guest) {
  auto [guest, host] = transport::MakeLoopback(to_host, to_guest);
  {
    const std::lock_guard lock(host_mutex_);
    host_ = std::make_unique<WireHost>(std::move(host), host_threads_, host_observer_);
  }
  environment_.server = "loopback";
  environment_.pushes &= ~static_cast<uint32_t>(excluded_pushes_);
  environment_.shares_memory = shares_memory_;
  // VESPER_TEST_RINGS=1: whatever the loopback does to the stream, for a run by hand.
  environment_.uses_rings = uses_rings_ || std::getenv("VESPER_TEST_RINGS") != nullptr;
  if (const char* folder = std::getenv("VESPER_SEED_DIR")) {
    guest = RecordConnection(std::move(guest), folder);
  }
  const VkApplicationInfo application{
      VK_STRUCTURE_TYPE_APPLICATION_INFO, nullptr, "wire test", 1, "engine", 2, VK_API_VERSION_1_4};
  const VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, nullptr, 0, &application};
  const VkResult result =
      client::CreateInstanceOn(Wrap(std::move(guest)), environment_, &info, nullptr, &instance_);
  if (result == VK_SUCCESS) {
    uint32_t count = 1;
    vk::vkEnumeratePhysicalDevices(instance_, &count, &physical_device_);
  }
  return result;
}

VkResult WireTest::CreateDevice() {
  const float priorities[] = {1.0f, 0.5f};
  const VkDeviceQueueCreateInfo queues[] = {
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 0, 2, priorities},
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 1, 1, priorities},
  };
  VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
  features.features.robustBufferAccess = VK_TRUE;
  const VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &features, 0, 2, queues};
  const VkResult result = vk::vkCreateDevice(physical_device_, &info, nullptr, &device_);
  if (result == VK_SUCCESS) {
    vk::vkGetDeviceQueue(device_, 0, 0, &queue_);
  }
  return result;
}

void WireTest::Open(const transport::Faults& to_host, const transport::Faults& to_guest) {
  ASSERT_EQ(Connect(to_host, to_guest), VK_SUCCESS);
  ASSERT_EQ(CreateDevice(), VK_SUCCESS);
  ASSERT_NE(queue_, VK_NULL_HANDLE);
  const VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr,
                                     VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, 0};
  ASSERT_EQ(vk::vkCreateCommandPool(device_, &pool, nullptr, &pool_), VK_SUCCESS);
  Sync();
  mock_.Clear();
}

void WireTest::Sync() {
  PassStream();
  {
    const std::lock_guard lock(host_mutex_);
    if (host_ != nullptr) {
      host_->WaitForTasks();
    }
  }
  PassStream();  // behind it comes what the tasks had to say
}

void WireTest::PassStream() {
  // It is asked each time.
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
  VkPhysicalDeviceMemoryProperties2 properties{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, &budget, {}};
  vk::vkGetPhysicalDeviceMemoryProperties2(physical_device_, &properties);
}

std::vector<std::string> WireTest::Calls() {
  Sync();
  std::vector<std::string> names = mock_.Names();
  std::erase(names, "vkGetPhysicalDeviceMemoryProperties2");  // Sync's own
  mock_.Clear();
  return names;
}

void WireTest::DestroyAll() {
  if (device_ != VK_NULL_HANDLE) {
    for (const VkBuffer buffer : kept_buffers_) {
      vk::vkDestroyBuffer(device_, buffer, nullptr);
    }
    for (const VkImage image : kept_images_) {
      vk::vkDestroyImage(device_, image, nullptr);
    }
    kept_buffers_.clear();
    kept_images_.clear();
    for (const VkDeviceMemory memory : kept_memories_) {
      vk::vkFreeMemory(device_, memory, nullptr);
    }
    kept_memories_.clear();
    vk::vkDestroyCommandPool(device_, pool_, nullptr);
    vk::vkDestroyDevice(device_, nullptr);
  }
  vk::vkDestroyInstance(instance_, nullptr);
  device_ = VK_NULL_HANDLE;
  pool_ = VK_NULL_HANDLE;
  instance_ = VK_NULL_HANDLE;
}

VkCommandBuffer WireTest::AllocateCommandBuffer() {
  const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr,
                                         pool_, VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
  VkCommandBuffer buffer = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkAllocateCommandBuffers(device_, &info, &buffer), VK_SUCCESS);
  return buffer;
}

VkCommandBuffer WireTest::Begin() {
  VkCommandBuffer buffer = AllocateCommandBuffer();
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  EXPECT_EQ(vk::vkBeginCommandBuffer(buffer, &begin), VK_SUCCESS);
  return buffer;
}

VkCommandBuffer WireTest::ShaderWork() {
  VkCommandBuffer buffer = Begin();
  vk::vkCmdDispatch(buffer, 1, 1, 1);
  EXPECT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  return buffer;
}

VkBuffer WireTest::CreateBuffer(VkDeviceSize size, VkBufferUsageFlags usage) {
  const VkBufferCreateInfo info{
      VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 0, size, usage, VK_SHARING_MODE_EXCLUSIVE};
  VkBuffer buffer = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateBuffer(device_, &info, nullptr, &buffer), VK_SUCCESS);
  return buffer;
}

VkBuffer WireTest::Keep(VkBuffer buffer) {
  const std::lock_guard lock(kept_mutex_);
  return kept_buffers_.emplace_back(buffer);
}

VkImage WireTest::Keep(VkImage image) {
  const std::lock_guard lock(kept_mutex_);
  return kept_images_.emplace_back(image);
}

VkDeviceMemory WireTest::Keep(VkDeviceMemory memory) {
  const std::lock_guard lock(kept_mutex_);
  return kept_memories_.emplace_back(memory);
}

VkDeviceMemory WireTest::Allocate(VkDeviceSize size, uint32_t type) {
  const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, size, type};
  VkDeviceMemory memory = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkAllocateMemory(device_, &info, nullptr, &memory), VK_SUCCESS);
  return memory;
}

std::byte* WireTest::MapNewMemory(VkDeviceSize size, uint32_t type, VkDeviceMemory* memory) {
  *memory = Allocate(size, type);
  const VkBuffer buffer = Keep(CreateBuffer(size, kShaderTarget));
  EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, *memory, 0), VK_SUCCESS);
  void* data = nullptr;
  EXPECT_EQ(vk::vkMapMemory(device_, *memory, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
  return static_cast<std::byte*>(data);
}

VkFence WireTest::CreateFence() {
  const VkFenceCreateInfo info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  VkFence fence = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateFence(device_, &info, nullptr, &fence), VK_SUCCESS);
  return fence;
}

VkSemaphore WireTest::CreateTimeline(uint64_t value) {
  const VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, nullptr,
                                       VK_SEMAPHORE_TYPE_TIMELINE, value};
  const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
  VkSemaphore semaphore = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateSemaphore(device_, &info, nullptr, &semaphore), VK_SUCCESS);
  return semaphore;
}

VkResult WireTest::Submit(VkCommandBuffer buffer, VkFence fence) {
  VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  info.commandBufferCount = buffer == VK_NULL_HANDLE ? 0 : 1;
  info.pCommandBuffers = &buffer;
  return vk::vkQueueSubmit(queue_, 1, &info, fence);
}

VkResult WireTest::Wait(VkFence fence, uint64_t timeout) {
  return vk::vkWaitForFences(device_, 1, &fence, VK_TRUE, timeout);
}

}  // namespace vesper::tests
