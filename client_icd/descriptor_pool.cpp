// SPDX-License-Identifier: Apache-2.0
#include "client_icd/descriptor_pool.h"

#include <algorithm>

#include "client_icd/chain.h"

namespace vesper::client {

LayoutDemand::LayoutDemand(const VkDescriptorSetLayoutCreateInfo& info) {
  const auto* flags = FindInChain<VkDescriptorSetLayoutBindingFlagsCreateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO);
  for (uint32_t i = 0; i < info.bindingCount; ++i) {
    const VkDescriptorSetLayoutBinding& binding = info.pBindings[i];
    is_known_ = is_known_ && binding.descriptorType != VK_DESCRIPTOR_TYPE_MUTABLE_EXT;
    if (binding.descriptorCount == 0) {
      continue;  // reserved
    }
    Part& part = PartOf(binding.descriptorType);
    if (flags != nullptr && i < flags->bindingCount &&
        (flags->pBindingFlags[i] & VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT) != 0) {
      part.is_variable = true;
      has_variable_ = true;
    } else {
      part.count += binding.descriptorCount;
      ++part.bindings;
    }
  }
}

LayoutDemand::Part& LayoutDemand::PartOf(VkDescriptorType type) {
  const auto place = std::lower_bound(
      parts_.begin(), parts_.end(), type,
      [](const Part& part, VkDescriptorType wanted) { return part.type < wanted; });
  return place != parts_.end() && place->type == type ? *place : *parts_.insert(place, Part{type});
}

bool LayoutDemand::IsSame(uint32_t variable, const LayoutDemand& other,
                          uint32_t other_variable) const {
  if (this == &other && variable == other_variable) {
    return true;
  }
  return std::equal(parts_.begin(), parts_.end(), other.parts_.begin(), other.parts_.end(),
                    [&](const Part& a, const Part& b) {
                      return a.type == b.type && a.bindings == b.bindings &&
                             a.is_variable == b.is_variable &&
                             a.count + (a.is_variable ? variable : 0) ==
                                 b.count + (b.is_variable ? other_variable : 0);
                    });
}

PoolAccount::PoolAccount(const VkDescriptorPoolCreateInfo& info) : max_sets_(info.maxSets) {
  for (uint32_t i = 0; i < info.poolSizeCount; ++i) {
    const VkDescriptorPoolSize& size = info.pPoolSizes[i];
    is_known_ = is_known_ && size.type != VK_DESCRIPTOR_TYPE_MUTABLE_EXT;
    const auto found = std::find_if(types_.begin(), types_.end(),
                                    [&](const Type& type) { return type.type == size.type; });
    if (found != types_.end()) {
      found->capacity += size.descriptorCount;
    } else {
      types_.push_back({size.type, size.descriptorCount, 0});
    }
  }
  if (const auto* blocks = FindInChain<VkDescriptorPoolInlineUniformBlockCreateInfo>(
          info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO)) {
    max_inline_ = blocks->maxInlineUniformBlockBindings;
  }
}

bool PoolAccount::Count(const SetDemand& set, int sign) {
  sets_ += sign;
  if (set.layout == nullptr) {
    return false;
  }
  bool has_all = true;
  set.layout->ForEach(set.variable, [&](VkDescriptorType type, uint64_t count, uint64_t blocks) {
    inline_ += sign * static_cast<int64_t>(blocks);
    const auto found = std::find_if(types_.begin(), types_.end(),
                                    [&](const Type& own) { return own.type == type; });
    if (found != types_.end()) {
      found->used += sign * static_cast<int64_t>(count);
    } else {
      has_all = has_all && count == 0;
    }
  });
  return has_all;
}

bool PoolAccount::IsWithin() const {
  return sets_ <= max_sets_ && inline_ <= max_inline_ &&
         std::all_of(types_.begin(), types_.end(),
                     [](const Type& type) { return type.used <= type.capacity; });
}

bool PoolAccount::Take(const SetDemand& set) {
  const bool has_all = Count(set, 1);
  are_known_ = are_known_ && set.layout != nullptr && set.layout->is_known();
  if (!first_.has_value()) {
    first_ = set;
  }
  are_same_ = are_same_ && are_known_ &&
              first_->layout->IsSame(first_->variable, *set.layout, set.variable);
  return is_known_ && are_known_ && has_all && IsWithin() && (!has_freed_ || are_same_);
}

void PoolAccount::Free(const SetDemand& set) {
  Count(set, -1);
  has_freed_ = true;
}

void PoolAccount::Reset() {
  for (Type& type : types_) {
    type.used = 0;
  }
  sets_ = 0;
  inline_ = 0;
  are_known_ = true;
  has_freed_ = false;
  are_same_ = true;
  first_.reset();
}

}  // namespace vesper::client
