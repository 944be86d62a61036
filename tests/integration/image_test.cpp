// SPDX-License-Identifier: Apache-2.0
// Images: every kind of transfer and clear, levels and layers, linear images under the program's
// own pointer, storage images, sparse images.
#include <cstdint>
#include <cstring>

#include "shaders/image_invert_comp.h"
#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkFormat kRgba = VK_FORMAT_R8G8B8A8_UNORM;
constexpr VkImageLayout kSource = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
constexpr VkImageLayout kTarget = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL;
constexpr VkImageLayout kUndefined = VK_IMAGE_LAYOUT_UNDEFINED;

class ImageTest : public VulkanTest {
 protected:
  Image MakeRgba(uint32_t width, uint32_t height, VkImageUsageFlags usage = 0) {
    return MakeImage(gpu(), ImageInfo(kRgba, width, height, usage));
  }
};

TEST_F(ImageTest, UploadAndReadBack) {
  for (const uint32_t size : {1u, 3u, 64u, 257u}) {
    const Image image = MakeRgba(size, size + 1);
    const std::vector<uint8_t> texels = Random(size).Bytes(4 * size * (size + 1));
    WriteImage(gpu(), image, texels, kSource);
    EXPECT_EQ(texels, ReadImage(gpu(), image, kSource, 4)) << size;
  }
}

TEST_F(ImageTest, RowLengthAndOffsetsOfABufferCopy) {
  const Image image = MakeRgba(16, 16);
  WriteImage(gpu(), image, std::vector<uint8_t>(1024), kSource);
  const Buffer buffer = MakeHostBuffer(gpu(), 4096);
  Random(50).Fill(buffer.bytes());
  VkBufferImageCopy2 region{VK_STRUCTURE_TYPE_BUFFER_IMAGE_COPY_2};
  region.bufferOffset = 20;
  region.bufferRowLength = 11;
  region.bufferImageHeight = 9;
  region.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  region.imageOffset = {3, 5, 0};
  region.imageExtent = {7, 4, 1};
  VkCopyBufferToImageInfo2 copy{VK_STRUCTURE_TYPE_COPY_BUFFER_TO_IMAGE_INFO_2};
  copy.srcBuffer = buffer.handle;
  copy.dstImage = image.handle;
  copy.dstImageLayout = kTarget;
  copy.regionCount = 1;
  copy.pRegions = &region;
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, image.handle, kSource, kTarget);
    vk.CmdCopyBufferToImage2(commands, &copy);
  });
  std::vector<uint8_t> expected(1024);
  for (size_t y = 0; y < 4; ++y) {
    std::memcpy(&expected[((y + 5) * 16 + 3) * 4], buffer.data + 20 + y * 11 * 4, 7 * 4);
  }
  EXPECT_EQ(expected, ReadImage(gpu(), image, kTarget, 4));
}

