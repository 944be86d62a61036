// SPDX-License-Identifier: Apache-2.0
// What the host compares when work is done: what follows from the commands alone. What follows from
// descriptors is in descriptor_writes_test.cpp.
#include "tests/wire/write_set.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "proto/frame.h"
#include "proto/setup.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr VkBufferUsageFlags kTarget = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
constexpr VkBufferUsageFlags kStorage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
constexpr VkBufferUsageFlags kUniform = VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT;

using WriteSet = WriteSetTest;

TEST_F(WriteSet, TransfersNameTheirBytes) {
  const VkBuffer source = Bind(0, 4096, VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
  const VkBuffer target = Bind(4096, 8192, kTarget);
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                const VkBufferCopy regions[] = {{0, 10, 20}, {0, 1000, 3}};
                vk::vkCmdCopyBuffer(buffer, source, target, 2, regions);
              }),
              ElementsAre(Seen{4106, 4126}, Seen{5096, 5099}));
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                const VkBufferCopy2 region{VK_STRUCTURE_TYPE_BUFFER_COPY_2, nullptr, 0, 8000, 192};
                const VkCopyBufferInfo2 info{
                    VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2, nullptr, source, target, 1, &region};
                vk::vkCmdCopyBuffer2(buffer, &info);
              }),
              ElementsAre(Seen{4096 + 8000, 4096 + 8192}));
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                vk::vkCmdFillBuffer(buffer, target, 8000, VK_WHOLE_SIZE, 0);
                vk::vkCmdFillBuffer(buffer, target, 16, 4, 0);
              }),
              ElementsAre(Seen{4112, 4116}, Seen{4096 + 8000, 4096 + 8192}));
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                const uint32_t words[] = {1, 2, 3};
                vk::vkCmdUpdateBuffer(buffer, target, 100, sizeof(words), words);
              }),
              ElementsAre(Seen{4196, 4208}));
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                vk::vkCmdWriteBufferMarkerAMD(buffer, VK_PIPELINE_STAGE_TRANSFER_BIT, target, 40,
                                              1);
                vk::vkCmdWriteBufferMarker2AMD(buffer, VK_PIPELINE_STAGE_2_COPY_BIT, target, 60, 1);
              }),
              ElementsAre(Seen{4136, 4140}, Seen{4156, 4160}));
}

TEST_F(WriteSet, CopiesOfImagesReachAsFarAsTheirRows) {
  const VkBuffer target = Bind(0, 64u << 10, kTarget);
  const VkImage image = BindImage(64u << 10, VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
  // 4 by 3 texels of 4 bytes in rows of 16 texels, two layers of 5 rows: the second begins at 320.
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                const VkBufferImageCopy region{
                    128, 16, 5, {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 2}, {}, {4, 3, 1}};
                vk::vkCmdCopyImageToBuffer(buffer, image, VK_IMAGE_LAYOUT_GENERAL, target, 1,
                                           &region);
              }),
              ElementsAre(Seen{128, 128 + 320 + 2 * 64 + 16}));
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                const VkBufferImageCopy2 region{
                    VK_STRUCTURE_TYPE_BUFFER_IMAGE_COPY_2,
                    nullptr,
                    8,
                    0,
                    0,
                    {VK_IMAGE_ASPECT_COLOR_BIT, 0, 2, VK_REMAINING_ARRAY_LAYERS},
                    {},
                    {4, 4, 1}};
                const VkCopyImageToBufferInfo2 info{VK_STRUCTURE_TYPE_COPY_IMAGE_TO_BUFFER_INFO_2,
                                                    nullptr,
                                                    image,
                                                    VK_IMAGE_LAYOUT_GENERAL,
                                                    target,
                                                    1,
                                                    &region};
                vk::vkCmdCopyImageToBuffer2(buffer, &info);
              }),
              ElementsAre(Seen{8, 8 + 2 * 64}));
}

TEST_F(WriteSet, QueryResultsTakeTheirStride) {
  const VkBuffer target = Bind(0, 8192, kTarget);
  const VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, nullptr, 0,
                                   VK_QUERY_TYPE_OCCLUSION, 16};
  VkQueryPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateQueryPool(device_, &info, nullptr, &pool), VK_SUCCESS);
  const std::vector<Seen> seen = AfterRecording([&](VkCommandBuffer buffer) {
    vk::vkCmdCopyQueryPoolResults(buffer, pool, 0, 16, target, 64, 16, VK_QUERY_RESULT_64_BIT);
  });
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].begin, 64u);
  EXPECT_GE(seen[0].end, 64u + 16 * 16);
  EXPECT_LE(seen[0].end, 64u + 16 * 16 + 256) << "the last result is of unknown size";
  vk::vkDestroyQueryPool(device_, pool, nullptr);
}

