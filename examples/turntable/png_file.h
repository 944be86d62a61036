// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace vesper::examples {

// Writes a PNG file from rows of 4 bytes a pixel (red, green, blue, alpha), top row first. Throws a
// Failure that names the file if it can't be written.
void WritePng(const std::string& path, uint32_t width, uint32_t height,
              std::span<const std::byte> pixels);

}  // namespace vesper::examples
