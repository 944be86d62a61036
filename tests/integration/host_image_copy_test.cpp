// SPDX-License-Identifier: Apache-2.0
// Copies between images and the program's own memory without a command buffer (core since 1.4).
#include <cstring>

#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkFormat kRgba = VK_FORMAT_R8G8B8A8_UNORM;
constexpr VkImageLayout kGeneral = VK_IMAGE_LAYOUT_GENERAL;

class HostImageCopyTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    VESPER_REQUIRE(features.v14.hostImageCopy == VK_TRUE);
    image_ = MakeImage(gpu(), ImageInfo(kRgba, 40, 24, VK_IMAGE_USAGE_HOST_TRANSFER_BIT));
    HostTransition(VK_IMAGE_LAYOUT_UNDEFINED, kGeneral);
  }

  void HostTransition(VkImageLayout from, VkImageLayout to) {
    VkHostImageLayoutTransitionInfo info{VK_STRUCTURE_TYPE_HOST_IMAGE_LAYOUT_TRANSITION_INFO};
    info.image = image_.handle;
    info.oldLayout = from;
    info.newLayout = to;
    info.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    VESPER_CHECK(vk.TransitionImageLayout(device, 1, &info));
  }

  VkMemoryToImageCopy UploadRegion(const void* data) const {
    VkMemoryToImageCopy region{VK_STRUCTURE_TYPE_MEMORY_TO_IMAGE_COPY};
    region.pHostPointer = data;
    region.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    region.imageExtent = {40, 24, 1};
    return region;
  }

  void Upload(const VkMemoryToImageCopy& region) {
    VkCopyMemoryToImageInfo info{VK_STRUCTURE_TYPE_COPY_MEMORY_TO_IMAGE_INFO};
    info.dstImage = image_.handle;
    info.dstImageLayout = kGeneral;
    info.regionCount = 1;
    info.pRegions = &region;
    VESPER_CHECK(vk.CopyMemoryToImage(device, &info));
  }

  VkImageToMemoryCopy DownloadRegion(void* data) const {
    VkImageToMemoryCopy region{VK_STRUCTURE_TYPE_IMAGE_TO_MEMORY_COPY};
    region.pHostPointer = data;
    region.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    region.imageExtent = {40, 24, 1};
    return region;
  }

  void Download(const VkImageToMemoryCopy& region, VkHostImageCopyFlags flags = 0) {
    VkCopyImageToMemoryInfo info{VK_STRUCTURE_TYPE_COPY_IMAGE_TO_MEMORY_INFO};
    info.flags = flags;
    info.srcImage = image_.handle;
    info.srcImageLayout = kGeneral;
    info.regionCount = 1;
    info.pRegions = &region;
    VESPER_CHECK(vk.CopyImageToMemory(device, &info));
  }

  Image image_;
};

TEST_F(HostImageCopyTest, UpAndDown) {
  const std::vector<uint8_t> texels = Random(60).Bytes(40 * 24 * 4);
  Upload(UploadRegion(texels.data()));
  std::vector<uint8_t> read(texels.size());
  Download(DownloadRegion(read.data()));
  EXPECT_EQ(texels, read);
}

TEST_F(HostImageCopyTest, RowLengthLeavesTheGapsAlone) {
  const std::vector<uint8_t> texels = Random(61).Bytes(40 * 24 * 4);
  Upload(UploadRegion(texels.data()));
  // A part of the image into rows of 50 texels: between the rows nothing may change.
  std::vector<uint8_t> read(50 * 10 * 4, 0xCD);
  VkImageToMemoryCopy region = DownloadRegion(read.data());
  region.memoryRowLength = 50;
  region.imageOffset = {5, 6, 0};
  region.imageExtent = {30, 10, 1};
  Download(region);
  std::vector<uint8_t> expected(read.size(), 0xCD);
  for (size_t y = 0; y < 10; ++y) {
    std::memcpy(&expected[y * 200], &texels[((y + 6) * 40 + 5) * 4], 120);
  }
  EXPECT_EQ(expected, read);
}

