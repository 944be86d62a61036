// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_EXT_buffer_reference : require
// Follows an address that it finds in memory, and writes where that leads: from[i] + 1.
layout(local_size_x = 1) in;
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Words { uint at[]; };
layout(std430, set = 0, binding = 0) readonly buffer Addresses { Words from; Words to; uint count; };

void main() {
  for (uint i = 0u; i < count; ++i) {
    to.at[i] = from.at[i] + 1u;
  }
}
