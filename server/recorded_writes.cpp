// SPDX-License-Identifier: Apache-2.0
#include "server/recorded_writes.h"

#include <span>

#include "proto/image_copy.h"
#include "proto/records_gen.h"
#include "server/descriptors.h"
#include "server/resources.h"

namespace vesper::server {
namespace {

namespace number = proto::command_number;

constexpr uint64_t kToTheEnd = VK_WHOLE_SIZE;
/// A command buffer that binds more descriptor sets, or whose sets lead to more ranges, has
/// descriptors that are not known: to follow them would cost more than it saves.
constexpr size_t kMaxBoundSets = 4096;
constexpr size_t kMaxBoundRanges = 8192;

/// An array inside a guest's struct: a count may come with a null pointer.
template <typename T>
std::span<const T> Array(const T* elements, uint32_t count) {
  return elements == nullptr ? std::span<const T>() : std::span(elements, count);
}

/// Notes what one command writes. Each function is for the commands whose arguments it names.
class Noter {
 public:
  Noter(const HostResources& resources, WriteSet& set) : resources_(resources), set_(set) {}

  void Buffer(VkBuffer buffer, uint64_t offset, uint64_t size) {
    set_.AddBuffer(resources_.Find(buffer).get(), offset, size);
  }

  void Image(VkImage image) { set_.AddImage(resources_.Find(image).get()); }

  template <typename Region>
  void BufferCopies(VkBuffer target, const Region* regions, uint32_t count) {
    for (const Region& region : Array(regions, count)) {
      Buffer(target, region.dstOffset, region.size);
    }
  }

  template <typename Region>
  void ImageToBufferCopies(VkImage source, VkBuffer target, const Region* regions, uint32_t count) {
    for (const Region& region : Array(regions, count)) {
      Buffer(target, region.bufferOffset, ExtentInBuffer(source, region));
    }
  }

  template <typename Barrier>
  void ImageBarriers(const Barrier* barriers, uint32_t count) {
    for (const Barrier& barrier : Array(barriers, count)) {
      if (barrier.oldLayout != barrier.newLayout ||
          barrier.srcQueueFamilyIndex != barrier.dstQueueFamilyIndex) {
        Image(barrier.image);
      }
    }
  }

  void Dependencies(const VkDependencyInfo* infos, uint32_t count) {
    for (const VkDependencyInfo& info : Array(infos, count)) {
      ImageBarriers(info.pImageMemoryBarriers, info.imageMemoryBarrierCount);
    }
  }

 private:
  template <typename Region>
  uint64_t ExtentInBuffer(VkImage source, const Region& region) const {
    const std::shared_ptr<const ImageInfo> image = resources_.Find(source);
    const VkImageSubresourceLayers& layers = region.imageSubresource;
    if (image == nullptr || layers.baseArrayLayer >= image->layers) {
      return kToTheEnd;
    }
    const uint32_t count = layers.layerCount == VK_REMAINING_ARRAY_LAYERS
                               ? image->layers - layers.baseArrayLayer
                               : layers.layerCount;
    const auto shape = proto::ShapeOfRegion(proto::BlockOfAspect(image->format, layers.aspectMask),
                                            region.imageExtent, count, region.bufferRowLength,
                                            region.bufferImageHeight);
    return shape ? shape->Bytes() : kToTheEnd;
  }

