// SPDX-License-Identifier: Apache-2.0
// Devices: what may be enabled and what is refused, which entry points there are, private data,
// names for debuggers.
#include <set>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class DeviceTest : public ::testing::Test, public Gpu {
 protected:
  void SetUp() override { OpenInstance(); }

  VkResult CreateWith(const std::vector<const char*>& extensions, const void* next = nullptr,
                      const VkPhysicalDeviceFeatures* enabled = nullptr) {
    const float priority = 0.5f;
    VkDeviceQueueCreateInfo queue_info{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
    queue_info.queueCount = 1;
    queue_info.pQueuePriorities = &priority;
    VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
    info.pNext = next;
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue_info;
    info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    info.pEnabledFeatures = enabled;
    const VkResult result = vk.CreateDevice(physical_device, &info, nullptr, &device);
    if (result == VK_SUCCESS) {
      vk.LoadDevice(device, VK_API_VERSION_1_4);
    }
    return result;
  }
};

TEST_F(DeviceTest, WithoutAnyFeature) {
  ASSERT_EQ(VK_SUCCESS, CreateWith({}));
  EXPECT_EQ(VK_SUCCESS, vk.DeviceWaitIdle(device));
}

TEST_F(DeviceTest, WithTheOldFeatureStruct) {
  ASSERT_EQ(VK_SUCCESS, CreateWith({}, nullptr, &features.core.features));
}

TEST_F(DeviceTest, UnknownExtensionIsRefused) {
  EXPECT_EQ(VK_ERROR_EXTENSION_NOT_PRESENT, CreateWith({"VK_EXT_of_another_world"}));
  EXPECT_EQ(VkDevice{VK_NULL_HANDLE}, device);
  // The instance has taken no harm.
  EXPECT_EQ(VK_SUCCESS, CreateWith({}));
}

TEST_F(DeviceTest, MissingFeatureIsRefused) {
  // Any feature that this device doesn't have.
  const auto* begin = reinterpret_cast<const VkBool32*>(&features.core.features);
  VkPhysicalDeviceFeatures wanted{};
  auto* wanted_begin = reinterpret_cast<VkBool32*>(&wanted);
  size_t missing = 0;
  while (missing < sizeof(wanted) / sizeof(VkBool32) && begin[missing] == VK_TRUE) {
    ++missing;
  }
  VESPER_REQUIRE(missing < sizeof(wanted) / sizeof(VkBool32));
  wanted_begin[missing] = VK_TRUE;
  EXPECT_EQ(VK_ERROR_FEATURE_NOT_PRESENT, CreateWith({}, nullptr, &wanted));
}

TEST_F(DeviceTest, EveryOfferedExtensionCanBeEnabled) {
  // All in one device, so that each finds the ones that it asks for; two exclude others, and those
  // of window systems need an instance that knows of them.
  std::vector<const char*> names;
  for (const std::string& extension : device_extensions) {
    if (extension != "VK_EXT_buffer_device_address" &&
        extension != "VK_AMD_negative_viewport_height" &&
        extension.find("swapchain") == std::string::npos &&
        extension.find("present") == std::string::npos &&
        extension.find("display") == std::string::npos) {
      names.push_back(extension.c_str());
    }
  }
  ASSERT_EQ(VK_SUCCESS, CreateWith(names));
}

TEST_F(DeviceTest, ExtensionCommandsOnlyWhenEnabled) {
  VESPER_REQUIRE(HasDeviceExtension("VK_KHR_push_descriptor"));
  VESPER_REQUIRE(HasDeviceExtension("VK_KHR_map_memory2"));
  ASSERT_EQ(VK_SUCCESS, CreateWith({"VK_KHR_push_descriptor"}));
  EXPECT_NE(nullptr, vk.GetDeviceProcAddr(device, "vkCmdPushDescriptorSetKHR"));
  EXPECT_EQ(nullptr, vk.GetDeviceProcAddr(device, "vkMapMemory2KHR"));
  EXPECT_EQ(nullptr, vk.GetDeviceProcAddr(device, "vkUnmapMemory2KHR"));
  EXPECT_EQ(nullptr, vk.GetDeviceProcAddr(device, "vkCmdSetColorWriteEnableEXT"));
  EXPECT_NE(nullptr, vk.GetDeviceProcAddr(device, "vkMapMemory2"));
}

