// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/picture_memory.h"

#include <optional>

#include "client_icd/device.h"
#include "client_icd/device_memory.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/physical_device.h"

namespace vesper::client {
namespace {

/// Where a picture may begin: whole pages of any machine, which others do not write to.
constexpr uint64_t kAlignment = 64u << 10;

/// The best type of memory for what the device writes and the processor reads: coherent and cached,
/// and the guest's own pages if there is such a type.
std::optional<uint32_t> ChooseType(Device& device, uint32_t types) {
  const VkPhysicalDeviceMemoryProperties& memory =
      device.physical_device().snapshot().memory->memoryProperties;
  std::optional<uint32_t> best;
  int best_score = -1;
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = memory.memoryTypes[i].propertyFlags;
    if ((types & (1u << i)) == 0 || (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) == 0 ||
        (flags & VK_MEMORY_PROPERTY_PROTECTED_BIT) != 0) {
      continue;
    }
    const int score = ((flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0 ? 4 : 0) +
                      ((flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0 ? 2 : 0) +
                      ((device.sharing().types() & (1u << i)) != 0 ? 1 : 0);
    if (score > best_score) {
      best = i;
      best_score = score;
    }
  }
  return best;
}

}  // namespace

PictureMemory::~PictureMemory() {
  const VkDevice device = device_.handle();
  device_.session().lossy_pictures().Remove(ToId(memory_));
  for (const auto& [family, pool] : pools_) {
    entry::vkDestroyCommandPool(device, pool, nullptr);
  }
  entry::vkDestroyBuffer(device, buffer_, nullptr);
  entry::vkFreeMemory(device, memory_, nullptr);
}

VkResult PictureMemory::Make(VkExtent2D extent, VkFormat format, uint32_t count, bool is_opaque) {
  pictures_.is_opaque = is_opaque;
  pictures_.extent = extent;
  pictures_.format = format;
  pictures_.count = count;
  damage_.assign(count, Damage(extent));
  Forget();
  pictures_.stride =
      (pictures_.row_bytes() * extent.height + kAlignment - 1) / kAlignment * kAlignment;
  const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                nullptr,
                                0,
                                pictures_.stride * count,
                                VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                                VK_SHARING_MODE_EXCLUSIVE,
                                0,
                                nullptr};
  const VkResult result = entry::vkCreateBuffer(device_.handle(), &info, nullptr, &buffer_);
  return result == VK_SUCCESS ? Bind(info.size) : result;
}

VkResult PictureMemory::Bind(VkDeviceSize size) {
  const VkDevice device = device_.handle();
  VkMemoryRequirements requirements{};
  entry::vkGetBufferMemoryRequirements(device, buffer_, &requirements);
  const std::optional<uint32_t> type = ChooseType(device_, requirements.memoryTypeBits);
  if (!type.has_value()) {
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  }
  const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr,
                                  std::max(requirements.size, size), *type};
  if (const VkResult result = entry::vkAllocateMemory(device, &info, nullptr, &memory_);
      result != VK_SUCCESS) {
    return result;
  }
  if (const VkResult result = entry::vkBindBufferMemory(device, buffer_, memory_, 0);
      result != VK_SUCCESS) {
    return result;
  }
  DriverView view;
  if (const VkResult result = ViewForDriver(device_, memory_, &view); result != VK_SUCCESS) {
    return result;
  }
  pictures_.begin = view.begin;
  pictures_.file = device_.session().present().shares ? view.file : -1;
  pictures_.file_offset = view.file_offset;
  const bool is_lossy = device_.session().lossy_pictures().IsReady();  // or says why it is not
  if (!view.is_shared) {
    Describe(view.begin, is_lossy && pictures_.is_opaque);
  }
  return VK_SUCCESS;
}

void PictureMemory::Describe(std::byte* begin, bool is_lossy) {
  Session& session = device_.session();
  if (!session.KnowsCommand(proto::command_number::vesperNotePictures)) {
    return;
  }
  const uint32_t quality = is_lossy ? session.present().jpeg_quality : 0;
  if (is_lossy) {
    session.lossy_pictures().Add(ToId(memory_), pictures_, begin);
  }
  const proto::Args_vesperNotePictures args{
      device_.handle(), ToId(memory_),          pictures_.count,         pictures_.stride,
      pictures_.format, pictures_.extent.width, pictures_.extent.height, quality};
  session.Post(proto::command_number::vesperNotePictures, &args);
}

