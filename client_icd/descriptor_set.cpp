// SPDX-License-Identifier: Apache-2.0
//
// Descriptor pools, sets, their layouts and update templates. The guest knows which sets a pool
// holds, for their ids are free again when the pool is reset or destroyed; it keeps the pool's
// account, for an allocation is posted if there is surely room (descriptor_pool.h); and it follows
// to which memory the sets lead (named_memory.h). Templates exist in the guest alone: only
// here is the program's data layout known, so an update through one becomes plain writes.
#include <algorithm>
#include <deque>
#include <optional>
#include <vector>

#include "client_icd/answers.h"
#include "client_icd/chain.h"
#include "client_icd/command_buffer.h"
#include "client_icd/descriptor_pool.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/named_memory.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

/// The state of a set, by its id: command buffers may keep the set longer than its pool does.
struct PooledSet {
  std::shared_ptr<DescriptorSet> set;
  SetDemand demand;
};

struct DescriptorPool {
  DescriptorPool(const VkDescriptorPoolCreateInfo& info, const Allocator& callbacks)
      : allocator(callbacks), account(info) {}

  Allocator allocator;
  PoolAccount account;
  std::vector<std::unique_ptr<PooledSet>> sets;
};

struct DescriptorSetLayout {
  DescriptorSetLayout(const VkDescriptorSetLayoutCreateInfo& info, const Allocator& callbacks)
      : allocator(callbacks),
        slots(std::make_shared<tracking::SetLayout>(info)),
        demand(std::make_shared<LayoutDemand>(info)) {}

  Allocator allocator;
  std::shared_ptr<const tracking::SetLayout> slots;
  std::shared_ptr<const LayoutDemand> demand;
  std::optional<proto::Hash128> creation;
};

struct DescriptorUpdateTemplate {
  Allocator allocator;
  VkPipelineBindPoint bind_point = VK_PIPELINE_BIND_POINT_GRAPHICS;  // of push templates
  std::vector<VkDescriptorUpdateTemplateEntry> entries;
};

DescriptorPool* FindPool(Device& device, VkDescriptorPool pool) {
  return static_cast<DescriptorPool*>(device.session().store().State(ToId(pool)));
}

void FreeSets(Device& device, DescriptorPool& pool) {
  for (const std::unique_ptr<PooledSet>& pooled : pool.sets) {
    device.session().store().Free(pooled->set->id);
  }
  pool.sets.clear();
  pool.account.Reset();
}

/// Null if it is not known.
DescriptorSet* FindSet(const ObjectStore& store, VkDescriptorSet set) {
  auto* pooled = static_cast<PooledSet*>(store.State(ToId(set)));
  return pooled == nullptr ? nullptr : pooled->set.get();
}

/// New sets for an allocation: all or, by an exception, none.
std::vector<std::unique_ptr<PooledSet>> MakeSets(const ObjectStore& store,
                                                 const VkDescriptorSetAllocateInfo& info) {
  const auto* variable = FindInChain<VkDescriptorSetVariableDescriptorCountAllocateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_VARIABLE_DESCRIPTOR_COUNT_ALLOCATE_INFO);
  std::vector<std::unique_ptr<PooledSet>> sets;
  sets.reserve(info.descriptorSetCount);
  for (uint32_t i = 0; i < info.descriptorSetCount; ++i) {
    const auto* layout =
        static_cast<const DescriptorSetLayout*>(store.State(ToId(info.pSetLayouts[i])));
    auto pooled = std::make_unique<PooledSet>();
    pooled->set = std::make_shared<DescriptorSet>(layout == nullptr ? nullptr : layout->slots);
    if (layout != nullptr) {
      pooled->demand.layout = layout->demand;
      if (layout->demand->has_variable() && variable != nullptr &&
          i < variable->descriptorSetCount) {
        pooled->demand.variable = variable->pDescriptorCounts[i];
      }
    }
    sets.push_back(std::move(pooled));
  }
  return sets;
}

