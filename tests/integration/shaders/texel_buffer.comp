// SPDX-License-Identifier: Apache-2.0
#version 450
// Reads RGBA8 texels and writes R32UI ones.
layout(local_size_x = 1) in;
layout(set = 0, binding = 0) uniform samplerBuffer source;
layout(set = 0, binding = 1, r32ui) uniform writeonly uimageBuffer target;

void main() {
  int i = int(gl_WorkGroupID.x);
  vec4 texel = texelFetch(source, i);
  uvec4 bytes = uvec4(round(texel * 255.0));
  imageStore(target, i, uvec4(bytes.x + bytes.y + bytes.z + bytes.w));
}
