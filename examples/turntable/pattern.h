// SPDX-License-Identifier: Apache-2.0
//
// Textures computed from nothing: the same bytes on every machine, since only integers are used.
#pragma once

#include <cstdint>
#include <vector>

namespace vesper::examples {

inline constexpr uint32_t kPatternSize = 256;  // texels in each direction
inline constexpr uint32_t kPatternLayers = 2;  // the knot's, the platter's
inline constexpr uint32_t kKnotLayer = 0;
inline constexpr uint32_t kPlatterLayer = 1;

// All layers one after the other as sRGB texels of 4 bytes (red, green, blue, 255), which repeat
// without a seam.
std::vector<uint8_t> MakePatterns();

}  // namespace vesper::examples
