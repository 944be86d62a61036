// SPDX-License-Identifier: Apache-2.0
#include "examples/turntable/png_file.h"

#include <png.h>

#include "examples/common/failure.h"

namespace vesper::examples {

void WritePng(const std::string& path, uint32_t width, uint32_t height,
              std::span<const std::byte> pixels) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = PNG_FORMAT_RGBA;
  if (pixels.size() < PNG_IMAGE_SIZE(image)) {
    throw Failure("a picture of " + std::to_string(width) + "x" + std::to_string(height) +
                  " pixels came with " + std::to_string(pixels.size()) + " bytes.");
  }
  if (png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0, nullptr) == 0) {
    throw Failure("could not write '" + path + "': " + image.message + ".");
  }
}

}  // namespace vesper::examples
