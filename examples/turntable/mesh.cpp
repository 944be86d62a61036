// SPDX-License-Identifier: Apache-2.0
#include "examples/turntable/mesh.h"

#include <numbers>

namespace vesper::examples {
namespace {

constexpr float kTurn = 2.0f * std::numbers::pi_v<float>;

// A point of the knot's centre line; `t` from 0 to 1 goes round once.
Vec3 KnotPoint(float t) {
  const float angle = t * kTurn;
  const float radius = 1.0f + 0.42f * std::cos(3 * angle);
  return {radius * std::cos(2 * angle), 0.55f * std::sin(3 * angle), radius * std::sin(2 * angle)};
}

}  // namespace

Mesh MakeKnot() {
  constexpr uint32_t kSegments = 360;
  constexpr uint32_t kSides = 32;
  constexpr float kTubeRadius = 0.27f;
  constexpr float kStep = 1.0f / kSegments;
  Mesh mesh;
  // The seams have two vertices at one place, since the texture starts again there.
  for (uint32_t i = 0; i <= kSegments; ++i) {
    const float t = static_cast<float>(i % kSegments) * kStep;
    const Vec3 here = KnotPoint(t), next = KnotPoint(t + kStep);
    const Vec3 tangent = next - here;
    // The sum points away from the middle, so this frame turns with the knot and closes.
    const Vec3 binormal = Normalized(Cross(tangent, next + here));
    const Vec3 outward = Normalized(Cross(binormal, tangent));
    for (uint32_t j = 0; j <= kSides; ++j) {
      const float around = static_cast<float>(j % kSides) / kSides * kTurn;
      const Vec3 normal = outward * std::cos(around) + binormal * std::sin(around);
      mesh.vertices.push_back({.position = here + normal * kTubeRadius,
                               .normal = normal,
                               .u = 18.0f * static_cast<float>(i) / kSegments,
                               .v = 2.0f * static_cast<float>(j) / kSides});
    }
  }
  constexpr uint32_t kRow = kSides + 1;
  for (uint32_t i = 0; i < kSegments; ++i) {
    for (uint32_t j = 0; j < kSides; ++j) {
      const uint32_t a = i * kRow + j, b = a + 1, c = a + kRow, d = c + 1;
      mesh.indices.insert(mesh.indices.end(), {a, b, c, b, d, c});
    }
  }
  return mesh;
}

Mesh MakePlatter() {
  constexpr uint32_t kSides = 128;
  constexpr float kRadius = 2.2f;
  constexpr float kThickness = 0.22f;
  Mesh mesh;
  mesh.vertices.push_back({.position = {0, 0, 0}, .normal = {0, 1, 0}, .u = 0.5f, .v = 0.5f});
  for (uint32_t i = 0; i <= kSides; ++i) {
    const float angle = static_cast<float>(i % kSides) / kSides * kTurn;
    const Vec3 outward = {std::cos(angle), 0, std::sin(angle)};
    const Vec3 rim = outward * kRadius;
    mesh.vertices.push_back({.position = rim,
                             .normal = {0, 1, 0},
                             .u = 0.5f + 0.5f * outward.x,
                             .v = 0.5f + 0.5f * outward.z});
    const float along = 4.0f * static_cast<float>(i) / kSides;
    mesh.vertices.push_back({.position = rim, .normal = outward, .u = along, .v = 0});
    mesh.vertices.push_back(
        {.position = rim - Vec3{0, kThickness, 0}, .normal = outward, .u = along, .v = 0.1f});
  }
  for (uint32_t i = 0; i < kSides; ++i) {
    const uint32_t here = 1 + 3 * i, next = here + 3;
    mesh.indices.insert(mesh.indices.end(), {0, next, here});  // the upper face
    mesh.indices.insert(mesh.indices.end(),                    // the edge
                        {here + 1, next + 1, here + 2, next + 1, next + 2, here + 2});
  }
  return mesh;
}

}  // namespace vesper::examples
