// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/resources.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace vesper::tests {
namespace {

VkBufferCreateInfo BufferInfo(VkDeviceSize size, VkBufferUsageFlags usage) {
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = size;
  info.usage = usage;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  return info;
}

// Allocates and binds memory for a buffer, with the flag that device addresses need.
void Back(Gpu& gpu, Buffer& buffer, VkBufferUsageFlags usage, VkDeviceSize size) {
  VkMemoryAllocateFlagsInfo flags{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO};
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  const bool address = (usage & VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT) != 0;
  buffer.memory = gpu.Allocate(size, buffer.memory_type, address ? &flags : nullptr);
  VESPER_CHECK(gpu.vk.BindBufferMemory(gpu.device, buffer.handle, buffer.memory, 0));
}

}  // namespace

Buffer MakeHostBufferInType(Gpu& gpu, VkDeviceSize size, VkBufferUsageFlags usage,
                            uint32_t memory_type) {
  Buffer buffer;
  buffer.handle = gpu.Make(gpu.vk.CreateBuffer, gpu.vk.DestroyBuffer, BufferInfo(size, usage));
  buffer.size = size;
  buffer.memory_type = memory_type;
  VkMemoryRequirements requirements{};
  gpu.vk.GetBufferMemoryRequirements(gpu.device, buffer.handle, &requirements);
  Back(gpu, buffer, usage, requirements.size);
  buffer.data = gpu.Map(buffer.memory);
  return buffer;
}

Buffer MakeHostBuffer(Gpu& gpu, VkDeviceSize size, VkBufferUsageFlags usage) {
  const Owned<VkBuffer> probe =
      gpu.Make(gpu.vk.CreateBuffer, gpu.vk.DestroyBuffer, BufferInfo(size, usage));
  VkMemoryRequirements requirements{};
  gpu.vk.GetBufferMemoryRequirements(gpu.device, probe, &requirements);
  const uint32_t type =
      gpu.FindMemoryType(requirements.memoryTypeBits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                                          VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
  Buffer buffer = MakeHostBufferInType(gpu, size, usage, type);
  std::memset(buffer.data, 0, static_cast<size_t>(size));
  return buffer;
}

std::shared_ptr<void> MakePages(VkDeviceSize size) {
  const auto bytes = static_cast<size_t>(size);
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) {
    throw std::runtime_error("Expected memory for " + std::to_string(bytes) + " bytes; got none.");
  }
  return {pages, [bytes](void* begin) { ::munmap(begin, bytes); }};
}

