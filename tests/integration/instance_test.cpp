// SPDX-License-Identifier: Apache-2.0
// Instances: what may be asked without one, how they are created and refused, several at once, and
// one after the other.
#include <gmock/gmock.h>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class InstanceTest : public ::testing::Test {
 protected:
  void SetUp() override { vk_.LoadGlobal(); }

  VkResult Create(const VkInstanceCreateInfo& info, VkInstance* instance) {
    *instance = VK_NULL_HANDLE;
    return vk_.CreateInstance(&info, nullptr, instance);
  }

  VulkanApi vk_;
};

TEST_F(InstanceTest, WithoutApplicationInfo) {
  const VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  VkInstance instance = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS, Create(info, &instance));
  vk_.LoadInstance(instance);
  uint32_t count = 0;
  EXPECT_EQ(VK_SUCCESS, vk_.EnumeratePhysicalDevices(instance, &count, nullptr));
  EXPECT_GE(count, 1u);
  vk_.DestroyInstance(instance, nullptr);
}

TEST_F(InstanceTest, EveryVersionOfTheApi) {
  for (const uint32_t version : {VK_API_VERSION_1_0, VK_API_VERSION_1_1, VK_API_VERSION_1_2,
                                 VK_API_VERSION_1_3, VK_API_VERSION_1_4}) {
    SCOPED_TRACE(VK_API_VERSION_MINOR(version));
    VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO};
    application.apiVersion = version;
    VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    info.pApplicationInfo = &application;
    VkInstance instance = VK_NULL_HANDLE;
    ASSERT_EQ(VK_SUCCESS, Create(info, &instance));
    vk_.LoadInstance(instance);
    uint32_t count = 1;
    VkPhysicalDevice device = VK_NULL_HANDLE;
    const VkResult result = vk_.EnumeratePhysicalDevices(instance, &count, &device);
    EXPECT_TRUE(result == VK_SUCCESS || result == VK_INCOMPLETE) << ResultName(result);
    VkPhysicalDeviceProperties properties{};
    vk_.GetPhysicalDeviceProperties(device, &properties);
    EXPECT_GE(properties.apiVersion, VK_API_VERSION_1_4);
    vk_.DestroyInstance(instance, nullptr);
  }
}

TEST_F(InstanceTest, UnknownExtensionIsRefused) {
  const char* name = "VK_EXT_of_another_world";
  VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.enabledExtensionCount = 1;
  info.ppEnabledExtensionNames = &name;
  VkInstance instance = VK_NULL_HANDLE;
  EXPECT_EQ(VK_ERROR_EXTENSION_NOT_PRESENT, Create(info, &instance));
}

TEST_F(InstanceTest, EveryOfferedExtensionCanBeEnabled) {
  uint32_t count = 0;
  ASSERT_EQ(VK_SUCCESS, vk_.EnumerateInstanceExtensionProperties(nullptr, &count, nullptr));
  std::vector<VkExtensionProperties> extensions(count);
  ASSERT_EQ(VK_SUCCESS,
            vk_.EnumerateInstanceExtensionProperties(nullptr, &count, extensions.data()));
  std::vector<const char*> names;
  for (const VkExtensionProperties& extension : extensions) {
    names.push_back(extension.extensionName);
  }
  VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.enabledExtensionCount = count;
  info.ppEnabledExtensionNames = names.data();
  VkInstance instance = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS, Create(info, &instance));
  vk_.LoadInstance(instance);
  vk_.DestroyInstance(instance, nullptr);
}

TEST_F(InstanceTest, DevicesAreTheSameEachTime) {
  Gpu gpu;
  gpu.OpenInstance();
  uint32_t count = 0;
  ASSERT_EQ(VK_SUCCESS, gpu.vk.EnumeratePhysicalDevices(gpu.instance, &count, nullptr));
  std::vector<VkPhysicalDevice> first(count);
  std::vector<VkPhysicalDevice> second(count);
  ASSERT_EQ(VK_SUCCESS, gpu.vk.EnumeratePhysicalDevices(gpu.instance, &count, first.data()));
  ASSERT_EQ(VK_SUCCESS, gpu.vk.EnumeratePhysicalDevices(gpu.instance, &count, second.data()));
  EXPECT_EQ(first, second);
  count = 0;
  EXPECT_EQ(VK_INCOMPLETE, gpu.vk.EnumeratePhysicalDevices(gpu.instance, &count, second.data()));
  EXPECT_EQ(0u, count);
}

