// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require

#define T uvec4
#define S uint
#define FOLD(x) (x.x + x.y + x.z + x.w)
#define SPREAD T(0, 1, 2, 3)
#include "chain.glsl"
