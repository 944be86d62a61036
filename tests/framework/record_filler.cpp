// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/record_filler.h"

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "proto/object_id.h"
#include "proto/walk.h"

namespace vesper::tests {
namespace {

using proto::Length;
using proto::LengthKind;
using proto::LoadField;
using proto::Op;
using proto::OpKind;
using proto::Record;
using proto::StoreField;

constexpr size_t kNextOffset = 8;
/// Never dereferenced by a codec that honours the conditions.
constexpr uint64_t kGarbagePointer = 0xdead'0000'0000'beef;

bool IsArray(const Op& op) {
  switch (op.kind) {
    case OpKind::kPlain:
    case OpKind::kHandles:
    case OpKind::kRecords:
    case OpKind::kStrings:
    case OpKind::kRecordPointers:
    case OpKind::kPlainPointers:
      return true;
    default:
      return false;
  }
}

std::optional<size_t> IntegerWidth(LengthKind kind) {
  switch (kind) {
    case LengthKind::kU8:
      return 1;
    case LengthKind::kU16:
      return 2;
    case LengthKind::kU32:
      return 4;
    case LengthKind::kU64:
      return 8;
    default:
      return std::nullopt;
  }
}

void StoreInteger(void* value, const Length& length, uint64_t integer) {
  std::memcpy(static_cast<std::byte*>(value) + length.offset, &integer, *IntegerWidth(length.kind));
}

bool NamesMember(const Record& record, size_t offset) {
  return std::any_of(record.ops.begin(), record.ops.end(), [offset](const Op& op) {
    return IntegerWidth(op.length.kind).has_value() && op.length.offset == offset;
  });
}

}  // namespace

size_t OpBytes(const Op& op) {
  switch (op.kind) {
    case OpKind::kHandle:
      return 8u * op.count;
    case OpKind::kRecord:
      return static_cast<size_t>(op.size) * op.count;
    case OpKind::kUnion:
      return proto::Unions()[op.type].size;
    case OpKind::kLayout:
      return sizeof(VkImageLayout);
    default:
      return 8;
  }
}

uint64_t IdOfTestHandle(proto::HandleType, uint64_t handle) { return handle ^ kNativeHandleMask; }

proto::Resolution TestResolver::Resolve(proto::HandleType type, proto::ObjectId id,
                                        uint64_t* handle) {
  if (proto::ObjectTypeByte(id) != static_cast<uint8_t>(type)) {
    return proto::Resolution::kInvalid;
  }
  *handle = id ^ kNativeHandleMask;
  return proto::Resolution::kResolved;
}

RecordFiller::RecordFiller(uint64_t shape, uint64_t content, Chains chains, proto::Arena& arena)
    : shape_(shape), content_(content), chains_(chains), arena_(arena) {
  // Object types are small numbers in the core and 1000'000'000 + 1000 * (extension - 1) + n else.
  for (int32_t core = 0; core < 100; ++core) {
    if (proto::HandleTypeOf(core) != proto::HandleType::kNone) {
      object_types_.push_back(core);
    }
  }
  for (int32_t extension = 0; extension < 1000; ++extension) {
    for (int32_t n = 0; n < 4; ++n) {
      const int32_t value = 1'000'000'000 + 1000 * extension + n;
      if (proto::HandleTypeOf(value) != proto::HandleType::kNone) {
        object_types_.push_back(value);
      }
    }
  }
  extending_.resize(proto::Records().size());
  for (const Record& record : proto::Records()) {
    for (const uint16_t root : record.extends) {
      if (record.number != 0) {
        extending_[root].push_back(proto::RecordIndex(record));
      }
    }
  }
}

void* RecordFiller::Make(const Record& record) {
  std::byte* value = Allocate(record.size);
  depth_ = 0;
  Fill(record, value, false);
  return value;
}

std::byte* RecordFiller::Allocate(uint64_t bytes) {
  auto* memory = static_cast<std::byte*>(arena_.Allocate(bytes));
  if (memory == nullptr) {
    std::abort();  // the test's arena is too small
  }
  return memory;
}

void RecordFiller::Fill(const Record& record, std::byte* value, bool in_chain) {
  ++depth_;
  content_.Fill({reinterpret_cast<uint8_t*>(value), record.size});
  if (record.stype >= 0) {
    StoreField<int32_t>(value, 0, record.stype);
  }
  ChooseCondition(record, value);
  ChooseLengths(record, value);
  for (const Op& op : record.ops) {
    FillOp(record, op, value, in_chain);
  }
  --depth_;
}

void RecordFiller::ChooseLengths(const Record& record, std::byte* value) {
  for (const Op& op : record.ops) {
    if (op.kind == OpKind::kTypedHandle) {
      StoreInteger(value, op.length, object_types_[shape_.Below(object_types_.size())]);
    } else if (op.kind == OpKind::kUnion) {
      const auto cases = proto::Unions()[op.type].cases;
      const uint64_t choice = shape_.Below(cases.size() + 1);
      // One choice is a selector that this codec does not know.
      StoreInteger(
          value, op.length,
          choice == cases.size() ? 0x7000'0000 : static_cast<uint64_t>(cases[choice].value));
    } else if (IsArray(op)) {
      const uint64_t count = shape_.OneIn(3) ? 1 : shape_.Below(4);
      if (IntegerWidth(op.length.kind)) {
        const uint64_t total = count * op.length.divide;
        StoreInteger(value, op.length, total > op.length.add ? total - op.length.add : total);
      }
    }
  }
}

void RecordFiller::ChooseCondition(const Record& record, std::byte* value) {
  std::vector<const Op*> conditional;
  for (const Op& op : record.ops) {
    if (op.present != nullptr) {
      conditional.push_back(&op);
    }
  }
  if (conditional.empty()) {
    return;
  }
  const Op& op = *conditional[shape_.Below(conditional.size())];
  const bool wanted = !shape_.OneIn(3);
  // Which member decides is the condition's secret: find one that makes it so in a zeroed record.
  std::vector<std::byte> probe(record.size);
  struct Choice {
    size_t offset;
    uint32_t value;
  };
  std::vector<Choice> choices;
  const bool when_zero = op.present(probe.data());
  for (size_t offset = 0; offset + 4 <= record.size; offset += 4) {
    for (uint32_t candidate = 1; candidate < 16; ++candidate) {
      StoreField(probe.data(), offset, candidate);
      if (op.present(probe.data()) != when_zero) {
        choices.push_back({offset, when_zero == wanted ? 0 : candidate});
      }
    }
    StoreField<uint32_t>(probe.data(), offset, 0);
  }
  if (!choices.empty()) {
    const Choice& choice = choices[shape_.Below(choices.size())];
    StoreField(value, choice.offset, choice.value);
  }
}

uint64_t RecordFiller::MakeHandle(proto::HandleType type) {
  const auto generation = static_cast<uint32_t>(1 + shape_.Below(proto::kMaxGeneration >> 8));
  const auto index = static_cast<uint32_t>(shape_.Below(1000));
  return proto::MakeObjectId(type, generation, index) ^ kNativeHandleMask;
}

std::byte* RecordFiller::MakeString() {
  const uint64_t length = shape_.Below(13);
  std::byte* text = Allocate(length + 1);
  for (uint64_t i = 0; i < length; ++i) {
    text[i] = static_cast<std::byte>(content_.Between('a', 'z'));
  }
  return text;
}

void RecordFiller::FillOp(const Record& record, const Op& op, std::byte* value, bool in_chain) {
  const bool present = op.present == nullptr || op.present(value);
  switch (op.kind) {
    case OpKind::kDropped:
      StoreField(value, op.offset, kGarbagePointer);
      return;
    case OpKind::kHandle:
      for (uint32_t i = 0; i < op.count; ++i) {
        const bool null = shape_.OneIn(5);
        const uint64_t handle = MakeHandle(static_cast<proto::HandleType>(op.type));
        StoreField(value, op.offset + 8 * i, !present ? kGarbagePointer : null ? 0 : handle);
      }
      return;
    case OpKind::kLayout:
      if (shape_.OneIn(2)) {
        StoreField(value, op.offset, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
      }
      return;
    case OpKind::kTypedHandle: {
      const auto type = static_cast<int32_t>(proto::EvaluateLength(op.length, value));
      StoreField(value, op.offset, MakeHandle(proto::HandleTypeOf(type)));
      return;
    }
    case OpKind::kRecord:
      for (uint32_t i = 0; i < op.count; ++i) {
        Fill(proto::Records()[op.type], value + op.offset + i * op.size, false);
      }
      return;
    case OpKind::kUnion: {
      const auto selector = static_cast<int32_t>(proto::EvaluateLength(op.length, value));
      for (const proto::UnionCase& alternative : proto::Unions()[op.type].cases) {
        if (alternative.value == selector) {
          Fill(proto::Records()[alternative.record], value + op.offset, false);
          return;
        }
      }
      return;
    }
    case OpKind::kChain:
      if (!in_chain) {
        FillChain(record, value, op.offset);
      }
      return;
    default:
      break;
  }
  if (!present) {
    StoreField(value, op.offset, kGarbagePointer);
    return;
  }
  // The outermost pointers matter most; deep down, most are null to keep the whole small.
  const bool null = shape_.OneIn(depth_ <= 2 ? 8 : depth_ <= 4 ? 3 : 1);
  const bool may_be_null =
      (op.flags & proto::kRequired) == 0 || proto::EvaluateLength(op.length, value) == 0;
  if (null && may_be_null) {
    StoreField<uint64_t>(value, op.offset, 0);
    return;
  }
  FillArray(record, op, value);
}

void RecordFiller::FillArray(const Record& record, const Op& op, std::byte* value) {
  if (op.kind == OpKind::kString) {
    StoreField(value, op.offset, MakeString());
    return;
  }
  const uint64_t count = proto::EvaluateLength(op.length, value);
  const bool pointers = op.kind == OpKind::kStrings || op.kind == OpKind::kRecordPointers ||
                        op.kind == OpKind::kPlainPointers || op.kind == OpKind::kHandles;
  std::byte* elements = Allocate(count * (pointers ? 8 : op.size));
  StoreField(value, op.offset, elements);
  FillElements(op, elements, count, value);
  if (count > 0) {
    FixTargetLengths(record, op, elements);
  }
}

void RecordFiller::FillElements(const Op& op, std::byte* elements, uint64_t count,
                                const std::byte* value) {
  const bool new_ids = (op.flags & proto::kNewIds) != 0;
  for (uint64_t i = 0; i < count; ++i) {
    switch (op.kind) {
      case OpKind::kPlain:
        content_.Fill({reinterpret_cast<uint8_t*>(elements + i * op.size), op.size});
        break;
      case OpKind::kRecords:
        Fill(proto::Records()[op.type], elements + i * op.size, false);
        break;
      case OpKind::kHandles: {
        const uint64_t handle = MakeHandle(static_cast<proto::HandleType>(op.type));
        const bool null = !new_ids && shape_.OneIn(5);
        // Ids of new objects are what the guest's arguments hold, whatever the kind of handle.
        StoreField(elements, i * 8, new_ids ? handle ^ kNativeHandleMask : null ? 0 : handle);
        break;
      }
      case OpKind::kStrings:
        StoreField(elements, i * 8, MakeString());
        break;
      case OpKind::kRecordPointers: {
        std::byte* element = Allocate(proto::Records()[op.type].size);
        Fill(proto::Records()[op.type], element, false);
        StoreField(elements, i * 8, element);
        break;
      }
      case OpKind::kPlainPointers: {
        const uint64_t bytes = proto::EvaluateLength(op.inner, value, i) * op.size;
        std::byte* element = Allocate(bytes);
        content_.Fill({reinterpret_cast<uint8_t*>(element), bytes});
        StoreField(elements, i * 8, element);
        break;
      }
      default:
        break;
    }
  }
}

void RecordFiller::FixTargetLengths(const Record& record, const Op& op, std::byte* elements) {
  for (const Op& user : record.ops) {
    if (user.length.offset != op.offset || !IsArray(user)) {
      continue;
    }
    const uint64_t count = 1 + shape_.Below(3);
    if (user.length.kind == LengthKind::kPointerU32) {
      StoreField(elements, 0, static_cast<uint32_t>(count));
    } else if (user.length.kind == LengthKind::kPointerU64) {
      StoreField(elements, 0, count);
    } else if (user.length.kind == LengthKind::kPath &&
               !NamesMember(proto::Records()[op.type], user.length.inner)) {
      StoreField(elements, user.length.inner, static_cast<uint32_t>(count));
    }
  }
}

void RecordFiller::FillChain(const Record& root, std::byte* value, size_t offset) {
  const std::vector<uint16_t>& candidates = extending_[proto::RecordIndex(root)];
  std::vector<uint16_t> chosen;
  if (chains_ == Chains::kAll && depth_ <= 2) {
    chosen = candidates;
    for (size_t i = chosen.size(); i > 1; --i) {
      std::swap(chosen[i - 1], chosen[shape_.Below(i)]);
    }
  } else if (!candidates.empty() && depth_ <= 4) {
    for (uint64_t i = shape_.Below(4); i > 0; --i) {
      const uint16_t candidate = candidates[shape_.Below(candidates.size())];
      if (std::find(chosen.begin(), chosen.end(), candidate) == chosen.end()) {
        chosen.push_back(candidate);
      }
    }
  }
  std::byte* tail = value;
  size_t tail_offset = offset;
  const auto append = [&](std::byte* element) {
    StoreField(tail, tail_offset, element);
    tail = element;
    tail_offset = kNextOffset;
  };
  for (const uint16_t index : chosen) {
    if (shape_.OneIn(8)) {
      std::byte* stranger = Allocate(32);
      StoreField<int32_t>(stranger, 0, 0x6fff'ffff);
      append(stranger);
    }
    const Record& record = proto::Records()[index];
    std::byte* element = Allocate(record.size);
    Fill(record, element, true);
    append(element);
  }
  StoreField<uint64_t>(tail, tail_offset, 0);
}

}  // namespace vesper::tests
