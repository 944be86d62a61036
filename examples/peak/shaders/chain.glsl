// SPDX-License-Identifier: Apache-2.0
//
// What the load of each type is: every invocation goes through `rounds` steps of x = 5 x + 3 from a
// start of its own, and leaves what it came to. Integers wrap as they do. Of what is no integer the
// remainder by 256 goes on, so that every value on the way is a whole number below 2048, which all
// types hold exactly: there is one right result.
//
// The including file defines T, S (one component of T), FOLD(x), which makes a uint of a T, and for
// vectors SPREAD, which tells their components' starts apart.

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) writeonly buffer Results { uint results[]; };

layout(push_constant) uniform Parameters {
  uint rounds;
  uint starts;
};

void main() {
  const uint i = gl_GlobalInvocationID.x;
  T x = T(S(i % starts));
#ifdef SPREAD
  x = x + SPREAD;
#endif
  for (uint round = 0; round < rounds; ++round) {
    x = x * S(5) + S(3);
#ifdef REMAINDER
    x = x - floor(x * S(1.0 / 256.0)) * S(256);
#endif
  }
  results[i] = FOLD(x);
}