TEST_F(ImageTest, ClearColorOfEveryNumericKind) {
  const Image unorm = MakeRgba(8, 8);
  const Image uint_image = MakeImage(gpu(), ImageInfo(VK_FORMAT_R16G16_UINT, 8, 8));
  const Image sint_image = MakeImage(gpu(), ImageInfo(VK_FORMAT_R32_SINT, 8, 8));
  const Image float_image = MakeImage(gpu(), ImageInfo(VK_FORMAT_R32G32_SFLOAT, 8, 8));
  const VkImageSubresourceRange range{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  Execute([&](VkCommandBuffer commands) {
    const auto clear = [&](const Image& image, const VkClearColorValue& value) {
      Transition(commands, image.handle, kUndefined, kTarget);
      vk.CmdClearColorImage(commands, image.handle, kTarget, &value, 1, &range);
    };
    clear(unorm, {.float32 = {1.0f, 0.0f, 0.2f, 0.4f}});
    clear(uint_image, {.uint32 = {65535, 1234, 0, 0}});
    clear(sint_image, {.int32 = {-123456, 0, 0, 0}});
    clear(float_image, {.float32 = {-0.25f, 1e10f, 0, 0}});
  });
  const std::vector<uint8_t> a = ReadImage(gpu(), unorm, kTarget, 4);
  EXPECT_EQ((std::vector<uint8_t>{255, 0, 51, 102}), std::vector<uint8_t>(a.end() - 4, a.end()));
  uint16_t halves[2];
  std::memcpy(halves, &ReadImage(gpu(), uint_image, kTarget, 4)[40], 4);
  EXPECT_EQ(65535, halves[0]);
  EXPECT_EQ(1234, halves[1]);
  int32_t word = 0;
  std::memcpy(&word, &ReadImage(gpu(), sint_image, kTarget, 4)[252], 4);
  EXPECT_EQ(-123456, word);
  float floats[2];
  std::memcpy(floats, &ReadImage(gpu(), float_image, kTarget, 8)[8], 8);
  EXPECT_EQ(-0.25f, floats[0]);
  EXPECT_EQ(1e10f, floats[1]);
}

TEST_F(ImageTest, ClearDepthAndStencil) {
  const Image depth = MakeImage(gpu(), ImageInfo(VK_FORMAT_D32_SFLOAT, 8, 8));
  const VkClearDepthStencilValue value{0.375f, 0};
  const VkImageSubresourceRange range{VK_IMAGE_ASPECT_DEPTH_BIT, 0, 1, 0, 1};
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, depth.handle, kUndefined, kTarget, VK_IMAGE_ASPECT_DEPTH_BIT);
    vk.CmdClearDepthStencilImage(commands, depth.handle, kTarget, &value, 1, &range);
  });
  const std::vector<uint8_t> bytes = ReadImage(gpu(), depth, kTarget, 4, VK_IMAGE_ASPECT_DEPTH_BIT);
  float texel = 0;
  std::memcpy(&texel, &bytes[100], 4);
  EXPECT_EQ(0.375f, texel);
}

TEST_F(ImageTest, CopyBetweenImages) {
  const Image source = MakeRgba(32, 32);
  const Image target = MakeRgba(32, 32);
  const std::vector<uint8_t> texels = Random(51).Bytes(4096);
  WriteImage(gpu(), source, texels, kSource);
  WriteImage(gpu(), target, std::vector<uint8_t>(4096, 9), kTarget);
  VkImageCopy region{};
  region.srcSubresource = region.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  region.srcOffset = {1, 2, 0};
  region.dstOffset = {10, 20, 0};
  region.extent = {15, 6, 1};
  VkImageCopy2 region2{VK_STRUCTURE_TYPE_IMAGE_COPY_2};
  region2.srcSubresource = region2.dstSubresource = region.srcSubresource;
  region2.extent = {4, 4, 1};
  VkCopyImageInfo2 copy{VK_STRUCTURE_TYPE_COPY_IMAGE_INFO_2};
  copy.srcImage = source.handle;
  copy.srcImageLayout = kSource;
  copy.dstImage = target.handle;
  copy.dstImageLayout = kTarget;
  copy.regionCount = 1;
  copy.pRegions = &region2;
  Execute([&](VkCommandBuffer commands) {
    vk.CmdCopyImage(commands, source.handle, kSource, target.handle, kTarget, 1, &region);
    vk.CmdCopyImage2(commands, &copy);
  });
  std::vector<uint8_t> expected(4096, 9);
  for (size_t y = 0; y < 6; ++y) {
    std::memcpy(&expected[((y + 20) * 32 + 10) * 4], &texels[((y + 2) * 32 + 1) * 4], 60);
  }
  for (size_t y = 0; y < 4; ++y) {
    std::memcpy(&expected[y * 128], &texels[y * 128], 16);
  }
  EXPECT_EQ(expected, ReadImage(gpu(), target, kTarget, 4));
}

TEST_F(ImageTest, BlitScalesAndFlips) {
  const Image source = MakeRgba(2, 2);
  const Image target = MakeRgba(4, 4);
  // Four texels, all different.
  const std::vector<uint8_t> texels = {10, 0, 0, 255, 20, 0, 0, 255, 30, 0, 0, 255, 40, 0, 0, 255};
  WriteImage(gpu(), source, texels, kSource);
  VkImageBlit blit{};
  blit.srcSubresource = blit.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  blit.srcOffsets[1] = {2, 2, 1};
  blit.dstOffsets[0] = {4, 0, 0};  // Mirrored left to right.
  blit.dstOffsets[1] = {0, 4, 1};
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, target.handle, kUndefined, kTarget);
    vk.CmdBlitImage(commands, source.handle, kSource, target.handle, kTarget, 1, &blit,
                    VK_FILTER_NEAREST);
  });
  const std::vector<uint8_t> result = ReadImage(gpu(), target, kTarget, 4);
  const int expected[4][4] = {
      {20, 20, 10, 10}, {20, 20, 10, 10}, {40, 40, 30, 30}, {40, 40, 30, 30}};
  for (size_t y = 0; y < 4; ++y) {
    for (size_t x = 0; x < 4; ++x) {
      EXPECT_EQ(expected[y][x], result[(y * 4 + x) * 4]) << x << ", " << y;
    }
  }
}

