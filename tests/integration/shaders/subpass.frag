// SPDX-License-Identifier: Apache-2.0
#version 450
// Reads the attachment that the first subpass wrote, and inverts it.
layout(input_attachment_index = 0, set = 0, binding = 0) uniform subpassInput source;
layout(location = 0) out vec4 out_color;

void main() { out_color = vec4(vec3(1.0) - subpassLoad(source).rgb, 1.0); }
