// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "client_icd/object.h"
#include "client_icd/shadow.h"

namespace vesper::client {

class Device;

/// A VkDeviceMemory. The shadow is made at the first mapping and kept until the memory is freed:
/// both sides go on from what they last agreed on when it is mapped again.
struct DeviceMemory {
  /// A range that the device may write.
  struct Range {
    uint64_t offset;
    uint64_t size;
  };

  uint64_t size = 0;
  uint32_t heap = 0;
  bool is_host_visible = false;
  bool is_coherent = false;
  bool is_mapped = false;
  std::byte* imported = nullptr;        // the program's own memory (imported_memory.h), or null
  std::optional<uint32_t> leased_from;  ///< the heap, if the host was not asked
  /// Guest and host agreed when it was allocated or unmapped, after so many releasing calls.
  std::optional<uint64_t> agreed_at;

  /// Pages that the host was offered. Once it has answered they are the shadow's.
  std::optional<ShadowArena::Piece> offered;
  bool was_offered = false;

  std::mutex mutex;  // resources are bound by any thread: shadow, reach, device_writes
  std::shared_ptr<Shadow> shadow;
  uint32_t reach = 0;
  std::vector<Range> device_writes;

  Allocator allocator;
};

/// Something was bound to memory: how commands get at it, and whether the device may write it.
/// `size` may reach past the end of the allocation.
void NoteBind(Device& device, VkDeviceMemory memory, uint32_t reach, bool is_written,
              uint64_t offset, uint64_t size);
/// Memory as the driver itself sees it, which always has what the device wrote.
struct DriverView {
  std::byte* begin = nullptr;
  /// The file whose pages these are, from this offset on, or -1.
  int file = -1;
  uint64_t file_offset = 0;
  bool is_shared = false;  ///< with the device itself
};
/// Has the host push what the device writes there from now on, until the memory is freed. The
/// program must not have it mapped, then or later.
VkResult ViewForDriver(Device& device, VkDeviceMemory memory, DriverView* view);
void NoteSparseBinds(Device& device, uint32_t count, const VkBindSparseInfo* binds);

}  // namespace vesper::client
