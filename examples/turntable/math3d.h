// SPDX-License-Identifier: Apache-2.0
//
// The little linear algebra that one picture needs. Matrices are column-major, as GLSL has them,
// and the view looks along -z in a right-handed world.
#pragma once

#include <cmath>

namespace vesper::examples {

struct Vec3 {
  float x = 0, y = 0, z = 0;
};

inline Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vec3 operator*(Vec3 a, float s) { return {a.x * s, a.y * s, a.z * s}; }
inline float Dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vec3 Cross(Vec3 a, Vec3 b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
inline Vec3 Normalized(Vec3 a) { return a * (1.0f / std::sqrt(Dot(a, a))); }

struct Mat4 {
  float m[4][4] = {};  // m[column][row]
};

inline Mat4 operator*(const Mat4& a, const Mat4& b) {
  Mat4 product;
  for (int column = 0; column < 4; ++column) {
    for (int row = 0; row < 4; ++row) {
      for (int k = 0; k < 4; ++k) {
        product.m[column][row] += a.m[k][row] * b.m[column][k];
      }
    }
  }
  return product;
}

inline Mat4 RotationY(float radians) {
  const float c = std::cos(radians), s = std::sin(radians);
  return {{{c, 0, -s, 0}, {0, 1, 0, 0}, {s, 0, c, 0}, {0, 0, 0, 1}}};
}

inline Mat4 Translation(Vec3 t) {
  return {{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {t.x, t.y, t.z, 1}}};
}

inline Mat4 LookAt(Vec3 eye, Vec3 target, Vec3 up) {
  const Vec3 back = Normalized(eye - target);
  const Vec3 right = Normalized(Cross(up, back));
  const Vec3 above = Cross(back, right);
  return {{{right.x, above.x, back.x, 0},
           {right.y, above.y, back.y, 0},
           {right.z, above.z, back.z, 0},
           {-Dot(right, eye), -Dot(above, eye), -Dot(back, eye), 1}}};
}

// Depth 0 at the near plane and 1 at the far plane, y downwards on the screen: Vulkan's clip space.
inline Mat4 Perspective(float vertical_field_of_view, float aspect, float near, float far) {
  const float f = 1.0f / std::tan(vertical_field_of_view / 2);
  return {{{f / aspect, 0, 0, 0},
           {0, -f, 0, 0},
           {0, 0, far / (near - far), -1},
           {0, 0, near * far / (near - far), 0}}};
}

}  // namespace vesper::examples
