// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float64 : require

#define REMAINDER
#define T float64_t
#define S float64_t
#define FOLD(x) (uint(x))
#include "chain.glsl"