TEST_F(WriteSet, ImagesAreWrittenWhole) {
  const VkBuffer buffers[] = {Bind(0, 4096, VK_BUFFER_USAGE_TRANSFER_SRC_BIT)};
  const VkImage image = BindImage(64u << 10, VK_IMAGE_USAGE_TRANSFER_DST_BIT);
  const auto all = ElementsAre(Seen{64u << 10, 128u << 10});
  const VkImageSubresourceRange range{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                const VkBufferImageCopy region{
                    0, 0, 0, {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1}, {}, {4, 4, 1}};
                vk::vkCmdCopyBufferToImage(buffer, buffers[0], image, VK_IMAGE_LAYOUT_GENERAL, 1,
                                           &region);
              }),
              all);
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                const VkClearColorValue color{};
                vk::vkCmdClearColorImage(buffer, image, VK_IMAGE_LAYOUT_GENERAL, &color, 1, &range);
              }),
              all);
  VkImageMemoryBarrier barrier{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
  barrier.image = image;
  barrier.subresourceRange = range;
  barrier.oldLayout = VK_IMAGE_LAYOUT_GENERAL;
  barrier.newLayout = VK_IMAGE_LAYOUT_GENERAL;
  const auto record_barrier = [&](VkCommandBuffer buffer) {
    vk::vkCmdPipelineBarrier(buffer, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0,
                             0, nullptr, 0, nullptr, 1, &barrier);
  };
  EXPECT_THAT(AfterRecording(record_barrier), IsEmpty()) << "nothing is converted";
  barrier.newLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
  EXPECT_THAT(AfterRecording(record_barrier), all);
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                VkImageMemoryBarrier2 second{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2};
                second.image = image;
                second.subresourceRange = range;
                second.newLayout = VK_IMAGE_LAYOUT_GENERAL;
                VkDependencyInfo info{VK_STRUCTURE_TYPE_DEPENDENCY_INFO};
                info.imageMemoryBarrierCount = 1;
                info.pImageMemoryBarriers = &second;
                vk::vkCmdPipelineBarrier2(buffer, &info);
              }),
              all);
}

TEST_F(WriteSet, ShadersWriteWhatTheyReachWithoutDescriptors) {
  Bind(0, 100, kStorage);
  Bind(4096, 100, kTarget);
  Bind(8192, 100, kUniform | VK_BUFFER_USAGE_VERTEX_BUFFER_BIT | VK_BUFFER_USAGE_INDEX_BUFFER_BIT);
  Bind(12288, 100, VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
  Bind(16384, 100, VK_BUFFER_USAGE_TRANSFORM_FEEDBACK_BUFFER_BIT_EXT);
  Bind(20480, 100, VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT);
  BindImage(64u << 10, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT);
  BindImage(128u << 10, VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT);
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) { vk::vkCmdDispatch(buffer, 1, 1, 1); }),
              ElementsAre(Seen{12288, 12388}, Seen{16384, 16484}, Seen{64u << 10, 128u << 10}));
}

TEST_F(WriteSet, StateAndQueriesWriteNothing) {
  Bind(0, kSize, kStorage | kTarget);
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                const VkViewport viewport{};
                vk::vkCmdSetViewport(buffer, 0, 1, &viewport);
                vk::vkCmdSetLineWidth(buffer, 1.0f);
                vk::vkCmdPipelineBarrier(buffer, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                         VK_PIPELINE_STAGE_HOST_BIT, 0, 0, nullptr, 0, nullptr, 0,
                                         nullptr);
              }),
              IsEmpty());
  EXPECT_THAT(After(VK_NULL_HANDLE), IsEmpty());
}

TEST_F(WriteSet, WhatIsNotKnownMayWriteEverything) {
  Bind(0, 100, kStorage);
  Bind(4096, 100, kTarget);
  Bind(8192, 100, kUniform);
  Bind(12288, 100, VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT);
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                const VkDecompressMemoryRegionNV region{};
                vk::vkCmdDecompressMemoryNV(buffer, 1, &region);
              }),
              ElementsAre(Seen{0, 100}, Seen{4096, 4196}, Seen{12288, 12388}));
}

