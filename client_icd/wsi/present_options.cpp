// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/present_options.h"

#include <charconv>

namespace vesper::client {
namespace {

/// 0 if it is none.
uint32_t ReadQuality(std::string_view text) {
  uint32_t quality = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quality);
  return error == std::errc() && end == text.data() + text.size() && quality <= 100 ? quality : 0;
}

}  // namespace

PresentOptions ReadPresentOptions(std::string_view words) {
  constexpr std::string_view kJpeg = "jpeg:";
  PresentOptions options;
  while (!words.empty()) {
    const size_t comma = words.find(',');
    const std::string_view word = words.substr(0, comma);
    words.remove_prefix(comma == std::string_view::npos ? words.size() : comma + 1);
    const uint32_t quality = word.starts_with(kJpeg) ? ReadQuality(word.substr(kJpeg.size())) : 0;
    if (word == "copy") {
      options.shares = false;
    } else if (quality != 0) {
      options.jpeg_quality = quality;
    } else {
      options.complaint =
          "expected VESPER_PRESENT to be copy or jpeg:N with N from 1 to 100, got '" +
          std::string(word) + "', which is ignored";
    }
  }
  return options;
}

}  // namespace vesper::client
