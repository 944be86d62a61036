// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_RESOURCES_H_
#define VESPER_TESTS_FRAMEWORK_RESOURCES_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tests/framework/gpu.h"

namespace vesper::tests {

// A buffer with memory of its own. Host buffers are mapped for as long as they live.
struct Buffer {
  std::shared_ptr<void> pages;  // The program's own, if that is what the memory was made of.
  Owned<VkDeviceMemory> memory;
  Owned<VkBuffer> handle;
  VkDeviceSize size = 0;
  uint8_t* data = nullptr;
  uint32_t memory_type = 0;

  std::span<uint8_t> bytes() const { return {data, static_cast<size_t>(size)}; }

  // The mapped contents as numbers.
  template <typename T>
  std::span<T> As() const {
    return {reinterpret_cast<T*>(data), static_cast<size_t>(size / sizeof(T))};
  }
};

inline constexpr VkBufferUsageFlags kTransferUsage =
    VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
inline constexpr VkBufferUsageFlags kStorageUsage =
    kTransferUsage | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;

// A buffer in coherent memory, mapped, all bytes zero.
Buffer MakeHostBuffer(Gpu& gpu, VkDeviceSize size, VkBufferUsageFlags usage = kStorageUsage);
// The same in a memory type of the caller's choice; not cleared.
Buffer MakeHostBufferInType(Gpu& gpu, VkDeviceSize size, VkBufferUsageFlags usage,
                            uint32_t memory_type);
// A buffer in memory of the program's own (VK_EXT_external_memory_host), all bytes zero; not
// mapped, but to be had at `data`.
Buffer MakeImportedBuffer(Gpu& gpu, VkDeviceSize size, VkBufferUsageFlags usage = kStorageUsage);
// Pages of the program's own, filled with zeros: at least so many bytes.
std::shared_ptr<void> MakePages(VkDeviceSize size);
// Makes memory of them. `type_bits`: the memory types that are allowed.
Owned<VkDeviceMemory> ImportPages(Gpu& gpu, void* pages, VkDeviceSize size, uint32_t type_bits,
                                  const void* next = nullptr);
// A buffer that is never mapped.
Buffer MakeDeviceBuffer(Gpu& gpu, VkDeviceSize size, VkBufferUsageFlags usage = kStorageUsage);

// Copies the buffer to the host through a transfer of its own.
std::vector<uint8_t> ReadBack(Gpu& gpu, VkBuffer buffer, VkDeviceSize size);

template <typename T>
std::vector<T> ReadBackAs(Gpu& gpu, VkBuffer buffer, size_t count) {
  const std::vector<uint8_t> bytes = ReadBack(gpu, buffer, count * sizeof(T));
  std::vector<T> values(count);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<uint8_t*>(values.data()));
  return values;
}

void CopyBytes(Gpu& gpu, VkCommandBuffer commands, VkBuffer from, VkBuffer to, VkDeviceSize size,
               VkDeviceSize from_offset = 0, VkDeviceSize to_offset = 0);

// An image with memory of its own, in the layout UNDEFINED.
struct Image {
  Owned<VkDeviceMemory> memory;
  Owned<VkImage> handle;
  VkExtent3D extent{};
  VkFormat format = VK_FORMAT_UNDEFINED;
};

// A 2D image, one level, one layer, one sample, optimal tiling, for transfers: change what differs.
VkImageCreateInfo ImageInfo(VkFormat format, uint32_t width, uint32_t height,
                            VkImageUsageFlags usage = 0);
Image MakeImage(Gpu& gpu, const VkImageCreateInfo& info);
// Throws if the image can't be had in memory with those properties.
Image MakeImageIn(Gpu& gpu, const VkImageCreateInfo& info, VkMemoryPropertyFlags properties);

VkImageViewCreateInfo ViewInfo(const Image& image,
                               VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT);
Owned<VkImageView> MakeView(Gpu& gpu, const Image& image,
                            VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT);

// The copy of all of one level and layer, tightly packed from `offset` on.
VkBufferImageCopy WholeImageCopy(const Image& image, VkDeviceSize offset = 0, uint32_t level = 0,
                                 uint32_t layer = 0,
                                 VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT);

// Reads level 0, layer 0 of an image that is in `layout` and has `bytes_per_texel`; the image is in
// TRANSFER_SRC_OPTIMAL afterwards.
std::vector<uint8_t> ReadImage(Gpu& gpu, const Image& image, VkImageLayout layout,
                               uint32_t bytes_per_texel,
                               VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT);
// Fills level 0, layer 0; the image goes from UNDEFINED to `layout`.
void WriteImage(Gpu& gpu, const Image& image, std::span<const uint8_t> texels,
                VkImageLayout layout);

// A compute pipeline whose bindings 0, 1, 2, ... of set 0 are storage buffers.
struct Kernel {
  Owned<VkDescriptorSetLayout> set_layout;
  Owned<VkPipelineLayout> layout;
  Owned<VkPipeline> pipeline;
  Owned<VkDescriptorPool> pool;
  VkDescriptorSet set = VK_NULL_HANDLE;

  // Binds pipeline and set, and dispatches.
  void Dispatch(Gpu& gpu, VkCommandBuffer commands, uint32_t x, uint32_t y = 1,
                uint32_t z = 1) const;
};

Owned<VkShaderModule> MakeShader(Gpu& gpu, std::span<const uint32_t> code);
Kernel MakeKernel(Gpu& gpu, std::span<const uint32_t> code, std::span<const VkBuffer> buffers,
                  uint32_t push_constant_bytes = 0,
                  const VkSpecializationInfo* specialization = nullptr);

Owned<VkDescriptorSetLayout> MakeSetLayout(Gpu& gpu,
                                           std::span<const VkDescriptorSetLayoutBinding> bindings,
                                           VkDescriptorSetLayoutCreateFlags flags = 0);
Owned<VkPipelineLayout> MakePipelineLayout(Gpu& gpu, std::span<const VkDescriptorSetLayout> sets,
                                           VkShaderStageFlags push_stages = 0,
                                           uint32_t push_bytes = 0);
Owned<VkPipeline> MakeComputePipeline(Gpu& gpu, std::span<const uint32_t> code,
                                      VkPipelineLayout layout,
                                      const VkSpecializationInfo* specialization = nullptr,
                                      VkPipelineCache cache = VK_NULL_HANDLE,
                                      VkPipelineCreateFlags flags = 0);
Owned<VkDescriptorPool> MakePool(Gpu& gpu, std::span<const VkDescriptorPoolSize> sizes,
                                 uint32_t max_sets, VkDescriptorPoolCreateFlags flags = 0);
VkDescriptorSet AllocateSet(Gpu& gpu, VkDescriptorPool pool, VkDescriptorSetLayout layout);
void WriteBufferDescriptor(Gpu& gpu, VkDescriptorSet set, uint32_t binding, VkDescriptorType type,
                           VkBuffer buffer, VkDeviceSize offset = 0,
                           VkDeviceSize range = VK_WHOLE_SIZE);

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_RESOURCES_H_