TEST_F(WriteSet, SecondaryCommandBuffersCount) {
  const VkBuffer target = Bind(0, 4096, kTarget);
  const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr,
                                         pool_, VK_COMMAND_BUFFER_LEVEL_SECONDARY, 1};
  VkCommandBuffer secondary = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkAllocateCommandBuffers(device_, &info, &secondary), VK_SUCCESS);
  const VkCommandBufferInheritanceInfo inheritance{
      VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, 0,
                                       &inheritance};
  ASSERT_EQ(vk::vkBeginCommandBuffer(secondary, &begin), VK_SUCCESS);
  vk::vkCmdFillBuffer(secondary, target, 256, 4, 0);
  ASSERT_EQ(vk::vkEndCommandBuffer(secondary), VK_SUCCESS);
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer buffer) {
                vk::vkCmdFillBuffer(buffer, target, 0, 4, 0);
                vk::vkCmdExecuteCommands(buffer, 1, &secondary);
              }),
              ElementsAre(Seen{0, 4}, Seen{256, 260}));
}

TEST_F(WriteSet, ARecordingReplacesTheOneBefore) {
  const VkBuffer target = Bind(0, 4096, kTarget);
  const VkCommandBuffer buffer =
      Record([&](VkCommandBuffer it) { vk::vkCmdFillBuffer(it, target, 0, 4, 0); });
  EXPECT_THAT(After(buffer), ElementsAre(Seen{0, 4}));
  EXPECT_THAT(After(buffer), ElementsAre(Seen{0, 4})) << "submitted again";
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  ASSERT_EQ(vk::vkBeginCommandBuffer(buffer, &begin), VK_SUCCESS);
  vk::vkCmdFillBuffer(buffer, target, 8, 4, 0);
  ASSERT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  EXPECT_THAT(After(buffer), ElementsAre(Seen{8, 12}));
}

TEST_F(WriteSet, BatchesThatEndTogetherAreMerged) {
  const VkBuffer target = Bind(0, 4096, kTarget);
  const VkCommandBuffer first =
      Record([&](VkCommandBuffer it) { vk::vkCmdFillBuffer(it, target, 0, 4, 0); });
  const VkCommandBuffer second =
      Record([&](VkCommandBuffer it) { vk::vkCmdFillBuffer(it, target, 100, 4, 0); });
  DeviceWritesEverywhere();
  mock_.Hold(true);
  VkSubmitInfo batches[2] = {{VK_STRUCTURE_TYPE_SUBMIT_INFO}, {VK_STRUCTURE_TYPE_SUBMIT_INFO}};
  batches[0].commandBufferCount = batches[1].commandBufferCount = 1;
  batches[0].pCommandBuffers = &first;
  batches[1].pCommandBuffers = &second;
  ASSERT_EQ(vk::vkQueueSubmit(queue_, 2, batches, VK_NULL_HANDLE), VK_SUCCESS);
  ASSERT_EQ(Submit(first, fence_), VK_SUCCESS);
  Sync();
  mock_.Hold(false);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  EXPECT_THAT(Visible(), ElementsAre(Seen{0, 4}, Seen{100, 104}));
}

TEST_F(WriteSet, MemoryThatIsNotMappedIsComparedWhenItIs) {
  const VkBuffer target = Bind(0, 4096, kTarget);
  const VkCommandBuffer buffer =
      Record([&](VkCommandBuffer it) { vk::vkCmdFillBuffer(it, target, 64, 64, 0); });
  vk::vkUnmapMemory(device_, memory_);
  DeviceWritesEverywhere();
  RunAndWait(buffer);
  Map();
  EXPECT_THAT(Visible(), ElementsAre(Seen{64, 128}));
}

