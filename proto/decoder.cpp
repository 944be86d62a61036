// SPDX-License-Identifier: Apache-2.0
#include "proto/decoder.h"

#include <array>

#include "proto/limits.h"
#include "proto/walk.h"

namespace vesper::proto {
namespace {

constexpr size_t kNextOffset = 8;
/// Operations of one record; the generator checks it.
constexpr size_t kMaxOps = 64;

/// A byte count that is no whole number of elements: the driver would read past the last one.
bool IsRagged(const Length& length, const void* value) {
  return length.divide > 1 && length.add == 0 &&
         EvaluateLength({length.kind, length.offset, length.inner, 0, 1}, value) % length.divide !=
             0;
}

/// Writes an element count into the member that holds it, for shapes that carry no image.
void StoreLength(const Length& length, void* value, uint64_t count) {
  switch (length.kind) {
    case LengthKind::kU32:
      StoreField(value, length.offset, static_cast<uint32_t>(count));
      break;
    case LengthKind::kU64:
      StoreField(value, length.offset, count);
      break;
    default:
      break;
  }
}

}  // namespace

DecodeResult Decoder::Request(const Record& record, Reader& reader, void* args) {
  if (resolver_ != nullptr) {
    resolver_->BeginCommand();
  }
  return Run(record, reader, args, Part::kRequest);
}

DecodeResult Decoder::Struct(const Record& record, Reader& reader, void* value) {
  return Run(record, reader, value, Part::kWhole);
}

DecodeResult Decoder::Run(const Record& record, Reader& reader, void* value, Part part) {
  reader_ = &reader;
  unavailable_ = false;
  depth_ = 0;
  new_ids_.clear();
  consumed_ids_.clear();
  Image(record, value, part);
  if (Bad()) {
    return DecodeResult::kMalformed;
  }
  return unavailable_ ? DecodeResult::kUnavailable : DecodeResult::kDecoded;
}

void Decoder::Image(const Record& record, void* value, Part part) {
  const std::span<const std::byte> image = reader_->Take(record.size);
  if (Bad()) {
    return;
  }
  std::memcpy(value, image.data(), record.size);
  Operations(record, static_cast<std::byte*>(value), part);
}

void Decoder::Operations(const Record& record, std::byte* value, Part part) {
  if (++depth_ > kMaxDepth) {
    Malformed();
  }
  for (const Op& op : record.ops) {
    if (Bad()) {
      break;
    }
    Operation(record, op, value, part);
  }
  --depth_;
}

uint64_t Decoder::ResolveHandle(const Op& op, HandleType type, uint64_t id) {
  if (id == 0) {
    return 0;
  }
  uint64_t handle = 0;
  const Resolution resolution =
      resolver_ == nullptr ? Resolution::kInvalid : resolver_->Resolve(type, id, &handle);
  switch (resolution) {
    case Resolution::kResolved:
      return handle;
    case Resolution::kBroken:
      if ((op.flags & kConsumed) != 0) {
        return handle;
      }
      unavailable_ = true;
      return 0;
    case Resolution::kPoisoned:
      // No garbage: the program means an object that it thinks it has. Among others that are to be
      // destroyed it can be left out.
      unavailable_ = unavailable_ || (op.flags & kLenient) == 0 || (op.flags & kConsumed) == 0;
      return 0;
    case Resolution::kUnavailable:
      unavailable_ = unavailable_ || (op.flags & kLenient) == 0;
      return 0;
    case Resolution::kInvalid:
      if ((op.flags & kLenient) == 0) {
        Malformed();
      }
      return 0;
  }
  return 0;
}

void Decoder::Operation(const Record& record, const Op& op, std::byte* value, Part part) {
  switch (op.kind) {
    case OpKind::kDropped:
      StoreField<uint64_t>(value, op.offset, 0);
      return;
    case OpKind::kLayout:
      return;
    case OpKind::kHandle:
      for (uint32_t i = 0; i < op.count; ++i) {
        const uint64_t id = LoadField<uint64_t>(value, op.offset + 8 * i);
        if ((op.flags & kConsumed) != 0 && id != 0) {
          consumed_ids_.push_back(id);
        }
        StoreField(value, op.offset + 8 * i,
                   ResolveHandle(op, static_cast<HandleType>(op.type), id));
      }
      return;
    case OpKind::kTypedHandle: {
      const int32_t object_type = static_cast<int32_t>(EvaluateLength(op.length, value));
      const uint64_t id = LoadField<uint64_t>(value, op.offset);
      StoreField(value, op.offset, ResolveHandle(op, HandleTypeOf(object_type), id));
      return;
    }
    case OpKind::kRecord:
      for (uint32_t i = 0; i < op.count; ++i) {
        Operations(Records()[op.type], value + op.offset + i * op.size, Part::kWhole);
      }
      return;
    case OpKind::kUnion: {
      const int64_t selector = static_cast<int32_t>(EvaluateLength(op.length, value));
      for (const UnionCase& alternative : Unions()[op.type].cases) {
        if (alternative.value == selector) {
          Operations(Records()[alternative.record], value + op.offset, Part::kWhole);
          return;
        }
      }
      std::memset(value + op.offset, 0, Unions()[op.type].size);
      return;
    }
    case OpKind::kChain:
      Chain(record, value, op.offset);
      return;
    default:
      Array(op, value, part);
      return;
  }
}

std::byte* Decoder::Allocate(uint64_t count, uint64_t size) {
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    Malformed();
    return nullptr;
  }
  void* memory = arena_.Allocate(bytes);
  if (memory == nullptr) {
    Malformed();
  }
  return static_cast<std::byte*>(memory);
}