TEST_F(ImageTest, Blit2BuildsAMipChain) {
  VkImageCreateInfo info = ImageInfo(kRgba, 16, 16);
  info.mipLevels = 5;
  const Image image = MakeImage(gpu(), info);
  const VkClearColorValue color{.float32 = {0.2f, 0.4f, 0.6f, 0.8f}};
  const VkImageSubresourceRange top{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  const Buffer buffer = MakeHostBuffer(gpu(), 4);
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, image.handle, kUndefined, VK_IMAGE_LAYOUT_GENERAL);
    vk.CmdClearColorImage(commands, image.handle, VK_IMAGE_LAYOUT_GENERAL, &color, 1, &top);
    for (uint32_t level = 1; level < 5; ++level) {
      FullBarrier(commands);
      VkImageBlit2 region{VK_STRUCTURE_TYPE_IMAGE_BLIT_2};
      region.srcSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, level - 1, 0, 1};
      region.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, level, 0, 1};
      region.srcOffsets[1] = {32 >> level, 32 >> level, 1};
      region.dstOffsets[1] = {16 >> level, 16 >> level, 1};
      VkBlitImageInfo2 blit{VK_STRUCTURE_TYPE_BLIT_IMAGE_INFO_2};
      blit.srcImage = blit.dstImage = image.handle;
      blit.srcImageLayout = blit.dstImageLayout = VK_IMAGE_LAYOUT_GENERAL;
      blit.regionCount = 1;
      blit.pRegions = &region;
      blit.filter = VK_FILTER_LINEAR;
      vk.CmdBlitImage2(commands, &blit);
    }
    FullBarrier(commands);
    const VkBufferImageCopy copy = WholeImageCopy(image, 0, 4);
    vk.CmdCopyImageToBuffer(commands, image.handle, VK_IMAGE_LAYOUT_GENERAL, buffer.handle, 1,
                            &copy);
  });
  const int expected[4] = {51, 102, 153, 204};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(expected[i], buffer.data[i], 1);
  }
}

TEST_F(ImageTest, ResolveOfMultisampledImage) {
  VESPER_REQUIRE((properties.limits().framebufferColorSampleCounts & VK_SAMPLE_COUNT_4_BIT) != 0);
  VkImageCreateInfo info = ImageInfo(kRgba, 8, 8, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT);
  info.samples = VK_SAMPLE_COUNT_4_BIT;
  const Image many = MakeImage(gpu(), info);
  const Image one = MakeRgba(8, 8);
  const VkClearColorValue color{.float32 = {0.0f, 1.0f, 0.2f, 0.6f}};
  const VkImageSubresourceRange range{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  VkImageResolve2 region{VK_STRUCTURE_TYPE_IMAGE_RESOLVE_2};
  region.srcSubresource = region.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  region.extent = {8, 8, 1};
  VkResolveImageInfo2 resolve{VK_STRUCTURE_TYPE_RESOLVE_IMAGE_INFO_2};
  resolve.srcImage = many.handle;
  resolve.srcImageLayout = kSource;
  resolve.dstImage = one.handle;
  resolve.dstImageLayout = kTarget;
  resolve.regionCount = 1;
  resolve.pRegions = &region;
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, many.handle, kUndefined, kTarget);
    vk.CmdClearColorImage(commands, many.handle, kTarget, &color, 1, &range);
    Transition(commands, many.handle, kTarget, kSource);
    Transition(commands, one.handle, kUndefined, kTarget);
    vk.CmdResolveImage2(commands, &resolve);
  });
  const std::vector<uint8_t> result = ReadImage(gpu(), one, kTarget, 4);
  for (size_t i = 0; i < result.size(); i += 4) {
    ASSERT_EQ((std::vector<uint8_t>{0, 255, 51, 153}),
              std::vector<uint8_t>(result.begin() + i, result.begin() + i + 4));
  }
}

