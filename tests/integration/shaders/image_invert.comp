// SPDX-License-Identifier: Apache-2.0
#version 450
// target = 255 - source, texel by texel.
layout(local_size_x = 8, local_size_y = 8) in;
layout(set = 0, binding = 0, rgba8) uniform readonly image2D source;
layout(set = 0, binding = 1, rgba8) uniform writeonly image2D target;

void main() {
  ivec2 at = ivec2(gl_GlobalInvocationID.xy);
  if (all(lessThan(at, imageSize(source)))) {
    imageStore(target, at, vec4(1.0) - imageLoad(source, at));
  }
}
