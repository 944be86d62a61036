// SPDX-License-Identifier: Apache-2.0
#include "examples/turntable/pattern.h"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace vesper::examples {
namespace {

using Colour = std::array<int, 3>;

// A well-mixed number from 0 to 255 for each pair of coordinates.
int Hash(uint32_t x, uint32_t y) {
  uint32_t h = x * 0x9e3779b1u ^ y * 0x85ebca77u;
  h = (h ^ h >> 15) * 0x2c1b3c6du;
  h = (h ^ h >> 12) * 0x297a2d39u;
  return static_cast<int>((h ^ h >> 15) & 0xff);
}

// Smooth noise from 0 to 255 over a lattice of `cell` texels that repeats with the pattern.
int Noise(uint32_t x, uint32_t y, uint32_t cell) {
  const uint32_t cells = kPatternSize / cell;
  const auto corner = [&](uint32_t i, uint32_t j) {
    return Hash((x / cell + i) % cells + 1000 * cell, (y / cell + j) % cells);
  };
  const int fx = static_cast<int>(x % cell), fy = static_cast<int>(y % cell);
  const int size = static_cast<int>(cell);
  const int upper = corner(0, 0) * (size - fx) + corner(1, 0) * fx;
  const int lower = corner(0, 1) * (size - fx) + corner(1, 1) * fx;
  return (upper * (size - fy) + lower * fy) / (size * size);
}

Colour Mix(const Colour& a, const Colour& b, int weight_of_b) {
  Colour mixed;
  for (size_t i = 0; i < mixed.size(); ++i) {
    mixed[i] = (a[i] * (255 - weight_of_b) + b[i] * weight_of_b) / 255;
  }
  return mixed;
}

// Glazed bricks, two tones, with dark joints.
Colour KnotTexel(uint32_t x, uint32_t y) {
  constexpr uint32_t kHeight = 64, kWidth = 128, kJoint = 5;
  const uint32_t row = y / kHeight;
  const uint32_t shifted = (x + (row % 2) * (kWidth / 2)) % kPatternSize;
  const uint32_t in_x = shifted % kWidth, in_y = y % kHeight;
  const int grain = Noise(x, y, 8) / 2 + Noise(x, y, 32) / 2;
  if (in_x < kJoint || in_y < kJoint) {
    return Mix({24, 26, 32}, {52, 54, 60}, grain);
  }
  const bool warm = (shifted / kWidth + row) % 2 == 0;
  const Colour base = warm ? Colour{214, 96, 34} : Colour{28, 128, 138};
  return Mix(base, {250, 236, 200}, grain / 3);
}

// Rings around the middle, like a turned board, and near the rim three marks of different length,
// so that the eye sees it turn.
Colour PlatterTexel(uint32_t x, uint32_t y) {
  const int dx = 2 * static_cast<int>(x) - static_cast<int>(kPatternSize) + 1;
  const int dy = 2 * static_cast<int>(y) - static_cast<int>(kPatternSize) + 1;
  const int square = dx * dx + dy * dy;
  const int ring = (square / 900 + Noise(x, y, 32) / 24) % 6;
  const int grain = Noise(x, y, 4) / 3 + Noise(x, y, 64) / 3;
  const Colour wood = ring < 3 ? Colour{120, 84, 52} : Colour{146, 106, 66};
  const Colour board = Mix(wood, {60, 38, 22}, grain);
  constexpr int kInner = 218 * 218, kOuter = 236 * 236;
  const bool near_rim = square > kInner && square < kOuter;
  const bool marked_side = dx > 2 * std::abs(dy) || std::abs(dy) > 4 * std::abs(dx);
  return near_rim && marked_side ? Mix({226, 218, 196}, board, grain / 2) : board;
}

}  // namespace

std::vector<uint8_t> MakePatterns() {
  std::vector<uint8_t> texels;
  texels.reserve(kPatternSize * kPatternSize * kPatternLayers * 4);
  for (uint32_t layer = 0; layer < kPatternLayers; ++layer) {
    for (uint32_t y = 0; y < kPatternSize; ++y) {
      for (uint32_t x = 0; x < kPatternSize; ++x) {
        const Colour colour = layer == kKnotLayer ? KnotTexel(x, y) : PlatterTexel(x, y);
        for (const int component : colour) {
          texels.push_back(static_cast<uint8_t>(std::clamp(component, 0, 255)));
        }
        texels.push_back(255);
      }
    }
  }
  return texels;
}

}  // namespace vesper::examples
