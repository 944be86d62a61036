// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_samplerless_texture_functions : require
#include "grade.glsl"

// Counts the brightness of every pixel that an object covers: first within the workgroup, then one
// addition for each bin to the whole picture's counts. Integer sums have no order, so the counts
// are the same in every run.

layout(set = 0, binding = 1) buffer Histogram { uint counts[kBins]; };

shared uint group_counts[kBins];

void main() {
  // 64 invocations, 64 bins.
  group_counts[gl_LocalInvocationIndex] = 0;
  barrier();

  if (all(lessThan(gl_GlobalInvocationID.xy, size))) {
    const vec4 light = texelFetch(picture, ivec2(gl_GlobalInvocationID.xy), 0);
    if (light.a > 0.5) {
      const float level = (log2(max(Brightness(light.rgb), exp2(kDarkest))) - kDarkest) /
                          (kBrightest - kDarkest);
      atomicAdd(group_counts[min(uint(level * kBins), kBins - 1)], 1);
    }
  }
  barrier();

  const uint count = group_counts[gl_LocalInvocationIndex];
  if (count != 0) {
    atomicAdd(counts[gl_LocalInvocationIndex], count);
  }
}
