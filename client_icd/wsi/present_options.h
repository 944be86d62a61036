// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace vesper::client {

/// What the user wants of pictures for windows (VESPER_PRESENT).
struct PresentOptions {
  bool shares = true;         ///< the window system may map them
  uint32_t jpeg_quality = 0;  ///< 1 to 100: they travel as JPEG; 0: as they are
  std::string complaint;      ///< what was not understood, as a sentence; empty if all was
};

/// Words separated by commas: "copy", and "jpeg:" with a quality. What is not a word of ours
/// changes nothing.
PresentOptions ReadPresentOptions(std::string_view words);

}  // namespace vesper::client
