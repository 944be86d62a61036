// SPDX-License-Identifier: Apache-2.0
// The nouns: what the program asks for is what the driver is asked for, arguments included.
#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Objects : public WireTest {
 protected:
  void SetUp() override { Open(); }
};

TEST_F(Objects, Buffer) {
  const uint32_t families[] = {0, 1};
  const VkBufferUsageFlags2CreateInfo usage{VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO,
                                            nullptr, VK_BUFFER_USAGE_2_STORAGE_BUFFER_BIT};
  const VkBufferCreateInfo info{
      VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, &usage, 0,       4096, VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
      VK_SHARING_MODE_CONCURRENT,           2,      families};
  VkBuffer buffer = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateBuffer(device_, &info, nullptr, &buffer), VK_SUCCESS);
  Sync();
  const auto& args = Arguments<proto::Args_vkCreateBuffer>("vkCreateBuffer");
  ASSERT_NE(args.pCreateInfo, nullptr);
  EXPECT_EQ(args.pCreateInfo->size, 4096u);
  EXPECT_EQ(args.pCreateInfo->pQueueFamilyIndices[1], 1u);
  ASSERT_NE(args.pCreateInfo->pNext, nullptr);
  EXPECT_EQ(static_cast<const VkBufferUsageFlags2CreateInfo*>(args.pCreateInfo->pNext)->usage,
            VK_BUFFER_USAGE_2_STORAGE_BUFFER_BIT);
  VkMemoryRequirements requirements{};
  vk::vkGetBufferMemoryRequirements(device_, buffer, &requirements);
  EXPECT_EQ(requirements.size, 4096u);
  EXPECT_EQ(requirements.alignment, 16u);
  const VkBufferViewCreateInfo view_info{VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
                                         nullptr,
                                         0,
                                         buffer,
                                         VK_FORMAT_R32_UINT,
                                         16,
                                         VK_WHOLE_SIZE};
  VkBufferView view = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateBufferView(device_, &view_info, nullptr, &view), VK_SUCCESS);
  vk::vkDestroyBufferView(device_, view, nullptr);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkCreateBuffer", "vkGetBufferMemoryRequirements2",
                                   "vkCreateBufferView", "vkDestroyBufferView", "vkDestroyBuffer"));
  EXPECT_EQ(mock_.Live(), 1u + 1u + 3u) << "the device, the pool, the queues' timelines";
}

TEST_F(Objects, AFailedCallIsReportedAtOnce) {
  mock_.FailNext(number::vkCreateBuffer, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  // Only the driver knows whether there are so many addresses left.
  const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr,
                                VK_BUFFER_CREATE_SPARSE_BINDING_BIT, 64};
  VkBuffer buffer = VK_NULL_HANDLE;
  EXPECT_EQ(vk::vkCreateBuffer(device_, &info, nullptr, &buffer), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  EXPECT_EQ(buffer, VK_NULL_HANDLE);
  EXPECT_EQ(vk::vkCreateBuffer(device_, &info, nullptr, &buffer), VK_SUCCESS);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
}

TEST_F(Objects, ImageAndView) {
  const VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                               nullptr,
                               0,
                               VK_IMAGE_TYPE_2D,
                               VK_FORMAT_R8G8B8A8_UNORM,
                               {64, 32, 1},
                               1,
                               2,
                               VK_SAMPLE_COUNT_1_BIT,
                               VK_IMAGE_TILING_OPTIMAL,
                               VK_IMAGE_USAGE_SAMPLED_BIT};
  VkImage image = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateImage(device_, &info, nullptr, &image), VK_SUCCESS);
  VkMemoryRequirements requirements{};
  vk::vkGetImageMemoryRequirements(device_, image, &requirements);
  const VkDeviceMemory memory = Allocate(requirements.size, kMockDeviceLocal);
  const VkBindImageMemoryInfo bind{VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, nullptr, image, memory,
                                   0};
  ASSERT_EQ(vk::vkBindImageMemory2(device_, 1, &bind), VK_SUCCESS);
  const VkImageViewCreateInfo view_info{VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
                                        nullptr,
                                        0,
                                        image,
                                        VK_IMAGE_VIEW_TYPE_2D_ARRAY,
                                        VK_FORMAT_R8G8B8A8_UNORM,
                                        {},
                                        {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 2}};
  VkImageView view = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateImageView(device_, &view_info, nullptr, &view), VK_SUCCESS);
  Sync();
  EXPECT_EQ(Arguments<proto::Args_vkCreateImageView>("vkCreateImageView").pCreateInfo->image,
            Arguments<proto::Args_vkBindImageMemory2>("vkBindImageMemory2").pBindInfos[0].image);
  vk::vkDestroyImageView(device_, view, nullptr);
  vk::vkDestroyImage(device_, image, nullptr);
  vk::vkFreeMemory(device_, memory, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkCreateImage", "vkGetImageMemoryRequirements2",
                                   "vkAllocateMemory", "vkBindImageMemory2", "vkCreateImageView",
                                   "vkDestroyImageView", "vkDestroyImage", "vkFreeMemory"));
}

