// SPDX-License-Identifier: Apache-2.0
#version 450
// data[i] = data[i] * 3 + salt + i, for every i below count.
layout(local_size_x = 64) in;
layout(std430, set = 0, binding = 0) buffer Data { uint data[]; };
layout(push_constant) uniform Push { uint salt; uint count; };

void main() {
  uint i = gl_GlobalInvocationID.x;
  if (i < count) {
    data[i] = data[i] * 3u + salt + i;
  }
}
