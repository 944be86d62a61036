// SPDX-License-Identifier: Apache-2.0
//
// The scene: what stands where at frame N, and the meshes and textures on the device. Everything
// about a frame is computed from its number alone.
#pragma once

#include <cstdint>

#include "examples/common/resources.h"
#include "examples/turntable/frame_uniforms.h"
#include "examples/turntable/mesh.h"

namespace vesper::examples {

// One round of the turntable.
inline constexpr uint32_t kFramesPerTurn = 240;

FrameUniforms UniformsOfFrame(uint32_t frame, VkExtent2D extent);
ObjectConstants KnotOfFrame(uint32_t frame);
ObjectConstants PlatterOfFrame(uint32_t frame);

// A mesh in device memory.
struct DeviceMesh {
  Buffer vertices;
  Buffer indices;
  uint32_t index_count;
};

// Meshes and textures, copied to the device through staging buffers when it is made.
class Scene {
 public:
  explicit Scene(const Device& device);

  const DeviceMesh& knot() const { return knot_; }
  const DeviceMesh& platter() const { return platter_; }
  const Image& patterns() const { return patterns_; }

 private:
  DeviceMesh knot_;
  DeviceMesh platter_;
  Image patterns_;
};

}  // namespace vesper::examples