TEST_F(Objects, DescriptorSets) {
  const VkBuffer buffer = CreateBuffer(256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2,
                                             VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  const VkDescriptorSetLayoutCreateInfo layout_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, 1, &binding};
  VkDescriptorSetLayout layout = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorSetLayout(device_, &layout_info, nullptr, &layout), VK_SUCCESS);
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 8};
  const VkDescriptorPoolCreateInfo pool_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, 4, 1, &size};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorPool(device_, &pool_info, nullptr, &pool), VK_SUCCESS);
  const VkDescriptorSetLayout layouts[] = {layout, layout};
  const VkDescriptorSetAllocateInfo allocate{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                             nullptr, pool, 2, layouts};
  VkDescriptorSet sets[2] = {};
  ASSERT_EQ(vk::vkAllocateDescriptorSets(device_, &allocate, sets), VK_SUCCESS);
  EXPECT_NE(sets[0], sets[1]);
  const VkDescriptorBufferInfo infos[] = {{buffer, 0, 64}, {buffer, 64, VK_WHOLE_SIZE}};
  VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.dstSet = sets[1];
  write.descriptorCount = 2;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  write.pBufferInfo = infos;
  // Ignored for this type, so it may be garbage.
  write.pImageInfo = reinterpret_cast<const VkDescriptorImageInfo*>(uintptr_t{0x10});
  write.pTexelBufferView = reinterpret_cast<const VkBufferView*>(uintptr_t{0x20});
  vk::vkUpdateDescriptorSets(device_, 1, &write, 0, nullptr);
  Sync();
  const auto& update = Arguments<proto::Args_vkUpdateDescriptorSets>("vkUpdateDescriptorSets");
  ASSERT_EQ(update.descriptorWriteCount, 1u);
  EXPECT_EQ(update.pDescriptorWrites[0].pBufferInfo[1].offset, 64u);
  EXPECT_EQ(update.pDescriptorWrites[0].pImageInfo, nullptr);
  // Sets die with their pool's content: later updates have no effect.
  ASSERT_EQ(vk::vkResetDescriptorPool(device_, pool, 0), VK_SUCCESS);
  mock_.Clear();
  vk::vkUpdateDescriptorSets(device_, 1, &write, 0, nullptr);
  vk::vkDestroyDescriptorPool(device_, pool, nullptr);
  vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);
  vk::vkDestroyBuffer(device_, buffer, nullptr);
  Sync();
  EXPECT_EQ(mock_.Count("vkDestroyDescriptorPool"), 1u);
}

