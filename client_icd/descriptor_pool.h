// SPDX-License-Identifier: Apache-2.0
//
// What a descriptor pool surely has room for. The specification (Vulkan 1.4, "Allocation of
// descriptor sets") promises that an allocation succeeds while the pool's counts are not exceeded,
// if no set was freed since the pool was made or reset, or if all sets have the same number of
// descriptors of each type. The account says when that is so, and the allocation need not wait. In
// all other cases the driver is asked: many have more room than was asked for, some fragment.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace vesper::client {

/// What a set of some layout takes from its pool. Immutable.
class LayoutDemand {
 public:
  explicit LayoutDemand(const VkDescriptorSetLayoutCreateInfo& info);

  /// False if what it takes is the driver's affair: descriptors of types that change.
  bool is_known() const { return is_known_; }
  /// Calls `visit(type, count, inline_blocks)` for every type; `variable` is the number of
  /// descriptors (bytes, of an inline block) in the binding whose number is variable.
  template <typename Visit>
  void ForEach(uint32_t variable, Visit visit) const {
    for (const Part& part : parts_) {
      const bool is_inline = part.type == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK;
      const uint64_t count = part.count + (part.is_variable ? variable : 0);
      visit(part.type, count, is_inline ? part.bindings + (part.is_variable ? 1 : 0) : 0);
    }
  }
  /// True if sets of both layouts take the same, with these variable numbers.
  bool IsSame(uint32_t variable, const LayoutDemand& other, uint32_t other_variable) const;
  bool has_variable() const { return has_variable_; }

 private:
  struct Part {
    VkDescriptorType type;
    uint64_t count = 0;  // without the binding whose number is variable
    uint64_t bindings = 0;
    bool is_variable = false;
  };

  Part& PartOf(VkDescriptorType type);

  std::vector<Part> parts_;  // one for each type, by type
  bool has_variable_ = false;
  bool is_known_ = true;
};

/// What one set takes. Without a layout nothing is known.
struct SetDemand {
  std::shared_ptr<const LayoutDemand> layout;
  uint32_t variable = 0;
};

/// The account of one pool. Not thread-safe: the program synchronises its pools.
class PoolAccount {
 public:
  explicit PoolAccount(const VkDescriptorPoolCreateInfo& info);

  /// Counts a set that is about to be allocated. False unless the driver surely has room for it.
  /// Never needs memory.
  bool Take(const SetDemand& set);
  /// Takes back a set that was not allocated.
  void Cancel(const SetDemand& set) { Count(set, -1); }
  /// A set is freed.
  void Free(const SetDemand& set);
  /// All sets are.
  void Reset();

 private:
  struct Type {
    VkDescriptorType type;
    int64_t capacity = 0;
    int64_t used = 0;
  };

  /// False if a type is used of which the pool has none.
  bool Count(const SetDemand& set, int sign);
  bool IsWithin() const;

  std::vector<Type> types_;
  int64_t max_sets_ = 0;
  int64_t max_inline_ = 0;
  int64_t sets_ = 0;
  int64_t inline_ = 0;
  bool is_known_ = true;  // false: it is for descriptors of types that change
  // Since it was made or reset:
  bool are_known_ = true;  // what all sets take
  bool has_freed_ = false;
  bool are_same_ = true;  // all sets take the same as the first
  std::optional<SetDemand> first_;
};

}  // namespace vesper::client
