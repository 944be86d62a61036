// SPDX-License-Identifier: Apache-2.0
#include "client_icd/named_memory.h"

#include <algorithm>

#include "client_icd/object.h"
#include "client_icd/reach.h"

namespace vesper::client {
namespace {

/// A command buffer that binds more sets, or names more allocations, may name any: to follow it
/// would cost more than it saves.
constexpr size_t kMaxSets = 1024;
constexpr size_t kMaxMemories = 1024;
/// Among the last so many a repetition is noticed at once.
constexpr size_t kRecent = 8;

/// Descriptors as the allocations that they lead to.
struct Resolver {
  tracking::BufferPart Buffer(VkBuffer buffer) const {
    tracking::BufferPart part{buffer, 0, VK_WHOLE_SIZE};
    part.memory = MemoryOf(store, buffer);
    part.is_unknown = part.memory == 0;
    return part;
  }
  // Texel buffers are in reach of all shaders.
  tracking::BufferPart View(VkBufferView) const { return {}; }

  const ObjectStore& store;
};

template <typename T>
bool IsRecent(const std::vector<T>& elements, const T& element) {
  const auto from = elements.size() > kRecent ? elements.end() - kRecent : elements.begin();
  return std::find(from, elements.end(), element) != elements.end();
}

template <typename T>
void Unify(std::vector<T>& elements) {
  std::ranges::sort(elements);
  elements.erase(std::unique(elements.begin(), elements.end()), elements.end());
}

}  // namespace

// -- sets -----------------------------------------------------------------------------------------

void DescriptorSet::Write(const ObjectStore& store, const VkWriteDescriptorSet& write) {
  contents_.Write(write, Resolver{store});
}

void DescriptorSet::Copy(const VkCopyDescriptorSet& copy, const DescriptorSet* source) {
  contents_.Copy(copy, source == nullptr ? nullptr : &source->contents_);
}

bool DescriptorSet::AppendTo(std::vector<proto::ObjectId>& memories) {
  const std::lock_guard lock(mutex_);
  if (const uint64_t version = contents_.version(); version_ != version) {
    memories_.clear();
    is_open_ = false;
    const bool is_known = contents_.ForEach([this](const tracking::BufferPart& part) {
      is_open_ |= part.is_unknown;
      if (!IsRecent(memories_, part.memory)) {
        memories_.push_back(part.memory);
      }
    });
    is_open_ |= !is_known;
    Unify(memories_);
    version_ = version;
  }
  memories.insert(memories.end(), memories_.begin(), memories_.end());
  return !is_open_;
}

// -- recordings -----------------------------------------------------------------------------------

void NamedMemory::Clear() {
  is_open_ = false;
  memories_.clear();
  sets_.clear();
}

void NamedMemory::Open() {
  is_open_ = true;
  memories_.clear();
  sets_.clear();
}

void NamedMemory::Add(const NamedMemory& other) {
  if (other.is_open_) {
    Open();
  }
  for (const proto::ObjectId memory : other.memories_) {
    AddMemory(memory);
  }
  for (const std::shared_ptr<DescriptorSet>& set : other.sets_) {
    AddSet(set);
  }
}

bool NamedMemory::AppendTo(std::vector<proto::ObjectId>& memories) const {
  if (is_open_) {
    return false;
  }
  memories.insert(memories.end(), memories_.begin(), memories_.end());
  return std::ranges::all_of(sets_, [&](const auto& set) { return set->AppendTo(memories); });
}

void NamedMemory::AddMemory(proto::ObjectId memory) {
  if (is_open_ || IsRecent(memories_, memory)) {
    return;
  }
  if (memories_.size() >= kMaxMemories) {
    Unify(memories_);
    if (memories_.size() > kMaxMemories / 2) {
      Open();
      return;
    }
  }
  memories_.push_back(memory);
}

void NamedMemory::AddBuffer(const ObjectStore& store, VkBuffer buffer) {
  if (buffer == VK_NULL_HANDLE) {
    return;
  }
  if (const proto::ObjectId memory = MemoryOf(store, buffer)) {
    AddMemory(memory);
  } else {
    Open();
  }
}

void NamedMemory::AddBuffers(const ObjectStore& store, const VkBuffer* buffers, uint32_t count) {
  for (uint32_t i = 0; buffers != nullptr && i < count; ++i) {
    AddBuffer(store, buffers[i]);
  }
}

void NamedMemory::AddSets(const ObjectStore& store, const VkDescriptorSet* sets, uint32_t count) {
  for (uint32_t i = 0; i < count && !is_open_; ++i) {
    if (sets[i] == VK_NULL_HANDLE) {
      continue;
    }
    const void* state = store.State(ToId(sets[i]));
    if (state == nullptr) {
      Open();
    } else {
      AddSet(*static_cast<const std::shared_ptr<DescriptorSet>*>(state));
    }
  }
}

void NamedMemory::AddSet(const std::shared_ptr<DescriptorSet>& set) {
  if (is_open_ || IsRecent(sets_, set)) {
    return;
  }
  if (sets_.size() >= kMaxSets) {
    Unify(sets_);
    if (sets_.size() > kMaxSets / 2) {
      Open();
      return;
    }
  }
  sets_.push_back(set);
}

void NamedMemory::AddPushed(const ObjectStore& store, const VkWriteDescriptorSet* writes,
                            uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    if (!tracking::NamesBuffers(writes[i].descriptorType)) {
      continue;
    }
    for (uint32_t k = 0; k < writes[i].descriptorCount && !is_open_; ++k) {
      const tracking::BufferPart part = tracking::PartOf(writes[i], k, Resolver{store});
      if (part.is_unknown) {
        Open();
      } else if (part.memory != 0) {
        AddMemory(part.memory);
      }
    }
  }
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdBindDescriptorSets& args) {
  AddSets(store, args.pDescriptorSets, args.descriptorSetCount);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdBindDescriptorSets2& args) {
  const VkBindDescriptorSetsInfo& info = *args.pBindDescriptorSetsInfo;
  AddSets(store, info.pDescriptorSets, info.descriptorSetCount);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdPushDescriptorSet& args) {
  AddPushed(store, args.pDescriptorWrites, args.descriptorWriteCount);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdPushDescriptorSet2& args) {
  const VkPushDescriptorSetInfo& info = *args.pPushDescriptorSetInfo;
  AddPushed(store, info.pDescriptorWrites, info.descriptorWriteCount);
}

