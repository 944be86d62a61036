// SPDX-License-Identifier: Apache-2.0
#version 450
// data[0] = data[0] * 2 + 1, by one invocation: the result tells how often it ran.
layout(local_size_x = 1) in;
layout(std430, set = 0, binding = 0) buffer Data { uint data[]; };

void main() { data[0] = data[0] * 2u + 1u; }