TEST_F(WriteSet, MappingForTheFirstTimeKeepsWhatRunningWorkWrites) {
  const VkDeviceMemory other = Allocate(4096, kMockCoherent);
  const VkBuffer target = Keep(CreateBuffer(4096, kTarget));
  ASSERT_EQ(vk::vkBindBufferMemory(device_, target, other, 0), VK_SUCCESS);
  mock_.Hold(true);
  ASSERT_EQ(Submit(Record([&](VkCommandBuffer it) { vk::vkCmdFillBuffer(it, target, 64, 64, 0); }),
                   fence_),
            VK_SUCCESS);
  Sync();
  std::ranges::fill(mock_.Memory(1), std::byte{0x42});  // the work has done its part
  void* data = nullptr;
  ASSERT_EQ(vk::vkMapMemory(device_, other, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
  mock_.Hold(false);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  const auto* bytes = static_cast<const std::byte*>(data);
  EXPECT_EQ(std::count(bytes, bytes + 4096, std::byte{0x42}), 64);
  EXPECT_EQ(bytes[64], std::byte{0x42});
  EXPECT_EQ(mock_.Memory(1)[0], std::byte{0}) << "what nothing wrote agrees with the guest's zeros";
  vk::vkFreeMemory(device_, other, nullptr);
}

TEST_F(WriteSet, MemoryThatIsYoungerThanTheWorkIsOutOfItsReach) {
  mock_.Hold(true);
  ASSERT_EQ(Submit(ShaderWork(), fence_), VK_SUCCESS);
  VkDeviceMemory memories[2] = {};
  const std::byte* data[2] = {};
  for (const bool by_address : {false, true}) {
    memories[by_address] = Allocate(4096, kMockCoherent);
    const VkBuffer buffer = Keep(CreateBuffer(
        4096, by_address ? kStorage | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT : kShaderTarget));
    ASSERT_EQ(vk::vkBindBufferMemory(device_, buffer, memories[by_address], 0), VK_SUCCESS);
    void* mapped = nullptr;
    ASSERT_EQ(vk::vkMapMemory(device_, memories[by_address], 0, VK_WHOLE_SIZE, 0, &mapped),
              VK_SUCCESS);
    data[by_address] = static_cast<const std::byte*>(mapped);
  }
  Sync();
  EXPECT_EQ(data[0][0], std::byte{0}) << "what a driver's memory holds is nobody's business";
  EXPECT_EQ(mock_.Memory(1)[0], std::byte{0});
  EXPECT_EQ(data[1][0], mock_.Memory(2)[0]) << "the work may have been told the address since";
  mock_.Hold(false);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  for (const VkDeviceMemory memory : memories) {
    vk::vkFreeMemory(device_, memory, nullptr);
  }
}

TEST_F(WriteSet, ObserversCompareWhatRunningWorkMayWrite) {
  const VkBuffer target = Bind(0, 4096, kTarget);
  const VkEventCreateInfo info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateEvent(device_, &info, nullptr, &event), VK_SUCCESS);
  mock_.Hold(true);
  ASSERT_EQ(Submit(Record([&](VkCommandBuffer it) {
                     vk::vkCmdFillBuffer(it, target, 64, 64, 0);
                     vk::vkCmdSetEvent(it, event, VK_PIPELINE_STAGE_TRANSFER_BIT);
                   }),
                   fence_),
            VK_SUCCESS);
  Sync();
  value_ = std::byte{0x77};
  std::ranges::fill(mock_.Memory(0), value_);
  vk::vkGetEventStatus(device_, event);
  EXPECT_THAT(Visible(), ElementsAre(Seen{64, 128}));
  mock_.Hold(false);
  ASSERT_EQ(Wait(fence_), VK_SUCCESS);
  value_ = std::byte{0x78};
  std::ranges::fill(mock_.Memory(0), value_);
  vk::vkGetEventStatus(device_, event);
  EXPECT_THAT(Visible(), IsEmpty()) << "nothing runs any more";
  vk::vkDestroyEvent(device_, event, nullptr);
}

TEST_F(WriteSet, ChangingALayoutOnTheHostWritesTheImage) {
  const VkImage image = BindImage(64u << 10, VK_IMAGE_USAGE_HOST_TRANSFER_BIT);
  value_ = std::byte{0x77};
  mock_.On(number::vkTransitionImageLayout,
           [this](void*) { std::ranges::fill(mock_.Memory(0), value_); });
  VkHostImageLayoutTransitionInfo info{VK_STRUCTURE_TYPE_HOST_IMAGE_LAYOUT_TRANSITION_INFO};
  info.image = image;
  info.newLayout = VK_IMAGE_LAYOUT_GENERAL;
  info.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
  ASSERT_EQ(vk::vkTransitionImageLayout(device_, 1, &info), VK_SUCCESS);
  EXPECT_THAT(Visible(), ElementsAre(Seen{64u << 10, 128u << 10}));
}

// One queue's work is known to be done from a semaphore, through another queue's fence.
TEST_F(WriteSet, OtherQueuesTellThroughSemaphores) {
  const VkBuffer target = Bind(0, 4096, kTarget);
  VkQueue other = VK_NULL_HANDLE;
  vk::vkGetDeviceQueue(device_, 0, 1, &other);
  const VkSemaphoreCreateInfo semaphore_info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  VkSemaphore semaphore = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateSemaphore(device_, &semaphore_info, nullptr, &semaphore), VK_SUCCESS);
  const VkCommandBuffer buffer =
      Record([&](VkCommandBuffer it) { vk::vkCmdFillBuffer(it, target, 64, 64, 0); });
  for (const bool signals : {false, true}) {
    // The watcher of this queue is the last to know.
    mock_.HoldQueue(MockQueue(0, 0));
    VkSubmitInfo first{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    first.commandBufferCount = 1;
    first.pCommandBuffers = &buffer;
    first.signalSemaphoreCount = signals ? 1 : 0;
    first.pSignalSemaphores = &semaphore;
    ASSERT_EQ(vk::vkQueueSubmit(queue_, 1, &first, VK_NULL_HANDLE), VK_SUCCESS);
    DeviceWritesEverywhere();
    ASSERT_EQ(vk::vkResetFences(device_, 1, &fence_), VK_SUCCESS);
    ASSERT_EQ(vk::vkQueueSubmit(other, 0, nullptr, fence_), VK_SUCCESS);
    ASSERT_EQ(Wait(fence_), VK_SUCCESS);
    if (signals) {
      EXPECT_THAT(Visible(), ElementsAre(Seen{64, 128}));
    } else {
      EXPECT_THAT(Visible(), IsEmpty()) << "nobody can know";
    }
    mock_.HoldQueue(VK_NULL_HANDLE);
    ASSERT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
    EXPECT_THAT(Visible(), ElementsAre(Seen{64, 128}));
  }
  vk::vkDestroySemaphore(device_, semaphore, nullptr);
}

TEST_F(WriteSet, SparseBuffersMayLieAnywhere) {
  Bind(0, 4096, kTarget);
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.flags = VK_BUFFER_CREATE_SPARSE_BINDING_BIT;
  info.size = 128u << 10;
  info.usage = kTarget;
  VkBuffer sparse = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateBuffer(device_, &info, nullptr, &sparse), VK_SUCCESS);
  Keep(sparse);
  const VkSparseMemoryBind bind{64u << 10, 64u << 10, memory_, 64u << 10, 0};
  const VkSparseBufferMemoryBindInfo binds{sparse, 1, &bind};
  VkBindSparseInfo batch{VK_STRUCTURE_TYPE_BIND_SPARSE_INFO};
  batch.bufferBindCount = 1;
  batch.pBufferBinds = &binds;
  ASSERT_EQ(vk::vkQueueBindSparse(queue_, 1, &batch, VK_NULL_HANDLE), VK_SUCCESS);
  EXPECT_THAT(AfterRecording([&](VkCommandBuffer it) { vk::vkCmdFillBuffer(it, sparse, 0, 4, 0); }),
              ElementsAre(Seen{0, 4096}, Seen{64u << 10, 128u << 10}));
}

