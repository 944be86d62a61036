// SPDX-License-Identifier: Apache-2.0
#version 450
// Draws nothing that could be seen: each vertex writes its index into a buffer.
layout(std430, set = 0, binding = 0) buffer Data { uint data[]; };

void main() {
  data[gl_VertexIndex] = 1000u + uint(gl_VertexIndex) + 100u * uint(gl_InstanceIndex);
  gl_Position = vec4(0.0, 0.0, 0.0, 1.0);
}
