// SPDX-License-Identifier: Apache-2.0
//
// The capability snapshot: everything immutable about the host's physical devices, sent once, so
// that enumeration costs no round trip. Structs and chains travel as the codec encodes any struct.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "proto/arena.h"
#include "proto/buffer.h"
#include "proto/encoder.h"
#include "proto/object_id.h"

namespace vesper::proto {

/// One physical device. The pointers' targets belong to whoever filled it in: the host's query, or
/// the arena that a snapshot was decoded into.
struct PhysicalDeviceSnapshot {
  ObjectId id = 0;
  std::vector<VkExtensionProperties> extensions;
  /// With a chain of every struct that codec, guest and host know.
  VkPhysicalDeviceProperties2* properties = nullptr;
  VkPhysicalDeviceFeatures2* features = nullptr;
  VkPhysicalDeviceMemoryProperties2* memory = nullptr;
  std::vector<VkQueueFamilyProperties2*> queue_families;
};

struct PhysicalDeviceGroup {
  std::vector<uint32_t> devices;  // indices in Snapshot::devices
  bool subset_allocation = false;
};

struct Snapshot {
  std::vector<PhysicalDeviceSnapshot> devices;
  std::vector<PhysicalDeviceGroup> groups;
};

void EncodeSnapshot(const Snapshot& snapshot, const KnownStructs& known, Buffer& buffer);

/// Decodes into `arena`, which must outlive the snapshot. False and one sentence if malformed.
[[nodiscard]] bool DecodeSnapshot(std::span<const std::byte> bytes, Arena& arena,
                                  Snapshot* snapshot, std::string* error);

}  // namespace vesper::proto