// The reference that the other ways are tested against.
class ReferenceMemory : public WriteSet {
 protected:
  // The hello of a guest that asks for it.
  std::unique_ptr<transport::Connection> Wrap(
      std::unique_ptr<transport::Connection> guest) override {
    class Asking : public transport::Connection {
     public:
      explicit Asking(std::unique_ptr<transport::Connection> inner) : inner_(std::move(inner)) {}
      bool Write(std::span<const std::span<const std::byte>> parts) override {
        if (has_asked_) {
          return inner_->Write(parts);
        }
        has_asked_ = true;
        std::vector<std::byte> frame;
        for (const auto part : parts) {
          frame.insert(frame.end(), part.begin(), part.end());
        }
        proto::Hello hello;
        std::string error;
        EXPECT_TRUE(
            proto::DecodeHello(std::span(frame).subspan(proto::kFrameHeaderBytes), &hello, &error))
            << error;
        hello.compare_all_memory = true;
        proto::Buffer buffer;
        proto::EncodeHello(hello, buffer);
        const std::span<const std::byte> whole[] = {buffer.Bytes()};
        return inner_->Write(whole);
      }
      size_t ReadSome(std::span<std::byte> buffer) override { return inner_->ReadSome(buffer); }
      void Shutdown() override { inner_->Shutdown(); }
      bool PeerIsGone() const override { return inner_->PeerIsGone(); }
      std::string Error() const override { return inner_->Error(); }
      std::string Peer() const override { return inner_->Peer(); }
      bool IsLocal() const override { return inner_->IsLocal(); }

     private:
      std::unique_ptr<transport::Connection> inner_;
      bool has_asked_ = false;
    };
    return std::make_unique<Asking>(std::move(guest));
  }
};

TEST_F(ReferenceMemory, ComparesEverythingAtEveryProgress) {
  Bind(0, 4096, kUniform);
  EXPECT_THAT(After(VK_NULL_HANDLE), ElementsAre(Seen{0, kSize}));
  vk::vkUnmapMemory(device_, memory_);
  DeviceWritesEverywhere();
  RunAndWait(VK_NULL_HANDLE);
  Map();
  EXPECT_THAT(Visible(), ElementsAre(Seen{0, kSize}));
}

}  // namespace
}  // namespace vesper::tests
