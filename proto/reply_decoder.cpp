// SPDX-License-Identifier: Apache-2.0
#include "proto/reply_decoder.h"

#include <algorithm>
#include <array>

#include "proto/limits.h"
#include "proto/walk.h"

namespace vesper::proto {
namespace {

constexpr size_t kNextOffset = 8;
constexpr size_t kMaxOps = 64;

size_t OpBytes(const Op& op) {
  switch (op.kind) {
    case OpKind::kHandle:
      return 8u * op.count;
    case OpKind::kRecord:
      return static_cast<size_t>(op.size) * op.count;
    case OpKind::kUnion:
      return Unions()[op.type].size;
    case OpKind::kLayout:
      return 0;  // copied with what is around it
    default:
      return 8;
  }
}

/// Copies the parts of an image that are plain bytes: everything but the members with operations.
/// Padding stays as it is, as it does when a driver fills a struct in.
void CopyPlainParts(const Record& record, const std::byte* source, std::byte* target) {
  size_t position = 0;
  auto hole = record.holes.begin();
  const auto copy_until = [&](size_t end) {
    for (; hole != record.holes.end() && hole->offset < end; ++hole) {
      if (hole->offset > position) {
        std::memcpy(target + position, source + position, hole->offset - position);
      }
      position = std::max<size_t>(position, hole->offset + hole->size);
    }
    if (end > position) {
      std::memcpy(target + position, source + position, end - position);
    }
  };
  for (const Op& op : record.ops) {
    copy_until(op.offset);
    position = op.offset + OpBytes(op);
  }
  copy_until(record.size);
}

class ReplyReader {
 public:
  explicit ReplyReader(Reader& reader) : reader_(reader) {}

  void Into(const Record& record, const std::byte* image, std::byte* target, bool in_chain);

 private:
  void Chain(const Record& root, uint64_t slot, const std::byte* target);
  void Array(const Op& op, uint64_t slot, uint64_t capacity, std::byte* target);

