// SPDX-License-Identifier: Apache-2.0
//
// VkImage: creation and binding, posted where the driver cannot refuse, the older forms of its
// queries, and host image copies. For those the guest remembers each image's format: only it knows
// which bytes of the program's memory a copy touches. Data travel inside the command; copies out of
// an image are one call for all their regions.
#include <algorithm>
#include <optional>
#include <vector>

#include "client_icd/answers.h"
#include "client_icd/bind_status.h"
#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/device_memory.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/reach.h"
#include "client_icd/wsi/swapchain.h"
#include "proto/image_copy.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

struct Image {
  VkFormat format = VK_FORMAT_UNDEFINED;
  uint32_t layers = 0;
  VkImageTiling tiling = VK_IMAGE_TILING_OPTIMAL;
  std::optional<proto::Hash128> creation;
  Allocator allocator;
};

/// Every device has to make images of so many bytes (VkImageFormatProperties::maxResourceSize is at
/// least 2^31) unless memory is out; half of that is left for mip levels and what tiling takes.
constexpr uint64_t kCertainBytes = uint64_t{1} << 30;
/// For formats whose texels have no size of their own, such as those with several planes.
constexpr uint64_t kMaxTexelBytes = 32;

uint64_t Multiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/// Whether the driver can make such an image is known unless it is sparse, protected, captured,
/// compressed at a fixed rate, or so large that a device may refuse it.
Send SendOf(const VkImageCreateInfo& info) {
  constexpr VkImageCreateFlags kUncertain =
      VK_IMAGE_CREATE_SPARSE_BINDING_BIT | VK_IMAGE_CREATE_SPARSE_RESIDENCY_BIT |
      VK_IMAGE_CREATE_SPARSE_ALIASED_BIT | VK_IMAGE_CREATE_PROTECTED_BIT |
      VK_IMAGE_CREATE_DESCRIPTOR_BUFFER_CAPTURE_REPLAY_BIT_EXT;
  const uint64_t block = proto::BlockOfFormat(info.format).bytes;
  uint64_t bytes = block != 0 ? block : kMaxTexelBytes;
  for (const uint32_t factor : {info.extent.width, info.extent.height, info.extent.depth,
                                info.arrayLayers, static_cast<uint32_t>(info.samples)}) {
    bytes = Multiply(bytes, factor);
  }
  const bool is_certain =
      (info.flags & kUncertain) == 0 && bytes <= kCertainBytes &&
      FindInChain<VkImageCompressionControlEXT>(
          info.pNext, VK_STRUCTURE_TYPE_IMAGE_COMPRESSION_CONTROL_EXT) == nullptr;
  return is_certain ? Send::kPost : Send::kCall;
}

/// How large an image is only the driver knows: it is taken to reach to the end of its memory.
void NoteImageBind(Device& device, VkDeviceMemory memory, uint64_t offset) {
  NoteBind(device, memory, kReachImages, true, offset, VK_WHOLE_SIZE);
}

/// The swapchain whose images the image is to be bound to, or null.
VkSwapchainKHR FindSwapchain(const void* chain) {
  const auto* like = FindInChain<VkImageSwapchainCreateInfoKHR>(
      chain, VK_STRUCTURE_TYPE_IMAGE_SWAPCHAIN_CREATE_INFO_KHR);
  return like == nullptr ? VK_NULL_HANDLE : like->swapchain;
}

/// The bindings with the memory of the swapchains' images that they name; empty if they name none.
std::vector<VkBindImageMemoryInfo> BindsToSwapchains(Device& device,
                                                     const VkBindImageMemoryInfo* binds,
                                                     uint32_t count) {
  std::vector<VkBindImageMemoryInfo> with_memory;
  for (uint32_t i = 0; i < count; ++i) {
    const auto* to = FindInChain<VkBindImageMemorySwapchainInfoKHR>(
        binds[i].pNext, VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_SWAPCHAIN_INFO_KHR);
    const Swapchain* swapchain = to == nullptr ? nullptr : Swapchain::Find(device, to->swapchain);
    if (swapchain == nullptr) {
      continue;
    }
    if (with_memory.empty()) {
      with_memory.assign(binds, binds + count);
    }
    with_memory[i].memory = swapchain->memory(to->imageIndex);
    with_memory[i].memoryOffset = 0;
  }
  return with_memory;
}

