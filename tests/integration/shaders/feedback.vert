// SPDX-License-Identifier: Apache-2.0
#version 450
// Its only result is what transform feedback captures.
layout(xfb_buffer = 0, xfb_stride = 8, xfb_offset = 0, location = 0) out uvec2 captured;

void main() {
  captured = uvec2(gl_VertexIndex, 100 + gl_VertexIndex * gl_VertexIndex);
  gl_Position = vec4(0.0, 0.0, 0.0, 1.0);
}