void PictureMemory::NoteDamage(std::span<const VkRect2D> damage) {
  for (Damage& of_picture : damage_) {
    if (damage.empty()) {
      of_picture.AddAll();
    } else {
      of_picture.Add(damage);
    }
  }
}

void PictureMemory::Forget() { NoteDamage({}); }

bool PictureMemory::CopiesParts(uint32_t family) const {
  const VkExtent3D grain = device_.physical_device()
                               .snapshot()
                               .queue_families[family]
                               ->queueFamilyProperties.minImageTransferGranularity;
  return grain.width == 1 && grain.height == 1;
}

VkCommandBuffer PictureMemory::Allocate(uint32_t family) {
  VkCommandPool& pool = pools_[family];
  const VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr,
                                          VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, family};
  if (pool == VK_NULL_HANDLE &&
      entry::vkCreateCommandPool(device_.handle(), &pool_info, nullptr, &pool) != VK_SUCCESS) {
    pools_.erase(family);
    return VK_NULL_HANDLE;
  }
  const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr,
                                         pool, VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
  VkCommandBuffer commands = VK_NULL_HANDLE;
  return entry::vkAllocateCommandBuffers(device_.handle(), &info, &commands) == VK_SUCCESS
             ? commands
             : VK_NULL_HANDLE;
}

VkCommandBuffer PictureMemory::CopyOf(VkImage image, uint32_t index, uint32_t family) {
  Damage& damage = damage_[index];
  const VkRect2D all{{0, 0}, pictures_.extent};
  const bool is_whole = damage.IsWhole() || damage.rectangles().empty() || !CopiesParts(family);
  Copies& copies = recorded_[{family, index}];
  VkCommandBuffer& commands = is_whole ? copies.whole : copies.damaged;
  const bool is_recorded = is_whole && commands != VK_NULL_HANDLE;
  if (commands == VK_NULL_HANDLE && (commands = Allocate(family)) == VK_NULL_HANDLE) {
    return VK_NULL_HANDLE;
  }
  if (!is_recorded && Record(commands, image, index,
                             is_whole ? std::span(&all, 1) : damage.rectangles()) != VK_SUCCESS) {
    entry::vkFreeCommandBuffers(device_.handle(), pools_[family], 1, &commands);
    commands = VK_NULL_HANDLE;
    return VK_NULL_HANDLE;
  }
  damage.Clear();
  return commands;
}

VkResult PictureMemory::Record(VkCommandBuffer commands, VkImage image, uint32_t index,
                               std::span<const VkRect2D> parts) {
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, 0,
                                       nullptr};
  if (const VkResult result = entry::vkBeginCommandBuffer(commands, &begin); result != VK_SUCCESS) {
    return result;
  }
  // The image is in VK_IMAGE_LAYOUT_PRESENT_SRC_KHR, which on the host is the one to copy from
  // (proto/encoder.h).
  const VkMemoryBarrier drawn{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_MEMORY_WRITE_BIT,
                              VK_ACCESS_TRANSFER_READ_BIT};
  entry::vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                              VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &drawn, 0, nullptr, 0, nullptr);
  std::vector<VkBufferImageCopy> regions;
  for (const VkRect2D& part : parts) {
    const uint64_t corner = pictures_.stride * index +
                            static_cast<uint32_t>(part.offset.y) * pictures_.row_bytes() +
                            static_cast<uint32_t>(part.offset.x) * 4ull;
    regions.push_back({corner,
                       pictures_.extent.width,
                       0,
                       {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
                       {part.offset.x, part.offset.y, 0},
                       {part.extent.width, part.extent.height, 1}});
  }
  entry::vkCmdCopyImageToBuffer(commands, image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, buffer_,
                                static_cast<uint32_t>(regions.size()), regions.data());
  const VkMemoryBarrier copied{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr,
                               VK_ACCESS_TRANSFER_WRITE_BIT, VK_ACCESS_HOST_READ_BIT};
  entry::vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT,
                              0, 1, &copied, 0, nullptr, 0, nullptr);
  return entry::vkEndCommandBuffer(commands);
}

}  // namespace vesper::client
