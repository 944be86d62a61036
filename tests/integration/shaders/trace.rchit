// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_EXT_ray_tracing : require
layout(location = 0) rayPayloadInEXT uint met;

void main() { met = uint(gl_InstanceCustomIndexEXT); }
