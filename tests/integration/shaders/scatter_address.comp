// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_buffer_reference : require
// As scatter.comp, knowing nothing but an address.
layout(local_size_x = 64) in;
layout(buffer_reference, std430, buffer_reference_align = 1) buffer Bytes { uint8_t at[]; };
layout(push_constant) uniform Push { Bytes bytes; uint step; uint count; uint value; };

void main() {
  uint i = gl_GlobalInvocationID.x;
  if (i < count) {
    bytes.at[i * step] = uint8_t((value + i * 7u + (i >> 8u)) & 255u);
  }
}
