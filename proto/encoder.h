// SPDX-License-Identifier: Apache-2.0
//
// Native structs to wire. proto/PROTOCOL.md, "Records", is the format.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "proto/buffer.h"
#include "proto/record.h"

namespace vesper::proto {

/// Which structs the peer knows, by wire number. What it doesn't know is left out of pNext chains.
class KnownStructs {
 public:
  /// Everything this build knows.
  KnownStructs() : known_(MaxStructNumber() + 1u, true) {}
  explicit KnownStructs(std::vector<bool> known) : known_(std::move(known)) {}
  bool Has(uint16_t number) const { return number < known_.size() && known_[number]; }

 private:
  std::vector<bool> known_;
};

/// Turns a native handle into an object id.
using IdOfHandle = uint64_t (*)(HandleType type, uint64_t handle);

/// The layout that an image has on the host while it has `layout` in the guest. To present an image
/// is to copy from it, so it is as it has to be for that.
constexpr VkImageLayout LayoutOnHost(VkImageLayout layout) {
  return layout == VK_IMAGE_LAYOUT_PRESENT_SRC_KHR ? VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL : layout;
}

/// Encodes records into a buffer. Not thread-safe; cheap to make.
class Encoder {
 public:
  /// `elsewhere`: an array of plain elements there is announced and not written; its bytes must
  /// follow what is encoded. It has to be the last that the record points to.
  Encoder(Buffer& buffer, const KnownStructs& known, IdOfHandle id_of,
          const void* elsewhere = nullptr)
      : buffer_(buffer), known_(known), id_of_(id_of), elsewhere_(elsewhere) {}

  /// From now on padding is zero instead of what it is in memory: equal contents are equal bytes.
  void ClearPadding() { clears_padding_ = true; }
  /// How many handles that are not null were encoded.
  uint32_t handles() const { return handles_; }

  /// A command's arguments: what the host needs (inputs whole, outputs as far as their shape).
  void Request(const Record& record, const void* args) { Image(record, args, Part::kRequest); }
  /// A command's results: return value and outputs.
  void Reply(const Record& record, const void* args) { Image(record, args, Part::kReply); }
  /// A struct with everything it points to.
  void Struct(const Record& record, const void* value) { Image(record, value, Part::kWhole); }

 private:
  enum class Part { kRequest, kReply, kWhole };

  void Image(const Record& record, const void* value, Part part);
  void Operations(const Record& record, const std::byte* value, size_t image, Part part);
  void Operation(const Record& record, const Op& op, const std::byte* value, size_t image,
                 Part part);
  void Array(const Op& op, const std::byte* value, size_t image, bool shape_only);
  void Chain(const Record& root, const void* first, size_t slot);
  void Shape(const Record& record, const void* value, bool in_chain = false);
  const Record* NextKnown(const Record& root, const void** element) const;
  void Slot(size_t offset, uint64_t value) { buffer_.Patch(offset, value); }
  uint64_t IdOf(HandleType type, uint64_t handle) {
    ++handles_;
    return id_of_(type, handle);
  }
  /// Copies a record to where room was appended for it.
  void CopyImage(const Record& record, const void* value, size_t image) {
    std::memcpy(buffer_.At(image), value, record.size);
    if (clears_padding_) {
      ClearHoles(record, image);
    }
  }
  void ClearHoles(const Record& record, size_t image) {
    for (const Hole& hole : record.holes) {
      std::memset(buffer_.At(image + hole.offset), 0, hole.size);
    }
  }

  Buffer& buffer_;
  const KnownStructs& known_;
  IdOfHandle id_of_;
  const void* elsewhere_;
  bool clears_padding_ = false;
  uint32_t handles_ = 0;
};

}  // namespace vesper::proto