TEST_F(DeviceTest, AliasesDoTheSame) {
  VESPER_REQUIRE(HasDeviceExtension("VK_KHR_map_memory2"));
  VESPER_REQUIRE(HasDeviceExtension("VK_KHR_synchronization2"));
  GpuOptions options;
  options.device_extensions = {"VK_KHR_map_memory2", "VK_KHR_synchronization2"};
  OpenDevice(options);
  const auto map2 = vk.Find<PFN_vkMapMemory2KHR>(device, "vkMapMemory2KHR");
  const auto unmap2 = vk.Find<PFN_vkUnmapMemory2KHR>(device, "vkUnmapMemory2KHR");
  const auto submit2 = vk.Find<PFN_vkQueueSubmit2KHR>(device, "vkQueueSubmit2KHR");
  ASSERT_TRUE(map2 != nullptr && unmap2 != nullptr && submit2 != nullptr);
  const Buffer buffer = MakeHostBuffer(*this, 4096);
  const Buffer result = MakeHostBuffer(*this, 4096);
  VkMemoryUnmapInfo unmap{VK_STRUCTURE_TYPE_MEMORY_UNMAP_INFO};
  unmap.memory = buffer.memory;
  ASSERT_EQ(VK_SUCCESS, unmap2(device, &unmap));
  VkMemoryMapInfo map{VK_STRUCTURE_TYPE_MEMORY_MAP_INFO};
  map.memory = buffer.memory;
  map.size = VK_WHOLE_SIZE;
  void* data = nullptr;
  ASSERT_EQ(VK_SUCCESS, map2(device, &map, &data));
  std::fill_n(static_cast<uint8_t*>(data), 4096, uint8_t{0x42});
  VkCommandBufferSubmitInfo commands{VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO};
  commands.commandBuffer = Record([&](VkCommandBuffer recording) {
    CopyBytes(*this, recording, buffer.handle, result.handle, 4096);
    FullBarrier(recording);
  });
  VkSubmitInfo2 submit{VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
  submit.commandBufferInfoCount = 1;
  submit.pCommandBufferInfos = &commands;
  ASSERT_EQ(VK_SUCCESS, submit2(queue, 1, &submit, VK_NULL_HANDLE));
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  EXPECT_EQ(0x42, result.data[4095]);
}

TEST_F(DeviceTest, GroupOfOneDevice) {
  VkDeviceGroupDeviceCreateInfo group{VK_STRUCTURE_TYPE_DEVICE_GROUP_DEVICE_CREATE_INFO};
  group.physicalDeviceCount = 1;
  group.pPhysicalDevices = &physical_device;
  ASSERT_EQ(VK_SUCCESS, CreateWith({}, &group));
}

TEST_F(DeviceTest, DestroyingNothingIsAllowed) {
  OpenDevice();
  vk.DestroyBuffer(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyBufferView(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyImage(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyImageView(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyFence(device, VK_NULL_HANDLE, nullptr);
  vk.DestroySemaphore(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyEvent(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyQueryPool(device, VK_NULL_HANDLE, nullptr);
  vk.DestroySampler(device, VK_NULL_HANDLE, nullptr);
  vk.DestroySamplerYcbcrConversion(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyShaderModule(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyPipeline(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyPipelineCache(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyPipelineLayout(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyDescriptorPool(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyDescriptorSetLayout(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyDescriptorUpdateTemplate(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyRenderPass(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyFramebuffer(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyCommandPool(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyPrivateDataSlot(device, VK_NULL_HANDLE, nullptr);
  vk.FreeMemory(device, VK_NULL_HANDLE, nullptr);
  vk.DestroyDevice(VK_NULL_HANDLE, nullptr);
  vk.DestroyInstance(VK_NULL_HANDLE, nullptr);
}

TEST_F(DeviceTest, HandlesAreNotGivenOutTwice) {
  OpenDevice();
  std::vector<Owned<VkFence>> fences;
  std::set<VkFence> seen;
  for (int i = 0; i < 1000; ++i) {
    fences.push_back(MakeFence());
    ASSERT_TRUE(seen.insert(fences.back().get()).second);
    if (i % 3 == 0) {
      seen.erase(fences.front().get());
      fences.erase(fences.begin());
    }
  }
}

TEST_F(DeviceTest, PrivateData) {
  OpenDevice();
  VESPER_REQUIRE(features.v13.privateData == VK_TRUE);
  const VkPrivateDataSlotCreateInfo info{VK_STRUCTURE_TYPE_PRIVATE_DATA_SLOT_CREATE_INFO};
  const Owned<VkPrivateDataSlot> first =
      Make(vk.CreatePrivateDataSlot, vk.DestroyPrivateDataSlot, info);
  Owned<VkPrivateDataSlot> second = Make(vk.CreatePrivateDataSlot, vk.DestroyPrivateDataSlot, info);
  Owned<VkFence> fence = MakeFence();
  const auto handle = reinterpret_cast<uint64_t>(fence.get());
  uint64_t data = 99;
  vk.GetPrivateData(device, VK_OBJECT_TYPE_FENCE, handle, first, &data);
  EXPECT_EQ(0u, data);
  ASSERT_EQ(VK_SUCCESS,
            vk.SetPrivateData(device, VK_OBJECT_TYPE_FENCE, handle, first, 0xFEDCBA9876543210));
  ASSERT_EQ(VK_SUCCESS, vk.SetPrivateData(device, VK_OBJECT_TYPE_FENCE, handle, second, 5));
  ASSERT_EQ(VK_SUCCESS, vk.SetPrivateData(device, VK_OBJECT_TYPE_DEVICE,
                                          reinterpret_cast<uint64_t>(device), first, 6));
  vk.GetPrivateData(device, VK_OBJECT_TYPE_FENCE, handle, first, &data);
  EXPECT_EQ(0xFEDCBA9876543210u, data);
  vk.GetPrivateData(device, VK_OBJECT_TYPE_FENCE, handle, second, &data);
  EXPECT_EQ(5u, data);
  vk.GetPrivateData(device, VK_OBJECT_TYPE_DEVICE, reinterpret_cast<uint64_t>(device), first,
                    &data);
  EXPECT_EQ(6u, data);
  vk.GetPrivateData(device, VK_OBJECT_TYPE_DEVICE, reinterpret_cast<uint64_t>(device), second,
                    &data);
  EXPECT_EQ(0u, data);
  // A slot made anew is empty.
  second.Reset();
  second = Make(vk.CreatePrivateDataSlot, vk.DestroyPrivateDataSlot, info);
  vk.GetPrivateData(device, VK_OBJECT_TYPE_FENCE, handle, second, &data);
  EXPECT_EQ(0u, data);
}

TEST_F(DeviceTest, PrivateDataSlotsReservedAtCreation) {
  VkDevicePrivateDataCreateInfo reserve{VK_STRUCTURE_TYPE_DEVICE_PRIVATE_DATA_CREATE_INFO};
  reserve.privateDataSlotRequestCount = 4;
  VkPhysicalDevicePrivateDataFeatures feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRIVATE_DATA_FEATURES};
  feature.pNext = &reserve;
  feature.privateData = VK_TRUE;
  ASSERT_EQ(VK_SUCCESS, CreateWith({}, &feature));
}

TEST_F(DeviceTest, NamesAndLabelsForDebuggers) {
  Close();
  GpuOptions options;
  options.instance_extensions = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
  Open(options);
  const auto set_name =
      vk.Find<PFN_vkSetDebugUtilsObjectNameEXT>(device, "vkSetDebugUtilsObjectNameEXT");
  const auto begin_label =
      vk.Find<PFN_vkCmdBeginDebugUtilsLabelEXT>(device, "vkCmdBeginDebugUtilsLabelEXT");
  const auto end_label =
      vk.Find<PFN_vkCmdEndDebugUtilsLabelEXT>(device, "vkCmdEndDebugUtilsLabelEXT");
  const auto queue_label =
      vk.Find<PFN_vkQueueInsertDebugUtilsLabelEXT>(device, "vkQueueInsertDebugUtilsLabelEXT");
  ASSERT_TRUE(set_name != nullptr && begin_label != nullptr && end_label != nullptr &&
              queue_label != nullptr);
  const Buffer buffer = MakeHostBuffer(*this, 64);
  VkDebugUtilsObjectNameInfoEXT name{VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT};
  name.objectType = VK_OBJECT_TYPE_BUFFER;
  name.objectHandle = reinterpret_cast<uint64_t>(buffer.handle.get());
  name.pObjectName = "the buffer";
  EXPECT_EQ(VK_SUCCESS, set_name(device, &name));
  name.objectType = VK_OBJECT_TYPE_DEVICE;
  name.objectHandle = reinterpret_cast<uint64_t>(device);
  EXPECT_EQ(VK_SUCCESS, set_name(device, &name));
  VkDebugUtilsLabelEXT label{VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT};
  label.pLabelName = "a part";
  queue_label(queue, &label);
  Execute([&](VkCommandBuffer commands) {
    begin_label(commands, &label);
    vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 1);
    end_label(commands);
  });
  EXPECT_EQ(1u, buffer.As<uint32_t>()[15]);
}

}  // namespace
}  // namespace vesper::tests
