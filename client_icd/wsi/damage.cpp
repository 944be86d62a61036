// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/damage.h"

#include <algorithm>

namespace vesper::client {
namespace {

/// More are as good as everything.
constexpr size_t kMaxRectangles = 64;

/// From, and up to but not including.
struct Edges {
  int64_t left;
  int64_t top;
  int64_t right;
  int64_t bottom;

  bool IsEmpty() const { return left >= right || top >= bottom; }
};

Edges EdgesOf(const VkRect2D& rectangle) {
  return {rectangle.offset.x, rectangle.offset.y,
          int64_t{rectangle.offset.x} + rectangle.extent.width,
          int64_t{rectangle.offset.y} + rectangle.extent.height};
}

Edges Intersection(const Edges& a, const Edges& b) {
  return {std::max(a.left, b.left), std::max(a.top, b.top), std::min(a.right, b.right),
          std::min(a.bottom, b.bottom)};
}

VkRect2D RectangleOf(const Edges& edges) {
  return {{static_cast<int32_t>(edges.left), static_cast<int32_t>(edges.top)},
          {static_cast<uint32_t>(edges.right - edges.left),
           static_cast<uint32_t>(edges.bottom - edges.top)}};
}

}  // namespace

void Damage::AddAll() {
  is_whole_ = true;
  rectangles_.clear();
}

void Damage::Clear() {
  is_whole_ = false;
  rectangles_.clear();
}

void Damage::Add(std::span<const VkRect2D> rectangles) {
  const Edges picture{0, 0, extent_.width, extent_.height};
  for (const VkRect2D& rectangle : rectangles) {
    const Edges inside = Intersection(EdgesOf(rectangle), picture);
    if (!inside.IsEmpty()) {
      AddOutside(RectangleOf(inside), 0);
    }
    if (rectangles_.size() > kMaxRectangles) {
      AddAll();
    }
    if (is_whole_) {
      return;
    }
  }
}

void Damage::AddOutside(VkRect2D rectangle, size_t first) {
  const Edges edges = EdgesOf(rectangle);
  for (size_t i = first; i < rectangles_.size(); ++i) {
    const Edges common = Intersection(edges, EdgesOf(rectangles_[i]));
    if (common.IsEmpty()) {
      continue;
    }
    // Above, below, left and right of what is there already.
    for (const Edges& part : {Edges{edges.left, edges.top, edges.right, common.top},
                              Edges{edges.left, common.bottom, edges.right, edges.bottom},
                              Edges{edges.left, common.top, common.left, common.bottom},
                              Edges{common.right, common.top, edges.right, common.bottom}}) {
      if (!part.IsEmpty()) {
        AddOutside(RectangleOf(part), i + 1);
      }
    }
    return;
  }
  rectangles_.push_back(rectangle);
}

}  // namespace vesper::client
