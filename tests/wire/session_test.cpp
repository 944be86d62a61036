// SPDX-License-Identifier: Apache-2.0
// Instance, device and queues over the wire; what happens to objects that are not there.
#include <chrono>
#include <thread>
#include <utility>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::AnyOf;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

TEST_F(WireTest, EnumerationCostsNothingAfterTheSetUp) {
  ASSERT_EQ(Connect(), VK_SUCCESS);
  mock_.Clear();
  uint32_t count = 0;
  EXPECT_EQ(vk::vkEnumeratePhysicalDevices(instance_, &count, nullptr), VK_SUCCESS);
  EXPECT_EQ(count, 1u);
  VkPhysicalDeviceProperties properties{};
  vk::vkGetPhysicalDeviceProperties(physical_device_, &properties);
  EXPECT_STREQ(properties.deviceName, "mock device");
  uint32_t families = 0;
  vk::vkGetPhysicalDeviceQueueFamilyProperties(physical_device_, &families, nullptr);
  EXPECT_EQ(families, 3u);
  VkPhysicalDeviceMemoryProperties memory{};
  vk::vkGetPhysicalDeviceMemoryProperties(physical_device_, &memory);
  EXPECT_EQ(memory.memoryTypeCount, 4u);
  VkPhysicalDeviceFeatures features{};
  vk::vkGetPhysicalDeviceFeatures(physical_device_, &features);
  EXPECT_EQ(features.geometryShader, VK_TRUE);
  uint32_t extensions = 0;
  vk::vkEnumerateDeviceExtensionProperties(physical_device_, nullptr, &extensions, nullptr);
  EXPECT_GT(extensions, 100u);
  EXPECT_THAT(mock_.Names(), IsEmpty());
}

TEST_F(WireTest, DeviceIsCreatedWithTimelineSemaphores) {
  ASSERT_EQ(Connect(), VK_SUCCESS);
  mock_.Clear();
  ASSERT_EQ(CreateDevice(), VK_SUCCESS);
  Sync();
  const auto& args = Arguments<proto::Args_vkCreateDevice>("vkCreateDevice");
  ASSERT_NE(args.pCreateInfo, nullptr);
  EXPECT_EQ(args.pCreateInfo->queueCreateInfoCount, 3u) << "and one that the worker reads with";
  EXPECT_EQ(args.pCreateInfo->pQueueCreateInfos[0].queueCount, 2u);
  EXPECT_EQ(args.pCreateInfo->pQueueCreateInfos[0].pQueuePriorities[1], 0.5f);
  bool timeline = false;
  bool features = false;
  for (auto* next = static_cast<const VkBaseInStructure*>(args.pCreateInfo->pNext); next != nullptr;
       next = next->pNext) {
    timeline |= next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
    features |= next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  }
  EXPECT_TRUE(timeline);
  EXPECT_TRUE(features);
  EXPECT_EQ(mock_.Count("vkCreateSemaphore"), 3u) << "one timeline for each queue";
}

TEST_F(WireTest, QueuesAreLookedUpLocally) {
  Open();
  VkQueue queue = VK_NULL_HANDLE;
  vk::vkGetDeviceQueue(device_, 0, 1, &queue);
  EXPECT_NE(queue, VK_NULL_HANDLE);
  EXPECT_NE(queue, queue_);
  vk::vkGetDeviceQueue(device_, 1, 0, &queue);
  EXPECT_NE(queue, VK_NULL_HANDLE);
  EXPECT_THAT(mock_.Names(), IsEmpty());
}

TEST_F(WireTest, AFailedDeviceIsReported) {
  ASSERT_EQ(Connect(), VK_SUCCESS);
  mock_.FailNext(number::vkCreateDevice, VK_ERROR_FEATURE_NOT_PRESENT);
  EXPECT_EQ(CreateDevice(), VK_ERROR_FEATURE_NOT_PRESENT);
  EXPECT_EQ(device_, VK_NULL_HANDLE);
  EXPECT_EQ(CreateDevice(), VK_SUCCESS) << "the session goes on";
}

