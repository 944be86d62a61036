// SPDX-License-Identifier: Apache-2.0
//
// The two things on show, made of triangles that wind counter-clockwise seen from outside.
#pragma once

#include <cstdint>
#include <vector>

#include "examples/turntable/math3d.h"

namespace vesper::examples {

struct Vertex {
  Vec3 position;
  Vec3 normal;
  float u = 0, v = 0;
};

struct Mesh {
  std::vector<Vertex> vertices;
  std::vector<uint32_t> indices;
};

// A tube in the shape of a trefoil knot around the y axis, about 2 units in every direction.
Mesh MakeKnot();

// A round plate of radius 2.2 whose upper face lies in the plane y = 0.
Mesh MakePlatter();

}  // namespace vesper::examples
