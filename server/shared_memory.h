// SPDX-License-Identifier: Apache-2.0
//
// Host-visible memory that guest, worker and device share. The guest has one file in memory for all
// that its program may map, and passes it along with its hello. It says where in the file an
// allocation is to lie; the worker maps these pages and has the driver import them
// (VK_EXT_external_memory_host). From then on there is nothing to collect, to send or to compare:
// what the program writes is there when its submission arrives, and what the device writes is there
// before the word that it is done.
//
// What the guest may do to the file meanwhile is its own loss only. The file is sealed, so that it
// can't become smaller under the worker's feet; it has nobody else's pages in it; and nothing that
// the worker relies on is ever read from it. Holes that the guest punches read as zeros.
//
// Memory that cannot be shared is allocated as any other, and the guest is told: then guest and
// host keep copies (device_memory.h).
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "server/external_resources.h"
#include "server/host_tables_gen.h"
#include "transport/unique_fd.h"

namespace vesper::server {

/// What memory is imported as.
inline constexpr VkExternalMemoryHandleTypeFlagBits kHostPointer =
    VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;

/// Pages that are mapped into this process as long as this lives.
class SharedPages {
 public:
  SharedPages() = default;
  SharedPages(int file, uint64_t offset, uint64_t size);
  SharedPages(SharedPages&& other) noexcept;
  SharedPages& operator=(SharedPages&& other) noexcept;
  ~SharedPages();

  /// Null if the system refused.
  void* get() const { return begin_; }

 private:
  void* begin_ = nullptr;
  uint64_t size_ = 0;
};

/// The guest's file.
class SharedFile {
 public:
  /// Null, and one sentence in `why_not`, if the file could harm the worker or is none.
  static std::unique_ptr<SharedFile> Accept(transport::UniqueFd file, std::string* why_not);

  /// Maps a range of whole pages; nothing if it does not lie in the file.
  SharedPages Map(uint64_t offset, uint64_t size) const;

 private:
  explicit SharedFile(transport::UniqueFd file) : file_(std::move(file)) {}

  transport::UniqueFd file_;
};

/// The shared allocations of one device, which was created with VK_EXT_external_memory_host.
/// Thread-safe.
class SharedMemories {
 public:
  /// `alignment`: minImportedHostPointerAlignment. Tries out which types of memory can be imported.
  SharedMemories(const DeviceTable& vk, VkDevice device,
                 const VkPhysicalDeviceMemoryProperties& memory, uint64_t alignment,
                 const SharedFile& file);

  /// The types of memory that can be shared, as bits.
  uint32_t types() const { return types_; }
  /// Makes memory of the file's pages from `offset`. Any failure means that it can't be done here
  /// and now, and nothing was made.
  VkResult Allocate(const VkMemoryAllocateInfo& info, uint64_t offset, VkDeviceMemory* memory);
  /// What was made, without an offset; nothing for other memory.
  std::optional<ImportedPlace> Find(VkDeviceMemory memory) const;
  /// The memory has been freed.
  void Forget(VkDeviceMemory memory) {
    const std::lock_guard lock(mutex_);
    allocations_.erase(memory);
  }

 private:
  struct Allocation {
    SharedPages pages;
    uint32_t memory_type = 0;
    uint64_t size = 0;
  };

  VkResult Import(const VkMemoryAllocateInfo& info, uint64_t size, void* pages,
                  VkDeviceMemory* memory) const;

  const DeviceTable& vk_;
  const VkDevice device_;
  const SharedFile& file_;
  uint32_t types_ = 0;
  mutable std::mutex mutex_;
  std::unordered_map<VkDeviceMemory, Allocation> allocations_;
};

}  // namespace vesper::server
