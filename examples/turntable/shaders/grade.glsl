// SPDX-License-Identifier: Apache-2.0
// What the two compute shaders share.

// Each bin of the histogram holds one slice of log2 brightness, from darkest to brightest.
const uint kBins = 64;
const float kDarkest = -10.0;
const float kBrightest = 4.0;

layout(local_size_x = 8, local_size_y = 8) in;

layout(set = 0, binding = 0) uniform texture2D picture;

layout(push_constant) uniform Size {
  uvec2 size;
};

float Brightness(vec3 light) {
  return dot(light, vec3(0.2126, 0.7152, 0.0722));
}