TEST_F(WireTest, DestroyingTheDeviceDestroysItOnTheHost) {
  Open();
  vk::vkDestroyCommandPool(device_, pool_, nullptr);
  pool_ = VK_NULL_HANDLE;
  vk::vkDestroyDevice(device_, nullptr);
  device_ = VK_NULL_HANDLE;
  Sync();
  EXPECT_THAT(mock_.Names(), Contains("vkDestroyDevice"));
  EXPECT_EQ(mock_.Live(), 0u);
}

// An object that nobody destroys. The guest keeps nothing for one.
void LeaveAnEvent(VkDevice device) {
  const VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateEvent(device, &info, nullptr, &event), VK_SUCCESS);
}

TEST_F(WireTest, NothingIsLeftWhenTheGuestLeaves) {
  Open();
  LeaveAnEvent(device_);
  DestroyAll();
  EXPECT_EQ(host_->Finish(), "");
  EXPECT_EQ(mock_.Count("vkDestroyDevice"), 1u);
}

TEST_F(WireTest, TwoDevicesInOneSession) {
  Open();
  const VkDevice first = device_;
  ASSERT_EQ(CreateDevice(), VK_SUCCESS);
  LeaveAnEvent(device_);
  vk::vkDestroyDevice(device_, nullptr);
  device_ = first;
  LeaveAnEvent(device_);
  Sync();
  EXPECT_EQ(mock_.Count("vkCreateEvent"), 2u);
}

// -- objects that are not there -------------------------------------------------------------------

TEST_F(WireTest, APoisonedObjectSkipsItsUsersAndIsReportedLater) {
  Open();
  mock_.FailNext(number::vkCreateSampler, VK_ERROR_OUT_OF_HOST_MEMORY);
  const VkSamplerCreateInfo info{VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
  VkSampler sampler = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateSampler(device_, &info, nullptr, &sampler), VK_SUCCESS) << "it is posted";
  EXPECT_NE(sampler, VK_NULL_HANDLE);
  // A layout that needs the sampler is poisoned in turn.
  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_SAMPLER, 1, VK_SHADER_STAGE_ALL,
                                             &sampler};
  const VkDescriptorSetLayoutCreateInfo layout_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, 1, &binding};
  VkDescriptorSetLayout layout = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateDescriptorSetLayout(device_, &layout_info, nullptr, &layout), VK_SUCCESS);
  vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkCreateSampler"));
  // The next call that may say so does, once.
  VkSampler other = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateSampler(device_, &info, nullptr, &other), VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(other, VK_NULL_HANDLE);
  EXPECT_EQ(vk::vkCreateSampler(device_, &info, nullptr, &other), VK_SUCCESS);
  vk::vkDestroySampler(device_, other, nullptr);
  vk::vkDestroySampler(device_, sampler, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkCreateSampler", "vkDestroySampler"));
}

TEST_F(WireTest, EveryKindOfFailureIsReportedByItsDevice) {
  Open();
  mock_.FailNext(number::vkCreateSampler, VK_ERROR_OUT_OF_HOST_MEMORY);
  mock_.FailNext(number::vkCreateEvent, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkSamplerCreateInfo sampler_info{VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
  const VkEventCreateInfo event_info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkSampler sampler = VK_NULL_HANDLE;
  VkEvent event = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateSampler(device_, &sampler_info, nullptr, &sampler), VK_SUCCESS);
  ASSERT_EQ(vk::vkCreateEvent(device_, &event_info, nullptr, &event), VK_SUCCESS);
  Sync();
  const VkDevice first = std::exchange(device_, VK_NULL_HANDLE);
  const VkQueue first_queue = queue_;
  ASSERT_EQ(CreateDevice(), VK_SUCCESS);
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS) << "another device's failures";
  vk::vkDestroyDevice(device_, nullptr);
  device_ = first;
  queue_ = first_queue;
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
  vk::vkDestroySampler(device_, sampler, nullptr);
  vk::vkDestroyEvent(device_, event, nullptr);
}