/// Offsets of regions in the data that travel.
constexpr uint64_t kRegionAlignment = 16;

const Image* Find(Device& device, VkImage image) {
  return static_cast<const Image*>(device.session().store().State(ToId(image)));
}

/// Where each region of a copy lies in the data that travel.
struct Layout {
  std::vector<proto::RegionShape> shapes;
  std::vector<uint64_t> offsets;
  uint64_t bytes = 0;
};

/// The bytes of one subresource as the driver lays them out, for VK_HOST_IMAGE_COPY_MEMCPY_BIT.
uint64_t MemcpySize(VkDevice device, VkImage image, const VkImageSubresourceLayers& layers) {
  VkSubresourceHostMemcpySize size{VK_STRUCTURE_TYPE_SUBRESOURCE_HOST_MEMCPY_SIZE};
  VkSubresourceLayout2 layout{VK_STRUCTURE_TYPE_SUBRESOURCE_LAYOUT_2, &size, {}};
  const VkImageSubresource2 subresource{
      VK_STRUCTURE_TYPE_IMAGE_SUBRESOURCE_2,
      nullptr,
      {layers.aspectMask, layers.mipLevel, layers.baseArrayLayer}};
  entry::vkGetImageSubresourceLayout2(device, image, &subresource, &layout);
  return size.size;
}

template <typename Region>
bool LayOut(VkDevice device, VkImage handle, VkHostImageCopyFlags flags, const Region* regions,
            uint32_t count, Layout* layout) {
  const Image* image = Find(Device::From(device), handle);
  if (image == nullptr) {
    return false;
  }
  for (uint32_t i = 0; i < count; ++i) {
    const VkImageSubresourceLayers& subresource = regions[i].imageSubresource;
    const uint32_t layers = subresource.layerCount == VK_REMAINING_ARRAY_LAYERS
                                ? image->layers - subresource.baseArrayLayer
                                : subresource.layerCount;
    if ((flags & VK_HOST_IMAGE_COPY_MEMCPY) != 0) {
      const uint64_t size = MemcpySize(device, handle, subresource) * layers;
      layout->shapes.push_back({size, size, 1, size, 1});
    } else {
      const auto shape = proto::ShapeOfRegion(
          proto::BlockOfAspect(image->format, subresource.aspectMask), regions[i].imageExtent,
          layers, regions[i].memoryRowLength, regions[i].memoryImageHeight);
      if (!shape) {
        return false;
      }
      layout->shapes.push_back(*shape);
    }
    layout->offsets.push_back(layout->bytes);
    layout->bytes += (layout->shapes.back().Bytes() + kRegionAlignment - 1) / kRegionAlignment *
                     kRegionAlignment;
  }
  return layout->bytes < proto::kMaxFrameBytes / 2;
}

/// Copies the meaningful bytes of a region, row by row: what lies between rows is the program's.
void CopyRows(const proto::RegionShape& shape, const std::byte* from, std::byte* to) {
  for (uint64_t slice = 0; slice < shape.slices; ++slice) {
    for (uint64_t row = 0; row < shape.rows_per_slice; ++row) {
      const uint64_t at = slice * shape.slice_pitch + row * shape.row_pitch;
      std::memcpy(to + at, from + at, shape.row_bytes);
    }
  }
}

}  // namespace

std::optional<proto::Hash128> CreationOf(Device& device, VkImage handle) {
  const Image* image = Find(device, handle);
  return image == nullptr ? std::nullopt : image->creation;
}

