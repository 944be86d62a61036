// SPDX-License-Identifier: Apache-2.0
#version 450
#extension GL_GOOGLE_include_directive : require

#define T uint
#define S uint
#define FOLD(x) (x)
#include "chain.glsl"
