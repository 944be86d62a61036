// SPDX-License-Identifier: Apache-2.0
#include "examples/common/resources.h"

#include "examples/common/failure.h"

namespace vesper::examples {
namespace {

// A minute: far more than any of these samples needs even in software, and still an end.
constexpr uint64_t kTimeoutNanoseconds = 60'000'000'000;

Owned<VkDeviceMemory> Allocate(const Device& device, const VkMemoryRequirements& requirements,
                               VkMemoryPropertyFlags required, VkMemoryPropertyFlags preferred) {
  const VkMemoryAllocateInfo allocate_info = {
      .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
      .allocationSize = requirements.size,
      .memoryTypeIndex = device.FindMemoryType(requirements.memoryTypeBits, required, preferred),
  };
  VkDeviceMemory memory = VK_NULL_HANDLE;
  Check(device.commands().AllocateMemory(device.handle(), &allocate_info, nullptr, &memory),
        "vkAllocateMemory");
  return {device.handle(), memory, device.commands().FreeMemory};
}

}  // namespace

Buffer::Buffer(const Device& device, VkDeviceSize size, VkBufferUsageFlags usage,
               Placement placement)
    : size_(size) {
  const DeviceCommands& vk = device.commands();
  const VkBufferCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
      .size = size,
      .usage = usage,
      .sharingMode = VK_SHARING_MODE_EXCLUSIVE,
  };
  VkBuffer buffer = VK_NULL_HANDLE;
  Check(vk.CreateBuffer(device.handle(), &create_info, nullptr, &buffer), "vkCreateBuffer");
  buffer_ = {device.handle(), buffer, vk.DestroyBuffer};

  VkMemoryRequirements requirements;
  vk.GetBufferMemoryRequirements(device.handle(), buffer, &requirements);
  constexpr VkMemoryPropertyFlags kMapped =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  switch (placement) {
    case Placement::kDevice:
      memory_ = Allocate(device, requirements, 0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
      break;
    case Placement::kUpload:
      memory_ = Allocate(device, requirements, kMapped, 0);
      break;
    case Placement::kReadback:
      // Reading memory that the host does not cache is slow, but it works.
      memory_ = Allocate(device, requirements, kMapped, VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
      break;
  }
  Check(vk.BindBufferMemory(device.handle(), buffer, memory_.get(), 0), "vkBindBufferMemory");
  if (placement != Placement::kDevice) {
    Check(vk.MapMemory(device.handle(), memory_.get(), 0, VK_WHOLE_SIZE, 0, &mapped_),
          "vkMapMemory");
  }
}

Image::Image(const Device& device, const Description& description) : description_(description) {
  const DeviceCommands& vk = device.commands();
  const VkImageCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
      .imageType = VK_IMAGE_TYPE_2D,
      .format = description.format,
      .extent = {description.extent.width, description.extent.height, 1},
      .mipLevels = description.mip_levels,
      .arrayLayers = description.layers,
      .samples = description.samples,
      .tiling = VK_IMAGE_TILING_OPTIMAL,
      .usage = description.usage,
      .sharingMode = VK_SHARING_MODE_EXCLUSIVE,
      .initialLayout = VK_IMAGE_LAYOUT_UNDEFINED,
  };
  VkImage image = VK_NULL_HANDLE;
  Check(vk.CreateImage(device.handle(), &create_info, nullptr, &image), "vkCreateImage");
  image_ = {device.handle(), image, vk.DestroyImage};

  VkMemoryRequirements requirements;
  vk.GetImageMemoryRequirements(device.handle(), image, &requirements);
  memory_ = Allocate(device, requirements, 0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
  Check(vk.BindImageMemory(device.handle(), image, memory_.get(), 0), "vkBindImageMemory");

  const VkImageViewCreateInfo view_info = {
      .sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
      .image = image,
      .viewType = description.view_type,
      .format = description.format,
      .subresourceRange = whole(),
  };
  VkImageView view = VK_NULL_HANDLE;
  Check(vk.CreateImageView(device.handle(), &view_info, nullptr, &view), "vkCreateImageView");
  view_ = {device.handle(), view, vk.DestroyImageView};
}

Owned<VkShaderModule> MakeShaderModule(const Device& device, std::span<const uint32_t> words) {
  const VkShaderModuleCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
      .codeSize = words.size_bytes(),
      .pCode = words.data(),
  };
  VkShaderModule module = VK_NULL_HANDLE;
  Check(device.commands().CreateShaderModule(device.handle(), &create_info, nullptr, &module),
        "vkCreateShaderModule");
  return {device.handle(), module, device.commands().DestroyShaderModule};
}

Owned<VkDescriptorSetLayout> MakeDescriptorSetLayout(
    const Device& device, std::span<const VkDescriptorSetLayoutBinding> bindings) {
  const VkDescriptorSetLayoutCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
      .bindingCount = static_cast<uint32_t>(bindings.size()),
      .pBindings = bindings.data(),
  };
  VkDescriptorSetLayout layout = VK_NULL_HANDLE;
  Check(
      device.commands().CreateDescriptorSetLayout(device.handle(), &create_info, nullptr, &layout),
      "vkCreateDescriptorSetLayout");
  return {device.handle(), layout, device.commands().DestroyDescriptorSetLayout};
}