TEST_F(WireTest, ACallThatNeedsAPoisonedObjectFails) {
  Open();
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  mock_.FailNext(number::vkCreateDescriptorPool, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 4};
  const VkDescriptorPoolCreateInfo pool_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, 4, 1, &size};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateDescriptorPool(device_, &pool_info, nullptr, &pool), VK_SUCCESS);
  VkDescriptorSetLayout layout = VK_NULL_HANDLE;
  const VkDescriptorSetLayoutCreateInfo layout_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  // Either of the two may report the pool's failure; the set cannot be had in any case.
  (void)vk::vkCreateDescriptorSetLayout(device_, &layout_info, nullptr, &layout);
  // More than the pool is for: the driver is asked.
  const VkDescriptorSetLayout layouts[] = {layout, layout, layout, layout, layout};
  const VkDescriptorSetAllocateInfo sets{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr,
                                         pool, 5, layouts};
  VkDescriptorSet made[5] = {};
  EXPECT_LT(vk::vkAllocateDescriptorSets(device_, &sets, made), 0);
  EXPECT_EQ(made[0], VK_NULL_HANDLE);
  EXPECT_EQ(mock_.Count("vkAllocateDescriptorSets"), 0u);
  vk::vkDestroyDescriptorPool(device_, pool, nullptr);
  vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
}

