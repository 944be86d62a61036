// SPDX-License-Identifier: Apache-2.0
// Whatever takes long on the host's CPU is done beside the stream: the thread that asked for it
// waits, and no other.
#include <array>
#include <functional>
#include <ostream>
#include <string>
#include <thread>

#include "tests/wire/tasks.h"

namespace vesper::tests {
namespace {

class LongWork;

struct Work {
  const char* name;                          // of the driver's command
  std::function<VkResult(LongWork&)> start;  // and waits for it, unless it is posted
};

void PrintTo(const Work& work, std::ostream* out) { *out << work.name; }

class LongWork : public Tasks, public testing::WithParamInterface<Work> {
 public:
  VkResult CopyMemoryToImage() {
    VkMemoryToImageCopy region{VK_STRUCTURE_TYPE_MEMORY_TO_IMAGE_COPY};
    region.pHostPointer = texels_.data();
    region.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    region.imageExtent = {8, 8, 1};
    VkCopyMemoryToImageInfo info{VK_STRUCTURE_TYPE_COPY_MEMORY_TO_IMAGE_INFO};
    info.dstImage = image_;
    info.dstImageLayout = VK_IMAGE_LAYOUT_GENERAL;
    info.regionCount = 1;
    info.pRegions = &region;
    return vk::vkCopyMemoryToImage(device_, &info);
  }
  VkResult CopyImageToMemory() {
    VkImageToMemoryCopy region{VK_STRUCTURE_TYPE_IMAGE_TO_MEMORY_COPY};
    region.pHostPointer = texels_.data();
    region.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    region.imageExtent = {8, 8, 1};
    VkCopyImageToMemoryInfo info{VK_STRUCTURE_TYPE_COPY_IMAGE_TO_MEMORY_INFO};
    info.srcImage = image_;
    info.srcImageLayout = VK_IMAGE_LAYOUT_GENERAL;
    info.regionCount = 1;
    info.pRegions = &region;
    const VkResult result = vk::vkCopyImageToMemory(device_, &info);
    EXPECT_EQ(texels_[0], std::byte{0x77}) << "the mock's";
    return result;
  }
  VkResult CopyImageToImage() {
    VkImageCopy2 region{VK_STRUCTURE_TYPE_IMAGE_COPY_2};
    region.srcSubresource = region.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    region.extent = {8, 8, 1};
    VkCopyImageToImageInfo info{VK_STRUCTURE_TYPE_COPY_IMAGE_TO_IMAGE_INFO};
    info.srcImage = info.dstImage = image_;
    info.srcImageLayout = info.dstImageLayout = VK_IMAGE_LAYOUT_GENERAL;
    info.regionCount = 1;
    info.pRegions = &region;
    return vk::vkCopyImageToImage(device_, &info);
  }
  VkResult TransitionImageLayout() {
    VkHostImageLayoutTransitionInfo info{VK_STRUCTURE_TYPE_HOST_IMAGE_LAYOUT_TRANSITION_INFO};
    info.image = image_;
    info.newLayout = VK_IMAGE_LAYOUT_GENERAL;
    info.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    return vk::vkTransitionImageLayout(device_, 1, &info);
  }
  VkResult CreateCache() {
    const VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    VkPipelineCache cache = VK_NULL_HANDLE;
    const VkResult result = vk::vkCreatePipelineCache(device_, &info, nullptr, &cache);
    vk::vkDestroyPipelineCache(device_, cache, nullptr);
    PassStream();  // it was posted
    return result;
  }
  VkResult MergeCaches() {
    const VkResult result = vk::vkMergePipelineCaches(device_, caches_[0], 1, &caches_[1]);
    PassStream();
    return result;
  }
  VkResult GetCacheData() {
    size_t size = 0;
    return vk::vkGetPipelineCacheData(device_, caches_[0], &size, nullptr);
  }
  // Of a pipeline that is still compiled.
  VkResult GetExecutables() {
    VkPipeline pipeline = VK_NULL_HANDLE;
    EXPECT_EQ(CreatePipeline(module_, layout_, &pipeline), VK_SUCCESS);
    const VkPipelineInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, nullptr, pipeline};
    uint32_t count = 0;
    const VkResult result =
        vk::vkGetPipelineExecutablePropertiesKHR(device_, &info, &count, nullptr);
    vk::vkDestroyPipeline(device_, pipeline, nullptr);
    return result;
  }

