// SPDX-License-Identifier: Apache-2.0
#version 450
// data[slot] = value, both from push constants.
layout(local_size_x = 1) in;
layout(std430, set = 0, binding = 0) buffer Data { uint data[]; };
layout(push_constant) uniform Push { uint slot; uint value; };

void main() { data[slot + gl_WorkGroupID.x] = value + gl_WorkGroupID.x; }