std::optional<proto::Hash128> CreationOfLinear(Device& device, VkImage handle) {
  const Image* image = Find(device, handle);
  return image == nullptr || image->tiling != VK_IMAGE_TILING_LINEAR ? std::nullopt
                                                                     : image->creation;
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateImage(VkDevice device, const VkImageCreateInfo* pCreateInfo,
                                             const VkAllocationCallbacks* pAllocator,
                                             VkImage* pImage) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  *pImage = VK_NULL_HANDLE;
  VkImageCreateInfo like_swapchain;
  if (FindSwapchain(pCreateInfo->pNext) != VK_NULL_HANDLE) {
    like_swapchain = *pCreateInfo;
    MakeLikeSwapchainImage(like_swapchain);
    pCreateInfo = &like_swapchain;
  }
  Image* image = allocator.New<Image>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  if (image == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  image->format = pCreateInfo->format;
  image->layers = pCreateInfo->arrayLayers;
  image->tiling = pCreateInfo->tiling;
  image->creation = HashOfCreation(owner, proto::record_index::VkImageCreateInfo, pCreateInfo);
  image->allocator = allocator;
  proto::Args_vkCreateImage args{device, pCreateInfo, nullptr, pImage};
  const VkResult result =
      CreateObjects(owner, SendOf(*pCreateInfo), proto::command_number::vkCreateImage, &args,
                    &args.ret, proto::HandleType::kImage, reinterpret_cast<uint64_t*>(pImage), 1,
                    kHostMemory | kDeviceMemory);
  if (result != VK_SUCCESS) {
    allocator.Delete(image);
    return result;
  }
  owner.session().store().SetState(ToId(*pImage), image);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyImage(VkDevice device, VkImage image,
                                          const VkAllocationCallbacks*) {
  if (image == VK_NULL_HANDLE) {
    return;
  }
  Device& owner = Device::From(device);
  Session& session = owner.session();
  auto* object = static_cast<Image*>(session.store().State(ToId(image)));
  const proto::Args_vkDestroyImage args{device, image, nullptr};
  session.Post(proto::command_number::vkDestroyImage, &args);
  session.store().Free(ToId(image));
  if (object != nullptr) {
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkBindImageMemory(VkDevice device, VkImage image,
                                                 VkDeviceMemory memory, VkDeviceSize memoryOffset) {
  Device& owner = Device::From(device);
  proto::Args_vkBindImageMemory args{device, image, memory, memoryOffset};
  const VkResult result = PostResult(owner, proto::command_number::vkBindImageMemory, &args,
                                     &args.ret, kHostMemory | kDeviceMemory);
  NoteImageBind(owner, memory, memoryOffset);
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL vkBindImageMemory2(VkDevice device, uint32_t bindInfoCount,
                                                  const VkBindImageMemoryInfo* pBindInfos) {
  Device& owner = Device::From(device);
  const std::vector<VkBindImageMemoryInfo> with_memory =
      BindsToSwapchains(owner, pBindInfos, bindInfoCount);
  pBindInfos = with_memory.empty() ? pBindInfos : with_memory.data();
  proto::Args_vkBindImageMemory2 args{device, bindInfoCount, pBindInfos};
  const VkResult result = SendResult(
      owner, WantsStatus(pBindInfos, bindInfoCount) ? Send::kCall : Send::kPost,
      proto::command_number::vkBindImageMemory2, &args, &args.ret, kHostMemory | kDeviceMemory);
  WriteBindStatus(pBindInfos, bindInfoCount, result);
  for (uint32_t i = 0; i < bindInfoCount; ++i) {
    NoteImageBind(owner, pBindInfos[i].memory, pBindInfos[i].memoryOffset);
  }
  return result;
}

VKAPI_ATTR void VKAPI_CALL vkGetImageMemoryRequirements(VkDevice device, VkImage image,
                                                        VkMemoryRequirements* pMemoryRequirements) {
  const VkImageMemoryRequirementsInfo2 info{VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2,
                                            nullptr, image};
  VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, nullptr, {}};
  vkGetImageMemoryRequirements2(device, &info, &requirements);
  *pMemoryRequirements = requirements.memoryRequirements;
}

VKAPI_ATTR void VKAPI_CALL vkGetImageSparseMemoryRequirements(
    VkDevice device, VkImage image, uint32_t* pSparseMemoryRequirementCount,
    VkSparseImageMemoryRequirements* pSparseMemoryRequirements) {
  const VkImageSparseMemoryRequirementsInfo2 info{
      VK_STRUCTURE_TYPE_IMAGE_SPARSE_MEMORY_REQUIREMENTS_INFO_2, nullptr, image};
  if (pSparseMemoryRequirements == nullptr) {
    vkGetImageSparseMemoryRequirements2(device, &info, pSparseMemoryRequirementCount, nullptr);
    return;
  }
  std::vector<VkSparseImageMemoryRequirements2> requirements(
      *pSparseMemoryRequirementCount,
      {VK_STRUCTURE_TYPE_SPARSE_IMAGE_MEMORY_REQUIREMENTS_2, nullptr, {}});
  vkGetImageSparseMemoryRequirements2(device, &info, pSparseMemoryRequirementCount,
                                      requirements.data());
  for (uint32_t i = 0; i < *pSparseMemoryRequirementCount && i < requirements.size(); ++i) {
    pSparseMemoryRequirements[i] = requirements[i].memoryRequirements;
  }
}

// -- host image copies ----------------------------------------------------------------------------

namespace written {

VKAPI_ATTR VkResult VKAPI_CALL
vkCopyMemoryToImage(VkDevice device, const VkCopyMemoryToImageInfo* pCopyMemoryToImageInfo) {
  const VkCopyMemoryToImageInfo& info = *pCopyMemoryToImageInfo;
  Layout layout;
  if (!LayOut(device, info.dstImage, info.flags, info.pRegions, info.regionCount, &layout)) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  std::vector<std::byte> data(layout.bytes);
  for (uint32_t i = 0; i < info.regionCount; ++i) {
    CopyRows(layout.shapes[i], static_cast<const std::byte*>(info.pRegions[i].pHostPointer),
             data.data() + layout.offsets[i]);
  }
  proto::Args_vesperCopyMemoryToImage args{device,           pCopyMemoryToImageInfo,
                                           info.regionCount, layout.offsets.data(),
                                           data.size(),      data.data()};
  return CallResult(Device::From(device), proto::command_number::vesperCopyMemoryToImage, &args,
                    &args.ret, kHostMemory | kDeviceMemory);
}

VKAPI_ATTR VkResult VKAPI_CALL
vkCopyImageToMemory(VkDevice device, const VkCopyImageToMemoryInfo* pCopyImageToMemoryInfo) {
  const VkCopyImageToMemoryInfo& info = *pCopyImageToMemoryInfo;
  Layout layout;
  if (!LayOut(device, info.srcImage, info.flags, info.pRegions, info.regionCount, &layout)) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  std::vector<std::byte> data(layout.bytes);
  proto::Args_vesperCopyImageToMemory args{device,           pCopyImageToMemoryInfo,
                                           info.regionCount, layout.offsets.data(),
                                           data.size(),      data.data()};
  const VkResult result =
      CallResult(Device::From(device), proto::command_number::vesperCopyImageToMemory, &args,
                 &args.ret, kHostMemory | kDeviceMemory);
  if (result == VK_SUCCESS) {
    for (uint32_t i = 0; i < info.regionCount; ++i) {
      CopyRows(layout.shapes[i], data.data() + layout.offsets[i],
               static_cast<std::byte*>(info.pRegions[i].pHostPointer));
    }
  }
  return result;
}

}  // namespace written
}  // namespace entry
}  // namespace vesper::client
