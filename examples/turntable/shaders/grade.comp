// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_samplerless_texture_functions : require
#include "grade.glsl"

// Turns linear light into the pixels of a photograph.

layout(set = 0, binding = 1) readonly buffer Histogram { uint counts[kBins]; };
layout(set = 0, binding = 2, rgba8) uniform writeonly image2D photograph;

// The brightness that a pixel of average brightness gets.
const float kMiddle = 0.18;
// The brightness that becomes white.
const float kWhite = 2.5;

shared float exposure;

// The exposure that puts the objects' average (of the logarithm) in the middle, within bounds.
float ChooseExposure() {
  float sum = 0.0;
  uint pixels = 0;
  for (uint i = 0; i < kBins; ++i) {
    sum += float(counts[i]) * (float(i) + 0.5);
    pixels += counts[i];
  }
  if (pixels == 0) {
    return 1.0;
  }
  const float level = sum / (float(pixels) * kBins);
  return clamp(kMiddle / exp2(mix(kDarkest, kBrightest, level)), 0.25, 4.0);
}

// Compresses brightness with a soft shoulder, so that kWhite becomes 1.
vec3 ToneCurve(vec3 light) {
  return light * (1.0 + light / (kWhite * kWhite)) / (1.0 + light);
}

vec3 ToSrgb(vec3 light) {
  const vec3 low = light * 12.92;
  const vec3 high = 1.055 * pow(light, vec3(1.0 / 2.4)) - 0.055;
  return mix(high, low, lessThanEqual(light, vec3(0.0031308)));
}

void main() {
  if (gl_LocalInvocationIndex == 0) {
    exposure = ChooseExposure();
  }
  barrier();
  if (any(greaterThanEqual(gl_GlobalInvocationID.xy, size))) {
    return;
  }

  const vec2 centred = (vec2(gl_GlobalInvocationID.xy) + 0.5) / vec2(size) * 2.0 - 1.0;
  const float from_centre = dot(centred, centred);
  const vec3 backdrop = mix(vec3(0.42, 0.45, 0.50), vec3(0.05, 0.06, 0.09),
                            clamp(0.5 * length(centred * vec2(0.9, 1.1)) + 0.15 * centred.y, 0.0, 1.0));
  const vec4 light = texelFetch(picture, ivec2(gl_GlobalInvocationID.xy), 0);
  // The picture's colours are already multiplied by their coverage.
  const vec3 mixed = light.rgb * exposure + backdrop * (1.0 - light.a);
  const float vignette = 1.0 / (1.0 + 0.22 * from_centre * from_centre);
  const vec3 graded = clamp(ToneCurve(mixed * vignette), 0.0, 1.0);
  imageStore(photograph, ivec2(gl_GlobalInvocationID.xy), vec4(ToSrgb(graded), 1.0));
}