TEST_F(ImageTest, LayersAndLevelsAreSeparate) {
  VkImageCreateInfo info = ImageInfo(kRgba, 8, 8);
  info.mipLevels = 3;
  info.arrayLayers = 4;
  const Image image = MakeImage(gpu(), info);
  const Buffer up = MakeHostBuffer(gpu(), 12 * 256);
  const Buffer down = MakeHostBuffer(gpu(), 12 * 256);
  std::vector<VkBufferImageCopy> copies;
  for (uint32_t i = 0; i < 12; ++i) {
    copies.push_back(WholeImageCopy(image, i * 256, i % 3, i / 3));
  }
  Random(52).Fill(up.bytes());
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, image.handle, kUndefined, kTarget);
    vk.CmdCopyBufferToImage(commands, up.handle, image.handle, kTarget, 12, copies.data());
    Transition(commands, image.handle, kTarget, kSource);
    vk.CmdCopyImageToBuffer(commands, image.handle, kSource, down.handle, 12, copies.data());
  });
  for (uint32_t i = 0; i < 12; ++i) {
    const size_t size = 256u >> (2 * (i % 3));
    EXPECT_EQ(0, std::memcmp(up.data + i * 256, down.data + i * 256, size)) << "part " << i;
  }
}

TEST_F(ImageTest, ThreeDimensional) {
  VkImageCreateInfo info = ImageInfo(kRgba, 8, 4);
  info.imageType = VK_IMAGE_TYPE_3D;
  info.extent.depth = 6;
  const Image image = MakeImage(gpu(), info);
  const std::vector<uint8_t> texels = Random(53).Bytes(8 * 4 * 6 * 4);
  WriteImage(gpu(), image, texels, kSource);
  EXPECT_EQ(texels, ReadImage(gpu(), image, kSource, 4));
}

TEST_F(ImageTest, LinearImageUnderTheProgramsPointer) {
  // The program writes texels through the mapping, the GPU copies them on, and the other way round.
  VkImageCreateInfo info = ImageInfo(kRgba, 20, 10);
  info.tiling = VK_IMAGE_TILING_LINEAR;
  info.initialLayout = VK_IMAGE_LAYOUT_PREINITIALIZED;
  const Image linear = MakeImageIn(
      gpu(), info, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
  const Image optimal = MakeRgba(20, 10);
  const VkImageSubresource subresource{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
  VkSubresourceLayout layout{};
  vk.GetImageSubresourceLayout(device, linear.handle, &subresource, &layout);
  ASSERT_GE(layout.rowPitch, 80u);
  uint8_t* data = Map(linear.memory);
  const std::vector<uint8_t> texels = Random(54).Bytes(800);
  for (size_t y = 0; y < 10; ++y) {
    std::memcpy(data + layout.offset + y * layout.rowPitch, &texels[y * 80], 80);
  }
  VkImageCopy region{};
  region.srcSubresource = region.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
  region.extent = {20, 10, 1};
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, linear.handle, VK_IMAGE_LAYOUT_PREINITIALIZED, kSource);
    Transition(commands, optimal.handle, kUndefined, kTarget);
    vk.CmdCopyImage(commands, linear.handle, kSource, optimal.handle, kTarget, 1, &region);
  });
  EXPECT_EQ(texels, ReadImage(gpu(), optimal, kTarget, 4));

  const std::vector<uint8_t> others = Random(55).Bytes(800);
  WriteImage(gpu(), optimal, others, kSource);
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, linear.handle, kSource, kTarget);
    vk.CmdCopyImage(commands, optimal.handle, kSource, linear.handle, kTarget, 1, &region);
    Transition(commands, linear.handle, kTarget, VK_IMAGE_LAYOUT_GENERAL);
  });
  for (size_t y = 0; y < 10; ++y) {
    EXPECT_EQ(0, std::memcmp(data + layout.offset + y * layout.rowPitch, &others[y * 80], 80));
  }
}

