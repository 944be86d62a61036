// SPDX-License-Identifier: Apache-2.0
#version 460
#extension GL_EXT_ray_query : require
// A ray through the middle of each cell of an 8x8 grid over the unit square; data[cell] tells which
// instance it meets, or 1000.
layout(local_size_x = 8, local_size_y = 8) in;
layout(set = 0, binding = 0) uniform accelerationStructureEXT scene;
layout(std430, set = 0, binding = 1) buffer Data { uint data[]; };

void main() {
  vec2 at = (vec2(gl_LocalInvocationID.xy) + 0.5) / 8.0;
  rayQueryEXT query;
  rayQueryInitializeEXT(query, scene, gl_RayFlagsOpaqueEXT, 0xFF, vec3(at, -1.0), 0.0,
                        vec3(0.0, 0.0, 1.0), 10.0);
  while (rayQueryProceedEXT(query)) {
  }
  uint met = 1000u;
  if (rayQueryGetIntersectionTypeEXT(query, true) == gl_RayQueryCommittedIntersectionTriangleEXT) {
    met = uint(rayQueryGetIntersectionInstanceCustomIndexEXT(query, true));
  }
  data[gl_LocalInvocationIndex] = met;
}
