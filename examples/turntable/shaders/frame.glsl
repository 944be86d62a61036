// SPDX-License-Identifier: Apache-2.0
// What the shaders of the first pass share; the same layout as in frame_uniforms.h.

const uint kLights = 2;

layout(set = 0, binding = 0, std140) uniform Frame {
  mat4 view_projection;
  vec4 eye;
  vec4 light_position[kLights];
  vec4 light_colour[kLights];
  vec4 sky;
  vec4 ground;
} frame;

layout(push_constant) uniform Object {
  mat4 model;
  uint texture_layer;
  float shininess;
} object;
