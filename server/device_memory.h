// SPDX-License-Identifier: Apache-2.0
//
// The host's side of mapped memory: the real memory (*live*, mapped here from the guest's first
// mapping until it is freed) and its twin, what the guest was last told or told us. Bytes that the
// device changed are found by comparing the two, and pushed. docs/memory.md has the whole argument.
//
// Only *writable* ranges have a twin: those to which a resource is bound that the device may write.
// The twin is zero pages of the kernel until something is put there, and nothing is put there
// outside of writable ranges, so it takes what was really exchanged and not what was allocated.
// The guest's bytes for other ranges go to live memory alone. Should such a range become writable
// later, its twin is copied from there: until then nobody but the guest can have written it.
//
// Memory that the CPU should not read is read by the GPU (gpu_reader.h). It has a twin of whatever
// the guest has sent, so that nothing ever has to be copied from it.
//
// What the device may have written while the guest does not have the memory mapped is *stale*. It
// is compared when the guest maps, and nothing else is. The same goes for ranges that the guest has
// asked to *defer*, because its program does not read them: they are compared when the guest
// fetches them. A range is deferred from the guest's word until it is fetched, or the memory is
// mapped or unmapped; the guest keeps its program away from it for all that time
// (client_icd/downloads.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "proto/memory_patch.h"
#include "proto/object_id.h"
#include "proto/patch_parts.h"
#include "server/byte_ranges.h"
#include "server/gpu_reader.h"
#include "server/host_tables_gen.h"
#include "server/outbox.h"
#include "server/pictures.h"
#include "server/zero_pages.h"
#include "transport/turn_mutex.h"

namespace vesper::server {

/// Who of the device's can write a range of memory; each includes those before it.
enum class Writers {
  kNone,
  kTransfers,    ///< commands that name what they write
  kDescriptors,  ///< and shaders to which a descriptor names it
  kShaders,      ///< and shaders without one: whatever runs on the device
  kAny,          ///< and work that was submitted before the memory was there: by address
};

/// Which parts of one allocation may have been written.
struct WrittenParts {
  const ByteRanges* exact = nullptr;  ///< null: none
  bool by_shaders = false;            ///< and what shaders can write without a descriptor
  bool everything = false;            ///< all that can be written
  /// The position in the stream of the last submission that did more than the former: memory that
  /// is younger is out of its reach.
  uint64_t submission = UINT64_MAX;
  bool by_descriptors = false;  ///< and what shaders can write with a descriptor

  bool IsEmpty() const { return exact == nullptr && !by_shaders && !by_descriptors && !everything; }
};

/// One host-visible allocation. Its mutex orders the guest's writes against comparisons. Over a
/// slow link much is pushed in pieces, and the guest's writes pass between them.
class HostMemory {
 public:
  struct Info {
    proto::ObjectId id;
    VkDeviceMemory handle;
    uint64_t size;
    bool is_coherent;
    uint64_t atom_size;  ///< nonCoherentAtomSize
    /// Whatever the work can have written: all of the memory is compared each time.
    bool compares_all = false;
    GpuReader* reader = nullptr;  ///< reads it for the CPU; null: the CPU reads
    uint32_t memory_type = 0;
    uint64_t birth = 0;      ///< the position of its allocation in the stream
    bool is_of_cpu = false;  ///< the device is the CPU: no other hardware knows the pages
  };
  HostMemory(const DeviceTable& vk, VkDevice device, const Info& info)
      : vk_(vk), device_(device), info_(info) {}

  proto::ObjectId id() const { return info_.id; }
  VkDeviceMemory handle() const { return info_.handle; }
  uint64_t size() const { return info_.size; }

  /// The guest maps. The first time the memory is mapped here and brought to agree with the guest's
  /// zeroed shadow; every time what is stale is compared and pushed before this returns.
  /// `unfinished`: what work that is not known to be done may write.
  VkResult Map(const WrittenParts& unfinished, Outbox& outbox);
  void Unmap();
  /// The memory is about to be freed: nobody touches it any more once this returns.
  void Retire();

