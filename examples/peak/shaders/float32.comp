// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require

#define REMAINDER
#define T float
#define S float
#define FOLD(x) (uint(x))
#include "chain.glsl"