TEST_F(Objects, Pipelines) {
  const uint32_t code[] = {0x07230203, 0x00010000, 0, 1, 0};
  const VkShaderModuleCreateInfo module_info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, nullptr,
                                             0, sizeof(code), code};
  VkShaderModule module = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateShaderModule(device_, &module_info, nullptr, &module), VK_SUCCESS);
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, 16};
  const VkPipelineLayoutCreateInfo layout_info{
      VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, nullptr, 0, 0, nullptr, 1, &range};
  VkPipelineLayout layout = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreatePipelineLayout(device_, &layout_info, nullptr, &layout), VK_SUCCESS);
  const VkSpecializationMapEntry entry{3, 0, 4};
  const uint32_t constant = 99;
  const VkSpecializationInfo specialization{1, &entry, 4, &constant};
  const VkComputePipelineCreateInfo info{
      VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
      nullptr,
      0,
      {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, nullptr, 0, VK_SHADER_STAGE_COMPUTE_BIT,
       module, "main", &specialization},
      layout};
  VkPipeline pipelines[2] = {};
  VkComputePipelineCreateInfo infos[] = {info, info};
  ASSERT_EQ(vk::vkCreateComputePipelines(device_, VK_NULL_HANDLE, 2, infos, nullptr, pipelines),
            VK_SUCCESS);
  Sync();
  const auto& args = Arguments<proto::Args_vkCreateComputePipelines>("vkCreateComputePipelines", 1);
  EXPECT_STREQ(args.pCreateInfos[0].stage.pName, "main");
  uint32_t value = 0;
  std::memcpy(&value, args.pCreateInfos[0].stage.pSpecializationInfo->pData, 4);
  EXPECT_EQ(value, 99u);
  const auto& shader = Arguments<proto::Args_vkCreateShaderModule>("vkCreateShaderModule");
  EXPECT_EQ(shader.pCreateInfo->pCode[0], 0x07230203u);
  // One of two fails, and the program asks which: the other is kept.
  infos[0].flags = VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT;
  mock_.On(number::vkCreateComputePipelines, [](void* raw) {
    auto& a = *static_cast<proto::Args_vkCreateComputePipelines*>(raw);
    a.pPipelines[0] = VK_NULL_HANDLE;
    a.ret = VK_ERROR_INVALID_SHADER_NV;
  });
  VkPipeline others[2] = {};
  EXPECT_EQ(vk::vkCreateComputePipelines(device_, VK_NULL_HANDLE, 2, infos, nullptr, others),
            VK_ERROR_INVALID_SHADER_NV);
  EXPECT_EQ(others[0], VK_NULL_HANDLE);
  EXPECT_NE(others[1], VK_NULL_HANDLE);
  for (const VkPipeline pipeline : {pipelines[0], pipelines[1], others[1]}) {
    vk::vkDestroyPipeline(device_, pipeline, nullptr);
  }
  vk::vkDestroyPipelineLayout(device_, layout, nullptr);
  vk::vkDestroyShaderModule(device_, module, nullptr);
  Sync();
  EXPECT_EQ(mock_.Count("vkDestroyPipeline"), 3u);
}

TEST_F(Objects, PipelineCacheDataFollowTheTwoCalls) {
  const VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  VkPipelineCache cache = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreatePipelineCache(device_, &info, nullptr, &cache), VK_SUCCESS);
  mock_.On(number::vkGetPipelineCacheData, [](void* raw) {
    auto& a = *static_cast<proto::Args_vkGetPipelineCacheData*>(raw);
    if (a.pData != nullptr) {
      std::memset(a.pData, 0x5a, *a.pDataSize);
      a.ret = *a.pDataSize < 32 ? VK_INCOMPLETE : VK_SUCCESS;
    }
    *a.pDataSize = a.pData == nullptr ? 32 : std::min<size_t>(*a.pDataSize, 32);
  });
  size_t size = 0;
  ASSERT_EQ(vk::vkGetPipelineCacheData(device_, cache, &size, nullptr), VK_SUCCESS);
  EXPECT_EQ(size, 32u);
  std::vector<unsigned char> data(40, 1);
  size = 10;
  EXPECT_EQ(vk::vkGetPipelineCacheData(device_, cache, &size, data.data()), VK_INCOMPLETE);
  EXPECT_EQ(size, 10u);
  EXPECT_EQ(data[9], 0x5a);
  EXPECT_EQ(data[10], 1) << "no byte beyond what was offered";
  vk::vkDestroyPipelineCache(device_, cache, nullptr);
}