  Reader& reader_;
  uint32_t depth_ = 0;
};

void ReplyReader::Into(const Record& record, const std::byte* image, std::byte* target,
                       bool in_chain) {
  if (++depth_ > kMaxDepth || record.ops.size() > kMaxOps) {
    reader_.Fail();
    --depth_;
    return;
  }
  // The program's capacities first: the plain parts may overwrite the counts they come from.
  std::array<uint64_t, kMaxOps> capacities;
  for (size_t i = 0; i < record.ops.size(); ++i) {
    const Op& op = record.ops[i];
    const bool is_array =
        op.kind == OpKind::kPlain || op.kind == OpKind::kRecords || op.kind == OpKind::kHandles;
    capacities[i] = is_array && LoadField<const void*>(target, op.offset) != nullptr
                        ? EvaluateLength(op.length, target)
                        : 0;
  }
  CopyPlainParts(record, image, target);
  for (size_t i = 0; i < record.ops.size() && !reader_.Failed(); ++i) {
    const Op& op = record.ops[i];
    switch (op.kind) {
      case OpKind::kChain:
        if (!in_chain) {
          Chain(record, LoadField<uint64_t>(image, op.offset),
                LoadField<const std::byte*>(target, op.offset));
        }
        break;
      case OpKind::kRecord:
        for (uint32_t element = 0; element < op.count; ++element) {
          const size_t offset = op.offset + static_cast<size_t>(element) * op.size;
          Into(Records()[op.type], image + offset, target + offset, false);
        }
        break;
      case OpKind::kPlain:
      case OpKind::kRecords:
      case OpKind::kHandles:
        Array(op, LoadField<uint64_t>(image, op.offset), capacities[i], target);
        break;
      default:
        break;
    }
  }
  --depth_;
}

void ReplyReader::Array(const Op& op, uint64_t slot, uint64_t capacity, std::byte* target) {
  if (slot == 0) {
    return;
  }
  const uint64_t count = slot & ~kPresent;
  if ((slot & kPresent) == 0 || count > capacity) {
    reader_.Fail();
    return;
  }
  const std::span<const std::byte> bytes = reader_.TakeArray(count, op.size);
  std::byte* elements = LoadField<std::byte*>(target, op.offset);
  if (reader_.Failed() || bytes.empty()) {
    return;
  }
  if (op.kind == OpKind::kRecords) {
    for (uint64_t i = 0; i < count && !reader_.Failed(); ++i) {
      Into(Records()[op.type], bytes.data() + i * op.size, elements + i * op.size, false);
    }
    return;
  }
  std::memcpy(elements, bytes.data(), bytes.size());
}

void ReplyReader::Chain(const Record& root, uint64_t slot, const std::byte* target) {
  for (uint32_t length = 0; slot != 0; ++length) {
    const uint64_t number = slot & ~kPresent;
    const Record* record =
        number <= MaxStructNumber() ? StructRecord(static_cast<uint16_t>(number)) : nullptr;
    if ((slot & kPresent) == 0 || length >= kMaxChainLength || record == nullptr ||
        !MayExtend(*record, root)) {
      reader_.Fail();
      return;
    }
    // The reply names the structs of the request in their order.
    while (target != nullptr && LoadField<int32_t>(target, 0) != record->stype) {
      target = LoadField<const std::byte*>(target, kNextOffset);
    }
    const std::span<const std::byte> image = reader_.Take(record->size);
    if (target == nullptr || reader_.Failed()) {
      reader_.Fail();
      return;
    }
    Into(*record, image.data(), const_cast<std::byte*>(target), true);
    slot = LoadField<uint64_t>(image.data(), kNextOffset);
    target = LoadField<const std::byte*>(target, kNextOffset);
  }
}

void CopyMembers(const Record& record, const std::byte* source, std::byte* target, bool in_chain);

void CopyArray(const Op& op, const std::byte* source, std::byte* target, uint64_t capacity) {
  const std::byte* from = LoadField<const std::byte*>(source, op.offset);
  std::byte* to = LoadField<std::byte*>(target, op.offset);
  uint64_t count = from == nullptr ? 0 : EvaluateLength(op.length, source);
  if (to != nullptr) {
    count = std::min(count, capacity);
    for (uint64_t i = 0; i < count; ++i) {
      if (op.kind == OpKind::kRecords) {
        CopyMembers(Records()[op.type], from + i * op.size, to + i * op.size, false);
      } else {
        std::memcpy(to + i * op.size, from + i * op.size, op.size);
      }
    }
    if (op.length.kind == LengthKind::kU32) {
      StoreField(target, op.length.offset, static_cast<uint32_t>(count));
    }
  }
}

void CopyMembers(const Record& record, const std::byte* source, std::byte* target, bool in_chain) {
  std::array<uint64_t, kMaxOps> capacities{};
  for (size_t i = 0; i < record.ops.size() && i < kMaxOps; ++i) {
    const Op& op = record.ops[i];
    if (op.kind == OpKind::kPlain || op.kind == OpKind::kRecords) {
      capacities[i] = EvaluateLength(op.length, target);
    }
  }
  CopyPlainParts(record, source, target);
  for (size_t i = 0; i < record.ops.size() && i < kMaxOps; ++i) {
    const Op& op = record.ops[i];
    if (op.kind == OpKind::kPlain || op.kind == OpKind::kRecords) {
      CopyArray(op, source, target, capacities[i]);
    } else if (op.kind == OpKind::kRecord) {
      for (uint32_t element = 0; element < op.count; ++element) {
        const size_t offset = op.offset + static_cast<size_t>(element) * op.size;
        CopyMembers(Records()[op.type], source + offset, target + offset, false);
      }
    } else if (op.kind == OpKind::kChain && !in_chain) {
      std::byte* next = LoadField<std::byte*>(target, op.offset);
      for (; next != nullptr; next = LoadField<std::byte*>(next, kNextOffset)) {
        const int32_t stype = LoadField<int32_t>(next, 0);
        const Record* element = StructRecordByType(stype);
        const std::byte* from = LoadField<const std::byte*>(source, op.offset);
        while (from != nullptr && LoadField<int32_t>(from, 0) != stype) {
          from = LoadField<const std::byte*>(from, kNextOffset);
        }
        if (element != nullptr && from != nullptr) {
          CopyMembers(*element, from, next, true);
        }
      }
    }
  }
}

}  // namespace

bool DecodeReply(const Record& record, Reader& reader, void* args) {
  const std::span<const std::byte> image = reader.Take(record.size);
  if (reader.Failed()) {
    return false;
  }
  ReplyReader(reader).Into(record, image.data(), static_cast<std::byte*>(args), false);
  return !reader.Failed() && reader.AtEnd();
}

void CopyStruct(const Record& record, const void* source, void* target) {
  CopyMembers(record, static_cast<const std::byte*>(source), static_cast<std::byte*>(target),
              false);
}

}  // namespace vesper::proto
