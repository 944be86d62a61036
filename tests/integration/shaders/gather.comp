// SPDX-License-Identifier: Apache-2.0
#version 450
// Adds up what its descriptors hold, so that a test can tell which ones were bound:
// sum = uniform.value + storage[0] + element[0] + element[1] + element[2], at the place `slot`.
layout(local_size_x = 1) in;
layout(std140, set = 0, binding = 0) uniform Uniform { uint value; } block;
layout(std430, set = 0, binding = 1) buffer Storage { uint data[]; } storage;
layout(std430, set = 0, binding = 2) buffer Element { uint data[]; } elements[3];
layout(std430, set = 1, binding = 0) buffer Result { uint data[]; } result;
layout(push_constant) uniform Push { uint slot; };

void main() {
  result.data[slot] = block.value + storage.data[0] + elements[0].data[0] + elements[1].data[0] +
                      elements[2].data[0];
}
