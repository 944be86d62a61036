// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require

#define REMAINDER
#define T vec4
#define S float
#define FOLD(x) (uint(x.x + x.y + x.z + x.w))
#define SPREAD T(0, 1, 2, 3)
#include "chain.glsl"
