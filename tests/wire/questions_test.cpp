// SPDX-License-Identifier: Apache-2.0
//
// What the guest asks before the program does: addresses and handles of shader groups are there
// when the program wants them, whatever becomes of the object, the driver or the link; and how much
// memory there is.
#include <cstring>
#include <future>
#include <set>
#include <thread>

#include "tests/framework/door.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

VkDeviceAddress AddressFor(uint64_t handle) { return handle * 0x10000; }

class Questions : public WireTest {
 protected:
  void SetUp() override {
    mock_.On(number::vkGetBufferDeviceAddress, [](void* args) {
      auto& a = *static_cast<proto::Args_vkGetBufferDeviceAddress*>(args);
      a.ret = AddressFor(reinterpret_cast<uint64_t>(a.pInfo->buffer));
    });
    mock_.On(number::vkCreateBuffer, [this](void* args) {
      const std::lock_guard lock(made_mutex_);
      made_.push_back(
          reinterpret_cast<uint64_t>(*static_cast<proto::Args_vkCreateBuffer*>(args)->pBuffer));
    });
    OpenWithAddresses();
  }
  ~Questions() override {
    door_.Open();
    DestroyAll();
    host_->Finish();  // whose threads use the door
  }

  // As Open, with a device that gives addresses of buffers.
  void OpenWithAddresses(const transport::Faults& to_host = {},
                         const transport::Faults& to_guest = {}) {
    Open(to_host, to_guest);
    vk::vkDestroyCommandPool(device_, pool_, nullptr);
    vk::vkDestroyDevice(device_, nullptr);
    pool_ = VK_NULL_HANDLE;
    const float priority = 1.0f;
    const VkDeviceQueueCreateInfo queue{
        VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 0, 1, &priority};
    VkPhysicalDeviceVulkan12Features features{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    features.bufferDeviceAddress = VK_TRUE;
    const VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &features, 0, 1, &queue};
    ASSERT_EQ(vk::vkCreateDevice(physical_device_, &info, nullptr, &device_), VK_SUCCESS);
    vk::vkGetDeviceQueue(device_, 0, 0, &queue_);
    memory_ = Keep(Allocate(1 << 20, kMockDeviceLocal));
    Sync();
    mock_.Clear();
  }
  VkBuffer BoundBuffer() {
    const VkBuffer buffer = CreateBuffer(4096, VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
    EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory_, 0), VK_SUCCESS);
    return buffer;
  }
  VkDeviceAddress AddressOf(VkBuffer buffer) {
    const VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, nullptr,
                                         buffer};
    return vk::vkGetBufferDeviceAddress(device_, &info);
  }
  // The driver's handle of the buffer that was made as the i-th.
  uint64_t Made(size_t i) {
    const std::lock_guard lock(made_mutex_);
    return made_.at(i);
  }

  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  Door door_;
  std::mutex made_mutex_;
  std::vector<uint64_t> made_;
};

TEST_F(Questions, AnAddressIsAskedWhenTheBufferIsBound) {
  const VkBuffer buffer = BoundBuffer();
  Sync();
  EXPECT_EQ(mock_.Count("vkGetBufferDeviceAddress"), 1u) << "nobody has asked yet";
  EXPECT_EQ(AddressOf(buffer), AddressFor(Made(0)));
  EXPECT_EQ(AddressOf(buffer), AddressFor(Made(0)));
  EXPECT_THAT(Calls(),
              ElementsAre("vkCreateBuffer", "vkBindBufferMemory", "vkGetBufferDeviceAddress"));
  vk::vkDestroyBuffer(device_, buffer, nullptr);
}

TEST_F(Questions, SeveralBindsAtOnce) {
  const VkBuffer buffers[] = {CreateBuffer(64, VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT),
                              CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT),
                              CreateBuffer(64, VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT)};
  std::vector<VkBindBufferMemoryInfo> binds;
  for (const VkBuffer buffer : buffers) {
    binds.push_back({VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, nullptr, buffer, memory_, 0});
  }
  ASSERT_EQ(vk::vkBindBufferMemory2(device_, 3, binds.data()), VK_SUCCESS);
  const VkDeviceAddress last = AddressOf(buffers[2]);
  const VkDeviceAddress first = AddressOf(buffers[0]);
  EXPECT_EQ(last, AddressFor(Made(2)));
  EXPECT_EQ(first, AddressFor(Made(0)));
  EXPECT_EQ(mock_.Count("vkGetBufferDeviceAddress"), 2u);
  for (const VkBuffer buffer : buffers) {
    vk::vkDestroyBuffer(device_, buffer, nullptr);
  }
}