TEST_F(HostImageCopyTest, PartialUpload) {
  Upload(UploadRegion(std::vector<uint8_t>(40 * 24 * 4, 1).data()));
  const std::vector<uint8_t> patch = Random(62).Bytes(16 * 5 * 4);
  VkMemoryToImageCopy region = UploadRegion(patch.data());
  region.memoryRowLength = 16;
  region.imageOffset = {20, 10, 0};
  region.imageExtent = {12, 5, 1};
  Upload(region);
  std::vector<uint8_t> expected(40 * 24 * 4, 1);
  for (size_t y = 0; y < 5; ++y) {
    std::memcpy(&expected[((y + 10) * 40 + 20) * 4], &patch[y * 64], 48);
  }
  EXPECT_EQ(expected, ReadImage(gpu(), image_, kGeneral, 4));
}

TEST_F(HostImageCopyTest, SeesWhatTheGpuWrote) {
  const VkClearColorValue color{.float32 = {0.2f, 0.4f, 0.6f, 1.0f}};
  const VkImageSubresourceRange range{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  Execute([&](VkCommandBuffer commands) {
    vk.CmdClearColorImage(commands, image_.handle, kGeneral, &color, 1, &range);
  });
  std::vector<uint8_t> read(40 * 24 * 4);
  Download(DownloadRegion(read.data()));
  EXPECT_EQ((std::vector<uint8_t>{51, 102, 153, 255}),
            std::vector<uint8_t>(read.end() - 4, read.end()));
}

TEST_F(HostImageCopyTest, FromMappedMemory) {
  // The program's own pointer may be one into mapped memory that the GPU wrote a moment ago.
  const Buffer buffer = MakeHostBuffer(gpu(), 40 * 24 * 4);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 0x87654321);
  });
  Upload(UploadRegion(buffer.data));
  const std::vector<uint8_t> read = ReadImage(gpu(), image_, kGeneral, 4);
  EXPECT_EQ(0, std::memcmp(read.data(), buffer.data, read.size()));
}

TEST_F(HostImageCopyTest, IntoMappedMemoryThatTheGpuReads) {
  const std::vector<uint8_t> texels = Random(63).Bytes(40 * 24 * 4);
  Upload(UploadRegion(texels.data()));
  const Buffer buffer = MakeHostBuffer(gpu(), texels.size());
  Download(DownloadRegion(buffer.data));
  EXPECT_EQ(texels, ReadBack(gpu(), buffer.handle, texels.size()));
}

TEST_F(HostImageCopyTest, RawCopyWithMemcpyFlag) {
  // The bytes in the driver's own order: all that may be done with them is to put them back.
  const std::vector<uint8_t> texels = Random(64).Bytes(40 * 24 * 4);
  Upload(UploadRegion(texels.data()));
  VkImageSubresource2 subresource{VK_STRUCTURE_TYPE_IMAGE_SUBRESOURCE_2};
  subresource.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
  VkSubresourceHostMemcpySize size{VK_STRUCTURE_TYPE_SUBRESOURCE_HOST_MEMCPY_SIZE};
  VkSubresourceLayout2 layout{VK_STRUCTURE_TYPE_SUBRESOURCE_LAYOUT_2};
  layout.pNext = &size;
  vk.GetImageSubresourceLayout2(device, image_.handle, &subresource, &layout);
  ASSERT_GE(size.size, texels.size());
  std::vector<uint8_t> raw(size.size + 16, 0xA5);
  Download(DownloadRegion(raw.data()), VK_HOST_IMAGE_COPY_MEMCPY);
  EXPECT_EQ(std::vector<uint8_t>(16, 0xA5), std::vector<uint8_t>(raw.end() - 16, raw.end()));

  Upload(UploadRegion(std::vector<uint8_t>(texels.size()).data()));
  const VkMemoryToImageCopy region = UploadRegion(raw.data());
  VkCopyMemoryToImageInfo info{VK_STRUCTURE_TYPE_COPY_MEMORY_TO_IMAGE_INFO};
  info.flags = VK_HOST_IMAGE_COPY_MEMCPY;
  info.dstImage = image_.handle;
  info.dstImageLayout = kGeneral;
  info.regionCount = 1;
  info.pRegions = &region;
  ASSERT_EQ(VK_SUCCESS, vk.CopyMemoryToImage(device, &info));
  EXPECT_EQ(texels, ReadImage(gpu(), image_, kGeneral, 4));
}

