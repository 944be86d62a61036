// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require

#define T uint8_t
#define S uint8_t
#define FOLD(x) (uint(x))
#include "chain.glsl"
