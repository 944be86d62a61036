// SPDX-License-Identifier: Apache-2.0
#include "server/pictures.h"

#include <turbojpeg.h>

#include <algorithm>
#include <cstring>

#include "proto/limits.h"
#include "proto/records_gen.h"

namespace vesper::server {
namespace {

/// The largest side that JPEG has.
constexpr uint32_t kMaxSide = 65500;
/// From here on somebody wants to see each pixel's own color.
constexpr uint32_t kFullColorQuality = 90;

}  // namespace

bool PictureLayout::Fits(uint64_t size) const {
  return extent.width != 0 && extent.height != 0 && extent.width <= kMaxSide &&
         extent.height <= kMaxSide && quality <= 100 && picture_bytes() <= stride && count != 0 &&
         stride <= size / count;
}

bool IsRedFirst(VkFormat format) {
  return format == VK_FORMAT_R8G8B8A8_UNORM || format == VK_FORMAT_R8G8B8A8_SRGB;
}

LossyPictures::LossyPictures(const PictureLayout& layout)
    : layout_(layout), encoder_(tjInitCompress(), tjDestroy) {}

LossyPictures::~LossyPictures() = default;

ByteRange LossyPictures::WholeRows(ByteRange range) const {
  const auto clamp = [this](uint64_t offset, uint64_t slack) {
    if (offset >= layout_.stride * layout_.count) {
      return offset;
    }
    const uint64_t in_picture = std::min(offset % layout_.stride, layout_.picture_bytes());
    const uint64_t rows = (in_picture + slack) / layout_.row_bytes();
    return offset / layout_.stride * layout_.stride + rows * layout_.row_bytes();
  };
  // An end at the beginning of a picture is the end of the one before, and of what is in between.
  return {clamp(range.begin, 0), std::max(range.end, clamp(range.end, layout_.row_bytes() - 1))};
}

LossyPictures::Part LossyPictures::FindChanged(const std::byte* live, const std::byte* twin,
                                               uint32_t begin, uint32_t end) const {
  const uint64_t row_bytes = layout_.row_bytes();
  const auto differs = [&](uint32_t row, uint64_t from, uint64_t bytes) {
    const uint64_t at = row * row_bytes + from;
    return std::memcmp(live + at, twin + at, bytes) != 0;
  };
  while (begin < end && !differs(begin, 0, row_bytes)) {
    ++begin;
  }
  while (begin < end && !differs(end - 1, 0, row_bytes)) {
    --end;
  }
  // Each row narrows down what is known to be the same at both sides of all of them.
  uint32_t left = layout_.extent.width;
  uint32_t right = 0;
  for (uint32_t row = begin; row < end; ++row) {
    uint32_t x = 0;
    while (x < left && !differs(row, uint64_t{x} * 4, 4)) {
      ++x;
    }
    left = x;
    x = layout_.extent.width;
    while (x > right && !differs(row, uint64_t{x - 1} * 4, 4)) {
      --x;
    }
    right = x;
  }
  return begin == end ? Part{} : Part{left, begin, right - left, end - begin};
}

std::span<const std::byte> LossyPictures::Encode(const std::byte* picture, const Part& part) {
  const int sampling = layout_.quality < kFullColorQuality ? TJSAMP_420 : TJSAMP_444;
  const int width = static_cast<int>(part.width);
  const int height = static_cast<int>(part.height);
  const unsigned long bound = tjBufSize(width, height, sampling);
  if (encoder_ == nullptr || bound == static_cast<unsigned long>(-1)) {
    return {};
  }
  encoded_.resize(bound);
  unsigned char* out = encoded_.data();
  unsigned long bytes = bound;
  const auto* begin = reinterpret_cast<const unsigned char*>(picture) +
                      part.y * layout_.row_bytes() + uint64_t{part.x} * 4;
  if (tjCompress2(encoder_.get(), begin, width, static_cast<int>(layout_.row_bytes()), height,
                  layout_.is_red_first ? TJPF_RGBX : TJPF_BGRX, &out, &bytes, sampling,
                  static_cast<int>(layout_.quality), TJFLAG_NOREALLOC) != 0) {
    return {};
  }
  return std::as_bytes(std::span(out, bytes));
}

bool LossyPictures::PushRows(proto::ObjectId memory, uint32_t picture, uint32_t begin, uint32_t end,
                             const std::byte* live, std::byte* twin, Outbox& outbox) {
  const Part part = FindChanged(live, twin, begin, end);
  if (part.height == 0) {
    return true;
  }
  const std::span<const std::byte> encoded = Encode(live, part);
  if (encoded.empty()) {
    return false;
  }
  const proto::Args_vesperPushPicture args{memory,     picture,     part.x,         part.y,
                                           part.width, part.height, encoded.size(), encoded.data()};
  outbox.Push(proto::command_number::vesperPushPicture, &args);
  const uint64_t changed = part.y * layout_.row_bytes();
  std::memcpy(twin + changed, live + changed, part.height * layout_.row_bytes());
  return true;
}

bool LossyPictures::Push(proto::ObjectId memory, ByteRange range, const std::byte* live,
                         std::byte* twin, Outbox& outbox) {
  const uint64_t row_bytes = layout_.row_bytes();
  // Others pass between strips, on links where that matters.
  const uint32_t strip =
      static_cast<uint32_t>(std::max<uint64_t>(proto::kMaxPatchBytes / row_bytes, 1));
  const uint64_t last =
      std::min<uint64_t>((range.end + layout_.stride - 1) / layout_.stride, layout_.count);
  bool all = true;
  for (uint64_t picture = range.begin / layout_.stride; picture < last; ++picture) {
    const uint64_t origin = picture * layout_.stride;
    const auto row_at = [&](uint64_t offset) {
      const uint64_t in_picture =
          std::min(offset - std::min(offset, origin), layout_.picture_bytes());
      return static_cast<uint32_t>(in_picture / row_bytes);
    };
    const uint32_t end = row_at(range.end);
    for (uint32_t row = row_at(range.begin); row < end; row += std::min(strip, end - row)) {
      all = PushRows(memory, static_cast<uint32_t>(picture), row, row + std::min(strip, end - row),
                     live + origin, twin + origin, outbox) &&
            all;
    }
  }
  return all;
}

}  // namespace vesper::server