 protected:
  void SetUp() override {
    Tasks::SetUp();
    const VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                 nullptr,
                                 0,
                                 VK_IMAGE_TYPE_2D,
                                 VK_FORMAT_R8G8B8A8_UNORM,
                                 {8, 8, 1},
                                 1,
                                 1,
                                 VK_SAMPLE_COUNT_1_BIT,
                                 VK_IMAGE_TILING_OPTIMAL,
                                 VK_IMAGE_USAGE_HOST_TRANSFER_BIT,
                                 VK_SHARING_MODE_EXCLUSIVE,
                                 0,
                                 nullptr,
                                 VK_IMAGE_LAYOUT_UNDEFINED};
    ASSERT_EQ(vk::vkCreateImage(device_, &info, nullptr, &image_), VK_SUCCESS);
    memory_ = Allocate(1 << 16, kMockDeviceLocal);
    ASSERT_EQ(vk::vkBindImageMemory(device_, image_, memory_, 0), VK_SUCCESS);
    for (VkPipelineCache& cache : caches_) {
      const VkPipelineCacheCreateInfo empty{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
      ASSERT_EQ(vk::vkCreatePipelineCache(device_, &empty, nullptr, &cache), VK_SUCCESS);
    }
    module_ = CreateModule();
    layout_ = CreateLayout();
    Sync();
    mock_.Clear();
  }
  ~LongWork() override {
    door_.Open();
    for (const VkPipelineCache cache : caches_) {
      vk::vkDestroyPipelineCache(device_, cache, nullptr);
    }
    vk::vkDestroyShaderModule(device_, module_, nullptr);
    vk::vkDestroyPipelineLayout(device_, layout_, nullptr);
    vk::vkDestroyImage(device_, image_, nullptr);
    vk::vkFreeMemory(device_, memory_, nullptr);
  }

  VkImage image_ = VK_NULL_HANDLE;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  std::array<VkPipelineCache, 2> caches_{};
  std::array<std::byte, 256> texels_{};
};

TEST_P(LongWork, HoldsUpNobodyElse) {
  const std::string name = GetParam().name;
  if (name == "vkCopyMemoryToImage" || name == "vkCopyImageToMemory") {
    mock_.OnLocal(name, [this] { door_.Pass(); });
  } else {
    for (const uint16_t slow : {number::vkCopyImageToImage, number::vkTransitionImageLayout,
                                number::vkCreatePipelineCache, number::vkMergePipelineCaches,
                                number::vkGetPipelineCacheData, number::vkCreateComputePipelines}) {
      mock_.On(slow, [this](void*) { door_.Pass(); });
    }
  }
  VkResult result = VK_NOT_READY;
  std::thread worker([&] { result = GetParam().start(*this); });
  EXPECT_TRUE(door_.WaitFor(1));
  const VkFence fence = CreateFence();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Submit(ShaderWork(), fence), VK_SUCCESS);
    EXPECT_EQ(Wait(fence), VK_SUCCESS);
    EXPECT_EQ(vk::vkResetFences(device_, 1, &fence), VK_SUCCESS);
    PassStream();
  }
  door_.Open();
  worker.join();
  EXPECT_EQ(result, VK_SUCCESS);
  Sync();
  EXPECT_GE(mock_.Count(name), 1u);
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_SUCCESS);
  vk::vkDestroyFence(device_, fence, nullptr);
}

INSTANTIATE_TEST_SUITE_P(
    Of, LongWork,
    testing::Values(
        Work{"vkCopyMemoryToImage", [](LongWork& on) { return on.CopyMemoryToImage(); }},
        Work{"vkCopyImageToMemory", [](LongWork& on) { return on.CopyImageToMemory(); }},
        Work{"vkCopyImageToImage", [](LongWork& on) { return on.CopyImageToImage(); }},
        Work{"vkTransitionImageLayout", [](LongWork& on) { return on.TransitionImageLayout(); }},
        Work{"vkCreatePipelineCache", [](LongWork& on) { return on.CreateCache(); }},
        Work{"vkMergePipelineCaches", [](LongWork& on) { return on.MergeCaches(); }},
        Work{"vkGetPipelineCacheData", [](LongWork& on) { return on.GetCacheData(); }},
        Work{"vkGetPipelineExecutablePropertiesKHR",
             [](LongWork& on) { return on.GetExecutables(); }}),
    [](const testing::TestParamInfo<Work>& work) { return std::string(work.param.name); });

}  // namespace
}  // namespace vesper::tests