  /// A resource is bound to [begin, end) that these can write. They can do so for good.
  void SetWritable(uint64_t begin, uint64_t end, Writers writers);
  /// The device may have written these parts: what it changed is pushed, if the guest has the
  /// memory mapped, and otherwise when it maps.
  void PushWritten(const WrittenParts& parts, Outbox& outbox);
  /// What the device writes to [begin, end) stays here until it is fetched.
  void Defer(uint64_t begin, uint64_t end);
  /// Pushes what has stayed here of [begin, end), which is not deferred any more.
  void Fetch(uint64_t begin, uint64_t end, Outbox& outbox);
  /// The guest keeps pictures there and never writes; false if they do not fit.
  bool SetPictures(const PictureLayout& layout);
  /// Writes the guest's bytes; false if the patch does not fit.
  bool Write(std::span<const std::byte> patch);

  /// Bytes of the twin that take memory, for tests.
  uint64_t TwinBytes();

 private:
  /// The parts without what the work that wrote them cannot have reached.
  WrittenParts InReach(WrittenParts parts) const;
  ByteRanges Resolve(const WrittenParts& parts) const;
  void AddStale(const WrittenParts& parts);
  WrittenParts Stale() const;
  /// What is stale, as ranges, which it no longer is.
  ByteRanges TakeStale();
  /// What of the ranges is to be pushed now; the rest is stale.
  ByteRanges WithoutDeferred(const ByteRanges& ranges);
  void PushLocked(const ByteRanges& ranges, Outbox& outbox);
  /// Compares bytes that were read from live memory with the twin.
  void PushRange(ByteRange range, const std::byte* bytes, Outbox& outbox);
  /// Makes live memory visible to the CPU, then pushes it.
  void PushFromLive(ByteRange range, Outbox& outbox);
  /// Pushes a patch of which more follows, and begins another.
  void SendPatch(Outbox& outbox);
  /// How many bytes from the start the GPU can read.
  uint64_t ReadableByGpu();
  void WriteTwin(const proto::PatchEntry& entry);
  VkMappedMemoryRange AtomRange(uint64_t begin, uint64_t end) const;

  const DeviceTable& vk_;
  const VkDevice device_;
  const Info info_;
  transport::TurnMutex mutex_;
  std::byte* live_ = nullptr;
  ZeroPages twin_;
  bool is_retired_ = false;
  bool is_unmappable_ = false;
  bool guest_has_it_mapped_ = false;
  ByteRanges writable_;
  ByteRanges writable_by_descriptors_;  // and in no other way by shaders
  ByteRanges writable_by_shaders_;
  bool is_writable_by_any_ = false;
  // Stale parts.
  ByteRanges stale_;
  bool stale_by_shaders_ = false;
  bool stale_by_descriptors_ = false;
  bool stale_everything_ = false;
  ByteRanges deferred_;
  // Blocks to which the guest wrote outside of writable ranges.
  std::vector<bool> guest_blocks_;
  // Over the memory, for the reader.
  bool has_tried_source_ = false;
  VkBuffer source_ = VK_NULL_HANDLE;
  uint64_t source_size_ = 0;
  proto::PatchGrain grain_ = proto::PatchGrain::kBytes;
  std::unique_ptr<LossyPictures> lossy_;  // null: what the device writes travels as it is
  // Patches of one push take turns, and have so many bytes each.
  size_t patch_bytes_ = 0;
  std::array<proto::PatchParts, 2> patches_;
  size_t turn_ = 0;
};

/// The host-visible allocations of one device. Thread-safe.
class HostMemories {
 public:
  void Add(std::shared_ptr<HostMemory> memory);
  void Remove(VkDeviceMemory handle);
  std::shared_ptr<HostMemory> Find(VkDeviceMemory handle) const;
  std::vector<std::shared_ptr<HostMemory>> All() const;
  /// For work of which it is not known what it writes.
  void SetAllWritable();

 private:
  mutable std::mutex mutex_;
  std::map<VkDeviceMemory, std::shared_ptr<HostMemory>> memories_;
};

}  // namespace vesper::server
