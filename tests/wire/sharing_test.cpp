// SPDX-License-Identifier: Apache-2.0
//
// Memory whose pages guest and device share: nothing of it travels, what cannot be shared is copied
// as ever, and what the program was told stays true.
#include <cstring>

#include "client_icd/object.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::Contains;
using testing::ElementsAre;

constexpr VkDeviceSize kSize = 100'000;

class Sharing : public WireTest {
 protected:
  void SetUp() override {
    shares_memory_ = true;
    mock_.SetImportableTypes(1u << kMockCoherent | 1u << kMockCached);
  }

  // The driver's allocation that was made last.
  size_t Last() {
    Sync();
    return mock_.MemoryCount() - 1;
  }
  std::byte* Map(VkDeviceMemory memory) {
    void* data = nullptr;
    EXPECT_EQ(vk::vkMapMemory(device_, memory, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    return static_cast<std::byte*>(data);
  }
  void SubmitAndWait() {
    const VkFence fence = CreateFence();
    EXPECT_EQ(Submit(VK_NULL_HANDLE, fence), VK_SUCCESS);
    EXPECT_EQ(Wait(fence), VK_SUCCESS);
    vk::vkDestroyFence(device_, fence, nullptr);
  }
  const VkBufferCreateInfo& CreatedBuffer(size_t index) {
    return *Arguments<proto::Args_vkCreateBuffer>("vkCreateBuffer", index).pCreateInfo;
  }
};

TEST_F(Sharing, BothSidesHaveTheSamePages) {
  Open();
  const VkDeviceMemory memory = Allocate(kSize, kMockCoherent);
  std::byte* data = Map(memory);
  const size_t last = Last();
  ASSERT_TRUE(mock_.IsImported(last));
  ASSERT_EQ(mock_.Memory(last).size(), 102'400u) << "whole pages";
  data[kSize - 1] = std::byte{1};
  EXPECT_EQ(mock_.Memory(last)[kSize - 1], std::byte{1}) << "without a submission";
  mock_.Memory(last)[5] = std::byte{2};
  EXPECT_EQ(data[5], std::byte{2}) << "without a wait";

  // It is mapped again, in another place, and is the same memory still.
  vk::vkUnmapMemory(device_, memory);
  EXPECT_EQ(mock_.Memory(last)[kSize - 1], std::byte{1});
  data = Map(memory);
  EXPECT_EQ(data[kSize - 1], std::byte{1});
  vk::vkFreeMemory(device_, memory, nullptr);
  Sync();
}

TEST_F(Sharing, NewMemoryIsZeroed) {
  Open();
  for (int round = 0; round < 3; ++round) {
    const VkDeviceMemory memory = Allocate(kSize, kMockCoherent);
    std::byte* data = Map(memory);
    ASSERT_TRUE(mock_.IsImported(Last()));
    for (size_t i = 0; i < kSize; ++i) {
      ASSERT_EQ(data[i], std::byte{0}) << "at " << i << " in round " << round;
    }
    std::memset(data, 0x55, kSize);
    vk::vkFreeMemory(device_, memory, nullptr);
  }
}

TEST_F(Sharing, OnlyTypesThatTheDriverImportsAndNobodyFlushes) {
  mock_.SetImportableTypes(15);
  mock_.On(number::vkAllocateMemory, [](void* args) {
    auto& a = *static_cast<proto::Args_vkAllocateMemory*>(args);
    const auto* import = static_cast<const VkBaseInStructure*>(a.pAllocateInfo->pNext);
    if (a.pAllocateInfo->memoryTypeIndex == kMockSlow && import != nullptr &&
        import->sType == VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT) {
      a.ret = VK_ERROR_INVALID_EXTERNAL_HANDLE;  // although the driver had said that it could
    }
  });
  Open();
  for (const uint32_t type : {kMockCoherent, kMockCached, kMockSlow}) {
    const VkDeviceMemory memory = Allocate(kSize, type);
    std::byte* data = Map(memory);
    EXPECT_EQ(mock_.IsImported(Last()), type == kMockCoherent) << "type " << type;
    data[3] = std::byte{7};
    if (type == kMockCached) {
      const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, memory, 0,
                                      VK_WHOLE_SIZE};
      EXPECT_EQ(vk::vkFlushMappedMemoryRanges(device_, 1, &range), VK_SUCCESS);
    }
    const VkBuffer buffer = CreateBuffer(kSize, kShaderTarget);
    EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_SUCCESS);
    EXPECT_EQ(Submit(ShaderWork(), VK_NULL_HANDLE), VK_SUCCESS);
    EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
    Sync();
    EXPECT_EQ(mock_.Memory(Last())[3], std::byte{7}) << "type " << type;
    vk::vkDestroyBuffer(device_, buffer, nullptr);
    vk::vkFreeMemory(device_, memory, nullptr);
  }
}

TEST_F(Sharing, WhatIsNotImportedIsCopied) {
  Open();
  mock_.FailNext(number::vkAllocateMemory, VK_ERROR_OUT_OF_HOST_MEMORY);  // the import
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::byte* data = MapNewMemory(kSize, kMockCoherent, &memory);
  const size_t last = Last();
  ASSERT_FALSE(mock_.IsImported(last));
  EXPECT_EQ(mock_.Memory(last)[9], std::byte{0}) << "as the program's view is";
  data[9] = std::byte{3};
  mock_.OnExecute([&] {
    EXPECT_EQ(mock_.Memory(last)[9], std::byte{3});
    mock_.Memory(last)[10] = std::byte{4};
  });
  EXPECT_EQ(Submit(ShaderWork(), VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
  EXPECT_EQ(data[10], std::byte{4});
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(Sharing, MemoryThatIsNotThereEndsNoWait) {
  Open();
  mock_.On(number::vkAllocateMemory, [](void* args) {
    static_cast<proto::Args_vkAllocateMemory*>(args)->ret = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  });
  const VkDeviceMemory memory = Allocate(kSize, kMockCoherent);
  std::byte* data = Map(memory);
  data[0] = std::byte{1};
  Sync();
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  vk::vkFreeMemory(device_, memory, nullptr);
  // Freed before the host has said anything.
  vk::vkFreeMemory(device_, Allocate(kSize, kMockCoherent), nullptr);
  Sync();
}

TEST_F(Sharing, ACalledAllocationFailsAtOnce) {
  environment_.posts = 0;
  Open();
  bool fails = true;
  mock_.On(number::vkAllocateMemory, [&](void* args) {
    if (fails) {
      static_cast<proto::Args_vkAllocateMemory*>(args)->ret = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
  });
  const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, kSize,
                                  kMockCoherent};
  VkDeviceMemory memory = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkAllocateMemory(device_, &info, nullptr, &memory), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(memory, VK_NULL_HANDLE);
  fails = false;
  EXPECT_EQ(vk::vkAllocateMemory(device_, &info, nullptr, &memory), VK_SUCCESS);
  Map(memory)[1] = std::byte{1};
  EXPECT_EQ(mock_.Memory(Last())[1], std::byte{1}) << "shared";
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(Sharing, TheLostSessionEndsTheWait) {
  Open();
  const VkDeviceMemory memory = Keep(Allocate(kSize, kMockCoherent));
  host_->Kill();
  void* data = nullptr;
  EXPECT_EQ(vk::vkMapMemory(device_, memory, 0, VK_WHOLE_SIZE, 0, &data),
            VK_ERROR_MEMORY_MAP_FAILED);
}

TEST_F(Sharing, AMappingOutlivesTheSession) {
  Open();
  std::byte* data = Map(Keep(Allocate(kSize, kMockCoherent)));
  data[kSize - 1] = std::byte{1};
  host_->Kill();
  host_->Finish();
  EXPECT_EQ(data[kSize - 1], std::byte{1});
  data[0] = std::byte{2};
  EXPECT_EQ(data[0], std::byte{2});
}

TEST_F(Sharing, BuffersAreMadeForImportedMemoryOnceItIsTheirs) {
  Open();
  const VkDeviceMemory memory = Allocate(kSize, kMockCoherent);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT);
  VkMemoryRequirements2 before{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
  const VkBufferMemoryRequirementsInfo2 of{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2,
                                           nullptr, buffer};
  vk::vkGetBufferMemoryRequirements2(device_, &of, &before);
  Sync();
  ASSERT_EQ(mock_.Count("vkCreateBuffer"), 1u);
  const size_t live = mock_.Live();
  EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 256), VK_SUCCESS);
  Sync();
  ASSERT_EQ(mock_.Count("vkCreateBuffer"), 2u);
  EXPECT_EQ(CreatedBuffer(1).size, 64u);
  EXPECT_EQ(CreatedBuffer(1).usage, CreatedBuffer(0).usage);
  const auto& bind = Arguments<proto::Args_vkBindBufferMemory>("vkBindBufferMemory");
  const VkBuffer bound = bind.buffer;
  EXPECT_EQ(bind.memoryOffset, 256u);
  // From here on the program's handle leads to the one that was bound.
  const VkBufferViewCreateInfo info{
      VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO, nullptr, 0, buffer, VK_FORMAT_R32_UINT, 0, 64};
  VkBufferView view = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateBufferView(device_, &info, nullptr, &view), VK_SUCCESS);
  Sync();
  EXPECT_EQ(Arguments<proto::Args_vkCreateBufferView>("vkCreateBufferView").pCreateInfo->buffer,
            bound);
  vk::vkDestroyBufferView(device_, view, nullptr);
  Sync();
  EXPECT_EQ(mock_.Live(), live + 1);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  Sync();
  EXPECT_EQ(mock_.Live(), live - 1) << "both are gone";
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(Sharing, BuffersThatCannotBeMadeSoAreBoundAsTheyAre) {
  Open();
  const VkDeviceMemory memory = Allocate(kSize, kMockCoherent);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  Sync();
  VkBuffer second = VK_NULL_HANDLE;
  mock_.On(number::vkCreateBuffer,
           [&](void* args) { second = *static_cast<proto::Args_vkCreateBuffer*>(args)->pBuffer; });
  mock_.On(number::vkGetBufferMemoryRequirements2, [&](void* args) {
    auto& a = *static_cast<proto::Args_vkGetBufferMemoryRequirements2*>(args);
    if (a.pInfo->buffer == second) {
      a.pMemoryRequirements->memoryRequirements.memoryTypeBits = 1u << kMockSlow;
    }
  });
  const size_t live = mock_.Live();
  EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_SUCCESS);
  Sync();
  ASSERT_NE(second, VK_NULL_HANDLE);
  EXPECT_NE(Arguments<proto::Args_vkBindBufferMemory>("vkBindBufferMemory").buffer, second);
  EXPECT_EQ(mock_.Live(), live);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(Sharing, OtherMemoryTakesTheFirstBuffer) {
  Open();
  const VkDeviceMemory memory = Allocate(kSize, kMockDeviceLocal);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_SUCCESS);
  EXPECT_THAT(Calls(), ElementsAre("vkAllocateMemory", "vkCreateBuffer", "vkBindBufferMemory"));
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
  EXPECT_THAT(Calls(), Contains("vkDestroyBuffer").Times(1));
}

TEST_F(Sharing, WithoutTheExtensionEverythingIsCopied) {
  mock_.SetExtensions(false);
  Open();
  std::byte* data = nullptr;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  data = MapNewMemory(kSize, kMockCoherent, &memory);
  data[1] = std::byte{1};
  EXPECT_EQ(Submit(ShaderWork(), VK_NULL_HANDLE), VK_SUCCESS);
  Sync();
  EXPECT_FALSE(mock_.IsImported(Last()));
  EXPECT_EQ(mock_.Memory(Last())[1], std::byte{1});
  vk::vkFreeMemory(device_, memory, nullptr);
}

}  // namespace
}  // namespace vesper::tests
