// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <span>
#include <vector>

namespace vesper::client {

/// What of a picture differs from what was there: rectangles that don't overlap, or everything.
class Damage {
 public:
  explicit Damage(VkExtent2D extent) : extent_(extent) {}

  bool IsWhole() const { return is_whole_; }
  /// If it is not whole.
  std::span<const VkRect2D> rectangles() const { return rectangles_; }

  /// What lies outside of the picture does not count. So many that it is as well to take everything
  /// become everything.
  void Add(std::span<const VkRect2D> rectangles);
  void AddAll();
  void Clear();

 private:
  /// The parts of a rectangle that are in none from `first` on are appended.
  void AddOutside(VkRect2D rectangle, size_t first);

  VkExtent2D extent_;
  bool is_whole_ = false;
  std::vector<VkRect2D> rectangles_;
};

}  // namespace vesper::client
