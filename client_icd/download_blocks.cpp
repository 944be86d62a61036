// SPDX-License-Identifier: Apache-2.0
#include "client_icd/download_blocks.h"

#include <algorithm>

namespace vesper::client {

void DownloadBlocks::NotePushed(uint64_t begin, uint64_t end) {
  for (size_t block = begin / kBytes; block < blocks_.size() && block * kBytes < end; ++block) {
    blocks_[block].was_pushed = true;
    has_news_ = true;
  }
}

void DownloadBlocks::WasSeen(Block& block) {
  block.state = State::kPresent;
  block.was_pushed = false;
  block.is_watched = false;
  block.pushes = 0;
  block.patience = static_cast<uint8_t>(std::min<int>(2 * block.patience, kLongestPatience));
}

void DownloadBlocks::Watch(Run run) {
  for (size_t block = run.begin; block < run.end; ++block) {
    blocks_[block].is_watched = true;
    blocks_[block].pushes = 0;
  }
}

void DownloadBlocks::Defer(Run run) {
  for (size_t block = run.begin; block < run.end; ++block) {
    blocks_[block].state = State::kAbsent;
    blocks_[block].is_watched = false;
  }
}

DownloadBlocks::Run DownloadBlocks::Fetch(size_t block) {
  // Several threads may read in several places.
  auto stream = std::ranges::find_if(
      streams_, [block](const Stream& each) { return each.window != 0 && each.next == block; });
  if (stream == streams_.end()) {
    stream = streams_.begin() + static_cast<ptrdiff_t>(next_stream_++ % streams_.size());
    stream->window = 0;
  }
  stream->window = std::clamp<size_t>(2 * stream->window, 1, kMaxWindow);
  Run run{block, block};
  while (run.end < blocks_.size() && run.count() < stream->window && IsAbsent(run.end)) {
    blocks_[run.end++].state = State::kFetched;
  }
  stream->next = run.end;
  return run;
}

DownloadBlocks::Run DownloadBlocks::ShownWith(size_t block) const {
  Run run{block, block + 1};
  // What is watched is shown alone, for it is to tell where the program looks.
  const auto is_plain = [this](size_t index) {
    return blocks_[index].state == State::kPresent && !blocks_[index].is_watched;
  };
  while (is_plain(block) && run.end < blocks_.size() && run.count() < kMaxWindow &&
         is_plain(run.end)) {
    ++run.end;
  }
  return run;
}

}  // namespace vesper::client
