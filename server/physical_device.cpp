// SPDX-License-Identifier: Apache-2.0
//
// The snapshot of physical devices. For each query one chain of every struct that codec and guest
// know and the device's version or extensions bring; generated tables say which.
#include <algorithm>
#include <cstring>

#include "proto/records_gen.h"
#include "proto/walk.h"
#include "server/host_vulkan.h"

namespace vesper::server {
namespace {

constexpr size_t kNextOffset = 8;

/// Asked with every query instead: what it tells changes.
bool IsVolatile(const proto::Record& record) {
  return record.stype == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT;
}

bool IsBrought(const proto::Record& record, const HostInstance::PhysicalDevice& device) {
  return std::any_of(record.providers.begin(), record.providers.end(), [&](uint16_t provider) {
    if ((provider & proto::kCoreProvider) == 0) {
      return static_cast<bool>(device.extensions[provider]);
    }
    const uint32_t major = (provider >> 8) & 0x7f;
    return VK_MAKE_API_VERSION(0, major, provider & 0xff, 0) <= device.properties.apiVersion;
  });
}

class ChainBuilder {
 public:
  ChainBuilder(const proto::KnownStructs& known, proto::Arena& arena,
               const HostInstance::PhysicalDevice& device)
      : known_(known), arena_(arena), device_(device) {}

  /// A root struct with its whole chain, ready for a query.
  void* Build(uint16_t root_index) {
    const proto::Record& root = proto::Records()[root_index];
    std::byte* value = Make(root);
    std::byte* tail = value;
    for (const proto::Record& record : proto::Records()) {
      if (record.number == 0 || !proto::MayExtend(record, root) || !known_.Has(record.number) ||
          !IsBrought(record, device_) || IsVolatile(record)) {
        continue;
      }
      std::byte* element = Make(record);
      proto::StoreField<void*>(tail, kNextOffset, element);
      tail = element;
    }
    return value;
  }

  /// Gives the output arrays in the chain memory for the counts of a first query; true if there
  /// are any, and the query must be made again.
  bool AllocateArrays(void* value) {
    bool any = false;
    for (auto* element = static_cast<std::byte*>(value); element != nullptr;
         element = proto::LoadField<std::byte*>(element, kNextOffset)) {
      const proto::Record* record =
          proto::StructRecordByType(proto::LoadField<int32_t>(element, 0));
      for (size_t i = 0; record != nullptr && i < record->ops.size(); ++i) {
        const proto::Op& op = record->ops[i];
        if (op.kind == proto::OpKind::kPlain || op.kind == proto::OpKind::kRecords) {
          const uint64_t count = proto::EvaluateLength(op.length, element);
          if (count > 0) {
            proto::StoreField<void*>(element, op.offset, arena_.Allocate(count * op.size));
            any = true;
          }
        }
      }
    }
    return any;
  }

 private:
  std::byte* Make(const proto::Record& record) {
    auto* value = static_cast<std::byte*>(arena_.Allocate(record.size));
    proto::StoreField<int32_t>(value, 0, record.stype);
    return value;
  }

