// SPDX-License-Identifier: Apache-2.0
#version 450
// A quad over the rectangle given by push constants, as two triangles, with texture coordinates.
layout(push_constant) uniform Push { vec4 rect; vec4 color; float depth; };
layout(location = 0) out vec4 out_color;
layout(location = 1) out vec2 out_uv;

void main() {
  const vec2 corners[6] = vec2[](vec2(0, 0), vec2(1, 0), vec2(0, 1), vec2(0, 1), vec2(1, 0),
                                 vec2(1, 1));
  vec2 corner = corners[gl_VertexIndex % 6];
  gl_Position = vec4(mix(rect.xy, rect.zw, corner), depth, 1.0);
  out_color = color;
  out_uv = corner;
}