Owned<VkDescriptorPool> MakeDescriptorPool(const Device& device, uint32_t max_sets,
                                           std::span<const VkDescriptorPoolSize> sizes) {
  const VkDescriptorPoolCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
      .maxSets = max_sets,
      .poolSizeCount = static_cast<uint32_t>(sizes.size()),
      .pPoolSizes = sizes.data(),
  };
  VkDescriptorPool pool = VK_NULL_HANDLE;
  Check(device.commands().CreateDescriptorPool(device.handle(), &create_info, nullptr, &pool),
        "vkCreateDescriptorPool");
  return {device.handle(), pool, device.commands().DestroyDescriptorPool};
}

VkDescriptorSet AllocateDescriptorSet(const Device& device, VkDescriptorPool pool,
                                      VkDescriptorSetLayout layout) {
  const VkDescriptorSetAllocateInfo allocate_info = {
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
      .descriptorPool = pool,
      .descriptorSetCount = 1,
      .pSetLayouts = &layout,
  };
  VkDescriptorSet set = VK_NULL_HANDLE;
  Check(device.commands().AllocateDescriptorSets(device.handle(), &allocate_info, &set),
        "vkAllocateDescriptorSets");
  return set;
}

Owned<VkPipelineLayout> MakePipelineLayout(const Device& device, VkDescriptorSetLayout set_layout,
                                           const VkPushConstantRange& push_constants) {
  const VkPipelineLayoutCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
      .setLayoutCount = 1,
      .pSetLayouts = &set_layout,
      .pushConstantRangeCount = 1,
      .pPushConstantRanges = &push_constants,
  };
  VkPipelineLayout layout = VK_NULL_HANDLE;
  Check(device.commands().CreatePipelineLayout(device.handle(), &create_info, nullptr, &layout),
        "vkCreatePipelineLayout");
  return {device.handle(), layout, device.commands().DestroyPipelineLayout};
}

Owned<VkPipeline> MakeComputePipeline(const Device& device, VkPipelineLayout layout,
                                      std::span<const uint32_t> words) {
  const Owned<VkShaderModule> module = MakeShaderModule(device, words);
  const VkComputePipelineCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
      .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                .module = module.get(),
                .pName = "main"},
      .layout = layout,
  };
  VkPipeline pipeline = VK_NULL_HANDLE;
  Check(device.commands().CreateComputePipelines(device.handle(), VK_NULL_HANDLE, 1, &create_info,
                                                 nullptr, &pipeline),
        "vkCreateComputePipelines");
  return {device.handle(), pipeline, device.commands().DestroyPipeline};
}

Owned<VkCommandPool> MakeCommandPool(const Device& device) {
  const VkCommandPoolCreateInfo create_info = {
      .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
      .flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
      .queueFamilyIndex = device.queue_family(),
  };
  VkCommandPool pool = VK_NULL_HANDLE;
  Check(device.commands().CreateCommandPool(device.handle(), &create_info, nullptr, &pool),
        "vkCreateCommandPool");
  return {device.handle(), pool, device.commands().DestroyCommandPool};
}

VkCommandBuffer AllocateCommandBuffer(const Device& device, VkCommandPool pool) {
  const VkCommandBufferAllocateInfo allocate_info = {
      .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
      .commandPool = pool,
      .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
      .commandBufferCount = 1,
  };
  VkCommandBuffer commands = VK_NULL_HANDLE;
  Check(device.commands().AllocateCommandBuffers(device.handle(), &allocate_info, &commands),
        "vkAllocateCommandBuffers");
  return commands;
}

void BeginCommands(const Device& device, VkCommandBuffer commands) {
  const VkCommandBufferBeginInfo begin_info = {
      .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
      .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
  };
  Check(device.commands().BeginCommandBuffer(commands, &begin_info), "vkBeginCommandBuffer");
}

void RunCommands(const Device& device, VkCommandBuffer commands) {
  const DeviceCommands& vk = device.commands();
  Check(vk.EndCommandBuffer(commands), "vkEndCommandBuffer");
  const VkFenceCreateInfo fence_info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  VkFence fence = VK_NULL_HANDLE;
  Check(vk.CreateFence(device.handle(), &fence_info, nullptr, &fence), "vkCreateFence");
  const Owned<VkFence> owned_fence(device.handle(), fence, vk.DestroyFence);
  const VkCommandBufferSubmitInfo commands_info = {
      .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO, .commandBuffer = commands};
  const VkSubmitInfo2 submit_info = {
      .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
      .commandBufferInfoCount = 1,
      .pCommandBufferInfos = &commands_info,
  };
  Check(vk.QueueSubmit2(device.queue(), 1, &submit_info, fence), "vkQueueSubmit2");
  Check(vk.WaitForFences(device.handle(), 1, &fence, VK_TRUE, kTimeoutNanoseconds),
        "vkWaitForFences");
}

}  // namespace vesper::examples
