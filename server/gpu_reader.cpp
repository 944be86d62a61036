// SPDX-License-Identifier: Apache-2.0
#include "server/gpu_reader.h"

#include <algorithm>

namespace vesper::server {
namespace {

/// What is copied at once. Larger copies gain nothing, and memory that is pinned is dear.
constexpr uint64_t kStagingBytes = 16u << 20;
/// Ranges that are this close are copied together with what lies between them.
constexpr uint64_t kGap = 1024;
/// Pieces begin here in the staging memory, as they begin in the lines that are compared.
constexpr uint64_t kAlignment = 64;
constexpr size_t kMaxRegions = 4096;
/// How long to wait for a copy at a time, and how often (nanoseconds): a device that has not copied
/// 16 MiB in ten seconds never will.
constexpr uint64_t kWaitSlice = 1'000'000'000;
constexpr int kMaxWaits = 10;

uint64_t Up(uint64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

/// The best type for the CPU to read that `bits` allow; the number of types if there is none.
uint32_t FindCachedType(const VkPhysicalDeviceMemoryProperties& memory, uint32_t bits) {
  constexpr VkMemoryPropertyFlags kCached =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  for (const VkMemoryPropertyFlags wanted :
       {kCached | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, kCached}) {
    for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
      if ((bits >> i & 1) != 0 && (memory.memoryTypes[i].propertyFlags & wanted) == wanted) {
        return i;
      }
    }
  }
  return memory.memoryTypeCount;
}

VkMemoryRequirements Requirements(const DeviceTable& vk, VkDevice device, VkBuffer buffer) {
  const VkBufferMemoryRequirementsInfo2 info{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2,
                                             nullptr, buffer};
  VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, nullptr, {}};
  vk.vkGetBufferMemoryRequirements2(device, &info, &requirements);
  return requirements.memoryRequirements;
}

}  // namespace

GpuReader::~GpuReader() {
  vk_.vkDestroyCommandPool(config_.device, pool_, nullptr);
  vk_.vkDestroySemaphore(config_.device, timeline_, nullptr);
  vk_.vkDestroyBuffer(config_.device, staging_, nullptr);
  vk_.vkFreeMemory(config_.device, staging_memory_, nullptr);
}

VkBuffer GpuReader::MakeSource(VkDeviceMemory memory, uint32_t memory_type, uint64_t allocated,
                               uint64_t* size) {
  *size = allocated;
  if (vk_.vkGetBufferMemoryRequirements2 == nullptr) {
    return VK_NULL_HANDLE;
  }
  // What a buffer needs is rounded up, so the last bytes of an odd allocation may have to stay out.
  for (int tries = 0; tries < 2 && *size != 0; ++tries) {
    const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                  nullptr,
                                  0,
                                  *size,
                                  VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
                                  VK_SHARING_MODE_EXCLUSIVE};
    VkBuffer buffer = VK_NULL_HANDLE;
    if (vk_.vkCreateBuffer(config_.device, &info, nullptr, &buffer) != VK_SUCCESS) {
      return VK_NULL_HANDLE;
    }
    const VkMemoryRequirements needs = Requirements(vk_, config_.device, buffer);
    if ((needs.memoryTypeBits >> memory_type & 1) != 0 && needs.size <= allocated &&
        vk_.vkBindBufferMemory(config_.device, buffer, memory, 0) == VK_SUCCESS) {
      return buffer;
    }
    vk_.vkDestroyBuffer(config_.device, buffer, nullptr);
    *size = allocated / std::max<uint64_t>(needs.alignment, 1) * needs.alignment;
  }
  return VK_NULL_HANDLE;
}

