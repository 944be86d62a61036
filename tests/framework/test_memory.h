// SPDX-License-Identifier: Apache-2.0
// Allocations for random tests: mapped and unmapped in every way that Vulkan knows, and divided
// into plots. A plot is a run of bytes that one thread of the test owns; neighbours in a cache line
// have different owners, so that everybody writes everywhere and nobody into what isn't his.
#ifndef VESPER_TESTS_FRAMEWORK_TEST_MEMORY_H_
#define VESPER_TESTS_FRAMEWORK_TEST_MEMORY_H_

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "tests/framework/random.h"
#include "tests/framework/resources.h"

namespace vesper::tests {

// What an allocation is used for; drivers that follow what the device may write treat each
// differently.
enum class MemoryKind {
  kUpload,     // the device only reads it
  kTransfer,   // read and written through two aliased buffers, one for each direction
  kStorage,    // and by shaders, through a storage buffer that is a third alias
  kAddress,    // and by shaders that know only its address
  kImage,      // transfers, and a linear image in the midst of it
  kDedicated,  // one buffer for everything, in an allocation of its own
  kImported,   // as kStorage, in pages of the program's own
  kDevice,     // never mapped
};

// The features of VK_EXT_map_memory_placed, and where an allocation may be placed.
struct PlacedMapping {
  // Enables what the driver has of it: to be called before the device is created.
  static PlacedMapping Find(Gpu& gpu, GpuOptions& options);

  bool offered() const { return features.memoryMapPlaced == VK_TRUE; }

  VkPhysicalDeviceMapMemoryPlacedFeaturesEXT features{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAP_MEMORY_PLACED_FEATURES_EXT};
  VkDeviceSize alignment = 0;
};

// A linear image of one byte a texel that shares its bytes with the buffers.
struct LinearAlias {
  Owned<VkImage> handle;
  VkDeviceSize begin = 0;  // of the image, in the allocation
  VkSubresourceLayout layout{};
  VkExtent3D extent{};
};

// Threads: `mutex` is held shared by who uses Address(), and exclusively by who changes the
// mapping.
class TestMemory {
 public:
  // `placed` must outlive this. Throws if Vulkan refuses.
  TestMemory(Gpu& gpu, MemoryKind kind, VkDeviceSize size, uint32_t memory_type,
             const PlacedMapping& placed);
  ~TestMemory();
  TestMemory(const TestMemory&) = delete;
  TestMemory& operator=(const TestMemory&) = delete;

  MemoryKind kind() const { return kind_; }
  // Of the buffers, which begin where the allocation does.
  VkDeviceSize size() const { return size_; }
  bool coherent() const { return coherent_; }
  bool mappable() const { return kind_ != MemoryKind::kDevice; }
  bool mapped() const { return data_ != nullptr; }
  bool device_writes() const { return kind_ != MemoryKind::kUpload; }
  // What ranges that belong to nobody else must be aligned to: one where memory is coherent.
  VkDeviceSize grain() const { return coherent_ ? 1 : atom_; }

  VkBuffer source() const { return source_; }
  VkBuffer target() const { return target_; }
  VkBuffer storage() const { return storage_; }  // Null where shaders don't write.
  VkDeviceAddress address() const { return address_; }
  const LinearAlias* image() const { return image_.handle != VK_NULL_HANDLE ? &image_ : nullptr; }

  // Where the program has these bytes; null if they aren't in what is mapped.
  uint8_t* Address(VkDeviceSize offset, VkDeviceSize size) const;

  // Maps all or a part, by a random call, at a place of the driver's or of its own choice.
  void Map(Random& random);
  void Unmap(Random& random);

  // Flushes or invalidates the range, rounded as Vulkan asks. Nothing if that isn't mapped.
  void Flush(VkDeviceSize offset, VkDeviceSize size);
  void Invalidate(VkDeviceSize offset, VkDeviceSize size);

  // Clears all bytes, and brings the image into the layout in which it shares them.
  void Clear();

  std::shared_mutex mutex;

 private:
  // Addresses kept free for placed mappings.
  struct Reservation {
    uint8_t* begin = nullptr;
    size_t size = 0;
  };

  Owned<VkBuffer> MakeBuffer(VkBufferUsageFlags usage);
  void BindAll(uint32_t memory_type);
  void MakeImage(uint32_t memory_type);
  bool Range(VkDeviceSize offset, VkDeviceSize size, VkMappedMemoryRange* range) const;
  uint8_t* PlaceFor(VkDeviceSize size);
  void Forget();
  bool has_storage() const {
    return kind_ == MemoryKind::kStorage || kind_ == MemoryKind::kAddress ||
           kind_ == MemoryKind::kImported;
  }

  Gpu& gpu_;
  const MemoryKind kind_;
  const PlacedMapping& placed_;
  VkDeviceSize size_;
  VkDeviceSize allocation_size_ = 0;
  VkDeviceSize atom_ = 1;
  bool coherent_ = false;
  std::shared_ptr<void> pages_;  // the program's own
  Owned<VkDeviceMemory> memory_;
  std::vector<Owned<VkBuffer>> buffers_;
  VkBuffer source_ = VK_NULL_HANDLE;
  VkBuffer target_ = VK_NULL_HANDLE;
  VkBuffer storage_ = VK_NULL_HANDLE;
  VkDeviceAddress address_ = 0;
  LinearAlias image_;
  uint8_t* data_ = nullptr;
  VkDeviceSize mapped_offset_ = 0;
  VkDeviceSize mapped_size_ = 0;
  bool is_placed_ = false;
  bool is_mapped_ = false;  // and not only used where it lies
  Reservation reservation_;
};

// A run of bytes that belongs to one thread, and what must be in it.
struct Plot {
  // Bytes that GPU work in flight reads or writes: `count` of them, each `step` after the last.
  struct Busy {
    size_t begin = 0;
    size_t count = 0;
    size_t step = 1;
  };

  TestMemory* memory = nullptr;
  VkDeviceSize begin = 0;
  std::vector<uint8_t> bytes;
  std::vector<Busy> busy;
  bool is_image = false;

  bool IsBusy(size_t at) const;
  bool IsAnyBusy(size_t from, size_t count) const;
};

// Divides the memory among so many owners, the plot of the image to the first.
std::vector<std::vector<Plot>> Divide(TestMemory& memory, size_t owners, Random& random);

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_TEST_MEMORY_H_