Owned<VkDeviceMemory> ImportPages(Gpu& gpu, void* pages, VkDeviceSize size, uint32_t type_bits,
                                  const void* next) {
  VkMemoryHostPointerPropertiesEXT importable{VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
  const auto get_properties = reinterpret_cast<PFN_vkGetMemoryHostPointerPropertiesEXT>(
      gpu.vk.GetDeviceProcAddr(gpu.device, "vkGetMemoryHostPointerPropertiesEXT"));
  VESPER_CHECK(get_properties(gpu.device, VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
                              pages, &importable));
  VkImportMemoryHostPointerInfoEXT import{VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT};
  import.pNext = next;
  import.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  import.pHostPointer = pages;
  const uint32_t type = gpu.FindMemoryType(
      type_bits & importable.memoryTypeBits,
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
  return gpu.Allocate(size, type, &import);
}

Buffer MakeImportedBuffer(Gpu& gpu, VkDeviceSize size, VkBufferUsageFlags usage) {
  Buffer buffer;
  VkExternalMemoryBufferCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
  external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  VkBufferCreateInfo info = BufferInfo(size, usage);
  info.pNext = &external;
  buffer.handle = gpu.Make(gpu.vk.CreateBuffer, gpu.vk.DestroyBuffer, info);
  buffer.size = size;
  VkMemoryRequirements requirements{};
  gpu.vk.GetBufferMemoryRequirements(gpu.device, buffer.handle, &requirements);
  const auto page = static_cast<VkDeviceSize>(::sysconf(_SC_PAGESIZE));
  const VkDeviceSize bytes = (requirements.size + page - 1) / page * page;
  buffer.pages = MakePages(bytes);
  buffer.memory = ImportPages(gpu, buffer.pages.get(), bytes, requirements.memoryTypeBits);
  VESPER_CHECK(gpu.vk.BindBufferMemory(gpu.device, buffer.handle, buffer.memory, 0));
  buffer.data = static_cast<uint8_t*>(buffer.pages.get());
  return buffer;
}

Buffer MakeDeviceBuffer(Gpu& gpu, VkDeviceSize size, VkBufferUsageFlags usage) {
  Buffer buffer;
  buffer.handle = gpu.Make(gpu.vk.CreateBuffer, gpu.vk.DestroyBuffer, BufferInfo(size, usage));
  buffer.size = size;
  VkMemoryRequirements requirements{};
  gpu.vk.GetBufferMemoryRequirements(gpu.device, buffer.handle, &requirements);
  buffer.memory_type =
      gpu.FindMemoryType(requirements.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
  Back(gpu, buffer, usage, requirements.size);
  return buffer;
}

void CopyBytes(Gpu& gpu, VkCommandBuffer commands, VkBuffer from, VkBuffer to, VkDeviceSize size,
               VkDeviceSize from_offset, VkDeviceSize to_offset) {
  const VkBufferCopy region{from_offset, to_offset, size};
  gpu.vk.CmdCopyBuffer(commands, from, to, 1, &region);
}

std::vector<uint8_t> ReadBack(Gpu& gpu, VkBuffer buffer, VkDeviceSize size) {
  const Buffer staging = MakeHostBuffer(gpu, size, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  gpu.Execute([&](VkCommandBuffer commands) {
    gpu.FullBarrier(commands);
    CopyBytes(gpu, commands, buffer, staging.handle, size);
  });
  return {staging.data, staging.data + size};
}

VkImageCreateInfo ImageInfo(VkFormat format, uint32_t width, uint32_t height,
                            VkImageUsageFlags usage) {
  VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
  info.imageType = VK_IMAGE_TYPE_2D;
  info.format = format;
  info.extent = {width, height, 1};
  info.mipLevels = 1;
  info.arrayLayers = 1;
  info.samples = VK_SAMPLE_COUNT_1_BIT;
  info.tiling = VK_IMAGE_TILING_OPTIMAL;
  info.usage = usage | VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
  info.initialLayout = VK_IMAGE_LAYOUT_UNDEFINED;
  return info;
}

Image MakeImageIn(Gpu& gpu, const VkImageCreateInfo& info, VkMemoryPropertyFlags properties) {
  Image image;
  image.handle = gpu.Make(gpu.vk.CreateImage, gpu.vk.DestroyImage, info);
  image.extent = info.extent;
  image.format = info.format;
  VkMemoryRequirements requirements{};
  gpu.vk.GetImageMemoryRequirements(gpu.device, image.handle, &requirements);
  image.memory =
      gpu.Allocate(requirements.size, gpu.FindMemoryType(requirements.memoryTypeBits, properties));
  VESPER_CHECK(gpu.vk.BindImageMemory(gpu.device, image.handle, image.memory, 0));
  return image;
}

Image MakeImage(Gpu& gpu, const VkImageCreateInfo& info) {
  return MakeImageIn(gpu, info, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
}

VkImageViewCreateInfo ViewInfo(const Image& image, VkImageAspectFlags aspect) {
  VkImageViewCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO};
  info.image = image.handle;
  info.viewType = VK_IMAGE_VIEW_TYPE_2D;
  info.format = image.format;
  info.subresourceRange = {aspect, 0, 1, 0, 1};
  return info;
}

Owned<VkImageView> MakeView(Gpu& gpu, const Image& image, VkImageAspectFlags aspect) {
  return gpu.Make(gpu.vk.CreateImageView, gpu.vk.DestroyImageView, ViewInfo(image, aspect));
}

VkBufferImageCopy WholeImageCopy(const Image& image, VkDeviceSize offset, uint32_t level,
                                 uint32_t layer, VkImageAspectFlags aspect) {
  VkBufferImageCopy copy{};
  copy.bufferOffset = offset;
  copy.imageSubresource = {aspect, level, layer, 1};
  copy.imageExtent = {std::max(1u, image.extent.width >> level),
                      std::max(1u, image.extent.height >> level),
                      std::max(1u, image.extent.depth >> level)};
  return copy;
}

std::vector<uint8_t> ReadImage(Gpu& gpu, const Image& image, VkImageLayout layout,
                               uint32_t bytes_per_texel, VkImageAspectFlags aspect) {
  const VkDeviceSize size = static_cast<VkDeviceSize>(bytes_per_texel) * image.extent.width *
                            image.extent.height * image.extent.depth;
  const Buffer staging = MakeHostBuffer(gpu, size, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
  gpu.Execute([&](VkCommandBuffer commands) {
    gpu.Transition(commands, image.handle, layout, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, aspect);
    const VkBufferImageCopy copy = WholeImageCopy(image, 0, 0, 0, aspect);
    gpu.vk.CmdCopyImageToBuffer(commands, image.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
                                staging.handle, 1, &copy);
  });
  return {staging.data, staging.data + size};
}

void WriteImage(Gpu& gpu, const Image& image, std::span<const uint8_t> texels,
                VkImageLayout layout) {
  const Buffer staging = MakeHostBuffer(gpu, texels.size(), VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
  std::copy(texels.begin(), texels.end(), staging.data);
  gpu.Execute([&](VkCommandBuffer commands) {
    gpu.Transition(commands, image.handle, VK_IMAGE_LAYOUT_UNDEFINED,
                   VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
    const VkBufferImageCopy copy = WholeImageCopy(image);
    gpu.vk.CmdCopyBufferToImage(commands, staging.handle, image.handle,
                                VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
    gpu.Transition(commands, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, layout);
  });
}

Owned<VkShaderModule> MakeShader(Gpu& gpu, std::span<const uint32_t> code) {
  VkShaderModuleCreateInfo info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  info.codeSize = code.size_bytes();
  info.pCode = code.data();
  return gpu.Make(gpu.vk.CreateShaderModule, gpu.vk.DestroyShaderModule, info);
}

Owned<VkDescriptorSetLayout> MakeSetLayout(Gpu& gpu,
                                           std::span<const VkDescriptorSetLayoutBinding> bindings,
                                           VkDescriptorSetLayoutCreateFlags flags) {
  VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  info.flags = flags;
  info.bindingCount = static_cast<uint32_t>(bindings.size());
  info.pBindings = bindings.data();
  return gpu.Make(gpu.vk.CreateDescriptorSetLayout, gpu.vk.DestroyDescriptorSetLayout, info);
}

Owned<VkPipelineLayout> MakePipelineLayout(Gpu& gpu, std::span<const VkDescriptorSetLayout> sets,
                                           VkShaderStageFlags push_stages, uint32_t push_bytes) {
  const VkPushConstantRange range{push_stages, 0, push_bytes};
  VkPipelineLayoutCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  info.setLayoutCount = static_cast<uint32_t>(sets.size());
  info.pSetLayouts = sets.data();
  info.pushConstantRangeCount = push_bytes == 0 ? 0 : 1;
  info.pPushConstantRanges = &range;
  return gpu.Make(gpu.vk.CreatePipelineLayout, gpu.vk.DestroyPipelineLayout, info);
}

Owned<VkPipeline> MakeComputePipeline(Gpu& gpu, std::span<const uint32_t> code,
                                      VkPipelineLayout layout,
                                      const VkSpecializationInfo* specialization,
                                      VkPipelineCache cache, VkPipelineCreateFlags flags) {
  const Owned<VkShaderModule> shader = MakeShader(gpu, code);
  VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.flags = flags;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = shader;
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = specialization;
  info.layout = layout;
  info.basePipelineIndex = -1;
  VkPipeline pipeline = VK_NULL_HANDLE;
  VESPER_CHECK(gpu.vk.CreateComputePipelines(gpu.device, cache, 1, &info, nullptr, &pipeline));
  return Owned<VkPipeline>(pipeline, [device = gpu.device, destroy = gpu.vk.DestroyPipeline](
                                         VkPipeline object) { destroy(device, object, nullptr); });
}

Owned<VkDescriptorPool> MakePool(Gpu& gpu, std::span<const VkDescriptorPoolSize> sizes,
                                 uint32_t max_sets, VkDescriptorPoolCreateFlags flags) {
  VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  info.flags = flags;
  info.maxSets = max_sets;
  info.poolSizeCount = static_cast<uint32_t>(sizes.size());
  info.pPoolSizes = sizes.data();
  return gpu.Make(gpu.vk.CreateDescriptorPool, gpu.vk.DestroyDescriptorPool, info);
}

VkDescriptorSet AllocateSet(Gpu& gpu, VkDescriptorPool pool, VkDescriptorSetLayout layout) {
  VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  info.descriptorPool = pool;
  info.descriptorSetCount = 1;
  info.pSetLayouts = &layout;
  VkDescriptorSet set = VK_NULL_HANDLE;
  VESPER_CHECK(gpu.vk.AllocateDescriptorSets(gpu.device, &info, &set));
  return set;
}

void WriteBufferDescriptor(Gpu& gpu, VkDescriptorSet set, uint32_t binding, VkDescriptorType type,
                           VkBuffer buffer, VkDeviceSize offset, VkDeviceSize range) {
  const VkDescriptorBufferInfo buffer_info{buffer, offset, range};
  VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.dstSet = set;
  write.dstBinding = binding;
  write.descriptorCount = 1;
  write.descriptorType = type;
  write.pBufferInfo = &buffer_info;
  gpu.vk.UpdateDescriptorSets(gpu.device, 1, &write, 0, nullptr);
}

Kernel MakeKernel(Gpu& gpu, std::span<const uint32_t> code, std::span<const VkBuffer> buffers,
                  uint32_t push_constant_bytes, const VkSpecializationInfo* specialization) {
  Kernel kernel;
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (uint32_t i = 0; i < buffers.size(); ++i) {
    bindings.push_back(
        {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
  }
  kernel.set_layout = MakeSetLayout(gpu, bindings);
  kernel.layout = MakePipelineLayout(gpu, {kernel.set_layout.address(), 1},
                                     VK_SHADER_STAGE_COMPUTE_BIT, push_constant_bytes);
  kernel.pipeline = MakeComputePipeline(gpu, code, kernel.layout, specialization);
  const VkDescriptorPoolSize pool_size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                       std::max(1u, static_cast<uint32_t>(buffers.size()))};
  kernel.pool = MakePool(gpu, {&pool_size, 1}, 1);
  kernel.set = AllocateSet(gpu, kernel.pool, kernel.set_layout);
  for (uint32_t i = 0; i < buffers.size(); ++i) {
    WriteBufferDescriptor(gpu, kernel.set, i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffers[i]);
  }
  return kernel;
}

void Kernel::Dispatch(Gpu& gpu, VkCommandBuffer commands, uint32_t x, uint32_t y,
                      uint32_t z) const {
  gpu.vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  gpu.vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0,
                               nullptr);
  gpu.vk.CmdDispatch(commands, x, y, z);
}

}  // namespace vesper::tests
