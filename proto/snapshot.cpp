// SPDX-License-Identifier: Apache-2.0
#include "proto/snapshot.h"

#include <algorithm>

#include "proto/decoder.h"
#include "proto/limits.h"
#include "proto/reader.h"
#include "proto/records_gen.h"

namespace vesper::proto {
namespace {

constexpr uint64_t kMaxQueueFamilies = 64;

uint64_t NoHandles(HandleType, uint64_t) { return 0; }

class SnapshotReader {
 public:
  SnapshotReader(std::span<const std::byte> bytes, Arena& arena)
      : reader_(bytes), arena_(arena), decoder_(arena, nullptr) {}

  template <typename T>
  T* Struct(uint16_t record_index) {
    const Record& record = Records()[record_index];
    void* value = arena_.Allocate(record.size);
    if (value == nullptr || decoder_.Struct(record, reader_, value) != DecodeResult::kDecoded) {
      reader_.Fail();
      return nullptr;
    }
    return static_cast<T*>(value);
  }

  uint64_t Count(uint64_t max) {
    const uint64_t count = reader_.Value<uint64_t>();
    if (count > max) {
      reader_.Fail();
    }
    return reader_.Failed() ? 0 : count;
  }

  Reader& reader() { return reader_; }

 private:
  Reader reader_;
  Arena& arena_;
  Decoder decoder_;
};

}  // namespace

void EncodeSnapshot(const Snapshot& snapshot, const KnownStructs& known, Buffer& buffer) {
  Encoder encoder(buffer, known, NoHandles);
  const auto put = [&](uint16_t index, const void* value) {
    encoder.Struct(Records()[index], value);
  };
  buffer.PutValue<uint64_t>(snapshot.devices.size());
  for (const PhysicalDeviceSnapshot& device : snapshot.devices) {
    buffer.PutValue(device.id);
    buffer.PutValue<uint64_t>(device.extensions.size());
    buffer.Put(device.extensions.data(), device.extensions.size() * sizeof(VkExtensionProperties));
    put(record_index::VkPhysicalDeviceProperties2, device.properties);
    put(record_index::VkPhysicalDeviceFeatures2, device.features);
    put(record_index::VkPhysicalDeviceMemoryProperties2, device.memory);
    buffer.PutValue<uint64_t>(device.queue_families.size());
    for (const VkQueueFamilyProperties2* family : device.queue_families) {
      put(record_index::VkQueueFamilyProperties2, family);
    }
  }
  buffer.PutValue<uint64_t>(snapshot.groups.size());
  for (const PhysicalDeviceGroup& group : snapshot.groups) {
    buffer.PutValue<uint64_t>(group.subset_allocation ? 1 : 0);
    buffer.PutValue<uint64_t>(group.devices.size());
    buffer.Put(group.devices.data(), group.devices.size() * sizeof(uint32_t));
  }
}

bool DecodeSnapshot(std::span<const std::byte> bytes, Arena& arena, Snapshot* snapshot,
                    std::string* error) {
  SnapshotReader in(bytes, arena);
  Reader& reader = in.reader();
  const uint64_t devices = in.Count(kMaxPhysicalDevices);
  for (uint64_t i = 0; i < devices && !reader.Failed(); ++i) {
    PhysicalDeviceSnapshot device;
    device.id = reader.Value<uint64_t>();
    device.extensions.resize(in.Count(kMaxExtensions));
    const std::span<const std::byte> extensions =
        reader.TakeArray(device.extensions.size(), sizeof(VkExtensionProperties));
    if (!extensions.empty()) {
      std::memcpy(device.extensions.data(), extensions.data(), extensions.size());
    }
    for (VkExtensionProperties& extension : device.extensions) {
      extension.extensionName[VK_MAX_EXTENSION_NAME_SIZE - 1] = '\0';
    }
    device.properties =
        in.Struct<VkPhysicalDeviceProperties2>(record_index::VkPhysicalDeviceProperties2);
    device.features = in.Struct<VkPhysicalDeviceFeatures2>(record_index::VkPhysicalDeviceFeatures2);
    device.memory = in.Struct<VkPhysicalDeviceMemoryProperties2>(
        record_index::VkPhysicalDeviceMemoryProperties2);
    const uint64_t families = in.Count(kMaxQueueFamilies);
    for (uint64_t family = 0; family < families && !reader.Failed(); ++family) {
      device.queue_families.push_back(
          in.Struct<VkQueueFamilyProperties2>(record_index::VkQueueFamilyProperties2));
    }
    if (!reader.Failed()) {
      VkPhysicalDeviceMemoryProperties& memory = device.memory->memoryProperties;
      memory.memoryTypeCount = std::min<uint32_t>(memory.memoryTypeCount, VK_MAX_MEMORY_TYPES);
      memory.memoryHeapCount = std::min<uint32_t>(memory.memoryHeapCount, VK_MAX_MEMORY_HEAPS);
      snapshot->devices.push_back(std::move(device));
    }
  }
  const uint64_t groups = in.Count(kMaxPhysicalDevices);
  for (uint64_t i = 0; i < groups && !reader.Failed(); ++i) {
    PhysicalDeviceGroup group;
    group.subset_allocation = reader.Value<uint64_t>() != 0;
    group.devices.resize(in.Count(kMaxPhysicalDevices));
    const std::span<const std::byte> indices = reader.TakeArray(group.devices.size(), 4);
    if (!indices.empty()) {
      std::memcpy(group.devices.data(), indices.data(), indices.size());
    }
    for (const uint32_t index : group.devices) {
      if (index >= devices) {
        reader.Fail();
      }
    }
    snapshot->groups.push_back(std::move(group));
  }
  if (reader.Failed() || !reader.AtEnd()) {
    *error =
        "expected a well-formed device snapshot, got one that is cut or inconsistent; install "
        "the same Vesper on both sides";
    return false;
  }
  return true;
}

}  // namespace vesper::proto
