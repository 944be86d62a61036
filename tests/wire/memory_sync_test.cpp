// SPDX-License-Identifier: Apache-2.0
// Every call that releases or observes mapped memory, each alone: what the program wrote is in the
// driver's memory when the driver is called, and what the device wrote is in the program's when the
// call returns. The tables here hold the commands of [memory] in codegen/policy.toml, no fewer:
// tests/codegen compares the names.
#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "server/invoke.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kSize = 3 * 65536;
// Bytes of one line, of two pages, and the last one; all in the image as well.
constexpr std::array<size_t, 5> kPlaces = {0, 7, 63, 4097, 65535};

class MemorySync : public WireTest {
 protected:
  void SetUp() override {
    Open();
    VkDeviceMemory memory = VK_NULL_HANDLE;
    data_ = MapNewMemory(kSize, kMockCoherent, &memory);
    memory_ = memory;
    // An image in the same memory, for those calls whose reach is an image.
    VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
    info.imageType = VK_IMAGE_TYPE_2D;
    info.format = VK_FORMAT_R8G8B8A8_UNORM;
    info.extent = {8, 8, 1};
    info.mipLevels = 1;
    info.arrayLayers = 1;
    info.samples = VK_SAMPLE_COUNT_1_BIT;
    info.tiling = VK_IMAGE_TILING_LINEAR;
    info.usage = VK_IMAGE_USAGE_HOST_TRANSFER_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT;
    ASSERT_EQ(vk::vkCreateImage(device_, &info, nullptr, &image_), VK_SUCCESS);
    ASSERT_EQ(vk::vkBindImageMemory(device_, image_, memory_, 0), VK_SUCCESS);
    const VkEventCreateInfo event{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
    ASSERT_EQ(vk::vkCreateEvent(device_, &event, nullptr, &event_), VK_SUCCESS);
    const VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, nullptr,
                                         VK_SEMAPHORE_TYPE_TIMELINE, 0};
    const VkSemaphoreCreateInfo semaphore{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
    ASSERT_EQ(vk::vkCreateSemaphore(device_, &semaphore, nullptr, &timeline_), VK_SUCCESS);
    const VkQueryPoolCreateInfo queries{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, nullptr, 0,
                                        VK_QUERY_TYPE_OCCLUSION, 1};
    ASSERT_EQ(vk::vkCreateQueryPool(device_, &queries, nullptr, &queries_), VK_SUCCESS);
    work_ = ShaderWork();
    Sync();
  }
  void TearDown() override {
    mock_.Hold(false);
    vk::vkDeviceWaitIdle(device_);
    vk::vkDestroyQueryPool(device_, queries_, nullptr);
    vk::vkDestroySemaphore(device_, timeline_, nullptr);
    vk::vkDestroyEvent(device_, event_, nullptr);
    vk::vkDestroyImage(device_, image_, nullptr);
    vk::vkFreeMemory(device_, memory_, nullptr);
  }

  VkResult Submit1() { return WireTest::Submit(work_, VK_NULL_HANDLE); }
  VkResult Submit2() {
    VkCommandBufferSubmitInfo buffer{VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO};
    buffer.commandBuffer = work_;
    VkSubmitInfo2 info{VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
    info.commandBufferInfoCount = 1;
    info.pCommandBufferInfos = &buffer;
    return vk::vkQueueSubmit2(queue_, 1, &info, VK_NULL_HANDLE);
  }
  VkResult BindSparse() {
    const VkBindSparseInfo info{VK_STRUCTURE_TYPE_BIND_SPARSE_INFO};
    return vk::vkQueueBindSparse(queue_, 1, &info, VK_NULL_HANDLE);
  }
  VkResult SignalSemaphore() {
    const VkSemaphoreSignalInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, timeline_,
                                     ++timeline_value_};
    return vk::vkSignalSemaphore(device_, &info);
  }
  VkResult CopyMemoryToImage() {
    std::array<std::byte, 256> texels{};
    VkMemoryToImageCopy region{VK_STRUCTURE_TYPE_MEMORY_TO_IMAGE_COPY};
    region.pHostPointer = texels.data();
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
    std::array<std::byte, 256> texels{};
    VkImageToMemoryCopy region{VK_STRUCTURE_TYPE_IMAGE_TO_MEMORY_COPY};
    region.pHostPointer = texels.data();
    region.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    region.imageExtent = {8, 8, 1};
    VkCopyImageToMemoryInfo info{VK_STRUCTURE_TYPE_COPY_IMAGE_TO_MEMORY_INFO};
    info.srcImage = image_;
    info.srcImageLayout = VK_IMAGE_LAYOUT_GENERAL;
    info.regionCount = 1;
    info.pRegions = &region;
    return vk::vkCopyImageToMemory(device_, &info);
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
    info.oldLayout = VK_IMAGE_LAYOUT_PREINITIALIZED;
    info.newLayout = VK_IMAGE_LAYOUT_GENERAL;
    info.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    return vk::vkTransitionImageLayout(device_, 1, &info);
  }
  VkResult GetQueryPoolResults() {
    uint64_t result = 0;
    return vk::vkGetQueryPoolResults(device_, queries_, 0, 1, sizeof(result), &result,
                                     sizeof(result), VK_QUERY_RESULT_64_BIT);
  }

  // What runs when the driver is called by that name.
  void WhenCalled(const std::string& name, std::function<void()> hook) {
    if (name == "vesperCopyMemoryToImage" || name == "vkCopyMemoryToImage") {
      mock_.OnLocal("vkCopyMemoryToImage", std::move(hook));
    } else if (name == "vesperCopyImageToMemory" || name == "vkCopyImageToMemory") {
      mock_.OnLocal("vkCopyImageToMemory", std::move(hook));
    } else {
      for (uint16_t i = 1; const proto::Record* record = proto::CommandRecord(i); ++i) {
        if (record->name == name) {
          mock_.On(i, [hook = std::move(hook)](void*) { hook(); });
          return;
        }
      }
      ADD_FAILURE() << "there is no command " << name;
    }
  }

  std::byte* data_ = nullptr;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  VkImage image_ = VK_NULL_HANDLE;
  VkEvent event_ = VK_NULL_HANDLE;
  VkSemaphore timeline_ = VK_NULL_HANDLE;
  uint64_t timeline_value_ = 0;
  VkCommandBuffer work_ = VK_NULL_HANDLE;
  VkQueryPool queries_ = VK_NULL_HANDLE;
};

class MemorySyncCalls : public MemorySync {
 public:
  // What is pushed has its own order (pushed_events_test.cpp, pushed_queries_test.cpp).
  MemorySyncCalls() { excluded_pushes_ = client::kPushAll; }