bool GpuReader::Prepare() {
  if (queue_ != VK_NULL_HANDLE) {
    return true;
  }
  const VkDevice device = config_.device;
  const VkBufferCreateInfo buffer{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                  nullptr,
                                  0,
                                  kStagingBytes,
                                  VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                                  VK_SHARING_MODE_EXCLUSIVE};
  if (vk_.vkCreateBuffer(device, &buffer, nullptr, &staging_) != VK_SUCCESS) {
    return false;
  }
  const VkMemoryRequirements needs = Requirements(vk_, device, staging_);
  const uint32_t type = FindCachedType(*config_.memory, needs.memoryTypeBits);
  const VkMemoryAllocateInfo memory{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, needs.size,
                                    type};
  void* staged = nullptr;
  if (type == config_.memory->memoryTypeCount ||
      vk_.vkAllocateMemory(device, &memory, nullptr, &staging_memory_) != VK_SUCCESS ||
      vk_.vkBindBufferMemory(device, staging_, staging_memory_, 0) != VK_SUCCESS ||
      vk_.vkMapMemory(device, staging_memory_, 0, VK_WHOLE_SIZE, 0, &staged) != VK_SUCCESS) {
    return false;
  }
  staged_ = static_cast<const std::byte*>(staged);
  staging_is_coherent_ =
      (config_.memory->memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0;
  const VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr,
                                     VK_COMMAND_POOL_CREATE_TRANSIENT_BIT, config_.family};
  if (vk_.vkCreateCommandPool(device, &pool, nullptr, &pool_) != VK_SUCCESS) {
    return false;
  }
  const VkCommandBufferAllocateInfo commands{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                             nullptr, pool_, VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
  const VkSemaphoreTypeCreateInfo timeline{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, nullptr,
                                           VK_SEMAPHORE_TYPE_TIMELINE, 0};
  const VkSemaphoreCreateInfo semaphore{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &timeline, 0};
  if (vk_.vkAllocateCommandBuffers(device, &commands, &commands_) != VK_SUCCESS ||
      vk_.vkCreateSemaphore(device, &semaphore, nullptr, &timeline_) != VK_SUCCESS) {
    return false;
  }
  vk_.vkGetDeviceQueue(device, config_.family, config_.index, &queue_);
  return queue_ != VK_NULL_HANDLE;
}

bool GpuReader::Read(VkBuffer source, std::span<const ByteRange> ranges,
                     const std::function<void(ByteRange, const std::byte*)>& consume) {
  struct Piece {
    ByteRange range;
    uint64_t staged_at;
  };
  const std::lock_guard lock(mutex_);
  cannot_read_ = cannot_read_ || !Prepare();
  if (cannot_read_ || is_lost_) {
    return !cannot_read_;
  }
  std::vector<VkBufferCopy> regions;
  std::vector<Piece> pieces;
  for (size_t i = 0, next = ranges.empty() ? 0 : ranges[0].begin; i < ranges.size();) {
    regions.clear();
    pieces.clear();
    uint64_t used = 0;
    while (i < ranges.size()) {
      // Goes on with the region before, if it ends near, or begins another.
      const bool joins =
          !regions.empty() && next - (regions.back().srcOffset + regions.back().size) <= kGap;
      const uint64_t at = joins ? regions.back().dstOffset + (next - regions.back().srcOffset)
                                : Up(used) + next % kAlignment;
      if (at >= kStagingBytes || (!joins && regions.size() == kMaxRegions)) {
        break;
      }
      const ByteRange piece{next, std::min(ranges[i].end, next + (kStagingBytes - at))};
      if (!joins) {
        regions.push_back({piece.begin, at, 0});
      }
      regions.back().size = piece.end - regions.back().srcOffset;
      pieces.push_back({piece, at});
      used = at + (piece.end - piece.begin);
      next = piece.end;
      if (next == ranges[i].end && ++i < ranges.size()) {
        next = ranges[i].begin;
      }
    }
    if (Copy(source, regions) != VK_SUCCESS) {
      is_lost_ = true;  // nobody can tell what the memory holds
      config_.on_lost();
      return true;
    }
    for (const Piece& piece : pieces) {
      consume(piece.range, staged_ + piece.staged_at);
    }
  }
  return true;
}

void GpuReader::Refresh() {
  const std::lock_guard lock(mutex_);
  if (!has_read_ || is_lost_) {
    return;
  }
  has_read_ = false;
  VkResult result = BeginCommands();
  if (result == VK_SUCCESS) {
    const VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr,
                                  VK_ACCESS_HOST_WRITE_BIT, VK_ACCESS_MEMORY_READ_BIT};
    vk_.vkCmdPipelineBarrier(commands_, VK_PIPELINE_STAGE_HOST_BIT,
                             VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 1, &barrier, 0, nullptr, 0,
                             nullptr);
    result = RunCommands();
  }
  if (result != VK_SUCCESS) {
    is_lost_ = true;
    config_.on_lost();
  }
}

VkResult GpuReader::BeginCommands() {
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr,
                                       VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, nullptr};
  const VkResult result = vk_.vkResetCommandPool(config_.device, pool_, 0);
  return result != VK_SUCCESS ? result : vk_.vkBeginCommandBuffer(commands_, &begin);
}