TEST_F(ImageTest, StorageImages) {
  const Image source = MakeRgba(50, 30, VK_IMAGE_USAGE_STORAGE_BIT);
  const Image target = MakeRgba(50, 30, VK_IMAGE_USAGE_STORAGE_BIT);
  const std::vector<uint8_t> texels = Random(56).Bytes(6000);
  WriteImage(gpu(), source, texels, VK_IMAGE_LAYOUT_GENERAL);
  const Owned<VkImageView> views[2] = {MakeView(gpu(), source), MakeView(gpu(), target)};
  const VkDescriptorSetLayoutBinding bindings[2] = {
      {0, VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr},
      {1, VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr}};
  const Owned<VkDescriptorSetLayout> set_layout = MakeSetLayout(gpu(), bindings);
  const Owned<VkPipelineLayout> layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const Owned<VkPipeline> pipeline = MakeComputePipeline(gpu(), kImageInvertComp, layout);
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, 2};
  const Owned<VkDescriptorPool> pool = MakePool(gpu(), {&size, 1}, 1);
  VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  // Both descriptors in one write: the second goes to the next binding.
  const VkDescriptorImageInfo infos[2] = {{VK_NULL_HANDLE, views[0], VK_IMAGE_LAYOUT_GENERAL},
                                          {VK_NULL_HANDLE, views[1], VK_IMAGE_LAYOUT_GENERAL}};
  VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.dstSet = set;
  write.descriptorCount = 2;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_IMAGE;
  write.pImageInfo = infos;
  vk.UpdateDescriptorSets(device, 1, &write, 0, nullptr);
  Execute([&](VkCommandBuffer commands) {
    Transition(commands, target.handle, kUndefined, VK_IMAGE_LAYOUT_GENERAL);
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0,
                             nullptr);
    vk.CmdDispatch(commands, 7, 4, 1);
  });
  std::vector<uint8_t> expected = texels;
  for (uint8_t& byte : expected) {
    byte = static_cast<uint8_t>(255 - byte);
  }
  EXPECT_EQ(expected, ReadImage(gpu(), target, VK_IMAGE_LAYOUT_GENERAL, 4));
}

TEST_F(ImageTest, SubresourceLayoutsOfAllGenerationsAgree) {
  VkImageCreateInfo info = ImageInfo(kRgba, 33, 17);
  info.tiling = VK_IMAGE_TILING_LINEAR;
  const Owned<VkImage> image = Make(vk.CreateImage, vk.DestroyImage, info);
  VkImageSubresource2 subresource{VK_STRUCTURE_TYPE_IMAGE_SUBRESOURCE_2};
  subresource.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
  VkSubresourceLayout first{};
  vk.GetImageSubresourceLayout(device, image, &subresource.imageSubresource, &first);
  VkSubresourceLayout2 second{VK_STRUCTURE_TYPE_SUBRESOURCE_LAYOUT_2};
  vk.GetImageSubresourceLayout2(device, image, &subresource, &second);
  VkDeviceImageSubresourceInfo ahead{VK_STRUCTURE_TYPE_DEVICE_IMAGE_SUBRESOURCE_INFO};
  ahead.pCreateInfo = &info;
  ahead.pSubresource = &subresource;
  VkSubresourceLayout2 third{VK_STRUCTURE_TYPE_SUBRESOURCE_LAYOUT_2};
  vk.GetDeviceImageSubresourceLayout(device, &ahead, &third);
  for (const VkSubresourceLayout2& other : {second, third}) {
    EXPECT_EQ(first.offset, other.subresourceLayout.offset);
    EXPECT_EQ(first.size, other.subresourceLayout.size);
    EXPECT_EQ(first.rowPitch, other.subresourceLayout.rowPitch);
  }
}

