// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require

#define T uint64_t
#define S uint64_t
#define FOLD(x) (uint(x) ^ uint(x >> 32))
#include "chain.glsl"