void Decoder::Array(const Op& op, std::byte* value, Part part) {
  const uint64_t slot = LoadField<uint64_t>(value, op.offset);
  StoreField<uint64_t>(value, op.offset, 0);
  if (slot == 0) {
    if ((op.flags & kRequired) != 0 && EvaluateLength(op.length, value) != 0) {
      Malformed();
    }
    return;
  }
  const uint64_t count = slot & ~kPresent;
  if ((slot & kPresent) == 0 ||
      (op.kind != OpKind::kString &&
       (count != EvaluateLength(op.length, value) || IsRagged(op.length, value)))) {
    Malformed();
    return;
  }
  const bool shape_only =
      part == Part::kRequest && (op.flags & kIn) == 0 && (op.flags & kNewIds) == 0;
  std::byte* elements = nullptr;
  if (shape_only) {
    elements = Allocate(count, op.size);
    if (op.kind == OpKind::kRecords) {
      for (uint64_t i = 0; i < count && !Bad(); ++i) {
        Shape(Records()[op.type], elements + i * op.size, false);
      }
    }
  } else if (op.kind == OpKind::kString || op.kind == OpKind::kPlain) {
    const std::span<const std::byte> bytes =
        reader_->TakeArray(count, op.kind == OpKind::kString ? 1 : op.size);
    if (Bad()) {
      return;
    }
    if (op.kind == OpKind::kString && (bytes.empty() || bytes.back() != std::byte{0})) {
      Malformed();
      return;
    }
    if (op.kind == OpKind::kPlain && (op.flags & kOut) == 0 && bytes.size() >= borrow_from_) {
      // The cast is for the pointer's type only: whoever is given an input does not write to it.
      elements = const_cast<std::byte*>(bytes.data());
    } else {
      elements = Allocate(bytes.size(), 1);
      if (elements != nullptr && !bytes.empty()) {
        std::memcpy(elements, bytes.data(), bytes.size());
      }
    }
  } else if (op.kind == OpKind::kRecords) {
    const std::span<const std::byte> images = reader_->TakeArray(count, op.size);
    elements = Bad() ? nullptr : Allocate(count, op.size);
    if (elements == nullptr) {
      return;
    }
    std::memcpy(elements, images.data(), images.size());
    for (uint64_t i = 0; i < count && !Bad(); ++i) {
      Operations(Records()[op.type], elements + i * op.size, Part::kWhole);
    }
  } else {
    if (count > reader_->Remaining() / 8) {
      Malformed();
      return;
    }
    elements = Allocate(count, 8);
    if (elements == nullptr) {
      return;
    }
    if (op.kind == OpKind::kHandles) {
      Handles(op, count, elements);
    } else {
      Pointers(op, value, count, elements);
    }
  }
  if (!Bad()) {
    StoreField<const void*>(value, op.offset, elements);
  }
}

void Decoder::Handles(const Op& op, uint64_t count, std::byte* elements) {
  for (uint64_t i = 0; i < count && !Bad(); ++i) {
    const uint64_t id = reader_->Value<uint64_t>();
    if ((op.flags & kNewIds) != 0) {
      // A buffer under an image's id would reach the driver as an image.
      if (ObjectTypeByte(id) != op.type) {
        Malformed();
      }
      new_ids_.push_back(id);
      continue;
    }
    if ((op.flags & kConsumed) != 0 && id != 0) {
      consumed_ids_.push_back(id);
    }
    StoreField(elements, i * 8, ResolveHandle(op, static_cast<HandleType>(op.type), id));
  }
}

void Decoder::Pointers(const Op& op, const std::byte* value, uint64_t count, std::byte* elements) {
  for (uint64_t i = 0; i < count && !Bad(); ++i) {
    std::byte* element = nullptr;
    if (op.kind == OpKind::kRecordPointers) {
      const Record& nested = Records()[op.type];
      element = Allocate(1, nested.size);
      if (element != nullptr) {
        Image(nested, element, Part::kWhole);
      }
    } else {
      const bool is_string = op.kind == OpKind::kStrings;
      const uint64_t inner = reader_->Value<uint64_t>();
      if (!is_string && inner != EvaluateLength(op.inner, value, i)) {
        Malformed();
        return;
      }
      const std::span<const std::byte> bytes = reader_->TakeArray(inner, is_string ? 1 : op.size);
      if (Bad() || (is_string && (bytes.empty() || bytes.back() != std::byte{0}))) {
        Malformed();
        return;
      }
      element = Allocate(bytes.size(), 1);
      if (element != nullptr && !bytes.empty()) {
        std::memcpy(element, bytes.data(), bytes.size());
      }
    }
    StoreField<const void*>(elements, i * 8, element);
  }
}