void NamedMemory::Note(const ObjectStore&, const proto::Args_vkCmdBindDescriptorBuffersEXT&) {
  Open();  // the descriptors lie in memory
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdBindVertexBuffers& args) {
  AddBuffers(store, args.pBuffers, args.bindingCount);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdBindVertexBuffers2& args) {
  AddBuffers(store, args.pBuffers, args.bindingCount);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdBindIndexBuffer& args) {
  AddBuffer(store, args.buffer);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdBindIndexBuffer2& args) {
  AddBuffer(store, args.buffer);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdDrawIndirect& args) {
  AddBuffer(store, args.buffer);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdDrawIndexedIndirect& args) {
  AddBuffer(store, args.buffer);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdDrawIndirectCount& args) {
  AddBuffer(store, args.buffer);
  AddBuffer(store, args.countBuffer);
}

void NamedMemory::Note(const ObjectStore& store,
                       const proto::Args_vkCmdDrawIndexedIndirectCount& args) {
  AddBuffer(store, args.buffer);
  AddBuffer(store, args.countBuffer);
}

void NamedMemory::Note(const ObjectStore& store,
                       const proto::Args_vkCmdDrawIndirectByteCountEXT& args) {
  AddBuffer(store, args.counterBuffer);
}

void NamedMemory::Note(const ObjectStore& store,
                       const proto::Args_vkCmdDrawMeshTasksIndirectEXT& args) {
  AddBuffer(store, args.buffer);
}

void NamedMemory::Note(const ObjectStore& store,
                       const proto::Args_vkCmdDrawMeshTasksIndirectCountEXT& args) {
  AddBuffer(store, args.buffer);
  AddBuffer(store, args.countBuffer);
}

void NamedMemory::Note(const ObjectStore& store, const proto::Args_vkCmdDispatchIndirect& args) {
  AddBuffer(store, args.buffer);
}

}  // namespace vesper::client
