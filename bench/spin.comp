// SPDX-License-Identifier: Apache-2.0
#version 450

// Keeps the device busy for as many rounds as it is told, each of which needs the one before.

layout(local_size_x = 1) in;

layout(set = 0, binding = 0) buffer Number { uint number; };

layout(push_constant) uniform Parameters { uint rounds; };

void main() {
  uint value = number;
  for (uint i = 0; i < rounds; ++i) {
    value = value * 1664525u + 1013904223u;
  }
  number = value;
}
