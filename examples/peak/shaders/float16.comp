// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require

#define REMAINDER
#define T float16_t
#define S float16_t
#define FOLD(x) (uint(x))
#include "chain.glsl"
