// SPDX-License-Identifier: Apache-2.0
#version 450

// Adds the step to the number.

layout(local_size_x = 1) in;

layout(set = 0, binding = 0) buffer Number { uint number; };

layout(push_constant) uniform Parameters { uint step; };

void main() {
  number += step;
}
