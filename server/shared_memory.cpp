// SPDX-License-Identifier: Apache-2.0
#include "server/shared_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "transport/shared_file.h"

namespace vesper::server {
namespace {

uint64_t PageBytes() { return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)); }

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

/// Types that can be shared as far as their properties go: the guest's processor must see the pages
/// as the device does without being told.
uint32_t SuitedTypes(const VkPhysicalDeviceMemoryProperties& memory) {
  constexpr VkMemoryPropertyFlags kNeeded =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  constexpr VkMemoryPropertyFlags kUnsuited = VK_MEMORY_PROPERTY_PROTECTED_BIT |
                                              VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT |
                                              VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD;
  uint32_t types = 0;
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = memory.memoryTypes[i].propertyFlags;
    if ((flags & kNeeded) == kNeeded && (flags & kUnsuited) == 0) {
      types |= 1u << i;
    }
  }
  return types;
}

}  // namespace

SharedPages::SharedPages(int file, uint64_t offset, uint64_t size) : size_(size) {
  void* begin = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file,
                       static_cast<off_t>(offset));
  if (begin != MAP_FAILED) {
    begin_ = begin;
    ::madvise(begin_, size_, MADV_DONTDUMP);
  }
}

SharedPages::SharedPages(SharedPages&& other) noexcept
    : begin_(std::exchange(other.begin_, nullptr)), size_(other.size_) {}

SharedPages& SharedPages::operator=(SharedPages&& other) noexcept {
  std::swap(begin_, other.begin_);
  std::swap(size_, other.size_);
  return *this;
}

SharedPages::~SharedPages() {
  if (begin_ != nullptr) {
    ::munmap(begin_, size_);
  }
}

std::unique_ptr<SharedFile> SharedFile::Accept(transport::UniqueFd file, std::string* why_not) {
  if (!file) {
    *why_not = "no file of the guest's came through this connection";
    return nullptr;
  }
  if (!transport::IsSafeToMap(file.get(), why_not)) {
    return nullptr;
  }
  return std::unique_ptr<SharedFile>(new SharedFile(std::move(file)));
}

SharedPages SharedFile::Map(uint64_t offset, uint64_t size) const {
  struct stat status{};
  if (size == 0 || offset % PageBytes() != 0 || ::fstat(file_.get(), &status) != 0) {
    return {};
  }
  const auto end = static_cast<uint64_t>(status.st_size);
  if (offset > end || size > end - offset) {
    return {};
  }
  return {file_.get(), offset, size};
}

SharedMemories::SharedMemories(const DeviceTable& vk, VkDevice device,
                               const VkPhysicalDeviceMemoryProperties& memory, uint64_t alignment,
                               const SharedFile& file)
    : vk_(vk), device_(device), file_(file) {
  // Pages lie where the system puts them.
  if (vk.vkGetMemoryHostPointerPropertiesEXT == nullptr || alignment > PageBytes()) {
    return;
  }
  // Whether the driver takes pages of a file is only known once it has.
  const transport::UniqueFd probe(::memfd_create("vesper-probe", MFD_CLOEXEC));
  const uint64_t size = PageBytes();
  if (!probe || ::ftruncate(probe.get(), static_cast<off_t>(size)) != 0) {
    return;
  }
  const SharedPages pages(probe.get(), 0, size);
  VkMemoryHostPointerPropertiesEXT properties{VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
  if (pages.get() == nullptr || vk.vkGetMemoryHostPointerPropertiesEXT(
                                    device, kHostPointer, pages.get(), &properties) != VK_SUCCESS) {
    return;
  }
  const uint32_t candidates = properties.memoryTypeBits & SuitedTypes(memory);
  for (uint32_t type = 0; type < memory.memoryTypeCount; ++type) {
    const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, size, type};
    VkDeviceMemory imported = VK_NULL_HANDLE;
    if ((candidates & (1u << type)) != 0 &&
        Import(info, size, pages.get(), &imported) == VK_SUCCESS) {
      vk.vkFreeMemory(device, imported, nullptr);
      types_ |= 1u << type;
    }
  }
}

VkResult SharedMemories::Import(const VkMemoryAllocateInfo& info, uint64_t size, void* pages,
                                VkDeviceMemory* memory) const {
  const VkImportMemoryHostPointerInfoEXT import{
      VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT, info.pNext, kHostPointer, pages};
  VkMemoryAllocateInfo imported = info;
  imported.pNext = &import;
  imported.allocationSize = size;
  return vk_.vkAllocateMemory(device_, &imported, nullptr, memory);
}

VkResult SharedMemories::Allocate(const VkMemoryAllocateInfo& info, uint64_t offset,
                                  VkDeviceMemory* memory) {
  const uint64_t size = RoundUp(info.allocationSize, PageBytes());
  if (size < info.allocationSize) {
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  }
  SharedPages pages = file_.Map(offset, size);
  if (pages.get() == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  const VkResult result = Import(info, size, pages.get(), memory);
  if (result == VK_SUCCESS) {
    const std::lock_guard lock(mutex_);
    allocations_[*memory] = {std::move(pages), info.memoryTypeIndex, size};
  }
  return result;
}

std::optional<ImportedPlace> SharedMemories::Find(VkDeviceMemory memory) const {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(memory);
  if (found == allocations_.end()) {
    return std::nullopt;
  }
  return ImportedPlace{found->second.memory_type, 0, found->second.size};
}

}  // namespace vesper::server
