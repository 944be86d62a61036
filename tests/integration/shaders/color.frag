// SPDX-License-Identifier: Apache-2.0
#version 450
layout(location = 0) in vec4 in_color;
layout(location = 0) out vec4 out_color;
layout(constant_id = 0) const float kScale = 1.0;
layout(constant_id = 1) const bool kSwap = false;

void main() { out_color = kSwap ? in_color.bgra * kScale : in_color * kScale; }
