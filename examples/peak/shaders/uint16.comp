// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : require

#define T uint16_t
#define S uint16_t
#define FOLD(x) (uint(x))
#include "chain.glsl"
