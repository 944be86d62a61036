// SPDX-License-Identifier: Apache-2.0
#include "client_icd/pushes.h"

#include "client_icd/word_list.h"

namespace vesper::client {

uint32_t ReadPushKinds(std::string_view words) {
  if (words.empty()) {
    return kPushAll;
  }
  constexpr KindWord kWords[] = {
      {"addresses", kPushAddresses}, {"budget", kPushBudget},         {"queries", kPushQueries},
      {"events", kPushEvents},       {"timestamps", kPushTimestamps},
  };
  return ReadKinds(words, kWords);
}

}  // namespace vesper::client
