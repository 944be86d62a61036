// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#include "frame.glsl"

layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 texture_position;

layout(location = 0) out vec3 world_position;
layout(location = 1) out vec3 world_normal;
layout(location = 2) out vec2 interpolated_texture_position;

void main() {
  const vec4 world = object.model * vec4(position, 1.0);
  world_position = world.xyz;
  world_normal = mat3(object.model) * normal;
  interpolated_texture_position = texture_position;
  gl_Position = frame.view_projection * world;
}
