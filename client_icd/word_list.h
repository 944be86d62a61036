// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace vesper::client {

/// A word of a variable of the environment and the bit that it stands for.
using KindWord = std::pair<std::string_view, uint32_t>;

/// The bits of a list of words, separated by commas; what is none of `known` is ignored.
inline uint32_t ReadKinds(std::string_view words, std::span<const KindWord> known) {
  uint32_t kinds = 0;
  while (!words.empty()) {
    const size_t comma = words.find(',');
    for (const auto& [word, kind] : known) {
      if (words.substr(0, comma) == word) {
        kinds |= kind;
      }
    }
    words.remove_prefix(comma == std::string_view::npos ? words.size() : comma + 1);
  }
  return kinds;
}

}  // namespace vesper::client