VkResult GpuReader::Copy(VkBuffer source, const std::vector<VkBufferCopy>& regions) {
  VkResult result = BeginCommands();
  if (result != VK_SUCCESS) {
    return result;
  }
  has_read_ = true;
  VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_MEMORY_WRITE_BIT,
                          VK_ACCESS_TRANSFER_READ_BIT};
  vk_.vkCmdPipelineBarrier(commands_, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                           VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &barrier, 0, nullptr, 0, nullptr);
  vk_.vkCmdCopyBuffer(commands_, source, staging_, static_cast<uint32_t>(regions.size()),
                      regions.data());
  barrier.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
  vk_.vkCmdPipelineBarrier(commands_, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0,
                           1, &barrier, 0, nullptr, 0, nullptr);
  result = RunCommands();
  if (result == VK_SUCCESS && !staging_is_coherent_) {
    const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, staging_memory_,
                                    0, VK_WHOLE_SIZE};
    result = vk_.vkInvalidateMappedMemoryRanges(config_.device, 1, &range);
  }
  return result;
}

VkResult GpuReader::RunCommands() {
  VkResult result = vk_.vkEndCommandBuffer(commands_);
  if (result != VK_SUCCESS) {
    return result;
  }
  std::vector<VkSemaphore> waits;
  std::vector<uint64_t> wait_values;
  for (const auto& [semaphore, value] : config_.reached()) {
    waits.push_back(semaphore);
    wait_values.push_back(value);
  }
  const std::vector<VkPipelineStageFlags> stages(waits.size(), VK_PIPELINE_STAGE_TRANSFER_BIT);
  ++copies_;
  const VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                             nullptr,
                                             static_cast<uint32_t>(wait_values.size()),
                                             wait_values.data(),
                                             1,
                                             &copies_};
  const VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO,
                            &values,
                            static_cast<uint32_t>(waits.size()),
                            waits.data(),
                            stages.data(),
                            1,
                            &commands_,
                            1,
                            &timeline_};
  result = vk_.vkQueueSubmit(queue_, 1, &submit, VK_NULL_HANDLE);
  if (result != VK_SUCCESS) {
    return result;
  }
  const VkSemaphoreWaitInfo wait{
      VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, nullptr, 0, 1, &timeline_, &copies_};
  result = VK_TIMEOUT;
  for (int i = 0; i < kMaxWaits && result == VK_TIMEOUT; ++i) {
    result = vk_.vkWaitSemaphores(config_.device, &wait, kWaitSlice);
  }
  return result;
}

bool FindSpareQueue(const VkDeviceCreateInfo& info, std::span<const uint32_t> counts,
                    std::span<const VkQueueFlags> flags, SpareQueue* spare) {
  constexpr VkQueueFlags kWork = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
  // Graphics and compute queues copy whether or not they say so.
  for (const VkQueueFlags wanted :
       {VkQueueFlags{VK_QUEUE_TRANSFER_BIT}, VkQueueFlags{VK_QUEUE_COMPUTE_BIT},
        VkQueueFlags{VK_QUEUE_GRAPHICS_BIT}}) {
    for (uint32_t family = 0; family < counts.size(); ++family) {
      const VkQueueFlags work = flags[family] & kWork;
      const bool fits = wanted == VK_QUEUE_TRANSFER_BIT
                            ? work == 0 && (flags[family] & wanted) != 0
                            : (work & wanted) != 0 && (work & ~wanted & VK_QUEUE_GRAPHICS_BIT) == 0;
      uint32_t taken = 0;
      uint32_t index = 0;
      for (uint32_t i = 0; i < info.queueCreateInfoCount; ++i) {
        const VkDeviceQueueCreateInfo& queues = info.pQueueCreateInfos[i];
        if (queues.pQueuePriorities == nullptr) {
          return false;  // the driver may make of it what it likes
        }
        if (queues.queueFamilyIndex == family) {
          taken += queues.queueCount;
          index = queues.flags == 0 ? queues.queueCount : index;
        }
      }
      if (fits && taken < counts[family]) {
        *spare = {family, index};
        return true;
      }
    }
  }
  return false;
}

QueuesAndOneMore::QueuesAndOneMore(VkDeviceCreateInfo& info, const SpareQueue& spare)
    : queues_(info.pQueueCreateInfos, info.pQueueCreateInfos + info.queueCreateInfoCount) {
  auto same = std::find_if(queues_.begin(), queues_.end(), [&](const auto& queues) {
    return queues.queueFamilyIndex == spare.family && queues.flags == 0;
  });
  if (same == queues_.end()) {
    queues_.push_back({VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, spare.family});
    same = std::prev(queues_.end());
  }
  priorities_.assign(same->pQueuePriorities, same->pQueuePriorities + same->queueCount);
  priorities_.push_back(1.0f);
  same->queueCount = static_cast<uint32_t>(priorities_.size());
  same->pQueuePriorities = priorities_.data();
  info.queueCreateInfoCount = static_cast<uint32_t>(queues_.size());
  info.pQueueCreateInfos = queues_.data();
}

}  // namespace vesper::server
