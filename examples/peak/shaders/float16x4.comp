// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require

#define REMAINDER
#define T f16vec4
#define S float16_t
#define FOLD(x) (uint(x.x + x.y + x.z + x.w))
#define SPREAD T(0, 1, 2, 3)
#include "chain.glsl"