/// The writes that an update through a template means. Owns what they point to.
class TemplateWrites {
 public:
  TemplateWrites(const DescriptorUpdateTemplate& update, VkDescriptorSet set, const void* data) {
    for (const VkDescriptorUpdateTemplateEntry& entry : update.entries) {
      VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
      write.dstSet = set;
      write.dstBinding = entry.dstBinding;
      write.dstArrayElement = entry.dstArrayElement;
      write.descriptorCount = entry.descriptorCount;
      write.descriptorType = entry.descriptorType;
      Attach(entry, static_cast<const std::byte*>(data) + entry.offset, &write);
      writes_.push_back(write);
    }
  }

  const std::vector<VkWriteDescriptorSet>& writes() const { return writes_; }
  uint32_t count() const { return static_cast<uint32_t>(writes_.size()); }

 private:
  template <typename T>
  const T* Gather(std::deque<std::vector<T>>& kept, const VkDescriptorUpdateTemplateEntry& entry,
                  const std::byte* data) {
    std::vector<T>& values = kept.emplace_back(entry.descriptorCount);
    for (uint32_t i = 0; i < entry.descriptorCount; ++i) {
      std::memcpy(&values[i], data + i * entry.stride, sizeof(T));
    }
    return values.data();
  }

  void Attach(const VkDescriptorUpdateTemplateEntry& entry, const std::byte* data,
              VkWriteDescriptorSet* write) {
    switch (entry.descriptorType) {
      case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER:
      case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
      case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC:
      case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
        write->pBufferInfo = Gather(buffers_, entry, data);
        break;
      case VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER:
      case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER:
        write->pTexelBufferView = Gather(views_, entry, data);
        break;
      case VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK:
        // Here descriptorCount is a number of bytes.
        inline_blocks_.push_back({VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK,
                                  nullptr, entry.descriptorCount, data});
        write->pNext = &inline_blocks_.back();
        break;
      case VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR:
        structures_.push_back({VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_ACCELERATION_STRUCTURE_KHR,
                               nullptr, entry.descriptorCount,
                               Gather(structure_handles_, entry, data)});
        write->pNext = &structures_.back();
        break;
      case VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_NV:
        structures_nv_.push_back({VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_ACCELERATION_STRUCTURE_NV,
                                  nullptr, entry.descriptorCount,
                                  Gather(structure_handles_nv_, entry, data)});
        write->pNext = &structures_nv_.back();
        break;
      case VK_DESCRIPTOR_TYPE_PARTITIONED_ACCELERATION_STRUCTURE_NV:
        partitioned_.push_back(
            {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_PARTITIONED_ACCELERATION_STRUCTURE_NV, nullptr,
             entry.descriptorCount, Gather(addresses_, entry, data)});
        write->pNext = &partitioned_.back();
        break;
      default:
        write->pImageInfo = Gather(images_, entry, data);
        break;
    }
  }

  // Deques: elements stay where they are while others are added.
  std::deque<std::vector<VkDescriptorImageInfo>> images_;
  std::deque<std::vector<VkDescriptorBufferInfo>> buffers_;
  std::deque<std::vector<VkBufferView>> views_;
  std::deque<std::vector<VkAccelerationStructureKHR>> structure_handles_;
  std::deque<std::vector<VkAccelerationStructureNV>> structure_handles_nv_;
  std::deque<std::vector<VkDeviceAddress>> addresses_;
  std::deque<VkWriteDescriptorSetInlineUniformBlock> inline_blocks_;
  std::deque<VkWriteDescriptorSetAccelerationStructureKHR> structures_;
  std::deque<VkWriteDescriptorSetAccelerationStructureNV> structures_nv_;
  std::deque<VkWriteDescriptorSetPartitionedAccelerationStructureNV> partitioned_;
  std::vector<VkWriteDescriptorSet> writes_;
};

const DescriptorUpdateTemplate* FindTemplate(Session& session, VkDescriptorUpdateTemplate update) {
  return static_cast<const DescriptorUpdateTemplate*>(session.store().State(ToId(update)));
}

}  // namespace

