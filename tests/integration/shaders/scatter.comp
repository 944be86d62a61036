// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_EXT_shader_8bit_storage : require
// Writes `count` single bytes, each `step` after the last, and none between them.
layout(local_size_x = 64) in;
layout(std430, set = 0, binding = 0) buffer Data { uint8_t bytes[]; };
layout(push_constant) uniform Push { uint first; uint step; uint count; uint value; };

void main() {
  uint i = gl_GlobalInvocationID.x;
  if (i < count) {
    bytes[first + i * step] = uint8_t((value + i * 7u + (i >> 8u)) & 255u);
  }
}