  using Call = std::function<VkResult(MemorySyncCalls&)>;
  struct Case {
    std::string name;
    Call call;
  };

  static std::vector<Case> Releasing() {
    return {
        {"vkQueueSubmit", [](auto& t) { return t.Submit1(); }},
        {"vkQueueSubmit2", [](auto& t) { return t.Submit2(); }},
        {"vkQueueBindSparse", [](auto& t) { return t.BindSparse(); }},
        {"vkSetEvent", [](auto& t) { return vk::vkSetEvent(t.device_, t.event_); }},
        {"vkSignalSemaphore", [](auto& t) { return t.SignalSemaphore(); }},
        {"vkCopyMemoryToImage", [](auto& t) { return t.CopyMemoryToImage(); }},
        {"vkCopyImageToMemory", [](auto& t) { return t.CopyImageToMemory(); }},
        {"vkCopyImageToImage", [](auto& t) { return t.CopyImageToImage(); }},
        {"vkTransitionImageLayout", [](auto& t) { return t.TransitionImageLayout(); }},
    };
  }

  static std::vector<Case> Observing() {
    return {
        {"vkGetEventStatus",
         [](auto& t) {
           const VkResult result = vk::vkGetEventStatus(t.device_, t.event_);
           return result == VK_EVENT_SET || result == VK_EVENT_RESET ? VK_SUCCESS : result;
         }},
        {"vkGetQueryPoolResults", [](auto& t) { return t.GetQueryPoolResults(); }},
        {"vesperCopyMemoryToImage", [](auto& t) { return t.CopyMemoryToImage(); }},
        {"vesperCopyImageToMemory", [](auto& t) { return t.CopyImageToMemory(); }},
        {"vkCopyImageToImage", [](auto& t) { return t.CopyImageToImage(); }},
        {"vkTransitionImageLayout", [](auto& t) { return t.TransitionImageLayout(); }},
    };
  }

