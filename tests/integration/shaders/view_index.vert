// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_EXT_multiview : require
// Covers everything; the colour says which view it is.
layout(location = 0) out vec4 out_color;

void main() {
  vec2 corner = vec2((gl_VertexIndex << 1) & 2, gl_VertexIndex & 2);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
  out_color = vec4(float(gl_ViewIndex + 1) * 0.2, 0.0, 0.0, 1.0);
}
