// SPDX-License-Identifier: Apache-2.0
//
// Which parts of buffers a descriptor set leads to, as far as it follows from the calls that fill
// it. Guest and host each follow their own sets, with the handles that they know.
//
// A set has a *slot* for each descriptor that can name a buffer; the others are not followed. The
// slots lie in the order of the bindings, so an update that runs on into the next binding simply
// runs on. They are made when they are first written: an array of a million descriptors of which
// twenty are used has twenty. A set that is filled beyond kMaxSlots, or by something that is not
// understood, is *open*: it may lead to any buffer.
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace vesper::tracking {

/// Part of a buffer that a descriptor names. No buffer: it names none.
struct BufferPart {
  VkBuffer buffer = VK_NULL_HANDLE;
  uint64_t offset = 0;
  uint64_t size = 0;  ///< VK_WHOLE_SIZE: up to the end of the buffer
  bool is_writable = false;
  bool is_unknown = false;  ///< any buffer
  uint64_t memory = 0;      ///< where the buffer lies, if a resolver notes it
};

/// True unless descriptors of this type name no buffer.
bool NamesBuffers(VkDescriptorType type);

/// What descriptor `index` of a write names. Of what is not null, `resolver.Buffer(VkBuffer)` is
/// the whole buffer, and `resolver.View(VkBufferView)` the part that a view shows.
template <typename Resolver>
BufferPart PartOf(const VkWriteDescriptorSet& write, uint32_t index, const Resolver& resolver) {
  const VkDescriptorType type = write.descriptorType;
  switch (type) {
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
      if (write.pBufferInfo != nullptr && write.pBufferInfo[index].buffer != VK_NULL_HANDLE) {
        const VkDescriptorBufferInfo& info = write.pBufferInfo[index];
        BufferPart part = resolver.Buffer(info.buffer);
        part.offset = info.offset;
        part.size = info.range;
        part.is_writable = type == VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
        return part;
      }
      break;
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
      if (write.pBufferInfo != nullptr && write.pBufferInfo[index].buffer != VK_NULL_HANDLE) {
        // How far it is moved is said when the set is bound, each time anew.
        BufferPart part = resolver.Buffer(write.pBufferInfo[index].buffer);
        part.offset = write.pBufferInfo[index].offset;
        part.is_writable = type == VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC;
        return part;
      }
      break;
    case VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER:
      if (write.pTexelBufferView != nullptr && write.pTexelBufferView[index] != VK_NULL_HANDLE) {
        BufferPart part = resolver.View(write.pTexelBufferView[index]);
        part.is_writable = type == VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER;
        return part;
      }
      break;
    default:
      break;
  }
  return {};
}

/// Where the slots of sets with this layout are. Does not change.
class SetLayout {
 public:
  explicit SetLayout(const VkDescriptorSetLayoutCreateInfo& info);

  /// False if it has bindings that are not understood.
  bool is_understood() const { return is_understood_; }
  /// The slot of a descriptor; nothing if it can't name a buffer.
  std::optional<uint64_t> SlotOf(uint32_t binding, uint32_t element) const;

 private:
  struct Binding {
    uint32_t number;
    uint64_t first_slot;
  };
  bool is_understood_ = true;
  std::vector<Binding> bindings_;  // those with slots, in order
};

/// The contents of a set. Thread-safe: descriptors that pending work does not use may be written
/// while others submit.
class DescriptorSet {
 public:
  /// Slots beyond these are not followed.
  static constexpr uint64_t kMaxSlots = 4096;

  /// `layout` is null if it is not known.
  explicit DescriptorSet(std::shared_ptr<const SetLayout> layout)
      : layout_(std::move(layout)), is_open_(layout_ == nullptr || !layout_->is_understood()) {}

  template <typename Resolver>
  void Write(const VkWriteDescriptorSet& write, const Resolver& resolver) {
    const std::optional<uint64_t> first = SlotOf(write.dstBinding, write.dstArrayElement);
    if (!first) {
      return;
    }
    const std::lock_guard lock(mutex_);
    version_.fetch_add(1, std::memory_order_relaxed);
    for (uint32_t i = 0; i < write.descriptorCount && !is_open_; ++i) {
      if (*first + i >= kMaxSlots) {
        OpenIf(NamesBuffers(write.descriptorType));
        break;
      }
      Put(*first + i, PartOf(write, i, resolver));
    }
  }
  /// `source` may be this set; null if it is not known.
  void Copy(const VkCopyDescriptorSet& copy, const DescriptorSet* source);

  /// Changes with what the set leads to.
  uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  /// Calls `visit(const BufferPart&)` for what the set leads to. False if it is open.
  template <typename Visit>
  bool ForEach(const Visit& visit) const {
    const std::lock_guard lock(mutex_);
    if (is_open_) {
      return false;
    }
    for (const BufferPart& part : slots_) {
      if (part.buffer != VK_NULL_HANDLE || part.is_unknown) {
        visit(part);
      }
    }
    return true;
  }

 private:
  std::optional<uint64_t> SlotOf(uint32_t binding, uint32_t element) const {
    return layout_ == nullptr ? std::nullopt : layout_->SlotOf(binding, element);
  }
  // With the lock held.
  void OpenIf(bool must_open);
  void Put(uint64_t slot, const BufferPart& part);

  const std::shared_ptr<const SetLayout> layout_;
  std::atomic<uint64_t> version_{1};
  mutable std::mutex mutex_;
  bool is_open_;
  std::vector<BufferPart> slots_;
};

}  // namespace vesper::tracking