TEST_F(Questions, ABufferThatIsNotThereHasNoAddress) {
  mock_.FailNext(number::vkCreateBuffer, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkBuffer poisoned = BoundBuffer();
  EXPECT_EQ(AddressOf(poisoned), 0u);
  Submit(VK_NULL_HANDLE, VK_NULL_HANDLE);  // is told of the failure
  const VkBuffer bound = CreateBuffer(64, VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
  mock_.FailNext(number::vkBindBufferMemory, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkBuffer broken = BoundBuffer();
  EXPECT_EQ(AddressOf(broken), 0u);
  EXPECT_EQ(mock_.Count("vkGetBufferDeviceAddress"), 0u);
  Sync();
  // The error is told instead of the bind: there is nothing to ask.
  ASSERT_NE(vk::vkBindBufferMemory(device_, bound, memory_, 0), VK_SUCCESS);
  Sync();
  EXPECT_EQ(mock_.Count("vkGetBufferDeviceAddress"), 0u);
  for (const VkBuffer buffer : {poisoned, broken, bound}) {
    vk::vkDestroyBuffer(device_, buffer, nullptr);
  }
}

TEST_F(Questions, AnIdThatIsGivenAgainHasItsOwnAddress) {
  std::set<VkDeviceAddress> addresses;
  for (size_t i = 0; i < 50; ++i) {
    const VkBuffer early = BoundBuffer();
    vk::vkDestroyBuffer(device_, early, nullptr);
    const VkBuffer buffer = BoundBuffer();
    const VkDeviceAddress address = AddressOf(buffer);
    EXPECT_EQ(address, AddressFor(Made(2 * i + 1)));
    EXPECT_TRUE(addresses.insert(address).second);
    vk::vkDestroyBuffer(device_, buffer, nullptr);
  }
}

TEST_F(Questions, TheEndOfTheSessionEndsTheWait) {
  mock_.On(number::vkGetBufferDeviceAddress, [this](void*) { door_.Pass(); });
  const VkBuffer buffer = BoundBuffer();
  std::vector<std::future<VkDeviceAddress>> answers;
  for (int i = 0; i < 3; ++i) {
    answers.push_back(std::async(std::launch::async, [&] { return AddressOf(buffer); }));
  }
  ASSERT_TRUE(door_.WaitFor(1));
  host_->Kill();
  for (std::future<VkDeviceAddress>& answer : answers) {
    EXPECT_EQ(answer.get(), 0u);
  }
  EXPECT_EQ(AddressOf(buffer), 0u);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
}

TEST_F(Questions, OnlyWhatMayHaveAnAddressIsAskedFor) {
  const VkBuffer plain = CreateBuffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  ASSERT_EQ(vk::vkBindBufferMemory(device_, plain, memory_, 0), VK_SUCCESS);
  Sync();
  EXPECT_EQ(mock_.Count("vkGetBufferDeviceAddress"), 0u);
  vk::vkDestroyBuffer(device_, plain, nullptr);
}

TEST_F(WireTest, WithoutTheFeatureNoAddressIsAskedFor) {
  Open();
  const VkDeviceMemory memory = Allocate(4096, kMockDeviceLocal);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
  ASSERT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_SUCCESS);
  EXPECT_THAT(Calls(), ElementsAre("vkAllocateMemory", "vkCreateBuffer", "vkBindBufferMemory"));
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
}

struct Switch {
  const char* name;
  bool sync;
};

class QuestionsOff : public Questions, public testing::WithParamInterface<Switch> {
 protected:
  void SetUp() override {
    if (GetParam().sync) {
      environment_.debug_sync = true;
    } else {
      environment_.pushes = client::ReadPushKinds("off");
    }
    Questions::SetUp();
  }
};

TEST_P(QuestionsOff, EachIsACall) {
  const VkBuffer buffer = BoundBuffer();
  Sync();
  EXPECT_EQ(mock_.Count("vkGetBufferDeviceAddress"), 0u);
  EXPECT_EQ(AddressOf(buffer), AddressFor(Made(0)));
  EXPECT_EQ(AddressOf(buffer), AddressFor(Made(0)));
  EXPECT_EQ(mock_.Count("vkGetBufferDeviceAddress"), 2u);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
}

INSTANTIATE_TEST_SUITE_P(All, QuestionsOff,
                         testing::Values(Switch{"Variable", false}, Switch{"Sync", true}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(PushKinds, Words) {
  using client::ReadPushKinds;
  EXPECT_EQ(ReadPushKinds(""), client::kPushAll);
  EXPECT_EQ(ReadPushKinds("off"), 0u);
  EXPECT_EQ(ReadPushKinds("budget,nonsense,addresses"),
            uint32_t{client::kPushBudget | client::kPushAddresses});
}

TEST_F(Questions, AnAccelerationStructuresAddressIsAskedWhenItIsCreated) {
  mock_.On(number::vkGetAccelerationStructureDeviceAddressKHR, [](void* args) {
    static_cast<proto::Args_vkGetAccelerationStructureDeviceAddressKHR*>(args)->ret = 4711;
  });
  const VkBuffer buffer = BoundBuffer();
  VkAccelerationStructureCreateInfoKHR info{
      VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_KHR};
  info.buffer = buffer;
  info.size = 256;
  VkAccelerationStructureKHR structures[2] = {};
  ASSERT_EQ(vk::vkCreateAccelerationStructureKHR(device_, &info, nullptr, &structures[0]),
            VK_SUCCESS);
  Sync();
  EXPECT_EQ(mock_.Count("vkGetAccelerationStructureDeviceAddressKHR"), 1u);
  mock_.FailNext(number::vkCreateAccelerationStructureKHR, VK_ERROR_OUT_OF_HOST_MEMORY);
  ASSERT_EQ(vk::vkCreateAccelerationStructureKHR(device_, &info, nullptr, &structures[1]),
            VK_SUCCESS);
  const auto address = [this](VkAccelerationStructureKHR structure) {
    const VkAccelerationStructureDeviceAddressInfoKHR asked{
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_DEVICE_ADDRESS_INFO_KHR, nullptr, structure};
    return vk::vkGetAccelerationStructureDeviceAddressKHR(device_, &asked);
  };
  EXPECT_EQ(address(structures[0]), 4711u);
  EXPECT_EQ(address(structures[1]), 0u);
  EXPECT_EQ(mock_.Count("vkGetAccelerationStructureDeviceAddressKHR"), 1u);
  for (const VkAccelerationStructureKHR structure : structures) {
    vk::vkDestroyAccelerationStructureKHR(device_, structure, nullptr);
  }
  vk::vkDestroyBuffer(device_, buffer, nullptr);
}

// -- ray tracing pipelines ------------------------------------------------------------------------

class GroupHandles : public Questions {
 protected:
  void SetUp() override {
    Questions::SetUp();
    mock_.On(number::vkGetRayTracingShaderGroupHandlesKHR, [](void* args) {
      auto& a = *static_cast<proto::Args_vkGetRayTracingShaderGroupHandlesKHR*>(args);
      for (uint32_t i = 0; i < a.groupCount; ++i) {
        std::memset(static_cast<std::byte*>(a.pData) + i * kMockGroupHandleBytes,
                    static_cast<int>(a.firstGroup + i + 1), kMockGroupHandleBytes);
      }
    });
    mock_.On(number::vkGetRayTracingShaderGroupStackSizeKHR, [](void* args) {
      auto& a = *static_cast<proto::Args_vkGetRayTracingShaderGroupStackSizeKHR*>(args);
      a.ret = 100 * a.group + a.groupShader;
    });
  }

  static VkRayTracingShaderGroupCreateInfoKHR Group(VkRayTracingShaderGroupTypeKHR type,
                                                    uint32_t general, uint32_t closest,
                                                    uint32_t any, uint32_t intersection) {
    return {VK_STRUCTURE_TYPE_RAY_TRACING_SHADER_GROUP_CREATE_INFO_KHR,
            nullptr,
            type,
            general,
            closest,
            any,
            intersection,
            nullptr};
  }
  // Of three groups, and those of the library.
  VkPipeline Create(VkPipelineCreateFlags flags = 0, VkPipeline library = VK_NULL_HANDLE,
                    bool sets_stack_size = false) {
    const uint32_t no = VK_SHADER_UNUSED_KHR;
    const VkRayTracingShaderGroupCreateInfoKHR groups[] = {
        Group(VK_RAY_TRACING_SHADER_GROUP_TYPE_GENERAL_KHR, 0, 5, 5, 5),
        Group(VK_RAY_TRACING_SHADER_GROUP_TYPE_TRIANGLES_HIT_GROUP_KHR, 7, 1, no, 7),
        Group(VK_RAY_TRACING_SHADER_GROUP_TYPE_PROCEDURAL_HIT_GROUP_KHR, no, no, 2, 3)};
    const VkPipelineLibraryCreateInfoKHR libraries{
        VK_STRUCTURE_TYPE_PIPELINE_LIBRARY_CREATE_INFO_KHR, nullptr, 1, &library};
    const VkDynamicState state = VK_DYNAMIC_STATE_RAY_TRACING_PIPELINE_STACK_SIZE_KHR;
    const VkPipelineDynamicStateCreateInfo dynamic{
        VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO, nullptr, 0, 1, &state};
    VkRayTracingPipelineCreateInfoKHR info{VK_STRUCTURE_TYPE_RAY_TRACING_PIPELINE_CREATE_INFO_KHR};
    info.flags = flags;
    info.groupCount = 3;
    info.pGroups = groups;
    info.pLibraryInfo = library == VK_NULL_HANDLE ? nullptr : &libraries;
    info.pDynamicState = sets_stack_size ? &dynamic : nullptr;
    VkPipeline pipeline = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateRayTracingPipelinesKHR(device_, VK_NULL_HANDLE, VK_NULL_HANDLE, 1, &info,
                                                 nullptr, &pipeline),
              VK_SUCCESS);
    return pipeline;
  }
  // The first byte of each handle, or nothing for a failure.
  std::vector<int> Handles(VkPipeline pipeline, uint32_t first, uint32_t count) {
    std::vector<std::byte> data(count * kMockGroupHandleBytes);
    std::vector<int> values;
    if (vk::vkGetRayTracingShaderGroupHandlesKHR(device_, pipeline, first, count, data.size(),
                                                 data.data()) == VK_SUCCESS) {
      for (uint32_t i = 0; i < count; ++i) {
        values.push_back(static_cast<int>(data[i * kMockGroupHandleBytes]));
      }
    }
    return values;
  }
};

TEST_F(GroupHandles, AllAreAskedForAtOnce) {
  const VkPipeline pipeline = Create();
  EXPECT_THAT(Handles(pipeline, 0, 3), ElementsAre(1, 2, 3));
  EXPECT_THAT(Handles(pipeline, 1, 1), ElementsAre(2));
  EXPECT_THAT(Handles(pipeline, 1, 2), ElementsAre(2, 3));
  EXPECT_EQ(mock_.Count("vkGetRayTracingShaderGroupHandlesKHR"), 1u);
  EXPECT_EQ(mock_.Count("vkGetRayTracingShaderGroupStackSizeKHR"), 0u);
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
}

TEST_F(GroupHandles, OfAPipelineThatWasNotMadeThereAreNone) {
  mock_.FailNext(number::vkCreateRayTracingPipelinesKHR, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkPipeline pipeline = Create();
  EXPECT_THAT(Handles(pipeline, 0, 3), IsEmpty());
  EXPECT_EQ(mock_.Count("vkGetRayTracingShaderGroupHandlesKHR"), 0u);
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
}

TEST_F(GroupHandles, OfLibrariesTheyAreAskedForWithThePipeline) {
  const VkPipeline library = Create(VK_PIPELINE_CREATE_LIBRARY_BIT_KHR);
  Sync();
  EXPECT_EQ(mock_.Count("vkGetRayTracingShaderGroupHandlesKHR"), 0u);
  const VkPipeline pipeline = Create(0, library);
  EXPECT_THAT(Handles(pipeline, 2, 4), ElementsAre(3, 4, 5, 6));
  EXPECT_EQ(mock_.Count("vkGetRayTracingShaderGroupHandlesKHR"), 1u);
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
  vk::vkDestroyPipeline(device_, library, nullptr);
}

TEST_F(GroupHandles, StackSizesAreAskedForIfTheProgramSetsOne) {
  const VkPipeline pipeline = Create(0, VK_NULL_HANDLE, true);
  Sync();
  EXPECT_EQ(mock_.Count("vkGetRayTracingShaderGroupStackSizeKHR"), 4u);
  const auto size = [&](uint32_t group, VkShaderGroupShaderKHR shader) {
    return vk::vkGetRayTracingShaderGroupStackSizeKHR(device_, pipeline, group, shader);
  };
  EXPECT_EQ(size(0, VK_SHADER_GROUP_SHADER_GENERAL_KHR), 0u);
  EXPECT_EQ(size(1, VK_SHADER_GROUP_SHADER_CLOSEST_HIT_KHR), 101u);
  EXPECT_EQ(size(2, VK_SHADER_GROUP_SHADER_ANY_HIT_KHR), 202u);
  EXPECT_EQ(size(2, VK_SHADER_GROUP_SHADER_INTERSECTION_KHR), 203u);
  EXPECT_EQ(mock_.Count("vkGetRayTracingShaderGroupStackSizeKHR"), 4u);
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
}

TEST_F(GroupHandles, TheStreamGoesOnWhileTheyWaitForTheCompiler) {
  mock_.On(number::vkCreateRayTracingPipelinesKHR, [this](void*) { door_.Pass(); });
  const VkPipeline pipeline = Create();
  ASSERT_TRUE(door_.WaitFor(1));
  const VkBuffer buffer = BoundBuffer();
  PassStream();
  EXPECT_EQ(AddressOf(buffer), AddressFor(Made(0)));
  EXPECT_EQ(mock_.Count("vkGetRayTracingShaderGroupHandlesKHR"), 0u);
  std::future<std::vector<int>> handles =
      std::async(std::launch::async, [&] { return Handles(pipeline, 0, 3); });
  PassStream();
  door_.Open();
  EXPECT_THAT(handles.get(), ElementsAre(1, 2, 3));
  vk::vkDestroyPipeline(device_, pipeline, nullptr);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
}

// -- how much memory there is ---------------------------------------------------------------------

class Budget : public WireTest {
 protected:
  static constexpr size_t kAll = 64u << 20;

  void SetUp() override {
    excluded_pushes_ = 0;
    mock_.SetBudget(kAll);
    Open();
  }
  VkPhysicalDeviceMemoryBudgetPropertiesEXT Get() {
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 properties{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, &budget, {}};
    vk::vkGetPhysicalDeviceMemoryProperties2(physical_device_, &properties);
    EXPECT_EQ(properties.memoryProperties.memoryTypeCount, 4u);
    EXPECT_EQ(budget.heapBudget[0], kAll);
    return budget;
  }
};

TEST_F(Budget, WhatTheProgramAllocatesItHasUsed) {
  Get();
  const VkDeviceSize before = Get().heapUsage[0];
  const VkDeviceMemory memory = Allocate(1 << 20, kMockDeviceLocal);
  EXPECT_EQ(Get().heapUsage[0], before + (1 << 20))
      << "not told by the host, perhaps not even sent";
  vk::vkFreeMemory(device_, memory, nullptr);
  EXPECT_EQ(Get().heapUsage[0], before);
}

TEST_F(Budget, ItIsToldOnceHoweverOldTheAnswerIs) {
  std::vector<VkDeviceMemory> memories;
  const VkDeviceSize before = Get().heapUsage[0];
  for (VkDeviceSize i = 1; i <= 20; ++i) {
    memories.push_back(Allocate(1 << 16, kMockDeviceLocal));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // so that answers come in between
    EXPECT_EQ(Get().heapUsage[0], before + (i << 16));
  }
  for (const VkDeviceMemory memory : memories) {
    vk::vkFreeMemory(device_, memory, nullptr);
  }
}

TEST_F(Budget, ALostSessionTellsHeapsAndTypes) {
  Get();
  host_->Kill();
  while (vk::vkGetEventStatus(device_, VK_NULL_HANDLE) != VK_ERROR_DEVICE_LOST) {
  }
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
  VkPhysicalDeviceMemoryProperties2 properties{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, &budget, {}};
  vk::vkGetPhysicalDeviceMemoryProperties2(physical_device_, &properties);
  EXPECT_EQ(properties.memoryProperties.memoryTypeCount, 4u);
  EXPECT_EQ(budget.heapBudget[0], 0u);
}

}  // namespace
}  // namespace vesper::tests