TEST_F(ImageTest, MemoryRequirementsOfAllGenerationsAgree) {
  const VkImageCreateInfo info = ImageInfo(kRgba, 100, 100, VK_IMAGE_USAGE_SAMPLED_BIT);
  const Owned<VkImage> image = Make(vk.CreateImage, vk.DestroyImage, info);
  VkMemoryRequirements first{};
  vk.GetImageMemoryRequirements(device, image, &first);
  VkImageMemoryRequirementsInfo2 of{VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2};
  of.image = image;
  VkMemoryDedicatedRequirements dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS};
  VkMemoryRequirements2 second{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
  second.pNext = &dedicated;
  vk.GetImageMemoryRequirements2(device, &of, &second);
  VkDeviceImageMemoryRequirements ahead{VK_STRUCTURE_TYPE_DEVICE_IMAGE_MEMORY_REQUIREMENTS};
  ahead.pCreateInfo = &info;
  VkMemoryRequirements2 third{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
  vk.GetDeviceImageMemoryRequirements(device, &ahead, &third);
  for (const VkMemoryRequirements2& other : {second, third}) {
    EXPECT_EQ(first.size, other.memoryRequirements.size);
    EXPECT_EQ(first.alignment, other.memoryRequirements.alignment);
    EXPECT_EQ(first.memoryTypeBits, other.memoryRequirements.memoryTypeBits);
  }
}

class SparseImageTest : public ImageTest {
 protected:
  void Configure(GpuOptions& options) override { options.sparse = true; }
};

TEST_F(SparseImageTest, SparseImageFullyBound) {
  VESPER_REQUIRE(features.core.features.sparseResidencyImage2D == VK_TRUE);
  VESPER_REQUIRE((queue_families[queue_family].queueFlags & VK_QUEUE_SPARSE_BINDING_BIT) != 0);
  uint32_t count = 0;
  vk.GetPhysicalDeviceSparseImageFormatProperties(
      physical_device, kRgba, VK_IMAGE_TYPE_2D, VK_SAMPLE_COUNT_1_BIT,
      VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT, VK_IMAGE_TILING_OPTIMAL,
      &count, nullptr);
  VESPER_REQUIRE(count > 0);
  VkImageCreateInfo info = ImageInfo(kRgba, 512, 512);
  info.flags = VK_IMAGE_CREATE_SPARSE_BINDING_BIT | VK_IMAGE_CREATE_SPARSE_RESIDENCY_BIT;
  Image image;
  image.handle = Make(vk.CreateImage, vk.DestroyImage, info);
  image.extent = info.extent;
  vk.GetImageSparseMemoryRequirements(device, image.handle, &count, nullptr);
  ASSERT_GE(count, 1u);
  std::vector<VkSparseImageMemoryRequirements> sparse(count);
  vk.GetImageSparseMemoryRequirements(device, image.handle, &count, sparse.data());
  const VkExtent3D block = sparse[0].formatProperties.imageGranularity;
  ASSERT_GT(block.width, 0u);
  VESPER_REQUIRE(sparse[0].imageMipTailFirstLod > 0);
  VkMemoryRequirements requirements{};
  vk.GetImageMemoryRequirements(device, image.handle, &requirements);
  image.memory = Allocate(requirements.size, FindMemoryType(requirements.memoryTypeBits,
                                                            VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT));
  // Block after block, each at the next piece of the memory.
  std::vector<VkSparseImageMemoryBind> binds;
  for (uint32_t y = 0; y < 512; y += block.height) {
    for (uint32_t x = 0; x < 512; x += block.width) {
      VkSparseImageMemoryBind bind{};
      bind.subresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
      bind.offset = {static_cast<int32_t>(x), static_cast<int32_t>(y), 0};
      bind.extent = {std::min(block.width, 512 - x), std::min(block.height, 512 - y), 1};
      bind.memory = image.memory;
      bind.memoryOffset = binds.size() * requirements.alignment;
      binds.push_back(bind);
    }
  }
  VkSparseImageMemoryBindInfo image_bind{image.handle, static_cast<uint32_t>(binds.size()),
                                         binds.data()};
  VkBindSparseInfo bind{VK_STRUCTURE_TYPE_BIND_SPARSE_INFO};
  bind.imageBindCount = 1;
  bind.pImageBinds = &image_bind;
  const Owned<VkFence> fence = MakeFence();
  ASSERT_EQ(VK_SUCCESS, vk.QueueBindSparse(queue, 1, &bind, fence));
  Wait(fence);
  const std::vector<uint8_t> texels = Random(57).Bytes(512 * 512 * 4);
  WriteImage(gpu(), image, texels, kSource);
  EXPECT_EQ(texels, ReadImage(gpu(), image, kSource, 4));
}

}  // namespace
}  // namespace vesper::tests