TEST_F(Objects, RenderPassAndFramebuffer) {
  const VkAttachmentDescription attachment{0, VK_FORMAT_R8G8B8A8_UNORM, VK_SAMPLE_COUNT_1_BIT};
  const VkAttachmentReference color{0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
  VkSubpassDescription subpass{};
  subpass.colorAttachmentCount = 1;
  subpass.pColorAttachments = &color;
  const VkRenderPassCreateInfo info{
      VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO, nullptr, 0, 1, &attachment, 1, &subpass};
  VkRenderPass pass = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateRenderPass(device_, &info, nullptr, &pass), VK_SUCCESS);
  const VkFramebufferAttachmentImageInfo image_info{
      VK_STRUCTURE_TYPE_FRAMEBUFFER_ATTACHMENT_IMAGE_INFO,
      nullptr,
      0,
      VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT,
      8,
      8,
      1};
  const VkFramebufferAttachmentsCreateInfo attachments{
      VK_STRUCTURE_TYPE_FRAMEBUFFER_ATTACHMENTS_CREATE_INFO, nullptr, 1, &image_info};
  VkFramebufferCreateInfo framebuffer_info{VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO, &attachments,
                                           VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT, pass, 1};
  // Ignored when there are no images, so it may be garbage.
  framebuffer_info.pAttachments = reinterpret_cast<const VkImageView*>(uintptr_t{0x8});
  VkFramebuffer framebuffer = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateFramebuffer(device_, &framebuffer_info, nullptr, &framebuffer), VK_SUCCESS);
  Sync();
  const auto& args = Arguments<proto::Args_vkCreateFramebuffer>("vkCreateFramebuffer");
  EXPECT_EQ(args.pCreateInfo->pAttachments, nullptr);
  EXPECT_EQ(static_cast<const VkFramebufferAttachmentsCreateInfo*>(args.pCreateInfo->pNext)
                ->pAttachmentImageInfos[0]
                .width,
            8u);
  vk::vkDestroyFramebuffer(device_, framebuffer, nullptr);
  vk::vkDestroyRenderPass(device_, pass, nullptr);
  EXPECT_THAT(Calls(), ElementsAre("vkCreateRenderPass", "vkCreateFramebuffer",
                                   "vkDestroyFramebuffer", "vkDestroyRenderPass"));
}

TEST_F(Objects, QueryPools) {
  const VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, nullptr, 0,
                                   VK_QUERY_TYPE_TIMESTAMP, 4};
  VkQueryPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateQueryPool(device_, &info, nullptr, &pool), VK_SUCCESS);
  vk::vkResetQueryPool(device_, pool, 0, 4);
  mock_.On(number::vkGetQueryPoolResults, [](void* raw) {
    auto& a = *static_cast<proto::Args_vkGetQueryPoolResults*>(raw);
    const uint64_t value = 1234;
    std::memcpy(a.pData, &value, 8);  // the first result; the second is not there yet
    a.ret = VK_NOT_READY;
  });
  uint64_t results[2] = {7, 8};
  EXPECT_EQ(vk::vkGetQueryPoolResults(device_, pool, 0, 2, sizeof(results), results, 8,
                                      VK_QUERY_RESULT_64_BIT),
            VK_NOT_READY);
  EXPECT_EQ(results[0], 1234u);
  EXPECT_EQ(results[1], 8u) << "what is not available stays as it was";
  vk::vkDestroyQueryPool(device_, pool, nullptr);
  Sync();
  EXPECT_EQ(mock_.Count("vkDestroyQueryPool"), 1u);
}