 protected:
  // Writes by the program, and what the driver finds in its memory when it is called.
  void ExpectReleasedBy(const Case& one) {
    std::array<std::byte, kPlaces.size()> seen{};
    bool called = false;
    WhenCalled(one.name, [&] {
      called = true;
      for (size_t i = 0; i < kPlaces.size(); ++i) {
        seen[i] = mock_.Memory(0)[kPlaces[i]];
      }
    });
    for (const std::byte value : {std::byte{0x31}, std::byte{0xc4}, std::byte{0}}) {
      called = false;
      for (const size_t place : kPlaces) {
        data_[place] = value;
      }
      ASSERT_EQ(one.call(*this), VK_SUCCESS);
      Sync();
      ASSERT_TRUE(called);
      for (size_t i = 0; i < kPlaces.size(); ++i) {
        EXPECT_EQ(seen[i], value) << "byte " << kPlaces[i];
      }
    }
    WhenCalled(one.name, {});
  }
};

TEST_F(MemorySyncCalls, EachReleasingCallAloneCarriesTheData) {
  for (const Case& one : Releasing()) {
    SCOPED_TRACE(one.name);
    ExpectReleasedBy(one);
  }
}

TEST_F(MemorySyncCalls, EachReleasingCallCarriesItWhileWorkWaits) {
  // Work that was submitted before the write waits for it; nothing else comes after.
  mock_.Hold(true);
  ASSERT_EQ(Submit1(), VK_SUCCESS);
  Sync();
  for (const Case& one : Releasing()) {
    SCOPED_TRACE(one.name);
    ExpectReleasedBy(one);
  }
}

TEST_F(MemorySync, ASignalReleasesWhatWaitsForIt) {
  // The work that reads is in another queue already; the batch that lets it go has none of its own.
  VkQueue other = VK_NULL_HANDLE;
  vk::vkGetDeviceQueue(device_, 0, 1, &other);
  ASSERT_NE(other, VK_NULL_HANDLE);
  for (uint64_t round = 1; round < 4; ++round) {
    VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.waitSemaphoreValueCount = 1;
    values.pWaitSemaphoreValues = &round;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkSubmitInfo waits{VK_STRUCTURE_TYPE_SUBMIT_INFO, &values};
    waits.waitSemaphoreCount = 1;
    waits.pWaitSemaphores = &timeline_;
    waits.pWaitDstStageMask = &stage;
    waits.commandBufferCount = 1;
    waits.pCommandBuffers = &work_;
    ASSERT_EQ(vk::vkQueueSubmit(other, 1, &waits, VK_NULL_HANDLE), VK_SUCCESS);
    data_[4097] = static_cast<std::byte>(round);
    std::byte seen{};
    mock_.On(number::vkQueueSubmit, [&](void*) { seen = mock_.Memory(0)[4097]; });
    values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.signalSemaphoreValueCount = 1;
    values.pSignalSemaphoreValues = &round;
    VkSubmitInfo signals{VK_STRUCTURE_TYPE_SUBMIT_INFO, &values};
    signals.signalSemaphoreCount = 1;
    signals.pSignalSemaphores = &timeline_;
    ASSERT_EQ(vk::vkQueueSubmit(queue_, 1, &signals, VK_NULL_HANDLE), VK_SUCCESS);
    Sync();
    EXPECT_EQ(seen, static_cast<std::byte>(round));
    mock_.On(number::vkQueueSubmit, {});
  }
}

TEST_F(MemorySync, ASignalReleasesWhatIsQueuedBehindAWait) {
  // The batch that waits has no work of its own, but the one behind it has.
  VkQueue other = VK_NULL_HANDLE;
  vk::vkGetDeviceQueue(device_, 0, 1, &other);
  ASSERT_NE(other, VK_NULL_HANDLE);
  const uint64_t value = 1;
  VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  values.waitSemaphoreValueCount = 1;
  values.pWaitSemaphoreValues = &value;
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo waits{VK_STRUCTURE_TYPE_SUBMIT_INFO, &values};
  waits.waitSemaphoreCount = 1;
  waits.pWaitSemaphores = &timeline_;
  waits.pWaitDstStageMask = &stage;
  VkSubmitInfo behind{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  behind.commandBufferCount = 1;
  behind.pCommandBuffers = &work_;
  ASSERT_EQ(vk::vkQueueSubmit(other, 1, &waits, VK_NULL_HANDLE), VK_SUCCESS);
  ASSERT_EQ(vk::vkQueueSubmit(other, 1, &behind, VK_NULL_HANDLE), VK_SUCCESS);
  data_[4097] = std::byte{7};
  std::byte seen{};
  mock_.On(number::vkQueueSubmit, [&](void*) { seen = mock_.Memory(0)[4097]; });
  values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  values.signalSemaphoreValueCount = 1;
  values.pSignalSemaphoreValues = &value;
  VkSubmitInfo signals{VK_STRUCTURE_TYPE_SUBMIT_INFO, &values};
  signals.signalSemaphoreCount = 1;
  signals.pSignalSemaphores = &timeline_;
  ASSERT_EQ(vk::vkQueueSubmit(queue_, 1, &signals, VK_NULL_HANDLE), VK_SUCCESS);
  Sync();
  EXPECT_EQ(seen, std::byte{7});
  mock_.On(number::vkQueueSubmit, {});
}

TEST_F(MemorySyncCalls, EachObservingCallAloneBringsTheData) {
  // In the middle of a batch, which no progress tells of.
  mock_.Hold(true);
  ASSERT_EQ(Submit1(), VK_SUCCESS);
  Sync();
  for (const Case& one : Observing()) {
    SCOPED_TRACE(one.name);
    std::byte value{};
    WhenCalled(one.name, [&] {
      for (const size_t place : kPlaces) {
        mock_.Memory(0)[place] = value;
      }
    });
    for (const std::byte next : {std::byte{0x52}, std::byte{0xe7}, std::byte{0}}) {
      value = next;
      ASSERT_EQ(one.call(*this), VK_SUCCESS);
      for (const size_t place : kPlaces) {
        EXPECT_EQ(data_[place], value) << "byte " << place;
      }
    }
    WhenCalled(one.name, {});
  }
}

TEST_F(MemorySyncCalls, TheTableHoldsWhatTheHostObserves) {
  std::vector<std::string> observing;
  for (uint16_t i = 1; const proto::Record* record = proto::CommandRecord(i); ++i) {
    const server::HostCommand* command = server::FindHostCommand(i);
    if (command != nullptr && command->observes_memory) {
      observing.emplace_back(record->name);
    }
  }
  std::vector<std::string> tested;
  for (const Case& one : Observing()) {
    tested.push_back(one.name);
  }
  EXPECT_THAT(tested, testing::UnorderedElementsAreArray(observing));
}

TEST_F(MemorySync, MappingBringsWhatTheDeviceWroteMeanwhile) {
  vk::vkUnmapMemory(device_, memory_);
  for (const std::byte value : {std::byte{0x15}, std::byte{0x51}}) {
    mock_.OnExecute([&] { mock_.Memory(0)[5000] = value; });
    ASSERT_EQ(Submit1(), VK_SUCCESS);
    ASSERT_EQ(vk::vkQueueWaitIdle(queue_), VK_SUCCESS);
    void* data = nullptr;
    ASSERT_EQ(vk::vkMapMemory(device_, memory_, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    EXPECT_EQ(static_cast<std::byte*>(data)[5000], value);
    vk::vkUnmapMemory(device_, memory_);
  }
  mock_.OnExecute({});
  void* data = nullptr;
  ASSERT_EQ(vk::vkMapMemory(device_, memory_, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
}

// -- memory that is not coherent ------------------------------------------------------------------

class UncoherentMemorySync : public WireTest {
 protected:
  // A size that is no multiple of what flushes are rounded to.
  static constexpr VkDeviceSize kOddSize = 4096 + 100;

  void SetUp() override {
    Open();
    data_ = MapNewMemory(kOddSize, kMockCached, &memory_);
    work_ = ShaderWork();
  }
  void TearDown() override { vk::vkFreeMemory(device_, memory_, nullptr); }

  VkMappedMemoryRange Range(VkDeviceSize offset, VkDeviceSize size) const {
    return {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, memory_, offset, size};
  }
  VkResult SubmitAndWait() {
    const VkResult result = WireTest::Submit(work_, VK_NULL_HANDLE);
    return result == VK_SUCCESS ? vk::vkQueueWaitIdle(queue_) : result;
  }

  std::byte* data_ = nullptr;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  VkCommandBuffer work_ = VK_NULL_HANDLE;
};

TEST_F(UncoherentMemorySync, AFlushAloneCarriesTheData) {
  // Work that is waiting already may read it, so that nothing but the flush need come.
  mock_.Hold(true);
  ASSERT_EQ(WireTest::Submit(work_, VK_NULL_HANDLE), VK_SUCCESS);
  const VkMappedMemoryRange ranges[] = {Range(0, 64), Range(4096, VK_WHOLE_SIZE)};
  data_[3] = std::byte{3};
  data_[kOddSize - 1] = std::byte{7};
  ASSERT_EQ(vk::vkFlushMappedMemoryRanges(device_, 2, ranges), VK_SUCCESS);
  Sync();
  EXPECT_EQ(mock_.Memory(0)[3], std::byte{3});
  EXPECT_EQ(mock_.Memory(0)[kOddSize - 1], std::byte{7});
  mock_.Hold(false);
}

TEST_F(UncoherentMemorySync, AnUnmapCarriesNothingThatAFlushHasNot) {
  // What was not flushed may or may not arrive; what was flushed must stay.
  data_[0] = std::byte{1};
  const VkMappedMemoryRange range = Range(0, 64);
  ASSERT_EQ(vk::vkFlushMappedMemoryRanges(device_, 1, &range), VK_SUCCESS);
  vk::vkUnmapMemory(device_, memory_);
  Sync();
  EXPECT_EQ(mock_.Memory(0)[0], std::byte{1});
}

TEST_F(UncoherentMemorySync, AnInvalidationFindsWhatTheDeviceWrote) {
  mock_.OnExecute([&] {
    mock_.Memory(0)[70] = std::byte{0x70};
    mock_.Memory(0)[kOddSize - 1] = std::byte{0x71};
  });
  ASSERT_EQ(SubmitAndWait(), VK_SUCCESS);
  const VkMappedMemoryRange ranges[] = {Range(64, 64), Range(4096, 100)};
  ASSERT_EQ(vk::vkInvalidateMappedMemoryRanges(device_, 2, ranges), VK_SUCCESS);
  EXPECT_EQ(data_[70], std::byte{0x70});
  EXPECT_EQ(data_[kOddSize - 1], std::byte{0x71});
}

TEST_F(UncoherentMemorySync, FlushedAtomsLeaveTheirNeighboursAlone) {
  // The device has the odd atoms, the program the even ones. A flush of all of them (with room for
  // the device's) must not take the device's bytes back.
  constexpr size_t kAtom = 64;
  for (int round = 1; round < 20; ++round) {
    for (size_t atom = 0; atom < 64; atom += 2) {
      std::memset(data_ + atom * kAtom, round, kAtom);
      const VkMappedMemoryRange range = Range(atom * kAtom, kAtom);
      ASSERT_EQ(vk::vkFlushMappedMemoryRanges(device_, 1, &range), VK_SUCCESS);
    }
    mock_.OnExecute([&] {
      for (size_t atom = 1; atom < 64; atom += 2) {
        std::memset(mock_.Memory(0).data() + atom * kAtom, 0x80 | round, kAtom);
      }
    });
    ASSERT_EQ(SubmitAndWait(), VK_SUCCESS);
    const VkMappedMemoryRange all = Range(0, VK_WHOLE_SIZE);
    ASSERT_EQ(vk::vkInvalidateMappedMemoryRanges(device_, 1, &all), VK_SUCCESS);
    for (size_t i = 0; i < 4096; ++i) {
      const auto expected = static_cast<std::byte>(i / kAtom % 2 == 0 ? round : 0x80 | round);
      ASSERT_EQ(data_[i], expected) << "byte " << i << " in round " << round;
      ASSERT_EQ(mock_.Memory(0)[i], expected) << "byte " << i << " in round " << round;
    }
  }
}

}  // namespace
}  // namespace vesper::tests
