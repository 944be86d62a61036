// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/test_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace vesper::tests {
namespace {

constexpr uint32_t kImageWidth = 61;
constexpr uint32_t kImageHeight = 40;

VkDeviceSize RoundUp(VkDeviceSize value, VkDeviceSize multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Sizes from a byte to megabytes; most are small, because corners are where plots meet.
VkDeviceSize PlotSize(Random& random) {
  const uint64_t kind = random.Below(100);
  if (kind < 55) {
    return random.Between(1, 20);
  }
  if (kind < 90) {
    return random.Between(1, 300);
  }
  return kind < 98 ? random.Between(300, 6000) : random.Between(6000, 60'000);
}

}  // namespace

PlacedMapping PlacedMapping::Find(Gpu& gpu, GpuOptions& options) {
  PlacedMapping placed;
  if (!gpu.HasDeviceExtension(VK_EXT_MAP_MEMORY_PLACED_EXTENSION_NAME)) {
    return placed;
  }
  options.device_extensions.push_back(VK_EXT_MAP_MEMORY_PLACED_EXTENSION_NAME);
  VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
  features.pNext = &placed.features;
  gpu.vk.GetPhysicalDeviceFeatures2(gpu.physical_device, &features);
  placed.features.pNext = nullptr;
  VkPhysicalDeviceMapMemoryPlacedPropertiesEXT properties{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAP_MEMORY_PLACED_PROPERTIES_EXT};
  VkPhysicalDeviceProperties2 all{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  all.pNext = &properties;
  gpu.vk.GetPhysicalDeviceProperties2(gpu.physical_device, &all);
  placed.alignment = properties.minPlacedMemoryMapAlignment;
  return placed;
}

TestMemory::TestMemory(Gpu& gpu, MemoryKind kind, VkDeviceSize size, uint32_t memory_type,
                       const PlacedMapping& placed)
    : gpu_(gpu), kind_(kind), placed_(placed), size_(size) {
  atom_ = gpu.properties.limits().nonCoherentAtomSize;
  coherent_ = gpu.IsCoherent(memory_type);
  if (!coherent_) {
    size_ = RoundUp(size_, atom_);
  }
  constexpr VkBufferUsageFlags kAddressUsage =
      VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
  if (kind_ == MemoryKind::kDedicated) {
    buffers_.push_back(MakeBuffer(kTransferUsage | kAddressUsage));
    source_ = target_ = storage_ = buffers_.front();
  } else {
    buffers_.push_back(MakeBuffer(VK_BUFFER_USAGE_TRANSFER_SRC_BIT));
    source_ = buffers_.back();
    if (device_writes()) {
      buffers_.push_back(MakeBuffer(VK_BUFFER_USAGE_TRANSFER_DST_BIT));
      target_ = buffers_.back();
    }
    if (has_storage()) {
      buffers_.push_back(
          MakeBuffer(kind_ == MemoryKind::kAddress
                         ? kAddressUsage
                         : static_cast<VkBufferUsageFlags>(VK_BUFFER_USAGE_STORAGE_BUFFER_BIT)));
      storage_ = buffers_.back();
    }
  }
  if (kind_ == MemoryKind::kImage) {
    MakeImage(memory_type);
  }
  BindAll(memory_type);
}

TestMemory::~TestMemory() {
  if (data_ != nullptr && is_placed_) {
    gpu_.vk.UnmapMemory(gpu_.device, memory_);
    Forget();
  }
  memory_.Reset();
  if (reservation_.begin != nullptr) {
    munmap(reservation_.begin, reservation_.size);
  }
}

Owned<VkBuffer> TestMemory::MakeBuffer(VkBufferUsageFlags usage) {
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = size_;
  info.usage = usage;
  VkExternalMemoryBufferCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
  external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  if (kind_ == MemoryKind::kImported) {
    info.pNext = &external;
  }
  return gpu_.Make(gpu_.vk.CreateBuffer, gpu_.vk.DestroyBuffer, info);
}

void TestMemory::MakeImage(uint32_t memory_type) {
  VkImageCreateInfo info = ImageInfo(VK_FORMAT_R8_UINT, kImageWidth, kImageHeight, kTransferUsage);
  info.tiling = VK_IMAGE_TILING_LINEAR;
  info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
  info.initialLayout = VK_IMAGE_LAYOUT_PREINITIALIZED;
  VkImageFormatProperties properties{};
  if (gpu_.vk.GetPhysicalDeviceImageFormatProperties(gpu_.physical_device, info.format,
                                                     info.imageType, info.tiling, info.usage, 0,
                                                     &properties) != VK_SUCCESS) {
    return;
  }
  Owned<VkImage> image = gpu_.Make(gpu_.vk.CreateImage, gpu_.vk.DestroyImage, info);
  VkMemoryRequirements requirements{};
  gpu_.vk.GetImageMemoryRequirements(gpu_.device, image, &requirements);
  const VkDeviceSize begin = RoundUp(size_ / 3, requirements.alignment);
  if ((requirements.memoryTypeBits >> memory_type & 1) == 0 || begin + requirements.size > size_) {
    return;
  }
  const VkImageSubresource subresource{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
  gpu_.vk.GetImageSubresourceLayout(gpu_.device, image, &subresource, &image_.layout);
  image_.begin = begin;
  image_.extent = info.extent;
  image_.handle = std::move(image);
}

void TestMemory::BindAll(uint32_t memory_type) {
  VkDeviceSize needed = size_;
  uint32_t types = ~0u;
  for (const Owned<VkBuffer>& buffer : buffers_) {
    VkMemoryRequirements requirements{};
    gpu_.vk.GetBufferMemoryRequirements(gpu_.device, buffer, &requirements);
    needed = std::max(needed, requirements.size);
    types &= requirements.memoryTypeBits;
    if (kind_ != MemoryKind::kImported && (requirements.memoryTypeBits >> memory_type & 1) == 0) {
      throw std::runtime_error("Expected buffers to be possible in memory type " +
                               std::to_string(memory_type) + "; they are not.");
    }
  }
  VkMemoryDedicatedAllocateInfo dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
  dedicated.buffer = buffers_.front();
  VkMemoryAllocateFlagsInfo flags{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO};
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  const bool addressed = kind_ == MemoryKind::kAddress || kind_ == MemoryKind::kDedicated;
  if (kind_ == MemoryKind::kDedicated) {
    flags.pNext = &dedicated;
  }
  if (kind_ == MemoryKind::kImported) {
    needed = RoundUp(needed, static_cast<VkDeviceSize>(::sysconf(_SC_PAGESIZE)));
    pages_ = MakePages(needed);
    memory_ = ImportPages(gpu_, pages_.get(), needed, types);
  } else {
    memory_ = gpu_.Allocate(needed, memory_type, addressed ? &flags : nullptr);
  }
  for (const Owned<VkBuffer>& buffer : buffers_) {
    VESPER_CHECK(gpu_.vk.BindBufferMemory(gpu_.device, buffer, memory_, 0));
  }
  if (image_.handle != VK_NULL_HANDLE) {
    VESPER_CHECK(gpu_.vk.BindImageMemory(gpu_.device, image_.handle, memory_, image_.begin));
  }
  if (addressed) {
    VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
    info.buffer = storage_;
    address_ = gpu_.vk.GetBufferDeviceAddress(gpu_.device, &info);
  }
  allocation_size_ = needed;
}

uint8_t* TestMemory::Address(VkDeviceSize offset, VkDeviceSize size) const {
  const bool inside = data_ != nullptr && offset >= mapped_offset_ &&
                      offset + size <= mapped_offset_ + mapped_size_;
  return inside ? data_ + (offset - mapped_offset_) : nullptr;
}

uint8_t* TestMemory::PlaceFor(VkDeviceSize size) {
  if (reservation_.begin == nullptr) {
    reservation_.size = allocation_size_ + placed_.alignment;
    void* pages = mmap(nullptr, reservation_.size, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
      reservation_ = {};
      return nullptr;
    }
    reservation_.begin = static_cast<uint8_t*>(pages);
  }
  const auto begin = reinterpret_cast<uintptr_t>(reservation_.begin);
  const uintptr_t place = RoundUp(begin, placed_.alignment);
  return size <= allocation_size_ ? reinterpret_cast<uint8_t*>(place) : nullptr;
}

void TestMemory::Map(Random& random) {
  VkDeviceSize offset = 0;
  VkDeviceSize size = allocation_size_;
  const bool imported = kind_ == MemoryKind::kImported;
  const bool placed = !imported && placed_.offered() && allocation_size_ % placed_.alignment == 0 &&
                      random.OneIn(2);
  const bool may_be_part = !placed || placed_.features.memoryMapRangePlaced == VK_TRUE;
  if (may_be_part && random.OneIn(3)) {
    const VkDeviceSize unit = placed ? placed_.alignment : grain();
    offset = random.Below(allocation_size_ / unit) * unit;
    size = random.Between(1, (allocation_size_ - offset) / unit) * unit;
  }
  VkMemoryMapInfo info{VK_STRUCTURE_TYPE_MEMORY_MAP_INFO};
  info.memory = memory_;
  info.offset = offset;
  info.size = offset + size == allocation_size_ && random.OneIn(2) ? VK_WHOLE_SIZE : size;
  VkMemoryMapPlacedInfoEXT place{VK_STRUCTURE_TYPE_MEMORY_MAP_PLACED_INFO_EXT};
  if (placed) {
    info.flags = VK_MEMORY_MAP_PLACED_BIT_EXT;
    info.pNext = &place;
    place.pPlacedAddress = PlaceFor(size);
  }
  void* data = nullptr;
  is_mapped_ = !imported || random.OneIn(2);
  if (!is_mapped_) {
    data = static_cast<uint8_t*>(pages_.get()) + offset;
  } else if (placed || (gpu_.api_version >= VK_API_VERSION_1_4 && random.OneIn(2))) {
    VESPER_CHECK(gpu_.vk.MapMemory2(gpu_.device, &info, &data));
    if (placed && data != place.pPlacedAddress) {
      throw std::runtime_error("Expected a placed mapping at the address asked for.");
    }
  } else {
    VESPER_CHECK(gpu_.vk.MapMemory(gpu_.device, memory_, offset, info.size, 0, &data));
  }
  data_ = static_cast<uint8_t*>(data);
  mapped_offset_ = offset;
  mapped_size_ = size;
  is_placed_ = placed;
}

void TestMemory::Unmap(Random& random) {
  if (!is_mapped_) {
    data_ = nullptr;
    return;
  }
  VkMemoryUnmapInfo info{VK_STRUCTURE_TYPE_MEMORY_UNMAP_INFO};
  info.memory = memory_;
  const bool reserve = kind_ != MemoryKind::kImported &&
                       placed_.features.memoryUnmapReserve == VK_TRUE && random.OneIn(2);
  if (reserve) {
    info.flags = VK_MEMORY_UNMAP_RESERVE_BIT_EXT;
  }
  if (reserve || (gpu_.api_version >= VK_API_VERSION_1_4 && random.OneIn(2))) {
    VESPER_CHECK(gpu_.vk.UnmapMemory2(gpu_.device, &info));
  } else {
    gpu_.vk.UnmapMemory(gpu_.device, memory_);
  }
  if (is_placed_ && !reserve) {
    Forget();
  }
  data_ = nullptr;
  is_placed_ = false;
}

// A placed mapping was taken away without a reservation: its addresses are free for anybody, and
// what was reserved around it is given back.
void TestMemory::Forget() {
  uint8_t* const end = data_ + RoundUp(mapped_size_, placed_.alignment);
  if (data_ > reservation_.begin) {
    munmap(reservation_.begin, static_cast<size_t>(data_ - reservation_.begin));
  }
  uint8_t* const reserved_end = reservation_.begin + reservation_.size;
  if (reserved_end > end) {
    munmap(end, static_cast<size_t>(reserved_end - end));
  }
  reservation_ = {};
}

bool TestMemory::Range(VkDeviceSize offset, VkDeviceSize size, VkMappedMemoryRange* range) const {
  const VkDeviceSize begin = offset / atom_ * atom_;
  const VkDeviceSize end = std::min(RoundUp(offset + size, atom_), allocation_size_);
  range->sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE;
  range->pNext = nullptr;
  range->memory = memory_;
  range->offset = begin;
  range->size = end - begin;
  return is_mapped_ && Address(begin, end - begin) != nullptr;
}

void TestMemory::Flush(VkDeviceSize offset, VkDeviceSize size) {
  VkMappedMemoryRange range{};
  if (Range(offset, size, &range)) {
    VESPER_CHECK(gpu_.vk.FlushMappedMemoryRanges(gpu_.device, 1, &range));
  }
}

void TestMemory::Invalidate(VkDeviceSize offset, VkDeviceSize size) {
  VkMappedMemoryRange range{};
  if (Range(offset, size, &range)) {
    VESPER_CHECK(gpu_.vk.InvalidateMappedMemoryRanges(gpu_.device, 1, &range));
  }
}

void TestMemory::Clear() {
  if (mappable()) {
    uint8_t* data = gpu_.Map(memory_);
    std::fill_n(data, allocation_size_, uint8_t{0});
    VkMappedMemoryRange all{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
    all.memory = memory_;
    all.size = VK_WHOLE_SIZE;
    VESPER_CHECK(gpu_.vk.FlushMappedMemoryRanges(gpu_.device, 1, &all));
    gpu_.vk.UnmapMemory(gpu_.device, memory_);
  }
  gpu_.Execute([&](VkCommandBuffer commands) {
    if (!mappable()) {
      gpu_.vk.CmdFillBuffer(commands, target_, 0, VK_WHOLE_SIZE, 0);
    }
    if (image() != nullptr) {
      gpu_.FullBarrier(commands);
      gpu_.Transition(commands, image_.handle, VK_IMAGE_LAYOUT_PREINITIALIZED,
                      VK_IMAGE_LAYOUT_GENERAL);
    }
  });
}

bool Plot::IsBusy(size_t at) const {
  return std::any_of(busy.begin(), busy.end(), [at](const Busy& run) {
    return at >= run.begin && at < run.begin + run.count * run.step &&
           (at - run.begin) % run.step == 0;
  });
}

bool Plot::IsAnyBusy(size_t from, size_t count) const {
  return std::any_of(busy.begin(), busy.end(), [=](const Busy& run) {
    return from < run.begin + run.count * run.step && run.begin < from + count;
  });
}

std::vector<std::vector<Plot>> Divide(TestMemory& memory, size_t owners, Random& random) {
  std::vector<std::vector<Plot>> divided(owners);
  const LinearAlias* image = memory.image();
  const VkDeviceSize image_begin = image == nullptr ? UINT64_MAX : image->begin;
  const VkDeviceSize end = memory.size() / memory.grain() * memory.grain();
  bool is_big_made = false;
  size_t small = 0;
  for (VkDeviceSize at = 0; at < end;) {
    Plot plot;
    plot.memory = &memory;
    plot.begin = at;
    VkDeviceSize size = 0;
    size_t owner = random.Below(owners);
    if (at == image_begin) {
      size = image->layout.offset + image->layout.size;
      plot.is_image = true;
      owner = 0;
    } else {
      // What comes after the first thousand plots, and one in each large allocation, is large.
      const bool big =
          (!is_big_made && memory.size() > (6u << 20) && random.OneIn(20)) || ++small > 1000;
      size = big ? random.Between(4u << 20, 8u << 20) : PlotSize(random);
      is_big_made |= big;
      if (at < image_begin) {
        size = std::min(size, image_begin - at);
      }
    }
    size = std::min(RoundUp(size, memory.grain()), end - at);
    plot.bytes.resize(size);
    divided[owner].push_back(std::move(plot));
    at += size;
  }
  return divided;
}

}  // namespace vesper::tests
