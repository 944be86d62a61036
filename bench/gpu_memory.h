// SPDX-License-Identifier: Apache-2.0
//
// The Vulkan objects of the memory figures: memory that is mapped and unmapped on purpose, and work
// that is recorded once and submitted again and again, so that recording is in no figure.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "examples/common/device.h"
#include "examples/common/resources.h"

namespace vesper::bench {

struct BufferRequest {
  VkDeviceSize size;
  VkBufferUsageFlags usage;
};

/// Buffers side by side in one host-visible, coherent allocation. The device must outlive it.
class HostBuffers {
 public:
  /// `preferred`: properties that the memory type should have, too. Throws examples::Failure.
  HostBuffers(const examples::Device& device, std::span<const BufferRequest> requests,
              VkMemoryPropertyFlags preferred = 0);
  HostBuffers(const examples::Device& device, const BufferRequest& request,
              VkMemoryPropertyFlags preferred = 0)
      : HostBuffers(device, std::span(&request, 1), preferred) {}

  VkBuffer buffer(size_t index = 0) const { return buffers_[index].get(); }
  VkDeviceSize offset(size_t index) const { return offsets_[index]; }
  VkDeviceSize size() const { return size_; }

  /// Maps all of it; vkUnmapMemory2 is used for the other way where the driver has it.
  std::span<std::byte> Map();
  void Unmap();

 private:
  const examples::Device& device_;
  examples::Owned<VkDeviceMemory> memory_;  // declared before the buffers: outlives them
  std::vector<examples::Owned<VkBuffer>> buffers_;
  std::vector<VkDeviceSize> offsets_;
  VkDeviceSize size_ = 0;
  PFN_vkUnmapMemory2 unmap2_ = nullptr;
};

/// One command buffer and the fence that says it is done.
class Work {
 public:
  using Record = std::function<void(const examples::DeviceCommands& vk, VkCommandBuffer)>;

  Work(const examples::Device& device, const Record& record);

  void Submit() const;
  void Wait() const;
  void Run() const {
    Submit();
    Wait();
  }

 private:
  const examples::Device& device_;
  examples::Owned<VkCommandPool> pool_;
  VkCommandBuffer commands_;
  examples::Owned<VkFence> fence_;
};

/// Records a copy of `size` bytes from the beginning of one buffer to the beginning of another.
Work::Record Copy(VkBuffer from, VkBuffer to, VkDeviceSize size);
/// Makes what the device wrote visible to the program; at the end of a recording.
void ReleaseToHost(const examples::DeviceCommands& vk, VkCommandBuffer commands);

/// A dispatch that adds one to the first number of a storage buffer.
class Counter {
 public:
  Counter(const examples::Device& device, VkBuffer buffer);
  Work::Record Record() const;

 private:
  examples::Owned<VkDescriptorSetLayout> set_layout_;
  examples::Owned<VkDescriptorPool> descriptor_pool_;
  VkDescriptorSet set_;
  examples::Owned<VkPipelineLayout> layout_;
  examples::Owned<VkPipeline> pipeline_;
};

}  // namespace vesper::bench
