// SPDX-License-Identifier: Apache-2.0
#include "bench/gpu_memory.h"

#include "examples/common/failure.h"
#include "shaders/count_comp.h"

namespace vesper::bench {
namespace {

using examples::Check;
using examples::Device;
using examples::DeviceCommands;
using examples::Owned;

constexpr uint64_t kTimeoutNanoseconds = 120'000'000'000;

VkDeviceSize AlignUp(VkDeviceSize offset, VkDeviceSize alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

}  // namespace

HostBuffers::HostBuffers(const Device& device, std::span<const BufferRequest> requests,
                         VkMemoryPropertyFlags preferred)
    : device_(device) {
  const DeviceCommands& vk = device.commands();
  uint32_t allowed_types = UINT32_MAX;
  for (const BufferRequest& request : requests) {
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = request.size,
                                     .usage = request.usage};
    VkBuffer buffer = VK_NULL_HANDLE;
    Check(vk.CreateBuffer(device.handle(), &info, nullptr, &buffer), "vkCreateBuffer");
    buffers_.emplace_back(device.handle(), buffer, vk.DestroyBuffer);
    VkMemoryRequirements requirements;
    vk.GetBufferMemoryRequirements(device.handle(), buffer, &requirements);
    offsets_.push_back(AlignUp(size_, requirements.alignment));
    size_ = offsets_.back() + requirements.size;
    allowed_types &= requirements.memoryTypeBits;
  }
  const VkMemoryAllocateInfo info = {
      .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
      .allocationSize = size_,
      .memoryTypeIndex = device.FindMemoryType(
          allowed_types, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
          preferred)};
  VkDeviceMemory memory = VK_NULL_HANDLE;
  Check(vk.AllocateMemory(device.handle(), &info, nullptr, &memory), "vkAllocateMemory");
  memory_ = {device.handle(), memory, vk.FreeMemory};
  for (size_t i = 0; i < buffers_.size(); ++i) {
    Check(vk.BindBufferMemory(device.handle(), buffers_[i].get(), memory, offsets_[i]),
          "vkBindBufferMemory");
  }
  if (device.api_version() >= VK_API_VERSION_1_4) {
    unmap2_ = reinterpret_cast<PFN_vkUnmapMemory2>(
        device.instance().commands().GetDeviceProcAddr(device.handle(), "vkUnmapMemory2"));
  }
}

std::span<std::byte> HostBuffers::Map() {
  void* mapped = nullptr;
  Check(device_.commands().MapMemory(device_.handle(), memory_.get(), 0, VK_WHOLE_SIZE, 0, &mapped),
        "vkMapMemory");
  return {static_cast<std::byte*>(mapped), size_};
}

void HostBuffers::Unmap() {
  if (unmap2_ == nullptr) {
    device_.commands().UnmapMemory(device_.handle(), memory_.get());
    return;
  }
  const VkMemoryUnmapInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_UNMAP_INFO,
                                  .memory = memory_.get()};
  Check(unmap2_(device_.handle(), &info), "vkUnmapMemory2");
}

Work::Work(const Device& device, const Record& record)
    : device_(device),
      pool_(examples::MakeCommandPool(device)),
      commands_(examples::AllocateCommandBuffer(device, pool_.get())) {
  const DeviceCommands& vk = device.commands();
  const VkCommandBufferBeginInfo begin_info = {.sType =
                                                   VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  Check(vk.BeginCommandBuffer(commands_, &begin_info), "vkBeginCommandBuffer");
  record(vk, commands_);
  Check(vk.EndCommandBuffer(commands_), "vkEndCommandBuffer");
  const VkFenceCreateInfo fence_info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  VkFence fence = VK_NULL_HANDLE;
  Check(vk.CreateFence(device.handle(), &fence_info, nullptr, &fence), "vkCreateFence");
  fence_ = {device.handle(), fence, vk.DestroyFence};
}

void Work::Submit() const {
  const VkCommandBufferSubmitInfo commands_info = {
      .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO, .commandBuffer = commands_};
  const VkSubmitInfo2 submit_info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                     .commandBufferInfoCount = 1,
                                     .pCommandBufferInfos = &commands_info};
  Check(device_.commands().QueueSubmit2(device_.queue(), 1, &submit_info, fence_.get()),
        "vkQueueSubmit2");
}

void Work::Wait() const {
  const DeviceCommands& vk = device_.commands();
  const VkFence fence = fence_.get();
  Check(vk.WaitForFences(device_.handle(), 1, &fence, VK_TRUE, kTimeoutNanoseconds),
        "vkWaitForFences");
  Check(vk.ResetFences(device_.handle(), 1, &fence), "vkResetFences");
}

Work::Record Copy(VkBuffer from, VkBuffer to, VkDeviceSize size) {
  return [=](const DeviceCommands& vk, VkCommandBuffer commands) {
    const VkBufferCopy region = {0, 0, size};
    vk.CmdCopyBuffer(commands, from, to, 1, &region);
  };
}

void ReleaseToHost(const DeviceCommands& vk, VkCommandBuffer commands) {
  const VkMemoryBarrier2 barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
                                    .srcStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
                                    .srcAccessMask = VK_ACCESS_2_MEMORY_WRITE_BIT,
                                    .dstStageMask = VK_PIPELINE_STAGE_2_HOST_BIT,
                                    .dstAccessMask = VK_ACCESS_2_HOST_READ_BIT};
  const VkDependencyInfo info = {.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
                                 .memoryBarrierCount = 1,
                                 .pMemoryBarriers = &barrier};
  vk.CmdPipelineBarrier2(commands, &info);
}

Counter::Counter(const Device& device, VkBuffer buffer) {
  const VkDescriptorSetLayoutBinding binding = {.binding = 0,
                                                .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                .descriptorCount = 1,
                                                .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
  set_layout_ = examples::MakeDescriptorSetLayout(device, std::span(&binding, 1));
  const VkDescriptorPoolSize pool_size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
  descriptor_pool_ = examples::MakeDescriptorPool(device, 1, std::span(&pool_size, 1));
  set_ = examples::AllocateDescriptorSet(device, descriptor_pool_.get(), set_layout_.get());
  const VkDescriptorBufferInfo buffer_info = {buffer, 0, VK_WHOLE_SIZE};
  const VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                      .dstSet = set_,
                                      .descriptorCount = 1,
                                      .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                      .pBufferInfo = &buffer_info};
  device.commands().UpdateDescriptorSets(device.handle(), 1, &write, 0, nullptr);
  layout_ = examples::MakePipelineLayout(device, set_layout_.get(),
                                         {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(uint32_t)});
  pipeline_ = examples::MakeComputePipeline(device, layout_.get(), kCountComp);
}

Work::Record Counter::Record() const {
  return [this](const DeviceCommands& vk, VkCommandBuffer commands) {
    const uint32_t step = 1;
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_.get());
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_.get(), 0, 1, &set_,
                             0, nullptr);
    vk.CmdPushConstants(commands, layout_.get(), VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(step),
                        &step);
    vk.CmdDispatch(commands, 1, 1, 1);
    ReleaseToHost(vk, commands);
  };
}

}  // namespace vesper::bench