TEST_F(InstanceTest, DeviceGroups) {
  Gpu gpu;
  gpu.OpenInstance();
  uint32_t count = 0;
  ASSERT_EQ(VK_SUCCESS, gpu.vk.EnumeratePhysicalDeviceGroups(gpu.instance, &count, nullptr));
  ASSERT_GE(count, 1u);
  std::vector<VkPhysicalDeviceGroupProperties> groups(
      count, {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GROUP_PROPERTIES});
  ASSERT_EQ(VK_SUCCESS, gpu.vk.EnumeratePhysicalDeviceGroups(gpu.instance, &count, groups.data()));
  std::vector<VkPhysicalDevice> in_groups;
  for (const VkPhysicalDeviceGroupProperties& group : groups) {
    ASSERT_GE(group.physicalDeviceCount, 1u);
    in_groups.insert(in_groups.end(), group.physicalDevices,
                     group.physicalDevices + group.physicalDeviceCount);
  }
  EXPECT_THAT(in_groups, ::testing::Contains(gpu.physical_device));
}

TEST_F(InstanceTest, ListsCutShort) {
  Gpu gpu;
  gpu.OpenInstance();
  uint32_t count = 1;
  VkExtensionProperties one{};
  EXPECT_EQ(VK_INCOMPLETE,
            gpu.vk.EnumerateDeviceExtensionProperties(gpu.physical_device, nullptr, &count, &one));
  EXPECT_EQ(1u, count);
  EXPECT_THAT(one.extensionName, ::testing::StartsWith("VK_"));
  count = 0;
  gpu.vk.GetPhysicalDeviceQueueFamilyProperties(gpu.physical_device, &count, nullptr);
  const uint32_t all = count;
  std::vector<VkQueueFamilyProperties> families(all + 3);
  count = all + 3;
  gpu.vk.GetPhysicalDeviceQueueFamilyProperties(gpu.physical_device, &count, families.data());
  EXPECT_EQ(all, count);
}

TEST_F(InstanceTest, SeveralAtOnceWithDevices) {
  std::vector<std::unique_ptr<Gpu>> gpus;
  std::vector<Buffer> buffers;
  for (uint32_t i = 0; i < 4; ++i) {
    gpus.push_back(std::make_unique<Gpu>());
    gpus.back()->Open();
    buffers.push_back(MakeHostBuffer(*gpus.back(), 4096));
  }
  for (uint32_t round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < 4; ++i) {
      gpus[i]->Execute([&](VkCommandBuffer commands) {
        gpus[i]->vk.CmdFillBuffer(commands, buffers[i].handle, 0, VK_WHOLE_SIZE, 10 * round + i);
      });
    }
    for (uint32_t i = 0; i < 4; ++i) {
      EXPECT_EQ(10 * round + i, buffers[i].As<uint32_t>()[1023]);
    }
  }
  // They go in another order than they came.
  for (const size_t i : {1, 3, 0, 2}) {
    buffers[i] = Buffer();
    gpus[i].reset();
  }
}

