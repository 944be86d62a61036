// SPDX-License-Identifier: Apache-2.0
#include "proto/encoder.h"

#include "proto/limits.h"
#include "proto/walk.h"

namespace vesper::proto {
namespace {

/// VkBaseInStructure: every chained struct begins so.
constexpr size_t kNextOffset = 8;

bool IsPresent(const Op& op, const std::byte* value) {
  return op.present == nullptr || op.present(value);
}

}  // namespace

void Encoder::Image(const Record& record, const void* value, Part part) {
  const size_t image = buffer_.Append(record.size);
  if (buffer_.Failed()) {
    return;
  }
  CopyImage(record, value, image);
  Operations(record, static_cast<const std::byte*>(value), image, part);
}

void Encoder::Operations(const Record& record, const std::byte* value, size_t image, Part part) {
  for (const Op& op : record.ops) {
    Operation(record, op, value, image, part);
  }
}

void Encoder::Operation(const Record& record, const Op& op, const std::byte* value, size_t image,
                        Part part) {
  const size_t slot = image + op.offset;
  const bool wanted = IsPresent(op, value);
  switch (op.kind) {
    case OpKind::kDropped:
      Slot(slot, uint64_t{0});
      return;
    case OpKind::kHandle:
      for (uint32_t i = 0; i < op.count; ++i) {
        const uint64_t handle = LoadField<uint64_t>(value, op.offset + 8 * i);
        const bool send = part != Part::kReply && wanted && handle != 0;
        Slot(slot + 8 * i, send ? IdOf(static_cast<HandleType>(op.type), handle) : 0);
      }
      return;
    case OpKind::kLayout:
      if (part != Part::kReply) {
        // A number, for there may be no layout at all where the driver looks at none.
        const auto layout = LoadField<uint32_t>(value, op.offset);
        constexpr VkImageLayout kPresented = VK_IMAGE_LAYOUT_PRESENT_SRC_KHR;
        buffer_.Patch(slot, layout == kPresented ? uint32_t{LayoutOnHost(kPresented)} : layout);
      }
      return;
    case OpKind::kTypedHandle: {
      const uint64_t handle = LoadField<uint64_t>(value, op.offset);
      const int32_t object_type = static_cast<int32_t>(EvaluateLength(op.length, value));
      const HandleType type = HandleTypeOf(object_type);
      Slot(slot, handle != 0 && type != HandleType::kNone ? IdOf(type, handle) : 0);
      return;
    }
    case OpKind::kRecord: {
      const Record& nested = Records()[op.type];
      for (uint32_t i = 0; i < op.count; ++i) {
        Operations(nested, value + op.offset + i * op.size, slot + i * op.size, Part::kWhole);
      }
      return;
    }
    case OpKind::kUnion: {
      const int64_t selector = static_cast<int32_t>(EvaluateLength(op.length, value));
      for (const UnionCase& alternative : Unions()[op.type].cases) {
        if (alternative.value == selector) {
          Operations(Records()[alternative.record], value + op.offset, slot, Part::kWhole);
          return;
        }
      }
      // An alternative that this build does not know must not carry a pointer's bits away.
      for (uint32_t byte = 0; byte < Unions()[op.type].size; ++byte) {
        buffer_.Patch(slot + byte, std::byte{0});
      }
      return;
    }
    case OpKind::kChain:
      Chain(record, wanted ? LoadField<const void*>(value, op.offset) : nullptr, slot);
      return;
    default:
      break;
  }
  const bool travels = part == Part::kWhole || (part == Part::kRequest) ||
                       (part == Part::kReply && (op.flags & kOut) != 0);
  if (!travels || !wanted || LoadField<const void*>(value, op.offset) == nullptr) {
    Slot(slot, uint64_t{0});
    return;
  }
  const bool shape_only =
      part == Part::kRequest && (op.flags & kIn) == 0 && (op.flags & kNewIds) == 0;
  Array(op, value, image, shape_only);
}

void Encoder::Array(const Op& op, const std::byte* value, size_t image, bool shape_only) {
  const std::byte* elements = LoadField<const std::byte*>(value, op.offset);
  uint64_t count = EvaluateLength(op.length, value);
  if (op.kind == OpKind::kString) {
    count = std::strlen(reinterpret_cast<const char*>(elements)) + 1;
  }
  Slot(image + op.offset, kPresent | count);
  if (shape_only) {
    if (op.kind == OpKind::kRecords) {
      for (uint64_t i = 0; i < count; ++i) {
        Shape(Records()[op.type], elements + i * op.size);
      }
    }
    return;
  }
  switch (op.kind) {
    case OpKind::kString:
      buffer_.Put(elements, count);
      return;
    case OpKind::kPlain:
      if (elements == elsewhere_) {
        return;
      }
      if (count > kMaxFrameBytes / op.size) {
        // Too large for any frame; the size is what makes the sender refuse it.
        buffer_.Append(kMaxFrameBytes);
        return;
      }
      buffer_.Put(elements, count * op.size);
      return;
    case OpKind::kStrings:
    case OpKind::kRecordPointers:
    case OpKind::kPlainPointers:
      for (uint64_t i = 0; i < count; ++i) {
        const void* element = LoadField<const void*>(elements, i * 8);
        if (op.kind == OpKind::kRecordPointers) {
          Image(Records()[op.type], element, Part::kWhole);
          continue;
        }
        const uint64_t inner = op.kind == OpKind::kStrings
                                   ? std::strlen(static_cast<const char*>(element)) + 1
                                   : EvaluateLength(op.inner, value, i);
        buffer_.PutValue(inner);
        buffer_.Put(element, inner * (op.kind == OpKind::kStrings ? 1 : op.size));
      }
      return;
    case OpKind::kHandles: {
      const HandleType type = static_cast<HandleType>(op.type);
      const bool as_is = (op.flags & kNewIds) != 0;
      for (uint64_t i = 0; i < count; ++i) {
        const uint64_t handle = LoadField<uint64_t>(elements, i * 8);
        buffer_.PutValue<uint64_t>(as_is || handle == 0 ? handle : IdOf(type, handle));
      }
      return;
    }
    case OpKind::kRecords: {
      // Images first, then what they point to, so that the images are one copy.
      const Record& nested = Records()[op.type];
      if (count > kMaxFrameBytes / op.size) {
        buffer_.Append(kMaxFrameBytes);
        return;
      }
      const size_t images = buffer_.Append(count * op.size);
      if (buffer_.Failed()) {
        return;
      }
      std::memcpy(buffer_.At(images), elements, count * op.size);
      for (uint64_t i = 0; clears_padding_ && i < count; ++i) {
        ClearHoles(nested, images + i * op.size);
      }
      for (uint64_t i = 0; i < count; ++i) {
        Operations(nested, elements + i * op.size, images + i * op.size, Part::kWhole);
      }
      return;
    }
    default:
      return;
  }
}

const Record* Encoder::NextKnown(const Record& root, const void** element) const {
  while (*element != nullptr) {
    const Record* record = StructRecordByType(LoadField<int32_t>(*element, 0));
    if (record != nullptr && known_.Has(record->number) && MayExtend(*record, root)) {
      return record;
    }
    *element = LoadField<const void*>(*element, kNextOffset);
  }
  return nullptr;
}

void Encoder::Chain(const Record& root, const void* first, size_t slot) {
  const void* element = first;
  uint32_t length = 0;
  for (const Record* record = NextKnown(root, &element); record != nullptr;
       record = NextKnown(root, &element)) {
    if (++length > kMaxChainLength) {
      break;
    }
    Slot(slot, kPresent | record->number);
    const size_t image = buffer_.Append(record->size);
    if (buffer_.Failed()) {
      return;
    }
    CopyImage(*record, element, image);
    for (const Op& op : record->ops) {
      if (op.kind != OpKind::kChain) {
        Operation(*record, op, static_cast<const std::byte*>(element), image, Part::kWhole);
      }
    }
    slot = image + kNextOffset;
    element = LoadField<const void*>(element, kNextOffset);
  }
  Slot(slot, uint64_t{0});
}

void Encoder::Shape(const Record& record, const void* value, bool in_chain) {
  const std::byte* bytes = static_cast<const std::byte*>(value);
  for (const Op& op : record.ops) {
    switch (op.kind) {
      case OpKind::kChain: {
        if (in_chain) {
          break;  // the chain is walked by its first struct
        }
        const void* element = LoadField<const void*>(value, op.offset);
        uint32_t length = 0;
        for (const Record* next = NextKnown(record, &element);
             next != nullptr && length < kMaxChainLength; next = NextKnown(record, &element)) {
          buffer_.PutValue<uint64_t>(kPresent | next->number);
          Shape(*next, element, /*in_chain=*/true);
          element = LoadField<const void*>(element, kNextOffset);
          ++length;
        }
        buffer_.PutValue<uint64_t>(0);
        break;
      }
      case OpKind::kRecord:
        for (uint32_t i = 0; i < op.count; ++i) {
          Shape(Records()[op.type], bytes + op.offset + i * op.size);
        }
        break;
      case OpKind::kPlain:
      case OpKind::kRecords: {
        const std::byte* elements = LoadField<const std::byte*>(value, op.offset);
        const uint64_t count = elements == nullptr ? 0 : EvaluateLength(op.length, value);
        buffer_.PutValue<uint64_t>(elements == nullptr ? 0 : kPresent | count);
        if (op.kind == OpKind::kRecords && elements != nullptr) {
          for (uint64_t i = 0; i < count; ++i) {
            Shape(Records()[op.type], elements + i * op.size);
          }
        }
        break;
      }
      default:
        break;
    }
  }
}

}  // namespace vesper::proto
