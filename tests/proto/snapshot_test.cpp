// SPDX-License-Identifier: Apache-2.0
#include "proto/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "proto/records_gen.h"
#include "proto/walk.h"
#include "tests/framework/record_comparer.h"
#include "tests/framework/record_filler.h"

namespace vesper::proto {
namespace {

using tests::RecordFiller;

template <typename T>
T* Fill(uint16_t record, uint64_t seed, RecordFiller::Chains chains, Arena& arena) {
  return static_cast<T*>(RecordFiller(seed, seed, chains, arena).Make(Records()[record]));
}

Snapshot MakeSnapshot(uint64_t seed, RecordFiller::Chains chains, Arena& arena) {
  Snapshot snapshot;
  for (uint64_t i = 0; i < 2; ++i) {
    PhysicalDeviceSnapshot device;
    device.id = MakeObjectId(HandleType::kPhysicalDevice, 1, static_cast<uint32_t>(i));
    VkExtensionProperties extension{};
    std::strcpy(extension.extensionName, "VK_KHR_maintenance1");
    extension.specVersion = 2;
    device.extensions.assign(3, extension);
    device.properties = Fill<VkPhysicalDeviceProperties2>(record_index::VkPhysicalDeviceProperties2,
                                                          seed + i, chains, arena);
    device.features = Fill<VkPhysicalDeviceFeatures2>(record_index::VkPhysicalDeviceFeatures2,
                                                      seed + i, chains, arena);
    device.memory = Fill<VkPhysicalDeviceMemoryProperties2>(
        record_index::VkPhysicalDeviceMemoryProperties2, seed + i, chains, arena);
    device.memory->memoryProperties.memoryTypeCount = 3;
    device.memory->memoryProperties.memoryHeapCount = 2;
    for (uint64_t family = 0; family < 3; ++family) {
      device.queue_families.push_back(Fill<VkQueueFamilyProperties2>(
          record_index::VkQueueFamilyProperties2, seed + i + family, chains, arena));
    }
    snapshot.devices.push_back(device);
  }
  snapshot.groups.push_back({{0, 1}, true});
  snapshot.groups.push_back({{1}, false});
  return snapshot;
}

std::vector<std::byte> Encode(const Snapshot& snapshot) {
  Buffer buffer;
  const KnownStructs known;
  EncodeSnapshot(snapshot, known, buffer);
  return {buffer.Bytes().begin(), buffer.Bytes().end()};
}

TEST(Snapshot, ArrivesAsItWasTaken) {
  for (const auto chains : {RecordFiller::Chains::kSome, RecordFiller::Chains::kAll}) {
    Arena arena;
    const Snapshot snapshot = MakeSnapshot(11, chains, arena);
    const std::vector<std::byte> bytes = Encode(snapshot);
    Arena decoded_arena;
    Snapshot decoded;
    std::string error;
    ASSERT_TRUE(DecodeSnapshot(bytes, decoded_arena, &decoded, &error)) << error;
    ASSERT_EQ(decoded.devices.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      const PhysicalDeviceSnapshot& a = snapshot.devices[i];
      const PhysicalDeviceSnapshot& b = decoded.devices[i];
      EXPECT_EQ(a.id, b.id);
      ASSERT_EQ(b.extensions.size(), 3u);
      EXPECT_STREQ(b.extensions[2].extensionName, "VK_KHR_maintenance1");
      const auto compare = [](uint16_t record, const void* one, const void* other) {
        return tests::CompareStruct(Records()[record], one, other);
      };
      EXPECT_EQ(compare(record_index::VkPhysicalDeviceProperties2, a.properties, b.properties), "");
      EXPECT_EQ(compare(record_index::VkPhysicalDeviceFeatures2, a.features, b.features), "");
      EXPECT_EQ(compare(record_index::VkPhysicalDeviceMemoryProperties2, a.memory, b.memory), "");
      ASSERT_EQ(b.queue_families.size(), 3u);
      for (size_t family = 0; family < 3; ++family) {
        EXPECT_EQ(compare(record_index::VkQueueFamilyProperties2, a.queue_families[family],
                          b.queue_families[family]),
                  "");
      }
    }
    ASSERT_EQ(decoded.groups.size(), 2u);
    EXPECT_EQ(decoded.groups[0].devices, (std::vector<uint32_t>{0, 1}));
    EXPECT_TRUE(decoded.groups[0].subset_allocation);
    EXPECT_FALSE(decoded.groups[1].subset_allocation);
  }
}

TEST(Snapshot, LeavesOutWhatThePeerDoesNotKnow) {
  Arena arena;
  const Snapshot snapshot = MakeSnapshot(3, RecordFiller::Chains::kAll, arena);
  ASSERT_NE(snapshot.devices[0].features->pNext, nullptr);
  Buffer buffer;
  const KnownStructs none{std::vector<bool>{}};
  EncodeSnapshot(snapshot, none, buffer);
  Arena decoded_arena;
  Snapshot decoded;
  std::string error;
  ASSERT_TRUE(DecodeSnapshot(buffer.Bytes(), decoded_arena, &decoded, &error)) << error;
  EXPECT_EQ(decoded.devices[0].features->pNext, nullptr);
}

TEST(Snapshot, EveryPrefixIsRefused) {
  Arena arena;
  const std::vector<std::byte> bytes = Encode(MakeSnapshot(11, RecordFiller::Chains::kSome, arena));
  for (size_t length = 0; length < bytes.size(); length += length < 600 ? 1 : 56) {
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + length);
    Arena decoded_arena;
    Snapshot decoded;
    std::string error;
    ASSERT_FALSE(DecodeSnapshot(cut, decoded_arena, &decoded, &error)) << length;
    ASSERT_FALSE(error.empty());
  }
}

TEST(Snapshot, CorruptWordsAreHarmless) {
  Arena arena;
  const std::vector<std::byte> bytes = Encode(MakeSnapshot(12, RecordFiller::Chains::kSome, arena));
  for (size_t offset = 0; offset + 8 <= bytes.size(); offset += 8) {
    for (const uint64_t lie : {uint64_t{0}, ~uint64_t{0}, uint64_t{33}, kPresent | 40}) {
      std::vector<std::byte> corrupt = bytes;
      StoreField(corrupt.data(), offset, lie);
      Arena decoded_arena(4u << 20);
      Snapshot decoded;
      std::string error;
      if (DecodeSnapshot(corrupt, decoded_arena, &decoded, &error)) {
        // What the guest relies on without asking again.
        for (const PhysicalDeviceSnapshot& device : decoded.devices) {
          ASSERT_LE(device.memory->memoryProperties.memoryTypeCount, VK_MAX_MEMORY_TYPES);
          ASSERT_LE(device.memory->memoryProperties.memoryHeapCount, VK_MAX_MEMORY_HEAPS);
        }
        for (const PhysicalDeviceGroup& group : decoded.groups) {
          for (const uint32_t index : group.devices) {
            ASSERT_LT(index, decoded.devices.size());
          }
        }
      }
    }
  }
}

TEST(Snapshot, NamesEndInsideTheirArrays) {
  Arena arena;
  Snapshot snapshot = MakeSnapshot(11, RecordFiller::Chains::kSome, arena);
  std::memset(snapshot.devices[0].extensions[0].extensionName, 'x', VK_MAX_EXTENSION_NAME_SIZE);
  std::memset(snapshot.devices[0].properties->properties.deviceName, 'y',
              VK_MAX_PHYSICAL_DEVICE_NAME_SIZE);
  Arena decoded_arena;
  Snapshot decoded;
  std::string error;
  ASSERT_TRUE(DecodeSnapshot(Encode(snapshot), decoded_arena, &decoded, &error));
  EXPECT_EQ(std::strlen(decoded.devices[0].extensions[0].extensionName),
            VK_MAX_EXTENSION_NAME_SIZE - 1u);
}

}  // namespace
}  // namespace vesper::proto
