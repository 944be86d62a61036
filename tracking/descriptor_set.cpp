// SPDX-License-Identifier: Apache-2.0
#include "tracking/descriptor_set.h"

#include <algorithm>

namespace vesper::tracking {
namespace {

enum class Names { kBuffers, kNoBuffers, kUnknown };

Names NamesOf(VkDescriptorType type) {
  switch (type) {
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
    case VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER:
    case VK_DESCRIPTOR_TYPE_MUTABLE_EXT:
      return Names::kBuffers;
    case VK_DESCRIPTOR_TYPE_SAMPLER:
    case VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER:
    case VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE:
    case VK_DESCRIPTOR_TYPE_STORAGE_IMAGE:
    case VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT:
    case VK_DESCRIPTOR_TYPE_SAMPLE_WEIGHT_IMAGE_QCOM:
    case VK_DESCRIPTOR_TYPE_BLOCK_MATCH_IMAGE_QCOM:
    case VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK:
    // The memory of these is in reach whether or not they are bound.
    case VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR:
    case VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_NV:
    case VK_DESCRIPTOR_TYPE_PARTITIONED_ACCELERATION_STRUCTURE_NV:
      return Names::kNoBuffers;
    default:
      return Names::kUnknown;
  }
}

}  // namespace

bool NamesBuffers(VkDescriptorType type) { return NamesOf(type) != Names::kNoBuffers; }

SetLayout::SetLayout(const VkDescriptorSetLayoutCreateInfo& info) {
  if (info.pBindings == nullptr) {
    return;
  }
  std::vector<VkDescriptorSetLayoutBinding> bindings(info.pBindings,
                                                     info.pBindings + info.bindingCount);
  std::ranges::sort(bindings, {}, &VkDescriptorSetLayoutBinding::binding);
  uint64_t slots = 0;
  for (const VkDescriptorSetLayoutBinding& binding : bindings) {
    const Names names = NamesOf(binding.descriptorType);
    is_understood_ = is_understood_ && names != Names::kUnknown;
    if (names == Names::kBuffers) {
      bindings_.push_back({binding.binding, slots});
      slots += binding.descriptorCount;
    }
  }
}

std::optional<uint64_t> SetLayout::SlotOf(uint32_t binding, uint32_t element) const {
  const auto found = std::ranges::lower_bound(bindings_, binding, {}, &Binding::number);
  if (found == bindings_.end() || found->number != binding) {
    return std::nullopt;
  }
  return found->first_slot + element;
}

void DescriptorSet::OpenIf(bool must_open) {
  if (must_open) {
    is_open_ = true;
    slots_ = {};
  }
}

void DescriptorSet::Put(uint64_t slot, const BufferPart& part) {
  if (slot >= slots_.size()) {
    if (part.buffer == VK_NULL_HANDLE && !part.is_unknown) {
      return;
    }
    if (slot >= kMaxSlots) {
      OpenIf(true);
      return;
    }
    slots_.resize(slot + 1);
  }
  slots_[slot] = part;
}

void DescriptorSet::Copy(const VkCopyDescriptorSet& copy, const DescriptorSet* source) {
  const std::optional<uint64_t> first = SlotOf(copy.dstBinding, copy.dstArrayElement);
  if (!first) {
    return;
  }
  // Copied out first: two sets are never locked at the same time.
  std::vector<BufferPart> parts;
  bool is_known = source != nullptr;
  if (is_known) {
    const std::optional<uint64_t> from = source->SlotOf(copy.srcBinding, copy.srcArrayElement);
    const std::lock_guard lock(source->mutex_);
    is_known = !source->is_open_;
    if (is_known && from && *from < source->slots_.size()) {
      const auto begin = source->slots_.begin() + static_cast<ptrdiff_t>(*from);
      const auto count = std::min<ptrdiff_t>(copy.descriptorCount, source->slots_.end() - begin);
      parts.assign(begin, begin + count);
    }
  }
  const std::lock_guard lock(mutex_);
  version_.fetch_add(1, std::memory_order_relaxed);
  OpenIf(!is_known);
  for (uint64_t i = 0; i < copy.descriptorCount && !is_open_; ++i) {
    if (i >= parts.size() && *first + i >= slots_.size()) {
      break;  // neither there nor here
    }
    Put(*first + i, i < parts.size() ? parts[i] : BufferPart());
  }
}

}  // namespace vesper::tracking
