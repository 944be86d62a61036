// SPDX-License-Identifier: Apache-2.0
//
// Owners of Vulkan objects. Each destroys what it holds when it goes; the device must outlive all
// of them, and no work that uses them may be under way then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "examples/common/device.h"

namespace vesper::examples {

// Any object whose destroy command takes the device, the object and allocation callbacks.
template <typename Handle>
class Owned {
 public:
  using Destroy = void(VKAPI_PTR*)(VkDevice, Handle, const VkAllocationCallbacks*);

  Owned() = default;
  Owned(VkDevice device, Handle handle, Destroy destroy)
      : device_(device), handle_(handle), destroy_(destroy) {}
  ~Owned() { Reset(); }
  Owned(Owned&& other) noexcept
      : device_(other.device_),
        handle_(std::exchange(other.handle_, VK_NULL_HANDLE)),
        destroy_(other.destroy_) {}
  Owned& operator=(Owned&& other) noexcept {
    if (this != &other) {
      Reset();
      device_ = other.device_;
      handle_ = std::exchange(other.handle_, VK_NULL_HANDLE);
      destroy_ = other.destroy_;
    }
    return *this;
  }

  Handle get() const { return handle_; }

 private:
  void Reset() {
    if (handle_ != VK_NULL_HANDLE) {
      destroy_(device_, handle_, nullptr);
      handle_ = VK_NULL_HANDLE;
    }
  }

  VkDevice device_ = VK_NULL_HANDLE;
  Handle handle_ = VK_NULL_HANDLE;
  Destroy destroy_ = nullptr;
};

// Where a buffer lives and how the host reaches it.
enum class Placement {
  kDevice,    // the host never touches it
  kUpload,    // mapped all the time, the host writes it
  kReadback,  // mapped all the time, the host reads it
};

// A buffer with memory of its own. Mapped memory is always host-coherent, so that writing needs no
// flush and reading no invalidation.
class Buffer {
 public:
  Buffer(const Device& device, VkDeviceSize size, VkBufferUsageFlags usage, Placement placement);

  VkBuffer handle() const { return buffer_.get(); }
  VkDeviceSize size() const { return size_; }
  VkDeviceMemory memory() const { return memory_.get(); }

  // The mapped bytes; empty for Placement::kDevice.
  std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(mapped_), mapped_ != nullptr ? size_ : 0};
  }

  // The mapped bytes as an array of T.
  template <typename T>
  std::span<T> As() const {
    return {static_cast<T*>(mapped_), mapped_ != nullptr ? size_ / sizeof(T) : 0};
  }

 private:
  VkDeviceSize size_;
  Owned<VkDeviceMemory> memory_;  // declared before the buffer: outlives it
  Owned<VkBuffer> buffer_;
  void* mapped_ = nullptr;  // freeing the memory unmaps it
};

// A two-dimensional image in device memory, and a view of all of it.
class Image {
 public:
  struct Description {
    VkFormat format = VK_FORMAT_UNDEFINED;
    VkExtent2D extent = {};
    VkImageUsageFlags usage = 0;
    VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT;
    VkSampleCountFlagBits samples = VK_SAMPLE_COUNT_1_BIT;
    uint32_t mip_levels = 1;
    uint32_t layers = 1;
    VkImageViewType view_type = VK_IMAGE_VIEW_TYPE_2D;
  };

  Image(const Device& device, const Description& description);

  VkImage handle() const { return image_.get(); }
  VkImageView view() const { return view_.get(); }
  const Description& description() const { return description_; }
  VkImageSubresourceRange whole() const {
    return {description_.aspect, 0, description_.mip_levels, 0, description_.layers};
  }

 private:
  Description description_;
  Owned<VkDeviceMemory> memory_;
  Owned<VkImage> image_;
  Owned<VkImageView> view_;
};

Owned<VkShaderModule> MakeShaderModule(const Device& device, std::span<const uint32_t> words);
Owned<VkDescriptorSetLayout> MakeDescriptorSetLayout(
    const Device& device, std::span<const VkDescriptorSetLayoutBinding> bindings);
Owned<VkDescriptorPool> MakeDescriptorPool(const Device& device, uint32_t max_sets,
                                           std::span<const VkDescriptorPoolSize> sizes);
VkDescriptorSet AllocateDescriptorSet(const Device& device, VkDescriptorPool pool,
                                      VkDescriptorSetLayout layout);
Owned<VkPipelineLayout> MakePipelineLayout(const Device& device, VkDescriptorSetLayout set_layout,
                                           const VkPushConstantRange& push_constants);
Owned<VkPipeline> MakeComputePipeline(const Device& device, VkPipelineLayout layout,
                                      std::span<const uint32_t> words);
Owned<VkCommandPool> MakeCommandPool(const Device& device);
VkCommandBuffer AllocateCommandBuffer(const Device& device, VkCommandPool pool);

// Begins a command buffer that is submitted once.
void BeginCommands(const Device& device, VkCommandBuffer commands);

// Ends the command buffer, submits it and waits until the device has run it.
void RunCommands(const Device& device, VkCommandBuffer commands);

}  // namespace vesper::examples