TEST_F(Objects, PrivateDataStayInTheGuest) {
  const VkPrivateDataSlotCreateInfo info{VK_STRUCTURE_TYPE_PRIVATE_DATA_SLOT_CREATE_INFO};
  VkPrivateDataSlot slot = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreatePrivateDataSlot(device_, &info, nullptr, &slot), VK_SUCCESS);
  const auto handle = reinterpret_cast<uint64_t>(queue_);
  ASSERT_EQ(vk::vkSetPrivateData(device_, VK_OBJECT_TYPE_QUEUE, handle, slot, 55), VK_SUCCESS);
  uint64_t data = 0;
  vk::vkGetPrivateData(device_, VK_OBJECT_TYPE_QUEUE, handle, slot, &data);
  EXPECT_EQ(data, 55u);
  vk::vkDestroyPrivateDataSlot(device_, slot, nullptr);
  EXPECT_THAT(Calls(), IsEmpty());
}

// -- command buffers ------------------------------------------------------------------------------

TEST_F(Objects, RecordingIsSentAsOnePieceAtItsEnd) {
  const VkBuffer buffer = CreateBuffer(256, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  const VkCommandBuffer one = Begin();
  const VkCommandBuffer other = Begin();
  Sync();
  mock_.Clear();
  const uint32_t data[] = {1, 2, 3};
  vk::vkCmdFillBuffer(one, buffer, 0, 64, 1);
  vk::vkCmdUpdateBuffer(other, buffer, 0, sizeof(data), data);
  const VkBufferCopy region{0, 128, 64};
  vk::vkCmdCopyBuffer(one, buffer, buffer, 1, &region);
  EXPECT_THAT(Calls(), IsEmpty());
  ASSERT_EQ(vk::vkEndCommandBuffer(other), VK_SUCCESS);
  ASSERT_EQ(vk::vkEndCommandBuffer(one), VK_SUCCESS);
  Sync();
  const auto& update = Arguments<proto::Args_vkCmdUpdateBuffer>("vkCmdUpdateBuffer");
  EXPECT_EQ(static_cast<const uint32_t*>(update.pData)[2], 3u);
  EXPECT_EQ(Arguments<proto::Args_vkCmdCopyBuffer>("vkCmdCopyBuffer").pRegions[0].dstOffset, 128u);
  EXPECT_THAT(Calls(), ElementsAre("vkBeginCommandBuffer", "vkCmdUpdateBuffer",
                                   "vkEndCommandBuffer", "vkBeginCommandBuffer", "vkCmdFillBuffer",
                                   "vkCmdCopyBuffer", "vkEndCommandBuffer"));
  vk::vkDestroyBuffer(device_, buffer, nullptr);
}

TEST_F(Objects, ADiscardedRecordingIsNeverSent) {
  const VkCommandBuffer commands = Begin();
  vk::vkCmdDispatch(commands, 1, 1, 1);
  ASSERT_EQ(vk::vkResetCommandBuffer(commands, 0), VK_SUCCESS);
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  ASSERT_EQ(vk::vkBeginCommandBuffer(commands, &begin), VK_SUCCESS);
  vk::vkCmdDispatch(commands, 2, 1, 1);
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  Sync();
  ASSERT_EQ(mock_.Count("vkCmdDispatch"), 1u);
  EXPECT_EQ(Arguments<proto::Args_vkCmdDispatch>("vkCmdDispatch").groupCountX, 2u);
  vk::vkFreeCommandBuffers(device_, pool_, 1, &commands);
  Sync();
  EXPECT_EQ(mock_.Count("vkFreeCommandBuffers"), 1u);
}

TEST_F(Objects, AFailedRecordingBreaksTheCommandBuffer) {
  const VkCommandBuffer commands = Begin();
  mock_.FailNext(number::vkEndCommandBuffer, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  ASSERT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS);
  Sync();
  EXPECT_EQ(Submit(commands, VK_NULL_HANDLE), VK_ERROR_OUT_OF_DEVICE_MEMORY);
  mock_.Clear();
  const VkFence fence = CreateFence();
  EXPECT_EQ(Submit(commands, fence), VK_SUCCESS);
  EXPECT_EQ(Wait(fence), VK_SUCCESS);
  EXPECT_EQ(Arguments<proto::Args_vkQueueSubmit>("vkQueueSubmit").pSubmits[0].commandBufferCount,
            0u);
  vk::vkDestroyFence(device_, fence, nullptr);
}

}  // namespace
}  // namespace vesper::tests