TEST_F(WireTest, SubmissionsGoOnWithoutABrokenCommandBuffer) {
  Open();
  mock_.FailNext(number::vkCreateEvent, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkEventCreateInfo event_info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateEvent(device_, &event_info, nullptr, &event), VK_SUCCESS);
  const VkFence fence = CreateFence();
  VkCommandBuffer commands = Begin();
  vk::vkCmdSetEvent(commands, event, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  vk::vkCmdDispatch(commands, 1, 1, 1);
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  Sync();
  EXPECT_EQ(mock_.Count("vkCmdSetEvent"), 0u);
  EXPECT_EQ(mock_.Count("vkCmdDispatch"), 0u) << "what follows may rely on what was skipped";
  // The failure is reported by the submission, which then has not happened; the next one has.
  EXPECT_EQ(Submit(commands, fence), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  mock_.Clear();
  ASSERT_EQ(Submit(commands, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS) << "the fence signals all the same";
  EXPECT_EQ(Arguments<proto::Args_vkQueueSubmit>("vkQueueSubmit").pSubmits[0].commandBufferCount,
            0u);
  // Begun anew, the command buffer is whole again.
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  ASSERT_EQ(vk::vkBeginCommandBuffer(commands, &begin), VK_SUCCESS);
  vk::vkCmdDispatch(commands, 2, 1, 1);
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  ASSERT_EQ(Submit(commands, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_THAT(Calls(), ElementsAre("vkQueueSubmit", "vkBeginCommandBuffer", "vkCmdDispatch",
                                   "vkEndCommandBuffer", "vkQueueSubmit"));
  vk::vkDestroyFence(device_, fence, nullptr);
  vk::vkDestroyEvent(device_, event, nullptr);
}

TEST_F(WireTest, CallsAboutDeadObjectsHaveNoEffect) {
  Open();
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  VkCommandBuffer commands = Begin();
  vk::vkCmdFillBuffer(commands, buffer, 0, 64, 7);
  vk::vkDestroyBuffer(device_, buffer,
                      nullptr);  // overtakes the recording, which is sent at its end
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  EXPECT_THAT(Calls(), ElementsAre("vkCreateBuffer", "vkAllocateCommandBuffers", "vkDestroyBuffer",
                                   "vkBeginCommandBuffer"));
}

TEST_F(WireTest, AnIdThatIsGivenAgainIsAnotherObject) {
  Open();
  const VkBuffer first = CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  vk::vkDestroyBuffer(device_, first, nullptr);
  const VkBuffer second = CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  EXPECT_NE(first, second);
  vk::vkDestroyBuffer(device_, first, nullptr);
  Sync();
  mock_.Clear();
  vk::vkDestroyBuffer(device_, second, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkDestroyBuffer"));
}

// -- lost devices and links ---------------------------------------------------------------------

TEST_F(WireTest, ALostDeviceIsToldByEveryWait) {
  Open();
  mock_.Hold(true);
  const VkFence fence = CreateFence();
  ASSERT_EQ(Submit(VK_NULL_HANDLE, fence), VK_SUCCESS);
  EXPECT_EQ(vk::vkGetFenceStatus(device_, fence), VK_NOT_READY);
  mock_.LoseDevice();
  EXPECT_EQ(Wait(fence, UINT64_MAX), VK_ERROR_DEVICE_LOST);
  EXPECT_EQ(vk::vkGetFenceStatus(device_, fence), VK_ERROR_DEVICE_LOST);
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_ERROR_DEVICE_LOST);
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_ERROR_DEVICE_LOST);
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_ERROR_DEVICE_LOST);
  vk::vkDestroyFence(device_, fence, nullptr);
}

TEST_F(WireTest, ASubmissionThatFailsLosesTheDevice) {
  Open();
  mock_.FailNext(number::vkQueueSubmit, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkFence fence = CreateFence();
  // The host may have answered before the call returns.
  EXPECT_THAT(Submit(VK_NULL_HANDLE, fence), AnyOf(VK_SUCCESS, VK_ERROR_DEVICE_LOST));
  EXPECT_EQ(Wait(fence), VK_ERROR_DEVICE_LOST);
  vk::vkDestroyFence(device_, fence, nullptr);
}

TEST_F(WireTest, ADeadHostIsALostDevice) {
  Open();
  mock_.Hold(true);
  const VkFence fence = CreateFence();
  ASSERT_EQ(Submit(VK_NULL_HANDLE, fence), VK_SUCCESS);
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    host_->Kill();
  });
  EXPECT_EQ(Wait(fence, UINT64_MAX), VK_ERROR_DEVICE_LOST);
  killer.join();
  mock_.Hold(false);
  EXPECT_EQ(vk::vkGetFenceStatus(device_, fence), VK_ERROR_DEVICE_LOST);
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_ERROR_DEVICE_LOST);
  VkBuffer buffer = VK_NULL_HANDLE;
  const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 0, 64};
  EXPECT_LT(vk::vkCreateBuffer(device_, &info, nullptr, &buffer), 0);
  EXPECT_EQ(buffer, VK_NULL_HANDLE);
  vk::vkDestroyFence(device_, fence, nullptr);
}

// -- switches -------------------------------------------------------------------------------------

class DebugSync : public WireTest {};

TEST_F(DebugSync, MakesTheSameCallsAndReportsFailuresAtOnce) {
  environment_.debug_sync = true;
  Open();
  const VkSamplerCreateInfo info{VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
  VkSampler sampler = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateSampler(device_, &info, nullptr, &sampler), VK_SUCCESS);
  EXPECT_NE(sampler, VK_NULL_HANDLE);
  EXPECT_THAT(mock_.Names(), ElementsAre("vkCreateSampler")) << "without anything else sent";
  vk::vkDestroySampler(device_, sampler, nullptr);
  EXPECT_THAT(mock_.Names(), ElementsAre("vkCreateSampler", "vkDestroySampler"));
  mock_.FailNext(number::vkCreateSampler, VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(vk::vkCreateSampler(device_, &info, nullptr, &sampler), VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(sampler, VK_NULL_HANDLE);
  mock_.FailNext(number::vkResetCommandPool, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(vk::vkResetCommandPool(device_, pool_, 0), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkFence fence = CreateFence();
  EXPECT_EQ(Submit(VK_NULL_HANDLE, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  vk::vkDestroyFence(device_, fence, nullptr);
}

}  // namespace
}  // namespace vesper::tests