  const proto::KnownStructs& known_;
  proto::Arena& arena_;
  const HostInstance::PhysicalDevice& device_;
};

void MaskFeatures(void* features) {
  for (auto* element = static_cast<std::byte*>(features); element != nullptr;
       element = proto::LoadField<std::byte*>(element, kNextOffset)) {
    const int32_t stype = proto::LoadField<int32_t>(element, 0);
    for (const proto::MaskedFeature& masked : proto::MaskedFeatures()) {
      if (proto::Records()[masked.record].stype == stype) {
        proto::StoreField<VkBool32>(element, masked.offset, VK_FALSE);
      }
    }
  }
}

}  // namespace

proto::Snapshot HostInstance::TakeSnapshot(const proto::KnownStructs& known,
                                           proto::Arena& arena) const {
  namespace index = proto::record_index;
  proto::Snapshot snapshot;
  for (size_t i = 0; i < devices_.size(); ++i) {
    const PhysicalDevice& device = devices_[i];
    ChainBuilder chains(known, arena, device);
    proto::PhysicalDeviceSnapshot out;
    out.id = PhysicalDeviceId(i);
    uint32_t extension_count = 0;
    table_.vkEnumerateDeviceExtensionProperties(device.handle, nullptr, &extension_count, nullptr);
    std::vector<VkExtensionProperties> extensions(extension_count);
    table_.vkEnumerateDeviceExtensionProperties(device.handle, nullptr, &extension_count,
                                                extensions.data());
    for (VkExtensionProperties& extension : extensions) {
      const int known_index = proto::ExtensionIndex(extension.extensionName);
      if (known_index >= 0 && device.extensions[static_cast<size_t>(known_index)]) {
        // An extension's newer revision may hold what this codec does not carry.
        extension.specVersion =
            std::min(extension.specVersion,
                     proto::Extensions()[static_cast<size_t>(known_index)].spec_version);
        out.extensions.push_back(extension);
      }
    }

    void* properties = chains.Build(index::VkPhysicalDeviceProperties2);
    out.properties = static_cast<VkPhysicalDeviceProperties2*>(properties);
    table_.vkGetPhysicalDeviceProperties2(device.handle, out.properties);
    if (chains.AllocateArrays(properties)) {
      table_.vkGetPhysicalDeviceProperties2(device.handle, out.properties);
    }
    out.properties->properties.apiVersion = std::min(out.properties->properties.apiVersion,
                                                     uint32_t{VK_MAKE_API_VERSION(0, 1, 5, 0) - 1});

    out.features =
        static_cast<VkPhysicalDeviceFeatures2*>(chains.Build(index::VkPhysicalDeviceFeatures2));
    table_.vkGetPhysicalDeviceFeatures2(device.handle, out.features);
    MaskFeatures(out.features);

    out.memory = static_cast<VkPhysicalDeviceMemoryProperties2*>(
        chains.Build(index::VkPhysicalDeviceMemoryProperties2));
    table_.vkGetPhysicalDeviceMemoryProperties2(device.handle, out.memory);

    uint32_t family_count = device.queue_family_count;
    std::vector<VkQueueFamilyProperties2> families(family_count);
    for (VkQueueFamilyProperties2& family : families) {
      out.queue_families.push_back(
          static_cast<VkQueueFamilyProperties2*>(chains.Build(index::VkQueueFamilyProperties2)));
      family = *out.queue_families.back();
    }
    table_.vkGetPhysicalDeviceQueueFamilyProperties2(device.handle, &family_count, families.data());
    for (uint32_t family = 0; family < family_count; ++family) {
      *out.queue_families[family] = families[family];
    }
    snapshot.devices.push_back(std::move(out));
  }

  uint32_t group_count = 0;
  table_.vkEnumeratePhysicalDeviceGroups(instance_, &group_count, nullptr);
  std::vector<VkPhysicalDeviceGroupProperties> groups(
      group_count, {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GROUP_PROPERTIES});
  table_.vkEnumeratePhysicalDeviceGroups(instance_, &group_count, groups.data());
  for (const VkPhysicalDeviceGroupProperties& group : groups) {
    proto::PhysicalDeviceGroup out;
    out.subset_allocation = group.subsetAllocation == VK_TRUE;
    for (uint32_t member = 0; member < group.physicalDeviceCount; ++member) {
      if (const PhysicalDevice* device = Find(group.physicalDevices[member])) {
        out.devices.push_back(static_cast<uint32_t>(device - devices_.data()));
      }
    }
    // A group is offered whole or not at all.
    if (out.devices.size() == group.physicalDeviceCount) {
      snapshot.groups.push_back(std::move(out));
    }
  }
  return snapshot;
}

uint64_t HostInstance::AvailableMemory(const PhysicalDevice& device, uint32_t heap) const {
  const int index = proto::ExtensionIndex(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
  if (index >= 0 && device.extensions[static_cast<size_t>(index)] &&
      table_.vkGetPhysicalDeviceMemoryProperties2 != nullptr) {
    VkPhysicalDeviceMemoryProperties2 properties{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, &budget, {}};
    table_.vkGetPhysicalDeviceMemoryProperties2(device.handle, &properties);
  }
  if (budget.heapBudget[heap] == 0) {
    return device.memory.memoryHeaps[heap].size / 2;
  }
  return budget.heapBudget[heap] - std::min(budget.heapBudget[heap], budget.heapUsage[heap]);
}

}  // namespace vesper::server
