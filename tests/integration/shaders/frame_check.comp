// SPDX-License-Identifier: Apache-2.0
#version 450
// Looks at a frame of which the number is the first word, and counts the words that do not belong to
// it. memory_frames_test.cpp has the same function in C++.
layout(local_size_x = 64) in;
layout(std430, set = 0, binding = 0) readonly buffer Ring { uint words[]; } ring;
layout(std430, set = 0, binding = 1) buffer Report { uint words[]; } report;
layout(push_constant) uniform Push { uint slot; uint words; };

uint Word(uint frame, uint i) {
  uint h = frame * 2654435761u ^ i * 2246822519u;
  h = (h ^ h >> 15u) * 3266489917u;
  return h ^ h >> 13u;
}

void main() {
  uint i = gl_GlobalInvocationID.x;
  if (i >= words) {
    return;
  }
  uint frame = ring.words[slot * words];
  if (i == 0u) {
    report.words[slot * 2u] = frame;
    return;
  }
  uint written = (i / 64u + frame) % 2u == 0u ? frame : frame - 3u;
  if (ring.words[slot * words + i] != Word(written, i)) {
    atomicAdd(report.words[slot * 2u + 1u], 1u);
  }
}
