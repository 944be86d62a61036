// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_EXT_buffer_reference : require
// Copies words from one device address to another; the addresses are all it knows.
layout(local_size_x = 32) in;
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Words { uint data[]; };
layout(push_constant) uniform Push { Words from; Words to; uint count; };

void main() {
  uint i = gl_GlobalInvocationID.x;
  if (i < count) {
    to.data[i] = from.data[i] ^ 0xFFFF0000u;
  }
}