  const HostResources& resources_;
  WriteSet& set_;
};

template <typename Args>
const Args& As(const void* args) {
  return *static_cast<const Args*>(args);
}

}  // namespace

RecordedWrites::Part& RecordedWrites::PartOf(VkCommandBuffer buffer) {
  return parts_[(reinterpret_cast<uintptr_t>(buffer) >> 4) % parts_.size()];
}

RecordedWrites::Recording* RecordedWrites::Find(VkCommandBuffer buffer) {
  Part& part = PartOf(buffer);
  const std::lock_guard lock(part.mutex);
  const auto found = part.recordings.find(buffer);
  return found == part.recordings.end() ? nullptr : &found->second;
}

RecordedWrites::Recording& RecordedWrites::FindOrAdd(VkCommandBuffer buffer) {
  Part& part = PartOf(buffer);
  const std::lock_guard lock(part.mutex);
  return part.recordings[buffer];
}

void RecordedWrites::Begin(VkCommandBuffer buffer) {
  Recording recording;
  recording.set = std::make_shared<WriteSet>();
  FindOrAdd(buffer) = std::move(recording);
}

void RecordedWrites::Forget(VkCommandBuffer buffer) {
  Part& part = PartOf(buffer);
  const std::lock_guard lock(part.mutex);
  part.recordings.erase(buffer);
}

std::shared_ptr<const WriteSet> RecordedWrites::Submitted(VkCommandBuffer buffer) {
  Part& part = PartOf(buffer);
  const std::lock_guard lock(part.mutex);  // another queue may be given the same command buffer
  const auto found = part.recordings.find(buffer);
  if (found == part.recordings.end() || found->second.set->IsEmpty()) {
    return nullptr;
  }
  Recording& recording = found->second;
  recording.is_shared = true;
  const WriteSet& set = *recording.set;
  if (!set.shader_work() || set.unknown_descriptors() || recording.bound.empty()) {
    return recording.set;
  }
  const uint64_t version = descriptors_.version();  // there may be updates from now on
  if (recording.resolved == nullptr || recording.resolved_version != version) {
    recording.resolved = Resolve(recording);
    recording.resolved_version = version;
  }
  return recording.resolved;
}

std::shared_ptr<const WriteSet> RecordedWrites::Resolve(const Recording& recording) const {
  auto resolved = std::make_shared<WriteSet>(*recording.set);
  size_t ranges = 0;
  for (const std::shared_ptr<HostSet>& set : recording.bound) {
    const std::shared_ptr<const WriteSet> writes = descriptors_.WritesOf(*set);
    ranges += writes->CountRanges();
    if (ranges > kMaxBoundRanges) {
      resolved->AddUnknownDescriptors();
      break;
    }
    resolved->Add(*writes);
  }
  return resolved;
}

void RecordedWrites::MakeWritable(Recording& recording) {
  if (recording.set == nullptr) {
    recording.set = std::make_shared<WriteSet>();
  } else if (recording.is_shared) {
    // No guest of ours records into a command buffer that it has submitted.
    recording.set = std::make_shared<WriteSet>(*recording.set);
  }
  recording.is_shared = false;
  recording.resolved = nullptr;
}

void RecordedWrites::Note(uint16_t command, Writes writes, const void* args) {
  // The command buffer is every recorded command's first argument.
  Note(command, writes, args, FindOrAdd(As<VkCommandBuffer>(args)));
}

void RecordedWrites::Note(uint16_t command, Writes writes, const void* args, Recording& recording) {
  MakeWritable(recording);
  switch (writes) {
    case Writes::kNothing:
      break;
    case Writes::kExact:
      NoteExact(command, args, recording);
      break;
    case Writes::kDescriptors:
      NoteDescriptors(command, args, recording);
      break;
    case Writes::kShaders:
      recording.set->AddShaderWork();
      break;
    case Writes::kEverything:
      recording.set->AddEverything();
      break;
  }
}

void RecordedWrites::NoteExact(uint16_t command, const void* args, Recording& recording) {
  Noter note(resources_, *recording.set);
  switch (command) {
    case number::vkCmdCopyBuffer: {
      const auto& a = As<proto::Args_vkCmdCopyBuffer>(args);
      note.BufferCopies(a.dstBuffer, a.pRegions, a.regionCount);
      break;
    }
    case number::vkCmdCopyBuffer2: {
      const VkCopyBufferInfo2& info = *As<proto::Args_vkCmdCopyBuffer2>(args).pCopyBufferInfo;
      note.BufferCopies(info.dstBuffer, info.pRegions, info.regionCount);
      break;
    }
    case number::vkCmdUpdateBuffer: {
      const auto& a = As<proto::Args_vkCmdUpdateBuffer>(args);
      note.Buffer(a.dstBuffer, a.dstOffset, a.dataSize);
      break;
    }
    case number::vkCmdFillBuffer: {
      const auto& a = As<proto::Args_vkCmdFillBuffer>(args);
      note.Buffer(a.dstBuffer, a.dstOffset, a.size);
      break;
    }
    case number::vkCmdCopyImageToBuffer: {
      const auto& a = As<proto::Args_vkCmdCopyImageToBuffer>(args);
      note.ImageToBufferCopies(a.srcImage, a.dstBuffer, a.pRegions, a.regionCount);
      break;
    }
    case number::vkCmdCopyImageToBuffer2: {
      const VkCopyImageToBufferInfo2& info =
          *As<proto::Args_vkCmdCopyImageToBuffer2>(args).pCopyImageToBufferInfo;
      note.ImageToBufferCopies(info.srcImage, info.dstBuffer, info.pRegions, info.regionCount);
      break;
    }
    case number::vkCmdCopyQueryPoolResults: {
      const auto& a = As<proto::Args_vkCmdCopyQueryPoolResults>(args);
      uint64_t bytes = 0;
      if (__builtin_mul_overflow(a.stride, uint64_t{a.queryCount}, &bytes) ||
          __builtin_add_overflow(bytes, resources_.MaxQueryBytes(a.queryPool), &bytes)) {
        bytes = kToTheEnd;
      }
      note.Buffer(a.dstBuffer, a.dstOffset, bytes);
      break;
    }
    case number::vkCmdWriteBufferMarkerAMD: {
      const auto& a = As<proto::Args_vkCmdWriteBufferMarkerAMD>(args);
      note.Buffer(a.dstBuffer, a.dstOffset, sizeof(uint32_t));
      break;
    }
    case number::vkCmdWriteBufferMarker2AMD: {
      const auto& a = As<proto::Args_vkCmdWriteBufferMarker2AMD>(args);
      note.Buffer(a.dstBuffer, a.dstOffset, sizeof(uint32_t));
      break;
    }
    case number::vkCmdCopyImage:
      note.Image(As<proto::Args_vkCmdCopyImage>(args).dstImage);
      break;
    case number::vkCmdCopyImage2:
      note.Image(As<proto::Args_vkCmdCopyImage2>(args).pCopyImageInfo->dstImage);
      break;
    case number::vkCmdCopyBufferToImage:
      note.Image(As<proto::Args_vkCmdCopyBufferToImage>(args).dstImage);
      break;
    case number::vkCmdCopyBufferToImage2:
      note.Image(As<proto::Args_vkCmdCopyBufferToImage2>(args).pCopyBufferToImageInfo->dstImage);
      break;
    case number::vkCmdBlitImage:
      note.Image(As<proto::Args_vkCmdBlitImage>(args).dstImage);
      break;
    case number::vkCmdBlitImage2:
      note.Image(As<proto::Args_vkCmdBlitImage2>(args).pBlitImageInfo->dstImage);
      break;
    case number::vkCmdResolveImage:
      note.Image(As<proto::Args_vkCmdResolveImage>(args).dstImage);
      break;
    case number::vkCmdResolveImage2:
      note.Image(As<proto::Args_vkCmdResolveImage2>(args).pResolveImageInfo->dstImage);
      break;
    case number::vkCmdClearColorImage:
      note.Image(As<proto::Args_vkCmdClearColorImage>(args).image);
      break;
    case number::vkCmdClearDepthStencilImage:
      note.Image(As<proto::Args_vkCmdClearDepthStencilImage>(args).image);
      break;
    case number::vkCmdPipelineBarrier: {
      const auto& a = As<proto::Args_vkCmdPipelineBarrier>(args);
      note.ImageBarriers(a.pImageMemoryBarriers, a.imageMemoryBarrierCount);
      break;
    }
    case number::vkCmdWaitEvents: {
      const auto& a = As<proto::Args_vkCmdWaitEvents>(args);
      note.ImageBarriers(a.pImageMemoryBarriers, a.imageMemoryBarrierCount);
      break;
    }
    case number::vkCmdPipelineBarrier2:
      note.Dependencies(As<proto::Args_vkCmdPipelineBarrier2>(args).pDependencyInfo, 1);
      break;
    case number::vkCmdSetEvent2:
      note.Dependencies(As<proto::Args_vkCmdSetEvent2>(args).pDependencyInfo, 1);
      break;
    case number::vkCmdWaitEvents2: {
      const auto& a = As<proto::Args_vkCmdWaitEvents2>(args);
      note.Dependencies(a.pDependencyInfos, a.eventCount);
      break;
    }
    case number::vkCmdBeginQuery: {
      const auto& a = As<proto::Args_vkCmdBeginQuery>(args);
      recording.set->AddQueries(a.queryPool, a.query, views_);
      break;
    }
    case number::vkCmdBeginQueryIndexedEXT: {
      const auto& a = As<proto::Args_vkCmdBeginQueryIndexedEXT>(args);
      recording.set->AddQueries(a.queryPool, a.query, views_);
      break;
    }
    case number::vkCmdEndQuery: {
      const auto& a = As<proto::Args_vkCmdEndQuery>(args);
      recording.set->AddQueries(a.queryPool, a.query, views_);
      break;
    }
    case number::vkCmdEndQueryIndexedEXT: {
      const auto& a = As<proto::Args_vkCmdEndQueryIndexedEXT>(args);
      recording.set->AddQueries(a.queryPool, a.query, views_);
      break;
    }
    case number::vkCmdWriteTimestamp: {
      const auto& a = As<proto::Args_vkCmdWriteTimestamp>(args);
      recording.set->AddQueries(a.queryPool, a.query, views_);
      break;
    }
    case number::vkCmdWriteTimestamp2: {
      const auto& a = As<proto::Args_vkCmdWriteTimestamp2>(args);
      recording.set->AddQueries(a.queryPool, a.query, views_);
      break;
    }
    case number::vkCmdResetQueryPool: {
      const auto& a = As<proto::Args_vkCmdResetQueryPool>(args);
      recording.set->AddQueries(a.queryPool, a.firstQuery, a.queryCount);
      break;
    }
    case number::vkCmdWriteAccelerationStructuresPropertiesKHR: {
      const auto& a = As<proto::Args_vkCmdWriteAccelerationStructuresPropertiesKHR>(args);
      recording.set->AddQueries(a.queryPool, a.firstQuery, a.accelerationStructureCount);
      break;
    }
    case number::vkCmdWriteAccelerationStructuresPropertiesNV: {
      const auto& a = As<proto::Args_vkCmdWriteAccelerationStructuresPropertiesNV>(args);
      recording.set->AddQueries(a.queryPool, a.firstQuery, a.accelerationStructureCount);
      break;
    }
    case number::vkCmdWriteMicromapsPropertiesEXT: {
      const auto& a = As<proto::Args_vkCmdWriteMicromapsPropertiesEXT>(args);
      recording.set->AddQueries(a.queryPool, a.firstQuery, a.micromapCount);
      break;
    }
    case number::vkCmdExecuteCommands:
      NoteSecondaries(args, recording);
      break;
    default:
      recording.set->AddEverything();  // policy.toml promises something that is not here
      break;
  }
}

void RecordedWrites::NoteDescriptors(uint16_t command, const void* args, Recording& recording) {
  switch (command) {
    case number::vkCmdBindDescriptorSets: {
      const auto& a = As<proto::Args_vkCmdBindDescriptorSets>(args);
      NoteBound(a.pDescriptorSets, a.descriptorSetCount, recording);
      break;
    }
    case number::vkCmdBindDescriptorSets2: {
      const auto& info = *As<proto::Args_vkCmdBindDescriptorSets2>(args).pBindDescriptorSetsInfo;
      NoteBound(info.pDescriptorSets, info.descriptorSetCount, recording);
      break;
    }
    case number::vkCmdPushDescriptorSet: {
      const auto& a = As<proto::Args_vkCmdPushDescriptorSet>(args);
      NotePushed(a.pDescriptorWrites, a.descriptorWriteCount, *recording.set);
      break;
    }
    case number::vkCmdPushDescriptorSet2: {
      const auto& info = *As<proto::Args_vkCmdPushDescriptorSet2>(args).pPushDescriptorSetInfo;
      NotePushed(info.pDescriptorWrites, info.descriptorWriteCount, *recording.set);
      break;
    }
    default:
      recording.set->AddUnknownDescriptors();  // they lie in memory
      break;
  }
}

void RecordedWrites::NoteBound(const VkDescriptorSet* sets, uint32_t count, Recording& recording) {
  for (const VkDescriptorSet handle : Array(sets, count)) {
    if (handle == VK_NULL_HANDLE) {
      continue;
    }
    std::shared_ptr<HostSet> set = descriptors_.Find(handle);
    if (set == nullptr || recording.bound.size() >= kMaxBoundSets) {
      recording.set->AddUnknownDescriptors();
    } else {
      recording.bound.insert(std::move(set));
    }
  }
}

void RecordedWrites::NotePushed(const VkWriteDescriptorSet* writes, uint32_t count, WriteSet& set) {
  for (const VkWriteDescriptorSet& write : Array(writes, count)) {
    descriptors_.AddPushed(write, set);
  }
}

void RecordedWrites::NoteSecondaries(const void* args, Recording& recording) {
  const auto& a = As<proto::Args_vkCmdExecuteCommands>(args);
  for (const VkCommandBuffer secondary : Array(a.pCommandBuffers, a.commandBufferCount)) {
    const Recording* const found = Find(secondary);
    if (found == nullptr) {
      recording.set->AddEverything();
      continue;
    }
    const Recording& other = *found;
    if (&other == &recording) {
      continue;
    }
    recording.set->Add(*other.set);
    if (recording.bound.size() + other.bound.size() > kMaxBoundSets) {
      recording.set->AddUnknownDescriptors();
    } else {
      recording.bound.insert(other.bound.begin(), other.bound.end());
    }
  }
}

}  // namespace vesper::server
