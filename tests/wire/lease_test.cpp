// SPDX-License-Identifier: Apache-2.0
//
// Memory that the host has lent: it is allocated without asking, and what the driver does not have
// is told as natively, or later, and then nothing uses it.
#include <cstring>

#include "tests/framework/random.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Leases : public WireTest {
 protected:
  void SetUp() override { Open(); }

  /// A failure is told once, by the first call that may tell it.
  void ExpectOneError(VkResult error) {
    Sync();
    EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), error);
    EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS);
    Sync();
  }
};

TEST_F(Leases, WhatWasLentIsAllocatedWithoutAsking) {
  const VkDeviceMemory memory = Allocate(1 << 20, kMockCoherent);
  EXPECT_EQ(mock_.Count("vkAllocateMemory"), 0u) << "it is in the batch";
  vk::vkFreeMemory(device_, memory, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkAllocateMemory", "vkFreeMemory"));
}

TEST_F(Leases, WhatIsWrittenToMemoryThatIsNotThereGoesNowhere) {
  mock_.FailNext(number::vkAllocateMemory, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const VkDeviceMemory memory = Allocate(4096, kMockCoherent);
  const VkBuffer buffer = CreateBuffer(64, VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT);
  EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory, 0), VK_SUCCESS);
  void* data = nullptr;
  ASSERT_EQ(vk::vkMapMemory(device_, memory, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
  std::memset(data, 1, 4096);
  ExpectOneError(VK_ERROR_OUT_OF_DEVICE_MEMORY);
  mock_.Clear();
  const VkBufferViewCreateInfo view_info{VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO, nullptr, 0,
                                         buffer};
  VkBufferView view = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateBufferView(device_, &view_info, nullptr, &view), VK_SUCCESS);
  vk::vkDestroyBufferView(device_, view, nullptr);
  EXPECT_THAT(Calls(), IsEmpty()) << "a buffer without memory is not used";
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkDestroyBuffer"));
}

TEST_F(Leases, MemoryThatTheDriverMayRefuseIsCalled) {
  const auto expect_call = [this](VkDeviceSize size, const void* next) {
    mock_.FailNext(number::vkAllocateMemory, VK_ERROR_OUT_OF_HOST_MEMORY);
    const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, next, size,
                                    kMockCoherent};
    VkDeviceMemory memory = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkAllocateMemory(device_, &info, nullptr, &memory), VK_ERROR_OUT_OF_HOST_MEMORY);
  };
  const VkMemoryAllocateFlagsInfo flags{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, nullptr,
                                        VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT};
  const VkMemoryOpaqueCaptureAddressAllocateInfo captured{
      VK_STRUCTURE_TYPE_MEMORY_OPAQUE_CAPTURE_ADDRESS_ALLOCATE_INFO};
  expect_call(4096, &flags);
  EXPECT_EQ(mock_.Count("vkAllocateMemory"), 1u);
  vk::vkFreeMemory(device_, Allocate(4096, kMockCoherent), nullptr);
  expect_call(4096, &captured);
  expect_call(VkDeviceSize{2} << 30, nullptr);
}

class SmallBudget : public Leases {
 protected:
  static constexpr VkDeviceSize kBudget = 32u << 20;

  void SetUp() override {
    mock_.SetBudget(kBudget);
    mock_.SetMemoryLimit(size_t{8} << 30);  // nothing that was freed counts
    Leases::SetUp();
  }
  VkResult Try(VkDeviceSize size, VkDeviceMemory* memory) {
    const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, size,
                                    kMockDeviceLocal};
    return vk::vkAllocateMemory(device_, &info, nullptr, memory);
  }
};

TEST_F(SmallBudget, AProgramThatAllocatesUntilItFailsFailsWhereTheDriverDoes) {
  tests::Random random(7);
  std::vector<std::pair<VkDeviceMemory, VkDeviceSize>> live;
  VkDeviceSize used = 0;
  size_t failures = 0;
  size_t posted = 0;
  for (int step = 0; step < 1200; ++step) {
    SCOPED_TRACE(step);
    if (!live.empty() && random.OneIn(3)) {
      const size_t victim = random.Below(live.size());
      vk::vkFreeMemory(device_, live[victim].first, nullptr);
      used -= live[victim].second;
      live[victim] = live.back();
      live.pop_back();
      continue;
    }
    const VkDeviceSize size = random.Between(1, 64) * 16384;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    const size_t before = mock_.MemoryCount();
    const VkResult result = Try(size, &memory);
    posted += result == VK_SUCCESS && mock_.MemoryCount() == before ? 1 : 0;
    ASSERT_EQ(result, used + size <= kBudget ? VK_SUCCESS : VK_ERROR_OUT_OF_DEVICE_MEMORY) << used;
    if (result == VK_SUCCESS) {
      live.emplace_back(memory, size);
      used += size;
    } else {
      ++failures;
    }
  }
  EXPECT_GT(failures, 10u);
  EXPECT_GT(posted, 100u) << "most are not asked for";
  Sync();
  EXPECT_EQ(Submit(VK_NULL_HANDLE, VK_NULL_HANDLE), VK_SUCCESS) << "nothing failed unseen";
  for (const auto& [memory, size] : live) {
    vk::vkFreeMemory(device_, memory, nullptr);
  }
}

}  // namespace
}  // namespace vesper::tests
