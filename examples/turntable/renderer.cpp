// SPDX-License-Identifier: Apache-2.0
#include "examples/turntable/renderer.h"

#include <cassert>

#include "examples/common/failure.h"
#include "examples/turntable/barriers.h"

namespace vesper::examples {
namespace {

// A minute: far more than a frame needs even in software, and still an end.
constexpr uint64_t kTimeoutNanoseconds = 60'000'000'000;

std::vector<Buffer> MakeUniforms(const Device& device) {
  std::vector<Buffer> uniforms;
  for (uint32_t i = 0; i < Renderer::kSlots; ++i) {
    uniforms.emplace_back(device, sizeof(FrameUniforms), VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT,
                          Placement::kUpload);
  }
  return uniforms;
}

Owned<VkSemaphore> MakeTimeline(const Device& device) {
  const VkSemaphoreTypeCreateInfo type_info = {
      .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
      .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
      .initialValue = 0,
  };
  const VkSemaphoreCreateInfo create_info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                             .pNext = &type_info};
  VkSemaphore semaphore = VK_NULL_HANDLE;
  Check(device.commands().CreateSemaphore(device.handle(), &create_info, nullptr, &semaphore),
        "vkCreateSemaphore");
  return {device.handle(), semaphore, device.commands().DestroySemaphore};
}

}  // namespace

Renderer::Renderer(const Device& device, VkExtent2D extent)
    : device_(device),
      extent_(extent),
      scene_(device),
      uniforms_(MakeUniforms(device)),
      object_pass_(device, scene_, extent, uniforms_),
      grade_pass_(device, object_pass_.picture()),
      finished_frames_(MakeTimeline(device)) {
  const VkDeviceSize picture_size = VkDeviceSize{extent.width} * extent.height * 4;
  for (uint32_t i = 0; i < kSlots; ++i) {
    Owned<VkCommandPool> pool = MakeCommandPool(device);
    const VkCommandBuffer commands = AllocateCommandBuffer(device, pool.get());
    slots_.push_back(
        {std::move(pool), commands,
         Buffer(device, picture_size, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kReadback)});
  }
}

// A frame that was never finished may still be under way. Its result does not matter here, so
// neither does that of the wait.
Renderer::~Renderer() { (void)device_.commands().DeviceWaitIdle(device_.handle()); }

void Renderer::Start(uint32_t frame) {
  assert(started_ - finished_ < kSlots);
  const DeviceCommands& vk = device_.commands();
  const uint32_t slot_index = started_ % kSlots;
  const Slot& slot = slots_[slot_index];

  uniforms_[slot_index].As<FrameUniforms>()[0] = UniformsOfFrame(frame, extent_);
  Check(vk.ResetCommandPool(device_.handle(), slot.pool.get(), 0), "vkResetCommandPool");
  BeginCommands(device_, slot.commands);
  Record(slot, frame, slot_index);
  Check(vk.EndCommandBuffer(slot.commands), "vkEndCommandBuffer");

  const VkCommandBufferSubmitInfo commands_info = {
      .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO, .commandBuffer = slot.commands};
  const VkSemaphoreSubmitInfo signal_info = {
      .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
      .semaphore = finished_frames_.get(),
      .value = started_ + 1,
      .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
  };
  const VkSubmitInfo2 submit_info = {
      .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
      .commandBufferInfoCount = 1,
      .pCommandBufferInfos = &commands_info,
      .signalSemaphoreInfoCount = 1,
      .pSignalSemaphoreInfos = &signal_info,
  };
  Check(vk.QueueSubmit2(device_.queue(), 1, &submit_info, VK_NULL_HANDLE), "vkQueueSubmit2");
  ++started_;
}

void Renderer::Record(const Slot& slot, uint32_t frame, uint32_t slot_index) const {
  object_pass_.Record(slot.commands, frame, slot_index);
  grade_pass_.Record(slot.commands);
  const VkBufferImageCopy region = {
      .imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
      .imageExtent = {extent_.width, extent_.height, 1},
  };
  device_.commands().CmdCopyImageToBuffer(slot.commands, grade_pass_.photograph().handle(),
                                          VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
                                          slot.readback.handle(), 1, &region);
  const VkMemoryBarrier2 to_host = MemoryBarrier(kTransferWrite, kHostRead);
  RecordBarriers(device_, slot.commands, {}, {&to_host, 1});
}

std::span<const std::byte> Renderer::Finish() {
  assert(finished_ < started_);
  const VkSemaphore semaphore = finished_frames_.get();
  const uint64_t value = finished_ + 1;
  const VkSemaphoreWaitInfo wait_info = {
      .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
      .semaphoreCount = 1,
      .pSemaphores = &semaphore,
      .pValues = &value,
  };
  Check(device_.commands().WaitSemaphores(device_.handle(), &wait_info, kTimeoutNanoseconds),
        "vkWaitSemaphores");
  const Slot& slot = slots_[finished_ % kSlots];
  ++finished_;
  return slot.readback.bytes();
}

}  // namespace vesper::examples