TEST_F(HostImageCopyTest, BetweenImages) {
  const std::vector<uint8_t> texels = Random(65).Bytes(40 * 24 * 4);
  Upload(UploadRegion(texels.data()));
  Image other = MakeImage(gpu(), ImageInfo(kRgba, 40, 24, VK_IMAGE_USAGE_HOST_TRANSFER_BIT));
  std::swap(image_, other);
  HostTransition(VK_IMAGE_LAYOUT_UNDEFINED, kGeneral);
  VkImageCopy2 region{VK_STRUCTURE_TYPE_IMAGE_COPY_2};
  region.srcSubresource = region.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  region.extent = {40, 24, 1};
  VkCopyImageToImageInfo info{VK_STRUCTURE_TYPE_COPY_IMAGE_TO_IMAGE_INFO};
  info.srcImage = other.handle;
  info.srcImageLayout = kGeneral;
  info.dstImage = image_.handle;
  info.dstImageLayout = kGeneral;
  info.regionCount = 1;
  info.pRegions = &region;
  ASSERT_EQ(VK_SUCCESS, vk.CopyImageToImage(device, &info));
  EXPECT_EQ(texels, ReadImage(gpu(), image_, kGeneral, 4));
}

// A linear image in memory that is mapped: its texels are under the program's pointer.
class LinearHostImageCopyTest : public HostImageCopyTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    VESPER_REQUIRE(features.v14.hostImageCopy == VK_TRUE);
    VkImageCreateInfo info = ImageInfo(kRgba, 40, 24, VK_IMAGE_USAGE_HOST_TRANSFER_BIT);
    info.tiling = VK_IMAGE_TILING_LINEAR;
    info.usage = VK_IMAGE_USAGE_HOST_TRANSFER_BIT;
    info.initialLayout = VK_IMAGE_LAYOUT_PREINITIALIZED;
    VkImageFormatProperties limits{};
    VESPER_REQUIRE(vk.GetPhysicalDeviceImageFormatProperties(physical_device, info.format,
                                                             info.imageType, info.tiling,
                                                             info.usage, 0, &limits) == VK_SUCCESS);
    image_ = MakeImageIn(
        gpu(), info, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    const VkImageSubresource subresource{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
    vk.GetImageSubresourceLayout(device, image_.handle, &subresource, &layout_);
    data_ = Map(image_.memory) + layout_.offset;
  }

  void WriteTexels(const std::vector<uint8_t>& texels) {
    for (size_t y = 0; y < 24; ++y) {
      std::memcpy(data_ + y * layout_.rowPitch, &texels[y * 160], 160);
    }
  }
  std::vector<uint8_t> Texels() const {
    std::vector<uint8_t> texels(40 * 24 * 4);
    for (size_t y = 0; y < 24; ++y) {
      std::memcpy(&texels[y * 160], data_ + y * layout_.rowPitch, 160);
    }
    return texels;
  }

  VkSubresourceLayout layout_{};
  uint8_t* data_ = nullptr;
};

TEST_F(LinearHostImageCopyTest, ACopySeesWhatTheProgramWrote) {
  HostTransition(VK_IMAGE_LAYOUT_PREINITIALIZED, kGeneral);
  for (uint64_t round = 0; round < 4; ++round) {
    const std::vector<uint8_t> texels = Random(66 + round).Bytes(40 * 24 * 4);
    WriteTexels(texels);
    std::vector<uint8_t> read(texels.size());
    Download(DownloadRegion(read.data()));
    EXPECT_EQ(texels, read) << "round " << round;
  }
}

TEST_F(LinearHostImageCopyTest, TheProgramSeesWhatACopyWrote) {
  HostTransition(VK_IMAGE_LAYOUT_PREINITIALIZED, kGeneral);
  for (uint64_t round = 0; round < 4; ++round) {
    const std::vector<uint8_t> texels = Random(76 + round).Bytes(40 * 24 * 4);
    Upload(UploadRegion(texels.data()));
    EXPECT_EQ(texels, Texels()) << "round " << round;
  }
}

TEST_F(LinearHostImageCopyTest, ATransitionKeepsWhatTheProgramWrote) {
  const std::vector<uint8_t> texels = Random(86).Bytes(40 * 24 * 4);
  WriteTexels(texels);
  HostTransition(VK_IMAGE_LAYOUT_PREINITIALIZED, kGeneral);
  std::vector<uint8_t> read(texels.size());
  Download(DownloadRegion(read.data()));
  EXPECT_EQ(texels, read);
  EXPECT_EQ(texels, Texels());
}

}  // namespace
}  // namespace vesper::tests
