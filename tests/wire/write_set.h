// SPDX-License-Identifier: Apache-2.0
//
// What the host compares when work is done. The mock's device writes every byte of an allocation,
// whatever it was told to do, with another value each time: what the program gets to see of it is
// what the host took the work to be able to write.
#ifndef VESPER_TESTS_WIRE_WRITE_SET_H_
#define VESPER_TESTS_WIRE_WRITE_SET_H_

#include <algorithm>
#include <ostream>
#include <vector>

#include "tests/framework/wire_test.h"

namespace vesper::tests {

struct Seen {
  size_t begin;
  size_t end;

  friend bool operator==(const Seen&, const Seen&) = default;
  friend void PrintTo(const Seen& seen, std::ostream* out) {
    *out << "[" << seen.begin << ", " << seen.end << ")";
  }
};

class WriteSetTest : public WireTest {
 protected:
  static constexpr size_t kSize = 256u << 10;

  void SetUp() override {
    Open();
    memory_ = Allocate(kSize, kMockCoherent);
    Map();
    fence_ = CreateFence();
  }
  void TearDown() override {
    vk::vkFreeMemory(device_, memory_, nullptr);
    vk::vkDestroyFence(device_, fence_, nullptr);
  }
  void Map() {
    void* data = nullptr;
    ASSERT_EQ(vk::vkMapMemory(device_, memory_, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    data_ = static_cast<std::byte*>(data);
  }
  VkBuffer Bind(VkDeviceSize offset, VkDeviceSize size, VkBufferUsageFlags usage) {
    const VkBuffer buffer = Keep(CreateBuffer(size, usage));
    EXPECT_EQ(vk::vkBindBufferMemory(device_, buffer, memory_, offset), VK_SUCCESS);
    return buffer;
  }
  // The mock's images take 64 KiB.
  VkImage BindImage(VkDeviceSize offset, VkImageUsageFlags usage) {
    VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
    info.imageType = VK_IMAGE_TYPE_2D;
    info.format = VK_FORMAT_R8G8B8A8_UNORM;
    info.extent = {64, 64, 1};
    info.mipLevels = 1;
    info.arrayLayers = 4;
    info.samples = VK_SAMPLE_COUNT_1_BIT;
    info.usage = usage;
    VkImage image = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateImage(device_, &info, nullptr, &image), VK_SUCCESS);
    EXPECT_EQ(vk::vkBindImageMemory(device_, image, memory_, offset), VK_SUCCESS);
    return Keep(image);
  }
  template <typename Commands>
  VkCommandBuffer Record(const Commands& commands) {
    VkCommandBuffer buffer = Begin();
    commands(buffer);
    EXPECT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
    return buffer;
  }
  // From now on the device writes another value everywhere.
  void DeviceWritesEverywhere() {
    value_ = static_cast<std::byte>(static_cast<int>(value_) + 1);
    mock_.OnExecute([this] { std::ranges::fill(mock_.Memory(0), value_); });
  }
  // What the program sees of the value that was written last.
  std::vector<Seen> Visible() const {
    std::vector<Seen> seen;
    for (size_t i = 0; i < kSize; ++i) {
      if (data_[i] != value_) {
        continue;
      }
      if (seen.empty() || seen.back().end != i) {
        seen.push_back({i, i});
      }
      seen.back().end = i + 1;
    }
    return seen;
  }
  void RunAndWait(VkCommandBuffer buffer) {
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
    ASSERT_EQ(Submit(buffer, fence_), VK_SUCCESS);
    ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  }
  std::vector<Seen> After(VkCommandBuffer buffer) {
    DeviceWritesEverywhere();
    RunAndWait(buffer);
    return Visible();
  }
  template <typename Commands>
  std::vector<Seen> AfterRecording(const Commands& commands) {
    return After(Record(commands));
  }

  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  std::byte* data_ = nullptr;
  std::byte value_{0x10};
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_WIRE_WRITE_SET_H_