std::optional<proto::Hash128> CreationOf(Device& device, VkDescriptorSetLayout handle) {
  const auto* layout =
      static_cast<const DescriptorSetLayout*>(device.session().store().State(ToId(handle)));
  return layout == nullptr ? std::nullopt : layout->creation;
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateDescriptorPool(VkDevice device,
                                                      const VkDescriptorPoolCreateInfo* pCreateInfo,
                                                      const VkAllocationCallbacks* pAllocator,
                                                      VkDescriptorPool* pDescriptorPool) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  *pDescriptorPool = VK_NULL_HANDLE;
  auto* pool =
      allocator.New<DescriptorPool>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, *pCreateInfo, allocator);
  if (pool == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  proto::Args_vkCreateDescriptorPool args{device, pCreateInfo, nullptr, pDescriptorPool};
  const VkResult result =
      CreateObjects(owner, Send::kPost, proto::command_number::vkCreateDescriptorPool, &args,
                    &args.ret, proto::HandleType::kDescriptorPool,
                    reinterpret_cast<uint64_t*>(pDescriptorPool), 1, kHostMemory | kDeviceMemory);
  if (result != VK_SUCCESS) {
    allocator.Delete(pool);
    return result;
  }
  owner.session().store().SetState(ToId(*pDescriptorPool), pool);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyDescriptorPool(VkDevice device, VkDescriptorPool descriptorPool,
                                                   const VkAllocationCallbacks*) {
  if (descriptorPool == VK_NULL_HANDLE) {
    return;
  }
  Device& owner = Device::From(device);
  const proto::Args_vkDestroyDescriptorPool args{device, descriptorPool, nullptr};
  owner.session().Post(proto::command_number::vkDestroyDescriptorPool, &args);
  DescriptorPool* pool = FindPool(owner, descriptorPool);
  owner.session().store().Free(ToId(descriptorPool));
  if (pool != nullptr) {
    FreeSets(owner, *pool);
    const Allocator allocator = pool->allocator;
    allocator.Delete(pool);
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkResetDescriptorPool(VkDevice device,
                                                     VkDescriptorPool descriptorPool,
                                                     VkDescriptorPoolResetFlags flags) {
  Device& owner = Device::From(device);
  const proto::Args_vkResetDescriptorPool args{device, descriptorPool, flags};
  owner.session().Post(proto::command_number::vkResetDescriptorPool, &args);
  if (DescriptorPool* pool = FindPool(owner, descriptorPool)) {
    FreeSets(owner, *pool);
  }
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL
vkAllocateDescriptorSets(VkDevice device, const VkDescriptorSetAllocateInfo* pAllocateInfo,
                         VkDescriptorSet* pDescriptorSets) {
  Device& owner = Device::From(device);
  DescriptorPool* pool = FindPool(owner, pAllocateInfo->descriptorPool);
  std::vector<std::unique_ptr<PooledSet>> sets;
  Send send = Send::kCall;
  if (pool != nullptr) {
    MakeRoom(pool->sets, pAllocateInfo->descriptorSetCount);
    sets = MakeSets(owner.session().store(), *pAllocateInfo);
    send = Send::kPost;
    for (const std::unique_ptr<PooledSet>& pooled : sets) {
      if (!pool->account.Take(pooled->demand)) {
        send = Send::kCall;
      }
    }
  }
  proto::Args_vkAllocateDescriptorSets args{device, pAllocateInfo, pDescriptorSets};
  const VkResult result =
      CreateObjects(owner, send, proto::command_number::vkAllocateDescriptorSets, &args, &args.ret,
                    proto::HandleType::kDescriptorSet, reinterpret_cast<uint64_t*>(pDescriptorSets),
                    pAllocateInfo->descriptorSetCount, kHostMemory | kDeviceMemory);
  for (size_t i = 0; i < sets.size(); ++i) {
    if (result != VK_SUCCESS) {
      pool->account.Cancel(sets[i]->demand);
      continue;
    }
    sets[i]->set->id = ToId(pDescriptorSets[i]);
    sets[i]->set->place = pool->sets.size();
    owner.session().store().SetState(ToId(pDescriptorSets[i]), sets[i].get());
    pool->sets.push_back(std::move(sets[i]));
  }
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL vkFreeDescriptorSets(VkDevice device,
                                                    VkDescriptorPool descriptorPool,
                                                    uint32_t descriptorSetCount,
                                                    const VkDescriptorSet* pDescriptorSets) {
  Device& owner = Device::From(device);
  const proto::Args_vkFreeDescriptorSets args{device, descriptorPool, descriptorSetCount,
                                              pDescriptorSets};
  owner.session().Post(proto::command_number::vkFreeDescriptorSets, &args);
  DescriptorPool* pool = FindPool(owner, descriptorPool);
  for (uint32_t i = 0; i < descriptorSetCount; ++i) {
    const auto* pooled =
        static_cast<const PooledSet*>(owner.session().store().Free(ToId(pDescriptorSets[i])));
    if (pool != nullptr && pooled != nullptr) {
      pool->account.Free(pooled->demand);
      const size_t place = pooled->set->place;
      std::swap(pool->sets[place], pool->sets.back());
      pool->sets[place]->set->place = place;
      pool->sets.pop_back();
    }
  }
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkUpdateDescriptorSets(VkDevice device, uint32_t descriptorWriteCount,
                                                  const VkWriteDescriptorSet* pDescriptorWrites,
                                                  uint32_t descriptorCopyCount,
                                                  const VkCopyDescriptorSet* pDescriptorCopies) {
  Session& session = Device::From(device).session();
  for (uint32_t i = 0; i < descriptorWriteCount; ++i) {
    if (DescriptorSet* set = FindSet(session.store(), pDescriptorWrites[i].dstSet)) {
      set->Write(session.store(), pDescriptorWrites[i]);
    }
  }
  for (uint32_t i = 0; i < descriptorCopyCount; ++i) {
    if (DescriptorSet* set = FindSet(session.store(), pDescriptorCopies[i].dstSet)) {
      set->Copy(pDescriptorCopies[i], FindSet(session.store(), pDescriptorCopies[i].srcSet));
    }
  }
  const proto::Args_vkUpdateDescriptorSets args{device, descriptorWriteCount, pDescriptorWrites,
                                                descriptorCopyCount, pDescriptorCopies};
  session.Post(proto::command_number::vkUpdateDescriptorSets, &args);
}

// -- layouts --------------------------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL vkCreateDescriptorSetLayout(
    VkDevice device, const VkDescriptorSetLayoutCreateInfo* pCreateInfo,
    const VkAllocationCallbacks* pAllocator, VkDescriptorSetLayout* pSetLayout) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  *pSetLayout = VK_NULL_HANDLE;
  auto* layout = allocator.New<DescriptorSetLayout>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, *pCreateInfo,
                                                    allocator);
  if (layout == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  layout->creation =
      HashOfCreation(owner, proto::record_index::VkDescriptorSetLayoutCreateInfo, pCreateInfo);
  proto::Args_vkCreateDescriptorSetLayout args{device, pCreateInfo, nullptr, pSetLayout};
  const VkResult result =
      CreateObjects(owner, Send::kPost, proto::command_number::vkCreateDescriptorSetLayout, &args,
                    &args.ret, proto::HandleType::kDescriptorSetLayout,
                    reinterpret_cast<uint64_t*>(pSetLayout), 1, kHostMemory | kDeviceMemory);
  if (result != VK_SUCCESS) {
    allocator.Delete(layout);
    return result;
  }
  owner.session().store().SetState(ToId(*pSetLayout), layout);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyDescriptorSetLayout(VkDevice device,
                                                        VkDescriptorSetLayout descriptorSetLayout,
                                                        const VkAllocationCallbacks*) {
  if (descriptorSetLayout == VK_NULL_HANDLE) {
    return;
  }
  Session& session = Device::From(device).session();
  const proto::Args_vkDestroyDescriptorSetLayout args{device, descriptorSetLayout, nullptr};
  session.Post(proto::command_number::vkDestroyDescriptorSetLayout, &args);
  if (auto* layout =
          static_cast<DescriptorSetLayout*>(session.store().Free(ToId(descriptorSetLayout)))) {
    const Allocator allocator = layout->allocator;
    allocator.Delete(layout);
  }
}

// -- update templates -----------------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL vkCreateDescriptorUpdateTemplate(
    VkDevice device, const VkDescriptorUpdateTemplateCreateInfo* pCreateInfo,
    const VkAllocationCallbacks* pAllocator,
    VkDescriptorUpdateTemplate* pDescriptorUpdateTemplate) {
  Device& owner = Device::From(device);
  const Allocator allocator(pAllocator, owner.allocator());
  *pDescriptorUpdateTemplate = VK_NULL_HANDLE;
  std::vector<VkDescriptorUpdateTemplateEntry> entries(
      pCreateInfo->pDescriptorUpdateEntries,
      pCreateInfo->pDescriptorUpdateEntries + pCreateInfo->descriptorUpdateEntryCount);
  auto* update = allocator.New<DescriptorUpdateTemplate>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  if (update == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  update->allocator = allocator;
  update->bind_point = pCreateInfo->pipelineBindPoint;
  update->entries = std::move(entries);
  const proto::ObjectId id =
      owner.session().store().Allocate(proto::HandleType::kDescriptorUpdateTemplate, update);
  if (id == 0) {
    allocator.Delete(update);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  *pDescriptorUpdateTemplate = FromId<VkDescriptorUpdateTemplate>(id);
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyDescriptorUpdateTemplate(
    VkDevice device, VkDescriptorUpdateTemplate descriptorUpdateTemplate,
    const VkAllocationCallbacks*) {
  ObjectStore& store = Device::From(device).session().store();
  auto* update =
      static_cast<DescriptorUpdateTemplate*>(store.State(ToId(descriptorUpdateTemplate)));
  if (update != nullptr) {
    store.Free(ToId(descriptorUpdateTemplate));
    const Allocator allocator = update->allocator;
    allocator.Delete(update);
  }
}

VKAPI_ATTR void VKAPI_CALL vkUpdateDescriptorSetWithTemplate(
    VkDevice device, VkDescriptorSet descriptorSet,
    VkDescriptorUpdateTemplate descriptorUpdateTemplate, const void* pData) {
  const auto* update = FindTemplate(Device::From(device).session(), descriptorUpdateTemplate);
  if (update != nullptr) {
    const TemplateWrites writes(*update, descriptorSet, pData);
    vkUpdateDescriptorSets(device, writes.count(), writes.writes().data(), 0, nullptr);
  }
}

VKAPI_ATTR void VKAPI_CALL vkCmdPushDescriptorSetWithTemplate(
    VkCommandBuffer commandBuffer, VkDescriptorUpdateTemplate descriptorUpdateTemplate,
    VkPipelineLayout layout, uint32_t set, const void* pData) {
  const auto* update =
      FindTemplate(CommandBuffer::From(commandBuffer).session(), descriptorUpdateTemplate);
  if (update != nullptr) {
    const TemplateWrites writes(*update, VK_NULL_HANDLE, pData);
    vkCmdPushDescriptorSet(commandBuffer, update->bind_point, layout, set, writes.count(),
                           writes.writes().data());
  }
}

VKAPI_ATTR void VKAPI_CALL vkCmdPushDescriptorSetWithTemplate2(
    VkCommandBuffer commandBuffer,
    const VkPushDescriptorSetWithTemplateInfo* pPushDescriptorSetWithTemplateInfo) {
  vkCmdPushDescriptorSetWithTemplate(
      commandBuffer, pPushDescriptorSetWithTemplateInfo->descriptorUpdateTemplate,
      pPushDescriptorSetWithTemplateInfo->layout, pPushDescriptorSetWithTemplateInfo->set,
      pPushDescriptorSetWithTemplateInfo->pData);
}

}  // namespace entry
}  // namespace vesper::client
