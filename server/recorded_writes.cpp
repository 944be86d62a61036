// SPDX-License-Identifier: Apache-2.0
#include "server/recorded_writes.h"

#include <span>

#include "proto/image_copy.h"
#include "proto/records_gen.h"
#include "server/resources.h"

namespace vesper::server {
namespace {

namespace number = proto::command_number;

constexpr uint64_t kToTheEnd = VK_WHOLE_SIZE;

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
    set_.AddBuffer(resources_.Find(buffer), offset, size);
  }

  void Image(VkImage image) { set_.AddImage(resources_.Find(image)); }

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
    const ImageInfo* image = resources_.Find(source);
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

void RecordedWrites::Begin(VkCommandBuffer buffer) {
  recordings_[buffer] = {std::make_shared<WriteSet>(), false};
}

void RecordedWrites::Forget(VkCommandBuffer buffer) { recordings_.erase(buffer); }

std::shared_ptr<const WriteSet> RecordedWrites::Submitted(VkCommandBuffer buffer) {
  const auto found = recordings_.find(buffer);
  if (found == recordings_.end() || found->second.set->IsEmpty()) {
    return nullptr;
  }
  found->second.is_shared = true;
  return found->second.set;
}

WriteSet& RecordedWrites::SetOf(VkCommandBuffer buffer) {
  Recording& recording = recordings_[buffer];
  if (recording.set == nullptr) {
    recording.set = std::make_shared<WriteSet>();
  } else if (recording.is_shared) {
    // No guest of ours records into a command buffer that it has submitted.
    recording.set = std::make_shared<WriteSet>(*recording.set);
  }
  recording.is_shared = false;
  return *recording.set;
}

void RecordedWrites::Note(uint16_t command, Writes writes, const void* args) {
  // The command buffer is every recorded command's first argument.
  WriteSet& set = SetOf(As<VkCommandBuffer>(args));
  switch (writes) {
    case Writes::kNothing:
      break;
    case Writes::kExact:
      NoteExact(command, args, set);
      break;
    case Writes::kShaders:
      set.AddShaderWork();
      break;
    case Writes::kEverything:
      set.AddEverything();
      break;
  }
}

void RecordedWrites::NoteExact(uint16_t command, const void* args, WriteSet& set) {
  Noter note(resources_, set);
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
    case number::vkCmdExecuteCommands:
      NoteSecondaries(args, set);
      break;
    default:
      set.AddEverything();  // policy.toml promises something that is not here
      break;
  }
}

void RecordedWrites::NoteSecondaries(const void* args, WriteSet& set) {
  const auto& a = As<proto::Args_vkCmdExecuteCommands>(args);
  for (const VkCommandBuffer secondary : Array(a.pCommandBuffers, a.commandBufferCount)) {
    const auto found = recordings_.find(secondary);
    if (found == recordings_.end()) {
      set.AddEverything();
    } else if (found->second.set.get() != &set) {
      set.Add(*found->second.set);
    }
  }
}

}  // namespace vesper::server