TEST_F(InstanceTest, SeveralDevicesOfOneInstance) {
  Gpu first;
  first.Open();
  // A second device of the same physical device, made by hand.
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queue_info{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue_info.queueFamilyIndex = first.queue_family;
  queue_info.queueCount = 1;
  queue_info.pQueuePriorities = &priority;
  VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue_info;
  for (int i = 0; i < 3; ++i) {
    VkDevice second = VK_NULL_HANDLE;
    ASSERT_EQ(VK_SUCCESS, first.vk.CreateDevice(first.physical_device, &info, nullptr, &second));
    VulkanApi vk = first.vk;
    vk.LoadDevice(second, VK_API_VERSION_1_4);
    VkQueue queue = VK_NULL_HANDLE;
    vk.GetDeviceQueue(second, first.queue_family, 0, &queue);
    EXPECT_NE(first.queue, queue);
    const VkFenceCreateInfo fence_info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkFence fence = VK_NULL_HANDLE;
    ASSERT_EQ(VK_SUCCESS, vk.CreateFence(second, &fence_info, nullptr, &fence));
    ASSERT_EQ(VK_SUCCESS, vk.QueueSubmit(queue, 0, nullptr, fence));
    EXPECT_EQ(VK_SUCCESS, vk.WaitForFences(second, 1, &fence, VK_TRUE, kWaitLimitNs));
    vk.DestroyFence(second, fence, nullptr);
    vk.DestroyDevice(second, nullptr);
  }
  const Buffer buffer = MakeHostBuffer(first, 64);
  first.Execute([&](VkCommandBuffer commands) {
    first.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 4);
  });
  EXPECT_EQ(4u, buffer.As<uint32_t>()[15]);
}

TEST_F(InstanceTest, TwentyOneAfterTheOther) {
  // The loader unloads the driver after the last instance, and loads it again for the next.
  for (uint32_t i = 0; i < 20; ++i) {
    Gpu gpu;
    gpu.Open();
    const Buffer buffer = MakeHostBuffer(gpu, 256);
    gpu.Execute([&](VkCommandBuffer commands) {
      gpu.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, i);
    });
    ASSERT_EQ(i, buffer.As<uint32_t>()[63]);
  }
}

TEST_F(InstanceTest, UnknownCommandsAreNull) {
  Gpu gpu;
  gpu.Open();
  EXPECT_EQ(nullptr, gpu.vk.GetInstanceProcAddr(gpu.instance, "vkOfAnotherWorld"));
  EXPECT_EQ(nullptr, gpu.vk.GetDeviceProcAddr(gpu.device, "vkOfAnotherWorld"));
  // A command of the instance is none of the device.
  EXPECT_EQ(nullptr, gpu.vk.GetDeviceProcAddr(gpu.device, "vkEnumeratePhysicalDevices"));
}

TEST_F(InstanceTest, DebugMessengerGetsWhatIsSubmitted) {
  Gpu gpu;
  GpuOptions options;
  options.instance_extensions = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
  gpu.OpenInstance(options);
  std::string heard;
  VkDebugUtilsMessengerCreateInfoEXT info{VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT;
  info.pUserData = &heard;
  info.pfnUserCallback = [](VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                            const VkDebugUtilsMessengerCallbackDataEXT* data,
                            void* user) -> VkBool32 {
    *static_cast<std::string*>(user) += data->pMessage;
    return VK_FALSE;
  };
  const auto create = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
      gpu.vk.GetInstanceProcAddr(gpu.instance, "vkCreateDebugUtilsMessengerEXT"));
  const auto submit = reinterpret_cast<PFN_vkSubmitDebugUtilsMessageEXT>(
      gpu.vk.GetInstanceProcAddr(gpu.instance, "vkSubmitDebugUtilsMessageEXT"));
  const auto destroy = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
      gpu.vk.GetInstanceProcAddr(gpu.instance, "vkDestroyDebugUtilsMessengerEXT"));
  ASSERT_TRUE(create != nullptr && submit != nullptr && destroy != nullptr);
  VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS, create(gpu.instance, &info, nullptr, &messenger));
  VkDebugUtilsMessengerCallbackDataEXT message{
      VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CALLBACK_DATA_EXT};
  message.pMessage = "once";
  submit(gpu.instance, VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT,
         VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT, &message);
  message.pMessage = "not wanted";
  submit(gpu.instance, VK_DEBUG_UTILS_MESSAGE_SEVERITY_INFO_BIT_EXT,
         VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT, &message);
  EXPECT_EQ("once", heard);
  destroy(gpu.instance, messenger, nullptr);
}

}  // namespace
}  // namespace vesper::tests