void Decoder::Chain(const Record& root, std::byte* value, size_t offset) {
  uint64_t slot = LoadField<uint64_t>(value, offset);
  StoreField<uint64_t>(value, offset, 0);
  for (uint32_t length = 0; slot != 0; ++length) {
    const uint64_t number = slot & ~kPresent;
    const Record* record =
        number <= MaxStructNumber() ? StructRecord(static_cast<uint16_t>(number)) : nullptr;
    if ((slot & kPresent) == 0 || length >= kMaxChainLength || record == nullptr ||
        !MayExtend(*record, root)) {
      Malformed();
      return;
    }
    std::byte* element = Allocate(1, record->size);
    const std::span<const std::byte> image = reader_->Take(record->size);
    if (element == nullptr || Bad()) {
      return;
    }
    std::memcpy(element, image.data(), record->size);
    slot = LoadField<uint64_t>(element, kNextOffset);
    StoreField<int32_t>(element, 0, record->stype);
    StoreField<uint64_t>(element, kNextOffset, 0);
    if (++depth_ > kMaxDepth) {
      Malformed();
    }
    for (const Op& op : record->ops) {
      if (Bad()) {
        break;
      }
      if (op.kind != OpKind::kChain) {
        Operation(*record, op, element, Part::kWhole);
      }
    }
    --depth_;
    if (Bad()) {
      return;
    }
    StoreField<const void*>(value, offset, element);
    value = element;
    offset = kNextOffset;
  }
}

void Decoder::ShapeChain(const Record& root, std::byte* value, size_t offset) {
  for (uint32_t length = 0;; ++length) {
    const uint64_t slot = reader_->Value<uint64_t>();
    if (Bad() || slot == 0) {
      return;
    }
    const uint64_t number = slot & ~kPresent;
    const Record* record =
        number <= MaxStructNumber() ? StructRecord(static_cast<uint16_t>(number)) : nullptr;
    if ((slot & kPresent) == 0 || length >= kMaxChainLength || record == nullptr ||
        !MayExtend(*record, root)) {
      Malformed();
      return;
    }
    std::byte* element = Allocate(1, record->size);
    if (element == nullptr) {
      return;
    }
    Shape(*record, element, true);
    StoreField<const void*>(value, offset, element);
    value = element;
    offset = kNextOffset;
  }
}

void Decoder::Shape(const Record& record, std::byte* value, bool in_chain) {
  if (++depth_ > kMaxDepth) {
    Malformed();
  }
  if (record.stype >= 0) {
    StoreField<int32_t>(value, 0, record.stype);
  }
  std::array<uint64_t, kMaxOps> counts{};
  for (size_t position = 0; position < record.ops.size() && position < kMaxOps; ++position) {
    const Op& op = record.ops[position];
    if (Bad()) {
      break;
    }
    switch (op.kind) {
      case OpKind::kChain:
        if (!in_chain) {
          ShapeChain(record, value, op.offset);
        }
        break;
      case OpKind::kRecord:
        for (uint32_t i = 0; i < op.count && !Bad(); ++i) {
          Shape(Records()[op.type], value + op.offset + i * op.size, false);
        }
        break;
      case OpKind::kPlain:
      case OpKind::kRecords: {
        const uint64_t slot = reader_->Value<uint64_t>();
        if (slot == 0) {
          break;
        }
        const uint64_t count = slot & ~kPresent;
        std::byte* elements = (slot & kPresent) != 0 ? Allocate(count, op.size) : nullptr;
        if (elements == nullptr) {
          Malformed();
          break;
        }
        StoreLength(op.length, value, count);
        StoreField<const void*>(value, op.offset, elements);
        counts[position] = count;
        if (op.kind == OpKind::kRecords) {
          for (uint64_t i = 0; i < count && !Bad(); ++i) {
            Shape(Records()[op.type], elements + i * op.size, false);
          }
        }
        break;
      }
      default:
        break;
    }
  }
  // The driver goes by the members: each array must be as long as they say, also where two share
  // one or the length is a constant.
  for (size_t i = 0; i < record.ops.size() && i < kMaxOps && !Bad(); ++i) {
    const Op& op = record.ops[i];
    const bool is_array = op.kind == OpKind::kPlain || op.kind == OpKind::kRecords;
    if (is_array && LoadField<const void*>(value, op.offset) != nullptr &&
        EvaluateLength(op.length, value) != counts[i]) {
      Malformed();
    }
  }
  --depth_;
}

}  // namespace vesper::proto
