// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#include "frame.glsl"

layout(set = 0, binding = 1) uniform sampler2DArray patterns;

layout(location = 0) in vec3 world_position;
layout(location = 1) in vec3 world_normal;
layout(location = 2) in vec2 texture_position;

layout(location = 0) out vec4 light;

void main() {
  const vec3 surface = texture(patterns, vec3(texture_position, object.texture_layer)).rgb;
  const vec3 normal = normalize(world_normal);
  const vec3 to_eye = normalize(frame.eye.xyz - world_position);

  // Light from all around: the sky from above, what the ground throws back from below.
  vec3 diffuse = mix(frame.ground.rgb, frame.sky.rgb, 0.5 + 0.5 * normal.y);
  vec3 highlight = vec3(0.0);
  for (uint i = 0; i < kLights; ++i) {
    const vec3 path = frame.light_position[i].xyz - world_position;
    const vec3 to_light = normalize(path);
    const vec3 arriving =
        frame.light_colour[i].rgb * max(dot(normal, to_light), 0.0) / dot(path, path);
    const float mirror = pow(max(dot(normal, normalize(to_light + to_eye)), 0.0), object.shininess);
    diffuse += arriving;
    highlight += arriving * mirror * 0.25;
  }
  light = vec4(surface * diffuse + highlight, 1.0);
}
