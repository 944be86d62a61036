// SPDX-License-Identifier: Apache-2.0
#version 450
// Writes its specialization constants, and its work group size, which is one too.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const int kSigned = -1;
layout(constant_id = 2) const float kFloat = 0.5;
layout(constant_id = 3) const bool kBool = false;
layout(constant_id = 7) const uint kUnsigned = 7u;
layout(std430, set = 0, binding = 0) buffer Data { uint data[]; };

void main() {
  if (gl_LocalInvocationIndex == 0) {
    data[0] = gl_WorkGroupSize.x;
    data[1] = uint(kSigned);
    data[2] = floatBitsToUint(kFloat);
    data[3] = kBool ? 1u : 0u;
    data[4] = kUnsigned;
  }
}
