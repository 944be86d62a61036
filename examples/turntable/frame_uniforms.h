// SPDX-License-Identifier: Apache-2.0
//
// What changes from frame to frame, in the layout of the uniform block in shaders/frame.glsl
// (std140), and what each object and pass gets as push constants.
#pragma once

#include <cstdint>

#include "examples/turntable/math3d.h"

namespace vesper::examples {

struct Vec4 {
  float x = 0, y = 0, z = 0, w = 0;
};

inline constexpr uint32_t kLights = 2;

struct FrameUniforms {
  Mat4 view_projection;
  Vec4 eye;
  Vec4 light_position[kLights];
  Vec4 light_colour[kLights];
  Vec4 sky;
  Vec4 ground;
};
static_assert(sizeof(FrameUniforms) == 64 + 16 * (3 + 2 * kLights));

struct ObjectConstants {
  Mat4 model;  // a rotation and a translation
  uint32_t texture_layer = 0;
  float shininess = 0;
};

}  // namespace vesper::examples
