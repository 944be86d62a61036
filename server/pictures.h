// SPDX-License-Identifier: Apache-2.0
//
// Pictures that a guest shows in windows: memory of which it has told that it only reads there, and
// how the pixels lie (vesperNotePictures). With a quality they travel as JPEG, if the guest asks
// for that: of the rows that the device may have written, those that differ from what the guest was
// last told, and of those as many columns.
//
// The twin has the pixels as they are and not as the guest decodes them, so that losses never add
// up.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "proto/object_id.h"
#include "server/byte_ranges.h"
#include "server/outbox.h"

namespace vesper::server {

/// Rows without gaps, four bytes for each pixel, a picture every `stride` bytes.
struct PictureLayout {
  uint32_t count;
  uint64_t stride;
  VkExtent2D extent;
  bool is_red_first;
  uint32_t quality;  ///< of JPEG, 1 to 100; 0: they travel as they are

  /// True if it means something, and lies within `size` bytes.
  bool Fits(uint64_t size) const;
  uint64_t row_bytes() const { return uint64_t{extent.width} * 4; }
  uint64_t picture_bytes() const { return row_bytes() * extent.height; }
};

bool IsRedFirst(VkFormat format);

/// Not thread-safe.
class LossyPictures {
 public:
  explicit LossyPictures(const PictureLayout& layout);
  ~LossyPictures();
  LossyPictures(const LossyPictures&) = delete;
  LossyPictures& operator=(const LossyPictures&) = delete;

  /// The range with whole rows at both ends.
  ByteRange WholeRows(ByteRange range) const;
  /// Pushes what of the range (of whole rows) differs from the twin, which it brings up to date.
  /// False if something could not be encoded; that still differs.
  bool Push(proto::ObjectId memory, ByteRange range, const std::byte* live, std::byte* twin,
            Outbox& outbox);

 private:
  struct Part {
    uint32_t x;
    uint32_t y;
    uint32_t width;
    uint32_t height;
  };

  /// The smallest part that holds all that differs in these rows of a picture; of no height if
  /// nothing does.
  Part FindChanged(const std::byte* live, const std::byte* twin, uint32_t begin,
                   uint32_t end) const;
  /// Empty if that fails; good until the next call.
  std::span<const std::byte> Encode(const std::byte* picture, const Part& part);
  bool PushRows(proto::ObjectId memory, uint32_t picture, uint32_t begin, uint32_t end,
                const std::byte* live, std::byte* twin, Outbox& outbox);

  const PictureLayout layout_;
  std::unique_ptr<void, int (*)(void*)> encoder_;
  std::vector<unsigned char> encoded_;
};

}  // namespace vesper::server
